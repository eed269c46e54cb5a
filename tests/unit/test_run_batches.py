"""The spool of a run: what was written is what is read, whatever keys look like."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from retention.decide.model import Action
from retention.ledger import tables as t
from retention.ledger.store import Ledger, stamp
from retention.run import batches
from retention.run.batches import Batch, How, Item, State

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [',"items":[', '"]}', "\\", '["a"],', "\x00"]
)
ITEM = st.builds(Item, TEXT, TEXT, TEXT, TEXT, TEXT)
MASK = st.none() | st.dictionaries(st.sampled_from(["items", "name"]) | TEXT, TEXT, max_size=2)
RESULT = st.sampled_from(["disposed", "already_absent", "changed"])


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    with opened.write() as tx:
        tx.execute(
            insert(t.run).values(
                id=1,
                policy="p",
                digest="d",
                due_at=stamp(AT),
                kind="manual",
                state="applying",
                created_at=stamp(AT),
            )
        )
    yield opened
    opened.close()


def only(ledger: Ledger, state: State, number: int = 0) -> Batch:
    with ledger.read() as tx:
        found = batches.take(tx, 1, state, 10)
    return next(b for b in found if b.no == number)


@settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(items=st.lists(ITEM, max_size=4), mask=MASK, data=st.data())
def test_a_batch_is_read_as_it_was_written(
    ledger: Ledger, items: list[Item], mask: dict[str, str] | None, data: st.DataObject
) -> None:
    """Through every state, with all of its items or fewer, equal results or different ones."""
    how = How(Action.ANONYMISE, "p", "d", mask, None, "c/other", ("email",))
    batch = Batch(1, 0, "c/l", how, tuple(items), because=("p: due",))
    with ledger.write() as tx:
        tx.execute(t.batch.delete())
        batches.add(tx, [batch])
    read = only(ledger, State.PLANNED)
    assert read == batch

    with ledger.write() as tx:
        batches.mark(tx, read, State.INTENDED, AT)
    intended = replace(batch, state=State.INTENDED)
    read = only(ledger, State.INTENDED)
    assert read == intended

    keep = data.draw(st.integers(0, len(items)))
    results = tuple(data.draw(st.lists(RESULT, min_size=keep, max_size=keep)))
    # Fewer items make a new text; as many take over the one that was read.
    left = read.items[:keep] if keep < len(items) else read.items
    with ledger.write() as tx:
        batches.save(tx, replace(read, items=left, state=State.ACTED, results=results), AT)
    acted = replace(batch, items=tuple(items[:keep]), state=State.ACTED, results=results)
    assert only(ledger, State.ACTED) == acted

    with ledger.write() as tx:
        batches.mark(tx, acted, State.VERIFIED, AT)
    assert only(ledger, State.VERIFIED) == replace(acted, state=State.VERIFIED)


def test_locations_in_skip_are_left_out(ledger: Ledger) -> None:
    """A location that failed waits; the others go on."""
    how = How(Action.DELETE, "p", "d")
    with ledger.write() as tx:
        batches.add(tx, [Batch(1, n, name, how, ()) for n, name in enumerate("ab")])
    with ledger.read() as tx:
        assert [b.location for b in batches.take(tx, 1, State.PLANNED, 10)] == ["a", "b"]
        assert [b.location for b in batches.take(tx, 1, State.PLANNED, 10, {"a"})] == ["b"]


def test_a_dropped_batch_is_taken_no_more(ledger: Ledger) -> None:
    """What was given up stays given up."""
    with ledger.write() as tx:
        batches.add(tx, [Batch(1, 0, "a", How(Action.DELETE, "p", "d"), ())])
        batches.drop(tx, only_planned := batches.take(tx, 1, State.PLANNED, 1)[0])
        assert batches.take(tx, 1, State.PLANNED, 1) == []
        assert batches.take(tx, 1, State.DROPPED, 1) == [replace(only_planned, state=State.DROPPED)]
