"""Copying before deleting, killed before and after every ledger write and every connector call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

from retention.connectors import memory
from retention.policy.model import Bundle
from retention.run.context import Pace
from tests.simulation.story import FIRE_AFTER, fresh
from tests.simulation.world import START, World

__all__ = ["fresh"]

DUE, YOUNG = 2, 1


def bundle(store: str) -> Bundle:
    """Messages of a contact form go into a sheet first, and then from the form."""
    return Bundle.model_validate(
        {
            "organisation": {"name": "A shop", "country": "NO", "timezone": "Europe/Oslo"},
            "systems": {"shop": {"connector": "memory", "store": store, "page": 4}},
            "clusters": {
                "messages": {
                    "locations": {
                        "form": {
                            "system": "shop",
                            "table": "rows",
                            "dates": {"received": "at"},
                            "subject": {"email": "email"},
                        }
                    }
                },
                "leads": {
                    "locations": {
                        "sheet": {"system": "shop", "table": "sheet", "dates": {"asked": "asked"}}
                    }
                },
            },
            "policies": {
                "form-monthly": {
                    "applies_to": "messages",
                    "starting_point": "received",
                    "delete_at_latest": "1 month",
                    "schedule": "0 3 * * *",
                    "then": {
                        "copy_to": {
                            "location": "leads/sheet",
                            "values": {"who": "email", "asked": "received"},
                        }
                    },
                }
            },
        }
    )


def world_of(folder: Path) -> World:
    store = f"copy-{folder.name}-{folder.parent.name}"
    memory.forget(store)
    world = World(folder, bundle(store), store)
    world.pace = Pace(batch_records=2)
    world.data.table("sheet")
    for n in range(DUE + YOUNG):
        age = 100 + n if n < DUE else n
        day = date(2026, 3, 2) - timedelta(days=age)
        world.data.put("rows", f"k{n}", at=day, email=f"p{n}@example.org")
    world.prepare()
    world.clock.at = START + FIRE_AFTER
    world.fate.steps = 0
    return world


def live_until_rest(world: World) -> None:
    for _ in range(4):
        done = world.live()
        world.fate.armed, world.fate.die_at = True, None
        world.clock.forward(seconds=31)
        if done:
            break
    world.live()


def wrong(world: World) -> list[str]:
    """Every rule that the world at rest breaks."""
    left = set(world.data.table("rows"))
    found = [f"{k} must be kept and is gone" for k in {f"k{n + DUE}" for n in range(YOUNG)} - left]
    found += [f"k{n} was due and is still there" for n in range(DUE) if f"k{n}" in left]
    copies = Counter(str(row["who"]) for row in world.data.table("sheet").values())
    wanted = Counter({f"p{n}@example.org": 1 for n in range(DUE)})
    if copies != wanted:
        found.append(f"copies: {copies}")
    acts = Counter(world.data.log)
    found += [f"{act} happened {n} times" for act, n in acts.items() if n > 1]
    received = 0
    for op, _ in world.data.log:
        received += op == "receive"
        if op == "erase" and received == 0:
            found.append("something was deleted before anything was copied")
    return found


def test_every_record_is_copied_once_and_deleted_once_wherever_the_process_dies(
    fresh: Callable[[], Path],
) -> None:
    """A copy for each deleted record, never two, and nothing is deleted before its copy stands."""
    quiet = world_of(fresh())
    live_until_rest(quiet)
    assert wrong(quiet) == []
    steps = quiet.fate.steps
    assert steps > 60
    broken = {}
    for at in range(1, steps + 1):
        world = world_of(fresh())
        world.fate.die_at = at
        live_until_rest(world)
        if found := wrong(world):
            broken[at, world.fate.trail[at - 1]] = found
    assert broken == {}


def test_a_copy_that_cannot_be_made_keeps_the_record(fresh: Callable[[], Path]) -> None:
    """The other place fails all the time: nothing is deleted, and the run says so."""
    world = world_of(fresh())
    world.data.fail("receive", times=100)
    live_until_rest(world)
    assert len(world.data.table("rows")) == DUE + YOUNG
    assert world.data.table("sheet") == {}
