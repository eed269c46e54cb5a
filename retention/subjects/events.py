"""What happens to people, as rows: events that start periods, and withdrawn consent."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from retention.ledger import tables as t
from retention.ledger.store import stamp


def fire(
    tx: Connection, name: str, subject: str, *, scope: str, happened: datetime, at: datetime
) -> int:
    """Write down that an event happened to a person. Returns its number.

    `scope`: the purpose or cluster that a withdrawal is about, "" for other events.
    """
    row = tx.execute(
        insert(t.event)
        .values(
            name=name,
            subject=subject,
            scope=scope,
            at=stamp(happened),
            recorded_at=stamp(at),
        )
        .returning(t.event.c.id)
    ).one()
    return int(row.id)


def revoke(tx: Connection, name: str, subject: str, *, at: datetime) -> list[Row[Any]]:
    """Take back what was recorded in error: every event of that name of that person.

    Returns the rows that were in force; none where there was nothing to take back.
    """
    rows = list(
        tx.execute(
            select(t.event).where(
                t.event.c.name == name,
                t.event.c.subject == subject,
                t.event.c.revoked_at.is_(None),
            )
        ).all()
    )
    tx.execute(
        update(t.event)
        .where(t.event.c.id.in_([row.id for row in rows]))
        .values(revoked_at=stamp(at))
    )
    return rows


def of_person(tx: Connection, subject: str, names: Sequence[str] = ()) -> list[Row[Any]]:
    """A person's events, the oldest first, revoked ones too; `names`: only these."""
    wanted = select(t.event).where(t.event.c.subject == subject).order_by(t.event.c.id)
    if names:
        wanted = wanted.where(t.event.c.name.in_(list(names)))
    return list(tx.execute(wanted).all())
