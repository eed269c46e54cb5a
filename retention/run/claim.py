"""Who works on what: a lease with a fencing token on a run, or on one shard of it (engine.md, 4).

Every write of a run goes through `Claim.fence` first, in the same transaction: zero rows means
that somebody else took it over, and the transaction is refused.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    func,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import IntegrityError

from retention.errors import FenceLost
from retention.ledger import tables as t
from retention.ledger.store import instant, stamp
from retention.run import batches
from retention.run.context import Context


class RunState(StrEnum):
    """Life of a run, or of a shard. `ready`: a shard that waits for its run's limits.

    The last four states are final.
    """

    PENDING = "pending"
    DISCOVERING = "discovering"
    READY = "ready"
    WAITING = "waiting"
    APPLYING = "applying"
    VERIFYING = "verifying"
    DONE = "done"
    PARTIAL = "partial"
    STOPPED = "stopped"
    FAILED = "failed"


FINAL = frozenset({RunState.DONE, RunState.PARTIAL, RunState.STOPPED, RunState.FAILED})
WORKABLE = (RunState.PENDING, RunState.DISCOVERING, RunState.APPLYING, RunState.VERIFYING)
CANDIDATES = 10
"""Rows looked at in one attempt: other processes may take the first ones at the same moment."""


class Part(NamedTuple):
    """What a shard is of its run: a location, or a span of one as its connector cuts it."""

    number: int
    location: str
    span: str | None


class Waiting(NamedTuple):
    """A run or shard that could be claimed now. `system` None: it touches several, or none yet."""

    run_id: int
    system: str | None


# Built once: it opens every transaction of a run.
_RENEW = (
    update(t.run)
    .where(t.run.c.id == bindparam("held_run"), t.run.c.token == bindparam("held_token"))
    .values(lease_until=bindparam("until"))
)


@dataclass(slots=True)
class Claim:
    """A run or shard that this process holds, and the token that proves it."""

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
    parent_id: int | None = None
    part: Part | None = None

    @property
    def root(self) -> int:
        """The run that this is, or is a part of: what evidence names."""
        return self.run_id if self.parent_id is None else self.parent_id

    def next_batch(self, tx: Connection) -> int:
        """The number of this run's or shard's next batch."""
        first = self.part.number * batches.PER_SHARD if self.part else 0
        return batches.next_number(tx, self.run_id, first)

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

    def keep(self, ctx: Context) -> None:
        """While something long goes on: renew the lease when half of it is over."""
        if ctx.clock.now() >= self.lease_until - ctx.pace.lease / 2:
            with ctx.ledger.write() as tx:
                self.fence(ctx, tx)

    def release(
        self, ctx: Context, *, not_before: datetime | None = None, note: str | None = None
    ) -> None:
        """Give the run back, so that anybody may go on with it at once, or after `not_before`.

        It goes to the end of the queue: whoever has waited longer comes first.
        """
        now = ctx.clock.now()
        values: dict[str, Any] = {"not_before": stamp(not_before) if not_before else None}
        if note is not None:
            values["note"] = note
        if self.state is RunState.PENDING:
            values["active"] = None
        with ctx.ledger.write() as tx:
            self.fence(ctx, tx, turn=stamp(now), **values)
            self.let_go(tx)

    def let_go(self, tx: Connection) -> None:
        """End the lease, in a transaction that `fence` has opened."""
        tx.execute(
            update(t.run)
            .where(t.run.c.id == self.run_id, t.run.c.token == self.token)
            .values(lease_until=None, owner=None)
        )


def claim(
    ctx: Context,
    run_id: int | None = None,
    *,
    root: int | None = None,
    systems: Collection[str] | None = None,
    serial: Collection[str] = (),
) -> Claim | None:
    """Take a run or shard that is free, or whose holder died; None where there is none.

    `run_id`: only this one. `root`: only this run and its shards. `systems`: only shards of
    these, and runs that are of no single system. `serial`: systems that take one request at a
    time. Who has waited longest comes first. The conditional update makes two takers impossible.
    Raises LedgerMoved where the schema is not this program's any more.
    """
    now = ctx.clock.now()
    with ctx.ledger.write() as tx:
        ctx.ledger.same_schema(tx)
        wanted = _free(ctx, tx, now, systems, serial).limit(CANDIDATES)
        if run_id is not None:
            wanted = wanted.where(t.run.c.id == run_id)
        if root is not None:
            wanted = wanted.where(or_(t.run.c.id == root, t.run.c.parent_id == root))
        for row in tx.execute(wanted).all():
            if row.system in serial and not _alone(tx, row.system, now):
                continue
            if taken := _take(ctx, tx, row, now):
                return taken
    return None


def waiting(
    ctx: Context, most: int, *, systems: Collection[str] | None = None, serial: Collection[str] = ()
) -> list[Waiting]:
    """What could be claimed now, in the order in which it would be."""
    with ctx.ledger.read() as tx:
        rows = tx.execute(_free(ctx, tx, ctx.clock.now(), systems, serial).limit(most))
        return [Waiting(row.id, row.system) for row in rows]


def _free(
    ctx: Context,
    tx: Connection,
    now: datetime,
    systems: Collection[str] | None,
    serial: Collection[str],
) -> Select[Any]:
    run, other = t.run.c, t.run.alias("other").c
    wanted = select(t.run).where(
        _unheld(now),
        # One run of a policy at a time: the next firing waits until this one is finished.
        or_(
            run.parent_id.is_not(None),
            run.active.is_(True),
            ~select(other.id)
            .where(other.policy == run.policy, other.active.is_(True))
            .correlate(t.run)
            .exists(),
        ),
    )
    if systems is not None:
        wanted = wanted.where(or_(run.system.is_(None), run.system.in_(sorted(systems))))
    if full := _full(ctx, tx, now, serial):
        wanted = wanted.where(or_(run.system.is_(None), run.system.not_in(sorted(full))))
    return wanted.order_by(run.turn, run.id)


def _unheld(now: datetime) -> ColumnElement[bool]:
    return and_(
        t.WORKABLE,
        or_(t.run.c.lease_until.is_(None), t.run.c.lease_until <= stamp(now)),
        or_(t.run.c.not_before.is_(None), t.run.c.not_before <= stamp(now)),
    )


def _full(ctx: Context, tx: Connection, now: datetime, serial: Collection[str]) -> list[str]:
    """Systems that as many processes work on as may: a slow one must not hold all of them."""
    rows = tx.execute(
        select(t.run.c.system, func.count())
        .where(t.run.c.lease_until > stamp(now), t.run.c.system.is_not(None))
        .group_by(t.run.c.system)
    )
    most = ctx.pace.system_workers
    return [system for system, busy in rows if busy >= (1 if system in serial else most)]


def _alone(tx: Connection, system: str, now: datetime) -> bool:
    """Whether nobody else holds work on a system that takes one request at a time.

    Two claims at the same moment do not see each other's rows, so the system is locked first.
    """
    if tx.dialect.name == "postgresql":
        key = int.from_bytes(sha256(f"system {system}".encode()).digest()[:8], "big", signed=True)
        if not tx.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": key}).scalar():
            return False
    busy = select(t.run.c.id).where(t.run.c.system == system, t.run.c.lease_until > stamp(now))
    return tx.execute(busy.limit(1)).first() is None


def _take(ctx: Context, tx: Connection, row: Row[Any], now: datetime) -> Claim | None:
    same = (t.run.c.id == row.id, t.run.c.token == row.token, _unheld(now))
    locked = select(t.run.c.id).where(*same).with_for_update(skip_locked=True)
    if tx.execute(locked).first() is None:
        return None
    until = now + ctx.pace.lease
    values: dict[str, Any] = {
        "token": row.token + 1,
        "owner": ctx.owner,
        "lease_until": stamp(until),
        "started_at": row.started_at or stamp(now),
        "attempts": row.attempts + 1,
    }
    if row.parent_id is None:
        values["active"] = True
    try:
        with tx.begin_nested():
            taken = tx.execute(update(t.run).where(*same).values(values))
    except IntegrityError:
        # Another process began another run of the same policy at this very moment.
        return None
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
        parent_id=row.parent_id,
        part=Part(row.shard, row.location, row.span) if row.parent_id is not None else None,
    )
