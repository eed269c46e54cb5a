"""What must hold of a world at rest, checked from outside: on the store and in the log only."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.simulation.world import World

GONE = {"disposed", "already_absent"}


def broken(world: World, *, due: set[str], kept: set[str]) -> list[str]:
    """Every rule that this world breaks; empty when all hold. `due`, `kept`: keys in the table.

    A record is there while it has its e-mail address: anonymising takes that away.
    """
    left = {key for key, row in world.data.table("rows").items() if row["email"] is not None}
    found = [f"{key} was due and is still there" for key in sorted(due & left)]
    found += [f"{key} must be kept and is gone" for key in sorted(kept - left)]
    found += _double_acts(world)
    found += _evidence(world)
    return found


def _double_acts(world: World) -> list[str]:
    acted = Counter(key for _, key in world.data.log)
    return [f"{key} was disposed of {n} times" for key, n in acted.items() if n > 1]


def _evidence(world: World) -> list[str]:
    entries = world.entries()
    found = []
    intents: Counter[tuple[Any, ...]] = Counter()
    outcomes: Counter[tuple[Any, ...]] = Counter()
    gone: Counter[str] = Counter()
    open_intent: dict[str, int] = {}
    for entry in entries:
        place = (entry.get("run"), entry.get("batch"))
        if entry["type"] == "batch.intended":
            for record in entry["records"]:
                intents[(*place, record)] += 1
                open_intent[record] = open_intent.get(record, 0) + 1
        elif entry["type"] == "batch.done":
            for record in entry["records"]:
                if (*place, record) in intents:
                    outcomes[(*place, record)] += 1
                if entry["outcome"] == "disposed":
                    gone[record] += 1
                    if not open_intent.get(record):
                        found.append(f"{record} was disposed of without an intent before it")
    found += [f"{i} was intended {n} times" for i, n in intents.items() if n > 1]
    found += [f"{i} has {outcomes[i]} outcomes" for i in intents if outcomes[i] != 1]
    found += [f"{r} was reported disposed {n} times" for r, n in gone.items() if n > 1]
    found += _unproven(world, entries)
    firings = Counter((e["policy"], e["firing"]) for e in entries if e["type"] == "run.finished")
    found += [f"{f} ran {n} times" for f, n in firings.items() if n > 1]
    return found


def _unproven(world: World, entries: list[dict[str, Any]]) -> list[str]:
    """Every act has an intent in the log that names its record, and every disposal a look."""
    with world.quietly() as ctx:
        name = ctx.log.pseudonymiser("shop", "orders/rows", world.clock.now()).of
    intended = {r for e in entries if e["type"] == "batch.intended" for r in e["records"]}
    looked = {r for e in entries if e["type"] == "batch.verified" for r in e["records"]}
    found = [
        f"{key} was acted upon without an intent"
        for _, key in world.acts
        if name(key) not in intended
    ]
    found += [
        f"{key} was disposed of and nobody looked again"
        for _, key in world.data.log
        if name(key) not in looked
    ]
    return found
