"""How the whole service stands, read from the ledger in a fixed number of statements."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, and_, func, or_, select

from retention.audit import heads
from retention.audit.checkpoint import encode
from retention.ledger import migrate
from retention.ledger import tables as t
from retention.ledger.store import instant, stamp
from retention.run.claim import WORKABLE, RunState
from retention.run.home import Home
from retention.run.status import PolicyStatus, status
from retention.run.tick import LAST_TICK
from retention.watch import nodes
from retention.watch.alarms import Channel
from retention.watch.memory import Memory
from retention.watch.nodes import Node

NO_SYSTEM = "-"
"""Stands for the systems of a run that is of several, or of none yet."""


class Frozen(NamedTuple):
    """The freeze that is on. `reason` is a person's own words."""

    reason: str
    since: datetime


class LogState(NamedTuple):
    """The newest audit log. `root` is base64; instants are as the ledger writes them."""

    size: int = 0
    root: str | None = None
    verified_at: str | None = None
    checkpoint_at: str | None = None
    checkpoint_size: int = 0


class Queue(NamedTuple):
    """Work that could be claimed now: how much, and for how long the oldest has waited."""

    waiting: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class Service:
    """Everything but the policies: it stays small however many there are."""

    frozen: Frozen | None
    log: LogState
    nodes: Sequence[Node]
    alarms: Mapping[str, int]
    channels: Mapping[str, Channel]
    queues: Mapping[str, Queue]
    leases: int
    runs: Mapping[str, int]
    last_tick: datetime | None
    revision: str | None
    seconds: float
    """How long reading all this took."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The service and each policy at one moment."""

    at: datetime
    service: Service
    policies: Sequence[PolicyStatus]


def read(home: Home) -> Reading:
    """Read everything now. Raises LedgerUnreachable."""
    now = home.ctx.clock.now()
    # Without jobs: a policy that no tick has met yet has no next firing.
    policies = status(home.ctx.ledger, home.in_force, {}, now)
    return Reading(now, service(home), policies)


def service(home: Home) -> Service:
    """Read all but the policies. Raises LedgerUnreachable."""
    now = home.ctx.clock.now()
    began = time.perf_counter()
    with home.ctx.ledger.read() as tx:
        tick = tx.execute(select(t.meta.c.value).where(t.meta.c.key == LAST_TICK)).scalar()
        return Service(
            frozen=_frozen(tx),
            log=_log(tx, home.ctx.log.origin),
            nodes=nodes.every(tx),
            alarms=_alarms(tx),
            channels=Memory.read(tx).channels,
            queues=_queues(tx, home.in_force.bundle.systems, now),
            leases=_leases(tx, now),
            runs=_runs(tx),
            last_tick=instant(tick) if tick else None,
            revision=migrate.current(tx),
            seconds=time.perf_counter() - began,
        )


def _frozen(tx: Connection) -> Frozen | None:
    row = tx.execute(
        select(t.freeze).where(t.freeze.c.thawed_at.is_(None)).order_by(t.freeze.c.id).limit(1)
    ).first()
    return Frozen(row.reason, instant(row.since)) if row else None


def _log(tx: Connection, origin: str) -> LogState:
    newest = next(reversed(heads.every(tx, origin)), None)
    if newest is None:
        return LogState()
    signed = heads.checkpoint_at(tx, newest.log, newest.size)
    return LogState(
        newest.size,
        encode(newest.frontier.root()),
        newest.verified_at,
        signed.at if signed else None,
        signed.size if signed else 0,
    )


def _alarms(tx: Connection) -> dict[str, int]:
    rows = tx.execute(
        select(t.alarm.c.kind, func.count().label("number"))
        .where(t.alarm.c.cleared_at.is_(None))
        .group_by(t.alarm.c.kind)
    )
    return {row.kind: row.number for row in rows}


def _queues(tx: Connection, systems: Mapping[str, object], now: datetime) -> dict[str, Queue]:
    """As `retention.run.claim` chooses, but for systems that are at work to their limit."""
    run, other = t.run.c, t.run.alias("other").c
    rows = tx.execute(
        select(run.system, run.turn, run.created_at, run.not_before).where(
            run.state.in_([str(state) for state in WORKABLE]),
            or_(run.lease_until.is_(None), run.lease_until <= stamp(now)),
            or_(run.not_before.is_(None), run.not_before <= stamp(now)),
            or_(
                run.parent_id.is_not(None),
                run.active.is_(True),
                run.policy.not_in(select(other.policy).where(other.active.is_(True))),
            ),
        )
    )
    waiting: Counter[str] = Counter()
    oldest: dict[str, float] = {}
    for system, turn, created_at, not_before in rows:
        name = system or NO_SYSTEM
        since = instant(max(turn or created_at, not_before or ""))
        waiting[name] += 1
        oldest[name] = max(oldest.get(name, 0.0), (now - since).total_seconds())
    names = {NO_SYSTEM, *systems, *waiting}
    return {name: Queue(waiting[name], oldest.get(name, 0.0)) for name in sorted(names)}


def _leases(tx: Connection, now: datetime) -> int:
    held = and_(t.run.c.lease_until > stamp(now))
    return int(tx.execute(select(func.count()).select_from(t.run).where(held)).scalar_one())


def _runs(tx: Connection) -> dict[str, int]:
    rows = tx.execute(
        select(t.run.c.state, func.count().label("number"))
        .where(t.run.c.parent_id.is_(None))
        .group_by(t.run.c.state)
    )
    return {**dict.fromkeys(map(str, RunState), 0), **{row.state: row.number for row in rows}}
