"""Who works on a run: a lease with a fencing token (engine.md, design 4).

Every write of a run goes through `Claim.fence` first, in the same transaction: zero rows means
that somebody else took the run over, and the transaction is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, and_, bindparam, or_, select, update

from retention.errors import FenceLost
from retention.ledger import tables as t
from retention.ledger.store import instant, stamp
from retention.run.context import Context


class RunState(StrEnum):
    """Life of a run. The second line's states are final."""

    PENDING = "pending"
    DISCOVERING = "discovering"
    WAITING = "waiting"
    APPLYING = "applying"
    VERIFYING = "verifying"
    DONE = "done"
    PARTIAL = "partial"
    STOPPED = "stopped"
    FAILED = "failed"


FINAL = frozenset({RunState.DONE, RunState.PARTIAL, RunState.STOPPED, RunState.FAILED})
WORKABLE = (RunState.PENDING, RunState.DISCOVERING, RunState.APPLYING, RunState.VERIFYING)


# Built once: it opens every transaction of a run.
_RENEW = (
    update(t.run)
    .where(t.run.c.id == bindparam("held_run"), t.run.c.token == bindparam("held_token"))
    .values(lease_until=bindparam("until"))
)


@dataclass(slots=True)
class Claim:
    """A run that this process holds, and the token that proves it."""

    run_id: int
    policy: str
    digest: str
    due_at: datetime
    kind: str
    created_at: datetime
    token: int
    state: RunState
    attempts: int
    lease_until: datetime
    approved_by: str | None = None

    def fence(self, ctx: Context, tx: Connection, **values: Any) -> None:
        """Prove that the run is still ours, renew the lease, and set `values` on the run.

        Raises FenceLost where another process took over; the caller's transaction then rolls back.
        """
        until = ctx.clock.now() + ctx.pace.lease
        done = tx.execute(
            _RENEW.values(**values) if values else _RENEW,
            {"held_run": self.run_id, "held_token": self.token, "until": stamp(until)},
        )
        if done.rowcount != 1:
            raise FenceLost("another process took over this run", place=self.policy)
        self.lease_until = until

    def check(self, ctx: Context) -> None:
        """Before a remote call: refuse when the lease has run out while we were away."""
        if ctx.clock.now() >= self.lease_until:
            with ctx.ledger.write() as tx:
                self.fence(ctx, tx)

    def release(
        self, ctx: Context, *, not_before: datetime | None = None, note: str | None = None
    ) -> None:
        """Give the run back, so that anybody may go on with it at once, or after `not_before`."""
        values: dict[str, Any] = {"not_before": stamp(not_before) if not_before else None}
        if note is not None:
            values["note"] = note
        with ctx.ledger.write() as tx:
            self.fence(ctx, tx, **values)
            self.let_go(tx)

    def let_go(self, tx: Connection) -> None:
        """End the lease, in a transaction that `fence` has opened."""
        tx.execute(
            update(t.run)
            .where(t.run.c.id == self.run_id, t.run.c.token == self.token)
            .values(lease_until=None, owner=None)
        )


def claim(ctx: Context, run_id: int | None = None) -> Claim | None:
    """Take a run that is free, or whose holder died; None where there is none.

    `run_id`: only this one. The conditional update makes two takers impossible.
    """
    now = ctx.clock.now()
    with ctx.ledger.write() as tx:
        free = and_(
            t.run.c.state.in_([str(s) for s in WORKABLE]),
            or_(t.run.c.lease_until.is_(None), t.run.c.lease_until <= stamp(now)),
            or_(t.run.c.not_before.is_(None), t.run.c.not_before <= stamp(now)),
        )
        wanted = select(t.run).where(free).order_by(t.run.c.due_at, t.run.c.id).limit(1)
        if run_id is not None:
            wanted = wanted.where(t.run.c.id == run_id)
        row = tx.execute(wanted.with_for_update(skip_locked=True)).first()
        if row is None:
            return None
        until = now + ctx.pace.lease
        taken = tx.execute(
            update(t.run)
            .where(t.run.c.id == row.id, t.run.c.token == row.token, free)
            .values(
                token=row.token + 1,
                owner=ctx.owner,
                lease_until=stamp(until),
                started_at=row.started_at or stamp(now),
                attempts=row.attempts + 1,
            )
        )
        if taken.rowcount != 1:
            return None
        return Claim(
            run_id=row.id,
            policy=row.policy,
            digest=row.digest,
            due_at=instant(row.due_at),
            kind=row.kind,
            created_at=instant(row.created_at),
            token=row.token + 1,
            state=RunState(row.state),
            attempts=row.attempts + 1,
            lease_until=until,
            approved_by=row.approved_by,
        )
