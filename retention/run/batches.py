"""The plan items of a run, spooled in batches.

A batch is at most 500 records of one location with one action. It is the unit of the holds'
second look, the intent, the outcome, the verification and the audit entry, so a million records
cost two thousand rows. Native keys stand in `Batch.items` only, as JSON in one column that is
emptied when the run closes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from retention.connectors.base import Ref, Scalar
from retention.decide.model import Action, Verdict
from retention.ledger import tables as t
from retention.ledger.store import stamp

PER_SHARD = 10_000_000
"""Batch numbers of one shard: in the log they are unique within the whole run."""
MOST = 500
"""Records in one batch at most (audit.md: one entry names at most so many)."""


class State(StrEnum):
    """Life of a batch. `intended` without an outcome means: unknown, look."""

    PLANNED = "planned"
    INTENDED = "intended"
    ACTED = "acted"
    VERIFIED = "verified"
    DROPPED = "dropped"


class Item(NamedTuple):
    """One record of a plan: where it is, and its pseudonym in the log."""

    container: str
    key: str
    version: str
    trace: str
    pseudonym: str

    @property
    def ref(self) -> Ref:
        return _ref(self[:4])


# What a NamedTuple's own constructor does, without its detour through Python: these are made for
# every record, several times a run.
item = partial(tuple.__new__, Item)
_ref = partial(tuple.__new__, Ref)

Way = tuple[str, str, str | None, str | None, str | None, tuple[str, ...]]
"""Action, policy, mask as JSON, folder to hand over to, location to copy into, kinds of
suppression entries."""


def way(said: How | Verdict) -> Way:
    """What two records must have in common to share a batch."""
    mask = None if said.mask is None else json.dumps(said.mask, sort_keys=True)
    return (said.action, said.policy, mask, said.hand_over_to, said.copy_to, said.suppress)


@dataclass(frozen=True, slots=True)
class How:
    """What is to be done with every record of a batch."""

    action: Action
    policy: str
    digest: str
    mask: Mapping[str, Scalar] | None = None
    hand_over_to: str | None = None
    copy_to: str | None = None
    suppress: tuple[str, ...] = ()

    @classmethod
    def of(cls, verdict: Verdict) -> How:
        return cls(
            Action(verdict.action),
            verdict.policy,
            verdict.digest,
            verdict.mask,
            verdict.hand_over_to,
            verdict.copy_to,
            verdict.suppress,
        )

    def key(self) -> Way:
        """Records with the same key share a batch."""
        return way(self)


@dataclass(frozen=True, slots=True)
class Batch:
    """One row of the spool, decoded. `results` is parallel to `items`."""

    run_id: int
    no: int
    location: str
    how: How
    items: tuple[Item, ...]
    state: State = State.PLANNED
    because: tuple[str, ...] = ()
    span: tuple[str | None, str | None, str | None, str | None] = (None, None, None, None)
    """First and last earliest, first and last due: ISO dates."""
    results: tuple[str, ...] = ()
    attempts: int = 0
    packed: tuple[tuple[Item, ...], bytes] | None = field(default=None, compare=False, repr=False)
    """Items as they were read from the row, and their text there: good as long as they are the
    batch's own."""


@dataclass(slots=True)
class Gathering:
    """Verdicts of one `How`, gathered until they fill a batch."""

    how: How
    items: list[Item] = field(default_factory=list)
    because: dict[str, None] = field(default_factory=dict)
    earliest: set[date | None] = field(default_factory=set)
    due: set[date | None] = field(default_factory=set)

    def note(self, verdict: Verdict) -> None:
        """The dates and reasons of a verdict, once for all records that share it."""
        self.earliest.add(verdict.earliest)
        self.due.add(verdict.due)
        if not self.because:
            # One record's reasons stand for the batch: rule and clause are the same for all,
            # and `span` holds the range of dates.
            self.because = dict.fromkeys(verdict.because)

    def batches(self, run_id: int, first: int, location: str, size: int) -> list[Batch]:
        """Cut into batches of at most `size`, numbered from `first`."""
        span = (*_ends(self.earliest), *_ends(self.due))
        return [
            Batch(
                run_id,
                first + n,
                location,
                self.how,
                tuple(self.items[i : i + size]),
                because=tuple(self.because),
                span=span,
            )
            for n, i in enumerate(range(0, len(self.items), size))
        ]


def _ends(days: set[date | None]) -> tuple[str | None, str | None]:
    known = [day for day in days if day is not None]
    return (min(known).isoformat(), max(known).isoformat()) if known else (None, None)


_dumps = json.JSONEncoder(separators=(",", ":")).encode
_ITEMS = b',"items":['
"""Where the items begin in a row: last, so that their text can be taken over as it is. No text
inside the JSON looks like this, as its quotation marks are escaped, and no other list has the
name."""


def _encode(batch: Batch) -> bytes:
    how, results = batch.how, batch.results
    head = _dumps(
        {
            "digest": how.digest,
            "mask": how.mask,
            "hand_over_to": how.hand_over_to,
            "copy_to": how.copy_to,
            "suppress": how.suppress,
            "because": batch.because,
            "span": batch.span,
            # Nearly always all the same: then it is said once.
            "results": results[0] if len(set(results)) == 1 else results,
        }
    )
    if batch.packed is not None and batch.packed[0] is batch.items:
        items = batch.packed[1]
    else:
        items = _dumps(batch.items)[1:-1].encode()
    return b"".join((head[:-1].encode(), _ITEMS, items, b"]}"))


