"""Holds as rows: adding, releasing and listing them. What they suspend is `state.active_holds`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from retention.errors import UsageError
from retention.ledger import tables as t
from retention.ledger.store import stamp


@dataclass(frozen=True, slots=True)
class Scope:
    """What a hold covers: exactly one of subject, cluster, location; `record` narrows a location.

    `subject` and `record` are keyed hashes.
    """

    subject: str | None = None
    cluster: str | None = None
    location: str | None = None
    record: str | None = None

    @property
    def kind(self) -> str:
        """One word for it."""
        if self.subject is not None:
            return "subject"
        if self.cluster is not None:
            return "cluster"
        return "record" if self.record is not None else "location"


def add(
    tx: Connection,
    scope: Scope,
    *,
    case: str,
    reason: str,
    owner: str,
    review_by: datetime,
    at: datetime,
) -> int:
    """Write a hold; it is in force from this commit on. Returns its number."""
    row = tx.execute(
        insert(t.hold)
        .values(
            case=case,
            reason=reason,
            owner=owner,
            review_by=stamp(review_by),
            subject=scope.subject,
            cluster=scope.cluster,
            location=scope.location,
            record=scope.record,
            added_at=stamp(at),
        )
        .returning(t.hold.c.id)
    ).one()
    return int(row.id)


def release(
    tx: Connection, number: int, *, reason: str, at: datetime, grace: timedelta
) -> Row[Any]:
    """End a hold; it goes on protecting for the grace. Returns its row as it was.

    Raises UsageError for a number that is not there or was released before.
    """
    row = tx.execute(select(t.hold).where(t.hold.c.id == number).with_for_update()).first()
    if row is None:
        raise UsageError(
            f"there is no hold {number}", hint="retention hold list shows them", code="hold-unknown"
        )
    if row.released_at is not None:
        raise UsageError(
            f"hold {number} was released on {row.released_at[:10]}", code="hold-released"
        )
    tx.execute(
        update(t.hold)
        .where(t.hold.c.id == number)
        .values(
            released_at=stamp(at),
            release_reason=reason,
            grace_until=stamp(at + grace) if grace else None,
        )
    )
    return row


def every(tx: Connection, *, released: bool = False) -> list[Row[Any]]:
    """Holds in order of their numbers; `released`: those too."""
    wanted = select(t.hold).order_by(t.hold.c.id)
    if not released:
        wanted = wanted.where(t.hold.c.released_at.is_(None))
    return list(tx.execute(wanted).all())
