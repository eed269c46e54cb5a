"""Random worlds for the simulation: which records are due, which must stay, what happens midway."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from retention.connectors import memory
from retention.policy.model import Bundle
from retention.run.context import Pace
from tests.simulation.invariants import broken
from tests.simulation.world import START, World

FIRE_AFTER = timedelta(days=1)
SMALL = (5, 6)
"""Rows enough for two batches: for searches that try every single step."""


@dataclass(frozen=True)
class Promises:
    """The policies of one world. A tier of its own for VIPs, a minimum for what was invoiced."""

    months: int = 1
    vip_months: int | None = None
    minimum_days: int | None = 5 * 366
    anonymise: bool = False

    @classmethod
    def chosen_by(cls, chance: random.Random) -> Promises:
        return cls(
            months=chance.choice((1, 2, 3)),
            vip_months=chance.choice((None, 6)),
            minimum_days=chance.choice((None, 200, 5 * 366)),
            anonymise=chance.random() < 0.3,
        )

    def is_due(self, age: int, *, invoiced: bool, vip: bool) -> bool:
        """Told without the program: ages here keep clear of every boundary by some days."""
        months = self.vip_months if vip and self.vip_months else self.months
        if invoiced and self.minimum_days and age <= self.minimum_days:
            return False
        return age > months * 31

    def clear(self, age: int) -> bool:
        """Whether an age is far enough from every end that the length of months cannot matter."""
        ends = [self.months * 30, (self.vip_months or 0) * 30, self.minimum_days or 0]
        return all(abs(age - end) > 6 for end in ends)

    def policies(self) -> dict[str, Any]:
        then: Any = {"anonymise": {"email": None}} if self.anonymise else "delete"
        common = {"applies_to": "orders", "starting_point": "placed"}
        acts = {**common, "then": then, "schedule": "0 3 * * *"}
        out: dict[str, Any] = {"orders-go": {**acts, "delete_at_latest": f"{self.months} months"}}
        if self.vip_months:
            out["vip-orders-go"] = {
                **acts,
                "where": {"vip": [True]},
                "delete_at_latest": f"{self.vip_months} months",
            }
        if self.minimum_days:
            out["invoiced-stay"] = {
                **common,
                "where": {"invoiced": [True]},
                "keep_at_least": f"{self.minimum_days} days",
                "then": "keep",
            }
        return out


def bundle(store: str, promises: Promises) -> Bundle:
    """A shop whose orders go at three every night."""
    return Bundle.model_validate(
        {
            "organisation": {
                "name": "A shop",
                "country": "NO",
                "timezone": "Europe/Oslo",
                "limits": {"records": 1000},
            },
            "systems": {"shop": {"connector": "memory", "store": store, "page": 4}},
            "clusters": {
                "orders": {
                    "purpose": "selling",
                    "basis": "contract",
                    "locations": {
                        "rows": {
                            "system": "shop",
                            "table": "rows",
                            "dates": {"placed": "placed"},
                            "subject": {"email": "email"},
                        }
                    },
                }
            },
            "policies": promises.policies(),
        }
    )


class Story:
    """A random world: which records are due, which must stay, and a hold that arrives midway."""

    def __init__(
        self, folder: Path, seed: int, *, rows: tuple[int, int] = (7, 14), shards: int = 1
    ) -> None:
        self.random = random.Random(seed)
        self.rows = rows
        self.promises = Promises() if rows == SMALL else Promises.chosen_by(self.random)
        self.name = f"sim-{folder.name}-{seed}"
        memory.forget(self.name)
        self.world = World(folder, bundle(self.name, self.promises), self.name)
        self.world.pace = Pace(batch_records=3, shards=shards, shard_records=2)
        self.due: set[str] = set()
        self.kept: set[str] = set()
        self._fill()
        self.world.prepare()
        self.world.clock.at = START + FIRE_AFTER
        self.world.fate.steps = 0

    def _fill(self) -> None:
        table = self.world.data.table("rows")
        for n in range(self.random.randint(*self.rows)):
            age = self._age()
            invoiced = self.random.random() < 0.2
            vip = self.random.random() < 0.3
            key = f"k{n:02d}"
            table[key] = {
                "placed": date(2026, 3, 2) - timedelta(days=age),
                "invoiced": invoiced,
                "vip": vip,
                "email": f"p{n % 5}@example.org",
            }
            due = self.promises.is_due(age, invoiced=invoiced, vip=vip)
            (self.due if due else self.kept).add(key)

    def _age(self) -> int:
        while True:
            old = self.random.random() < 0.65
            age = self.random.randint(40, 300) if old else self.random.randint(0, 20)
            if self.promises.clear(age):
                return age

    def live_until_rest(self, lives: int = 6) -> None:
        """Processes start again until one lives to its end; the dead one's lease runs out."""
        for _ in range(lives):
            done = self.world.live()
            self.world.fate.armed = True
            self.world.fate.die_at = None
            self.world.clock.forward(seconds=31)
            if done:
                break
        self.world.live()

    def hold_arrives(self, at: int, key: str) -> None:
        """At this step a hold on one record's person arrives, unless the record is acted upon."""
        world = self.world
        email = world.data.table("rows")[key]["email"]

        def happen() -> None:
            acted = {k for _, k in world.acts}
            with world.quietly() as ctx:
                subject = ctx.hasher.subject("email", email)
                pseudonym = ctx.log.pseudonymiser("shop", "orders/rows", world.clock.now()).of
            intended = {r for e in world.entries("batch.intended") for r in e["records"]}
            world.hold(subject=subject)
            for other, row in list(world.data.table("rows").items()):
                if row["email"] == email and other in self.due and other not in acted:
                    # A record that stands in an open intent may still go: the order arrived
                    # after the last look. Anything else must stay.
                    self.due.discard(other)
                    if pseudonym(other) not in intended:
                        self.kept.add(other)

        world.fate.happenings[at] = happen

    def verdict(self) -> list[str]:
        return broken(self.world, due=self.due, kept=self.kept)


def steps_of(folder: Path, seed: int, *, rows: tuple[int, int] = (7, 14), shards: int = 1) -> int:
    """How many points there are at which this story's daemon can die."""
    story = Story(folder, seed, rows=rows, shards=shards)
    story.live_until_rest()
    assert story.verdict() == []
    return story.world.fate.steps


def company(story: Story, at: list[int]) -> list[str]:
    """At each of these steps another process, on another machine, works for one slice."""
    world = story.world
    for step in at:
        world.fate.happenings[step] = world.slice
    story.live_until_rest()
    return story.verdict()


def sleeper(story: Story, at: int) -> list[str]:
    """At this step the process sleeps for a minute, and another one lives its whole life."""
    world = story.world

    def nap() -> None:
        world.clock.forward(seconds=61)
        world.live()

    world.fate.happenings[at] = nap
    story.live_until_rest()
    return story.verdict()


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[], Path]:
    """A new folder at each call."""
    count = iter(range(100_000))
    # A death is followed by a collection; what was there before need not be looked through.
    gc.collect()
    gc.freeze()

    def make() -> Path:
        folder = tmp_path / f"w{next(count)}"
        folder.mkdir()
        return folder

    return make
