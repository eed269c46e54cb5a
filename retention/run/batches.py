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
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, func, insert, select, update

from retention.connectors.base import Ref, Scalar
from retention.decide.model import Action, Verdict
from retention.ledger import tables as t
from retention.ledger.store import stamp

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
        return Ref(self.container, self.key, self.version, self.trace)


Way = tuple[str, str, str | None, str | None, tuple[str, ...]]
"""Action, policy, mask as JSON, folder to hand over to, kinds of suppression entries."""


def way(said: How | Verdict) -> Way:
    """What two records must have in common to share a batch."""
    mask = None if said.mask is None else json.dumps(said.mask, sort_keys=True)
    return (said.action, said.policy, mask, said.hand_over_to, said.suppress)


@dataclass(frozen=True, slots=True)
class How:
    """What is to be done with every record of a batch."""

    action: Action
    policy: str
    digest: str
    mask: Mapping[str, Scalar] | None = None
    hand_over_to: str | None = None
    suppress: tuple[str, ...] = ()

    @classmethod
    def of(cls, verdict: Verdict) -> How:
        return cls(
            Action(verdict.action),
            verdict.policy,
            verdict.digest,
            verdict.mask,
            verdict.hand_over_to,
            verdict.suppress,
        )

    def key(self) -> Way:
        """Records with the same key share a batch."""
        return way(self)


@dataclass(frozen=True, slots=True)
class Batch:
    """One row of the spool, decoded. `results` and `levels` are parallel to `items`."""

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
    levels: tuple[str, ...] = ()
    attempts: int = 0


@dataclass(slots=True)
class Gathering:
    """Verdicts of one `How`, gathered until they fill a batch."""

    how: How
    items: list[Item] = field(default_factory=list)
    because: dict[str, None] = field(default_factory=dict)
    earliest: set[date | None] = field(default_factory=set)
    due: set[date | None] = field(default_factory=set)

    def add(self, item: Item, verdict: Verdict) -> None:
        self.items.append(item)
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


def _encode(batch: Batch) -> bytes:
    how = batch.how
    return json.dumps(
        {
            "items": batch.items,
            "digest": how.digest,
            "mask": how.mask,
            "hand_over_to": how.hand_over_to,
            "suppress": how.suppress,
            "because": batch.because,
            "span": batch.span,
            "results": batch.results,
            "levels": batch.levels,
        },
        separators=(",", ":"),
    ).encode()


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
            tuple(data["suppress"]),
        ),
        items=tuple(Item(*item) for item in data["items"]),
        state=State(row.state),
        because=tuple(data["because"]),
        span=tuple(data["span"]),
        results=tuple(data["results"]),
        levels=tuple(data["levels"]),
        attempts=row.attempts,
    )


def next_number(tx: Connection, run_id: int) -> int:
    """The number of a run's next batch."""
    highest = tx.execute(
        select(func.max(t.batch.c.no)).where(t.batch.c.run_id == run_id)
    ).scalar_one()
    return 0 if highest is None else int(highest) + 1


def add(tx: Connection, batches: Iterable[Batch]) -> None:
    """Spool new batches."""
    if rows := [_row(batch) for batch in batches]:
        tx.execute(insert(t.batch), rows)


def take(
    tx: Connection, run_id: int, state: State, limit: int, skip: Iterable[str] = ()
) -> list[Batch]:
    """The next batches in this state, in order, by location; none of the locations in `skip`."""
    rows = tx.execute(
        select(t.batch)
        .where(
            t.batch.c.run_id == run_id,
            t.batch.c.state == str(state),
            t.batch.c.location.not_in(sorted(skip)),
        )
        .order_by(t.batch.c.location, t.batch.c.no)
        .limit(limit)
    )
    return [_decode(row) for row in rows]


def save(tx: Connection, batch: Batch, at: datetime) -> None:
    """Write a batch's new state, with the moment it entered it."""
    moment = {
        State.INTENDED: {"intended_at": stamp(at)},
        State.ACTED: {"acted_at": stamp(at)},
        State.VERIFIED: {"verified_at": stamp(at)},
    }.get(batch.state, {})
    row = _row(batch)
    tx.execute(
        update(t.batch)
        .where(t.batch.c.run_id == batch.run_id, t.batch.c.no == batch.no)
        .values(
            state=row["state"],
            size=row["size"],
            records=row["records"],
            attempts=row["attempts"],
            **moment,
        )
    )


def split(batch: Batch, keep: int, number: int) -> tuple[Batch, Batch]:
    """Cut a planned batch in two, so that one act stays within about two seconds."""
    return (
        replace(batch, items=batch.items[:keep]),
        replace(batch, items=batch.items[keep:], no=number),
    )


def drop(tx: Connection, batch: Batch) -> None:
    """Give up a planned batch: nothing of it was done."""
    tx.execute(
        update(t.batch)
        .where(t.batch.c.run_id == batch.run_id, t.batch.c.no == batch.no)
        .values(state=str(State.DROPPED))
    )


def blank(tx: Connection, run_id: int) -> None:
    """Forget every native key of a run that is closed."""
    tx.execute(update(t.batch).where(t.batch.c.run_id == run_id).values(records=None))
    tx.execute(update(t.scan).where(t.scan.c.run_id == run_id).values(controls=None))
