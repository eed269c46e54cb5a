"""What people order: holds, events, withdrawals, freeze. Each with its entry in one transaction.

Reasons and cases' descriptions are free text of users: they stand in the ledger, not in the log,
which is kept longer and shown to others. The reference of a case is in both.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, insert, select, update

from retention.errors import UsageError, Withheld
from retention.ledger import tables as t
from retention.ledger.store import instant, stamp
from retention.run import evidence
from retention.run.claim import WORKABLE
from retention.run.context import Context
from retention.subjects import events, holds
from retention.subjects.holds import Scope
from retention.subjects.state import WITHDRAWN

RESTORED = "restored"
"""Kind of the alarm that says: this ledger is older than the world. A thaw ends it."""


def add_hold(
    ctx: Context,
    scope: Scope,
    *,
    case: str,
    reason: str,
    owner: str,
    review_by: datetime,
    record: str | None = None,
) -> int:
    """Suspend disposal of what matches, from this call's return on. Returns the hold's number.

    `record`: pseudonym of the record in the log, which is another name than the keyed hash that
    the scope holds of it.
    """
    with ctx.ledger.write() as tx:
        at = ctx.clock.now()
        number = holds.add(
            tx, scope, case=case, reason=reason, owner=owner, review_by=review_by, at=at
        )
        ctx.log.append(
            tx,
            at,
            "hold.added",
            actor=ctx.actor,
            hold=number,
            case=case,
            review_by=review_by,
            record=record,
            **_covers(scope),
        )
    return number


def release_hold(ctx: Context, number: int, *, reason: str) -> datetime | None:
    """End a hold. Returns until when it still protects, None where it has no grace.

    Raises UsageError where there is no such hold, or it was released before.
    """
    grace = ctx.pace.hold_grace
    with ctx.ledger.write() as tx:
        at = ctx.clock.now()
        row = holds.release(tx, number, reason=reason, at=at, grace=grace)
        until = at + grace if grace > timedelta(0) else None
        scope = Scope(row.subject, row.cluster, row.location, row.record)
        ctx.log.append(
            tx,
            at,
            "hold.released",
            actor=ctx.actor,
            hold=number,
            case=row.case,
            grace_until=until,
            **_covers(scope),
        )
    return until


def _covers(scope: Scope) -> dict[str, str | None]:
    return {
        "scope": scope.kind,
        "subject": scope.subject,
        "cluster": scope.cluster,
        "location": scope.location,
    }


def fire_event(ctx: Context, name: str, subject: str, *, happened: datetime | None) -> int:
    """An event of a person that starts periods. Returns its number."""
    with ctx.ledger.write() as tx:
        at = ctx.clock.now()
        number = events.fire(tx, name, subject, scope="", happened=happened or at, at=at)
        ctx.log.append(
            tx,
            at,
            "event.fired",
            actor=ctx.actor,
            event=name,
            subject=subject,
            happened=happened,
        )
    return number


def revoke_event(ctx: Context, name: str, subject: str) -> int:
    """Take back every event of that name of that person. Returns how many; raises UsageError."""
    with ctx.ledger.write() as tx:
        at = ctx.clock.now()
        rows = events.revoke(tx, name, subject, at=at)
        if not rows:
            raise UsageError(
                f"no event `{name}` of this person is recorded",
                hint="the key must be of the same kind as when it was fired",
                code="event-unknown",
            )
        for row in rows:
            ctx.log.append(
                tx,
                at,
                "event.revoked",
                actor=ctx.actor,
                event=name,
                subject=subject,
                scope=row.scope or None,
                happened=instant(row.at),
            )
    return len(rows)


def withdraw_consent(ctx: Context, subject: str, purpose: str, *, happened: datetime | None) -> int:
    """A person's consent to a purpose (or cluster) ends. Returns the event's number."""
    with ctx.ledger.write() as tx:
        at = ctx.clock.now()
        number = events.fire(tx, WITHDRAWN, subject, scope=purpose, happened=happened or at, at=at)
        ctx.log.append(
            tx,
            at,
            "consent.withdrawn",
            actor=ctx.actor,
            subject=subject,
            purpose=purpose,
            happened=happened,
        )
    return number


def freeze(ctx: Context, reason: str) -> int:
    """Stop every disposal at the next batch. Returns the freeze's number.

    Raises Withheld where one is in force: two reasons would end with one thaw.
    """
    with ctx.ledger.write() as tx:
        if frozen_since(tx):
            raise Withheld(
                "disposal is frozen already", hint="retention thaw ends it", code="frozen"
            )
        at = ctx.clock.now()
        row = tx.execute(
            insert(t.freeze).values(reason=reason, since=stamp(at)).returning(t.freeze.c.id)
        ).one()
        ctx.log.append(tx, at, "freeze", actor=ctx.actor, freeze=row.id)
    return int(row.id)


def thaw(ctx: Context) -> int:
    """Let disposal go on. Returns how many freezes ended; raises UsageError where none was."""
    with ctx.ledger.write() as tx:
        at = ctx.clock.now()
        open_ones = list(
            tx.execute(select(t.freeze.c.id).where(t.freeze.c.thawed_at.is_(None))).scalars()
        )
        if not open_ones:
            raise UsageError("nothing is frozen", code="not-frozen")
        tx.execute(
            update(t.freeze).where(t.freeze.c.thawed_at.is_(None)).values(thawed_at=stamp(at))
        )
        # Runs that met the freeze would look again later; now there is something to do.
        tx.execute(
            update(t.run)
            .where(t.run.c.state.in_([str(s) for s in WORKABLE]))
            .values(not_before=None)
        )
        for number in open_ones:
            ctx.log.append(tx, at, "thaw", actor=ctx.actor, freeze=number)
        evidence.clear_alarms(ctx, tx, "", (RESTORED,))
    return len(open_ones)


def freeze_restored(ctx: Context, reason: str) -> bool:
    """What a restored ledger begins with: an alarm, and a freeze unless one is in force already.

    Holds and events that were entered since the backup are not in it, so that only a person can
    say when disposal may go on. Returns whether a freeze was ordered.
    """
    with ctx.ledger.read() as tx:
        frozen = frozen_since(tx) is not None
    if not frozen:
        freeze(ctx, reason)
    with ctx.ledger.write() as tx:
        evidence.alarm(ctx, tx, "", RESTORED, reason)
    return not frozen


def frozen_since(tx: Any) -> Row[Any] | None:
    """The freeze in force: `since`, `reason`; None where there is none."""
    row: Row[Any] | None = tx.execute(
        select(t.freeze).where(t.freeze.c.thawed_at.is_(None)).order_by(t.freeze.c.id)
    ).first()
    return row
