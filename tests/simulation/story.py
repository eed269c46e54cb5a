"""Random worlds for the simulation: which records are due, which must stay, what happens midway."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from retention.connectors import memory
from retention.policy.model import Bundle
from tests.simulation.invariants import broken
from tests.simulation.world import START, World

FIRE_AFTER = timedelta(days=1)


def bundle(store: str, *, minimum: str | None = None) -> Bundle:
    """A shop whose orders go after a month, at three every night."""
    policies: dict[str, Any] = {
        "orders-go": {
            "applies_to": "orders",
            "starting_point": "placed",
            "delete_at_latest": "1 month",
            "then": "delete",
            "schedule": "0 3 * * *",
        },
    }
    if minimum:
        policies["invoiced-stay"] = {
            "applies_to": "orders",
            "where": {"invoiced": [True]},
            "starting_point": "placed",
            "keep_at_least": minimum,
            "then": "keep",
        }
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
            "policies": policies,
        }
    )


class Story:
    """A random world: which records are due, which must stay, and a hold that arrives midway."""

    def __init__(self, folder: Path, seed: int, *, rows: tuple[int, int] = (7, 14)) -> None:
        self.random = random.Random(seed)
        self.rows = rows
        self.name = f"sim-{folder.name}-{seed}"
        memory.forget(self.name)
        self.world = World(folder, bundle(self.name, minimum="5 years"), self.name)
        self.due: set[str] = set()
        self.kept: set[str] = set()
        self._fill()
        self.world.prepare()
        self.world.clock.at = START + FIRE_AFTER
        self.world.fate.steps = 0

    def _fill(self) -> None:
        table = self.world.data.table("rows")
        for n in range(self.random.randint(*self.rows)):
            old = self.random.random() < 0.65
            invoiced = self.random.random() < 0.2
            age = self.random.randint(40, 300) if old else self.random.randint(0, 20)
            key = f"k{n:02d}"
            table[key] = {
                "placed": date(2026, 3, 2) - timedelta(days=age),
                "invoiced": invoiced,
                "email": f"p{n % 5}@example.org",
            }
            (self.due if old and not invoiced else self.kept).add(key)

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


SMALL = (5, 6)
"""Rows enough for two batches: for searches that try every single step."""


def steps_of(folder: Path, seed: int, *, rows: tuple[int, int] = (7, 14)) -> int:
    """How many points there are at which this story's daemon can die."""
    story = Story(folder, seed, rows=rows)
    story.live_until_rest()
    assert story.verdict() == []
    return story.world.fate.steps


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
