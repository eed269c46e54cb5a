"""The processes that are alive: one row each in the table `node`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from retention import __version__
from retention.ledger import tables as t
from retention.ledger.store import instant, stamp

FORGOTTEN = timedelta(days=1)
LIVE = timedelta(seconds=90)
"""Seen within this time: three rounds of the slowest heartbeat that the settings allow half of."""


@dataclass(frozen=True, slots=True)
class Node:
    """A process as it was last seen."""

    name: str
    role: str
    version: str
    started_at: datetime
    seen_at: datetime
    facts: Mapping[str, Any]

    def live(self, now: datetime) -> bool:
        """Whether it was seen just now."""
        return now - self.seen_at <= LIVE


def seen(
    tx: Connection,
    name: str,
    role: str,
    started_at: datetime,
    now: datetime,
    facts: Mapping[str, Any],
) -> None:
    """This process is alive. `facts` hold numbers and words, no personal data."""
    values = {
        "role": role,
        "version": __version__,
        "started_at": stamp(started_at),
        "seen_at": stamp(now),
        "facts": dict(facts),
    }
    known = tx.execute(update(t.node).where(t.node.c.name == name).values(**values))
    if known.rowcount == 0:
        insert = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
        tx.execute(insert(t.node).values(name=name, **values).on_conflict_do_nothing())


def leave(tx: Connection, name: str) -> None:
    """This process ends as it was asked to."""
    tx.execute(delete(t.node).where(t.node.c.name == name))


def forget(tx: Connection, now: datetime) -> None:
    """Drop the rows of processes that were not seen for a day."""
    tx.execute(delete(t.node).where(t.node.c.seen_at < stamp(now - FORGOTTEN)))


def every(tx: Connection) -> list[Node]:
    """All that are known, by role and name."""
    rows = tx.execute(select(t.node).order_by(t.node.c.role, t.node.c.name))
    return [
        Node(
            name=row.name,
            role=row.role,
            version=row.version,
            started_at=instant(row.started_at),
            seen_at=instant(row.seen_at),
            facts=row.facts or {},
        )
        for row in rows
    ]
