"""What is known about people now: holds, events, withdrawn consents; read from the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, bindparam, or_, select

from retention.decide.model import Hold, SubjectState
from retention.ledger import tables as t
from retention.ledger.store import instant, stamp

WITHDRAWN = "consent_withdrawn"
OBJECTED = "objection"
_CHUNK = 500


# Built once: these are asked before every batch.
_HOLDS = (
    select(t.hold)
    .where(
        or_(
            t.hold.c.released_at.is_(None),
            and_(t.hold.c.grace_until.is_not(None), t.hold.c.grace_until > bindparam("at")),
        )
    )
    .order_by(t.hold.c.id)
)
_ANY_EVENT = select(t.event.c.id).limit(1)


def active_holds(tx: Connection, now: datetime) -> tuple[Hold, ...]:
    """Every hold that is in force at `now`: not released, or released with grace left."""
    rows = tx.execute(_HOLDS, {"at": stamp(now)})
    return tuple(
        Hold(
            id=row.id,
            case=row.case,
            subject=row.subject,
            cluster=row.cluster,
            location=row.location,
            record=row.record,
            released=row.released_at is not None,
            grace_until=instant(row.grace_until) if row.grace_until else None,
        )
        for row in rows
    )


@dataclass(frozen=True, slots=True)
class Events:
    """What happened to some people: (subject hash) → [(name, scope, instant)]."""

    by_subject: Mapping[str, Sequence[tuple[str, str, datetime]]]

    def state(self, hashes: Iterable[str]) -> SubjectState:
        """The state of one record's people; of several instants the latest."""
        keys = frozenset(hashes)
        events: dict[str, datetime] = {}
        withdrawn: dict[str, datetime] = {}
        for key in keys:
            for name, scope, at in self.by_subject.get(key, ()):
                book, entry = (
                    (withdrawn, scope) if name in (WITHDRAWN, OBJECTED) else (events, name)
                )
                book[entry] = max(at, book.get(entry, at))
        return SubjectState(hashes=keys, events=events, withdrawn=withdrawn)


def events_of(tx: Connection, hashes: Iterable[str]) -> Events:
    """The events of these people that were not revoked."""
    keys = sorted(set(hashes))
    found: dict[str, list[tuple[str, str, datetime]]] = {}
    for start in range(0, len(keys), _CHUNK):
        rows = tx.execute(
            select(t.event.c.subject, t.event.c.name, t.event.c.scope, t.event.c.at).where(
                t.event.c.subject.in_(keys[start : start + _CHUNK]),
                t.event.c.revoked_at.is_(None),
            )
        )
        for subject, name, scope, at in rows:
            found.setdefault(subject, []).append((name, scope, instant(at)))
    return Events(found)


def any_ended(tx: Connection, scopes: Iterable[str]) -> bool:
    """Whether anybody withdrew consent or objected for one of these purposes or clusters."""
    return (
        tx.execute(
            select(t.event.c.id)
            .where(
                t.event.c.name.in_((WITHDRAWN, OBJECTED)),
                t.event.c.scope.in_(sorted(scopes)),
                t.event.c.revoked_at.is_(None),
            )
            .limit(1)
        ).first()
        is not None
    )


def any_events(tx: Connection) -> bool:
    """Whether anybody has an event at all; most one-person firms have none."""
    return tx.execute(_ANY_EVENT).first() is not None
