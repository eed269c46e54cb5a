"""The simulation notices when a protection is taken away: each mutant breaks a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, update

from retention.connectors.base import Record
from retention.ledger import tables as t
from retention.ledger.store import stamp
from retention.run import apply, evidence, tick
from retention.run.apply import Fate
from retention.run.batches import Batch
from retention.run.claim import Claim
from retention.run.context import Context
from retention.run.pipeline import Run
from tests.simulation.story import SMALL, Story, fresh, sleeper, steps_of

__all__ = ["fresh"]


def deaths(make: Callable[[], Path], seed: int) -> Iterator[list[str]]:
    """What is broken after a death at each step."""
    for k in range(1, steps_of(make(), seed, rows=SMALL) + 1):
        story = Story(make(), seed, rows=SMALL)
        story.world.fate.die_at = k
        story.live_until_rest()
        yield story.verdict()


def naps(make: Callable[[], Path], seed: int) -> Iterator[list[str]]:
    """What is broken after a sleep past the lease at each step."""
    total = Story(make(), seed, rows=SMALL)
    total.live_until_rest()
    for at in range(1, total.world.fate.steps, 2):
        yield sleeper(Story(make(), seed, rows=SMALL), at)


def late_holds(make: Callable[[], Path], seed: int) -> Iterator[list[str]]:
    """What is broken after a hold that arrives at each step."""
    total = steps_of(make(), seed, rows=SMALL)
    for at in range(1, total, 3):
        story = Story(make(), seed, rows=SMALL)
        story.hold_arrives(at, max(story.due))
        story.live_until_rest()
        yield story.verdict()


def noticed(attempts: Iterator[list[str]], word: str) -> bool:
    return any(word in rule for broken in attempts for rule in broken)


def test_without_the_unique_key_a_doubled_firing_is_noticed(
    fresh: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two schedulers that decide at the same moment make one run only because of the key."""
    story = Story(fresh(), 3)
    world = story.world
    firing = world.clock.now()

    def twice() -> list[str]:
        with world.quietly() as ctx, ctx.ledger.write() as tx:
            digest = tx.execute(t.enforced.select()).first()
            assert digest is not None
            for _ in range(2):
                tick.new_run(tx, "orders-go", digest.digest, firing, "schedule", firing)
        story.live_until_rest()
        return [rule for rule in story.verdict() if "ran 2 times" in rule]

    assert twice() == []
    story = Story(fresh(), 3)
    world = story.world
    real = tick.new_run
    number = iter(range(1000))

    def keyless(
        tx: Connection, policy: str, digest: str, due: Any, kind: str, now: Any, **more: Any
    ) -> Any:
        return real(tx, policy, digest, due, f"{kind}{next(number)}", now, **more)

    monkeypatch.setattr(tick, "new_run", keyless)
    assert twice() != []


def test_without_fencing_a_sleeper_is_noticed(
    fresh: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A holder whose claim was taken over writes on: outcomes double."""

    def unfenced(self: Claim, ctx: Context, tx: Connection, **values: Any) -> None:
        self.lease_until = ctx.clock.now() + ctx.pace.lease
        tx.execute(
            update(t.run)
            .where(t.run.c.id == self.run_id)
            .values(lease_until=stamp(self.lease_until), **values)
        )

    monkeypatch.setattr(Claim, "fence", unfenced)
    assert noticed(naps(fresh, 4), "")


def test_without_an_intent_an_act_is_noticed(
    fresh: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An act whose intent was never written stands in no log."""
    monkeypatch.setattr(evidence, "intended", lambda *_: None)
    story = Story(fresh(), 2)
    story.live_until_rest()
    assert any("without an intent" in rule for rule in story.verdict())


def test_without_recovery_an_open_intent_is_noticed(
    fresh: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that died between act and outcome leaves a disposal that nobody ever looks at."""
    monkeypatch.setattr(Run, "_recover", lambda *_: None)
    assert noticed(deaths(fresh, 2), "nobody looked again")


def test_without_a_second_look_a_late_hold_is_noticed(
    fresh: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hold that arrives after the plan was made is overlooked when nobody looks again."""

    def blind(
        _tx: Connection,
        _survey: Any,
        group: Sequence[Batch],
        present: Mapping[str, Record],
        *,
        strict: bool,
    ) -> list[list[Fate]]:
        return [
            [Fate(item, None, "" if item.key in present else "already_absent") for item in b.items]
            for b in group
        ]

    monkeypatch.setattr(apply, "second_look", blind)
    assert noticed(late_holds(fresh, 1), "must be kept and is gone")


def test_the_unchanged_program_breaks_no_rule_in_these_searches(
    fresh: Callable[[], Path],
) -> None:
    """The searches themselves are not what breaks rules."""
    assert not noticed(late_holds(fresh, 1), "")
    assert not any(broken for broken in naps(fresh, 4))
