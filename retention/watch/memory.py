"""What the ledger remembers of tellings: rows of `alarm`, and one row of `meta`.

The row of `meta` is a lease as well: of several machines that watch, one tells at a time.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from retention.ledger import tables as t
from retention.ledger.store import instant, stamp
from retention.watch.alarms import Alarm, Channel, Outcome

KEY = "alarms-telling"
LEASE = timedelta(minutes=4)
"""Longer than all channels take together at their time-outs."""
MOST_READ = 10_000


class Memory:
    """The row of `meta`, read in a transaction: who tells now, and each channel's memory."""

    def __init__(self, value: Mapping[str, Any]) -> None:
        self.owner: str | None = value.get("owner")
        self.until: datetime | None = _at(value.get("until"))
        self.channels = {
            name: Channel(
                last=_at(said.get("last")),
                tried=_at(said.get("tried")),
                failures=int(said.get("failures", 0)),
                owed=frozenset(said.get("owed", ())),
            )
            for name, said in value.get("channels", {}).items()
        }

    @classmethod
    def read(cls, tx: Connection) -> Memory:
        """As it is now, whoever changes it."""
        found = tx.execute(select(t.meta.c.value).where(t.meta.c.key == KEY)).scalar_one_or_none()
        return cls(json.loads(found) if found else {})

    @classmethod
    def lock(cls, tx: Connection) -> Memory:
        """As it is, held until the transaction ends."""
        insert = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
        tx.execute(insert(t.meta).values(key=KEY, value="{}").on_conflict_do_nothing())
        wanted = select(t.meta.c.value).where(t.meta.c.key == KEY).with_for_update()
        return cls(json.loads(tx.execute(wanted).scalar_one()))

    def free(self, owner: str, now: datetime) -> bool:
        """Whether this process may tell now: nobody does, or who did has died."""
        # A lease that ends far ahead of us was written by a clock that was wrong.
        return (
            self.owner in (None, owner)
            or self.until is None
            or not now < self.until <= now + 2 * LEASE
        )

    def write(self, tx: Connection) -> None:
        """Put it back, in the transaction that locked it."""
        value = {
            "owner": self.owner,
            "until": stamp(self.until) if self.until else None,
            "channels": {
                name: {
                    "last": stamp(channel.last) if channel.last else None,
                    "tried": stamp(channel.tried) if channel.tried else None,
                    "failures": channel.failures,
                    "owed": sorted(channel.owed),
                }
                for name, channel in self.channels.items()
            },
        }
        tx.execute(update(t.meta).where(t.meta.c.key == KEY).values(value=json.dumps(value)))


def alarms(tx: Connection, owed: Collection[int] = ()) -> list[Alarm]:
    """Every alarm of which something may have to be told, the oldest first."""
    alarm = t.alarm.c
    rows = tx.execute(
        select(t.alarm)
        .where(
            or_(
                alarm.cleared_at.is_(None),
                alarm.told_at.is_not(None) & alarm.end_told_at.is_(None),
                alarm.id.in_(sorted(owed)),
            )
        )
        .order_by(alarm.id)
        .limit(MOST_READ)
    )
    return [
        Alarm(
            id=row.id,
            policy=row.policy,
            kind=row.kind,
            detail=row.detail,
            raised_at=instant(row.raised_at),
            cleared_at=_at(row.cleared_at),
            told_at=_at(row.told_at),
            end_told_at=_at(row.end_told_at),
        )
        for row in rows
    ]


def remember(tx: Connection, outcome: Outcome, now: datetime) -> None:
    """Write down which alarms were told."""
    for column, ids in (("told_at", outcome.told), ("end_told_at", outcome.ended)):
        if ids:
            tx.execute(
                update(t.alarm).where(t.alarm.c.id.in_(sorted(ids))).values({column: stamp(now)})
            )


def _at(text: str | None) -> datetime | None:
    return instant(text) if text else None