def _row(batch: Batch) -> dict[str, Any]:
    return {
        "run_id": batch.run_id,
        "no": batch.no,
        "location": batch.location,
        "policy": batch.how.policy,
        "action": str(batch.how.action),
        "state": str(batch.state),
        "size": len(batch.items),
        "records": _encode(batch),
        "attempts": batch.attempts,
    }


def _decode(row: Row[Any]) -> Batch:
    data = json.loads(row.records)
    items = tuple(map(item, data["items"]))
    results = data["results"]
    packed = row.records[row.records.index(_ITEMS) + len(_ITEMS) : -2]
    return Batch(
        run_id=row.run_id,
        no=row.no,
        location=row.location,
        how=How(
            Action(row.action),
            row.policy,
            data["digest"],
            data["mask"],
            data["hand_over_to"],
            data.get("copy_to"),
            tuple(data["suppress"]),
        ),
        items=items,
        state=State(row.state),
        because=tuple(data["because"]),
        span=tuple(data["span"]),
        results=(results,) * len(items) if isinstance(results, str) else tuple(results),
        attempts=row.attempts,
        packed=(items, packed),
    )


def next_number(tx: Connection, run_id: int, first: int = 0) -> int:
    """The number of the next batch of a run or shard, whose numbers begin at `first`."""
    highest = tx.execute(
        select(func.max(t.batch.c.no)).where(t.batch.c.run_id == run_id)
    ).scalar_one()
    return first if highest is None else int(highest) + 1


def add(tx: Connection, batches: Iterable[Batch]) -> None:
    """Spool new batches."""
    if rows := [_row(batch) for batch in batches]:
        tx.execute(insert(t.batch), rows)


_TAKE = (
    select(t.batch)
    .where(t.batch.c.run_id == bindparam("of_run"), t.batch.c.state == bindparam("in_state"))
    .order_by(t.batch.c.location, t.batch.c.no)
    .limit(bindparam("most"))
)
_TAKE_ELSEWHERE = _TAKE.where(t.batch.c.location.not_in(bindparam("skip", expanding=True)))
_THIS = (t.batch.c.run_id == bindparam("of_run"), t.batch.c.no == bindparam("of_no"))
_ENTERED = {
    State.INTENDED: "intended_at",
    State.ACTED: "acted_at",
    State.VERIFIED: "verified_at",
}
"""State → column of the moment at which a batch entered it."""
_MARK = {
    state: update(t.batch)
    .where(*_THIS)
    .values({"state": str(state), **({column: bindparam("at")} if column else {})})
    for state in State
    for column in (_ENTERED.get(state),)
}
_SAVE = {
    state: mark.values(
        size=bindparam("new_size"), records=bindparam("new_records"), attempts=bindparam("tries")
    )
    for state, mark in _MARK.items()
}


def take(
    tx: Connection, run_id: int, state: State, limit: int, skip: Iterable[str] = ()
) -> list[Batch]:
    """The next batches in this state, in order, by location; none of the locations in `skip`."""
    given = {"of_run": run_id, "in_state": str(state), "most": limit}
    left_out = sorted(skip)
    if left_out:
        rows = tx.execute(_TAKE_ELSEWHERE, {**given, "skip": left_out})
    else:
        rows = tx.execute(_TAKE, given)
    return [_decode(row) for row in rows]


def mark(tx: Connection, batch: Batch, state: State, at: datetime) -> None:
    """Write only that a batch entered a state, and when: the rest is as it was read."""
    tx.execute(_MARK[state], {"of_run": batch.run_id, "of_no": batch.no, "at": stamp(at)})


def save(tx: Connection, batch: Batch, at: datetime) -> None:
    """Write a batch's new state, records and results, with the moment it entered the state."""
    given: dict[str, Any] = {
        "of_run": batch.run_id,
        "of_no": batch.no,
        "new_size": len(batch.items),
        "new_records": _encode(batch),
        "tries": batch.attempts,
    }
    if batch.state in _ENTERED:
        given["at"] = stamp(at)
    tx.execute(_SAVE[batch.state], given)


def split(batch: Batch, keep: int, number: int) -> tuple[Batch, Batch]:
    """Cut a planned batch in two, so that one act stays within about two seconds."""
    return (
        replace(batch, items=batch.items[:keep]),
        replace(batch, items=batch.items[keep:], no=number),
    )


def drop(tx: Connection, batch: Batch) -> None:
    """Give up a planned batch: nothing of it was done."""
    tx.execute(_MARK[State.DROPPED], {"of_run": batch.run_id, "of_no": batch.no})


def blank(tx: Connection, run_id: int) -> None:
    """Forget every native key of a run that is closed."""
    tx.execute(update(t.batch).where(t.batch.c.run_id == run_id).values(records=None))
    tx.execute(update(t.scan).where(t.scan.c.run_id == run_id).values(controls=None))
