"""How things stand, from the ledger alone: no system is asked, so it always answers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from retention.ledger import tables as t
from retention.ledger.store import Ledger, instant, stamp
from retention.run import fates
from retention.run.claim import FINAL, RunState
from retention.run.in_force import InForce, Standing
from retention.schedule.fires import next_fire
from retention.schedule.model import Job

ILL = ("broken", "failing", "late", "stopped")
"""States of a policy in which monitoring should call somebody."""
STATES = (
    *ILL,
    *("frozen", "not approved", "waiting for approval", "running"),
    *("change not approved", "removal not approved", "ok"),
)
"""Every word that a policy's state can be."""
LATE_AFTER_SECONDS = 300
"""A firing that should have begun so long ago and has not: nothing is running."""


_WHOLE = t.run.c.parent_id.is_(None)
"""A run, and no shard of one."""


@dataclass(frozen=True, slots=True)
class PolicyStatus:
    """One policy's row of `status`. `state` is one word; `alarms` name what is wrong.

    `last_run`, `last_state`, `last_seconds` are of the run that ended last; `last_success` is when
    one last ended with nothing left undone. `partly_disposed`: people of whom something is gone
    from one location and left in another.
    """

    policy: str
    state: str
    last_run: str | None
    last_state: str | None
    next_fire: str | None
    overdue: int
    oldest_overdue_days: int
    held: int
    review: int
    alarms: tuple[str, ...] = ()
    last_success: str | None = None
    last_seconds: float | None = None
    unverified: int = 0
    still_there: int = 0
    partly_disposed: int = 0

    def to_json(self) -> dict[str, Any]:
        """The row as `status --json` prints it."""
        return {
            "policy": self.policy,
            "state": self.state,
            "last_run": self.last_run,
            "next_fire": self.next_fire,
            "overdue": self.overdue,
            "oldest_overdue_days": self.oldest_overdue_days,
            "held": self.held,
            "review": self.review,
            "last_state": self.last_state,
            "alarms": list(self.alarms),
            "last_success": self.last_success,
            "last_seconds": self.last_seconds,
            "unverified": self.unverified,
            "still_there": self.still_there,
            "partly_disposed": self.partly_disposed,
        }

    @property
    def ill(self) -> bool:
        """Whether monitoring should call somebody."""
        return self.state in ILL or self.overdue > 0


def status(
    ledger: Ledger, in_force: InForce, jobs: Mapping[str, Job], now: datetime
) -> list[PolicyStatus]:
    """Every policy, in the files or still enforced, sorted by name.

    A policy that no tick has met yet shows the firing that the next tick would give it. The
    number of statements does not depend on the number of policies.
    """
    with ledger.read() as tx:
        known = _known(tx)
    return [_one(in_force, name, known, jobs.get(name), now) for name in in_force.names()]


def alarms(ledger: Ledger) -> list[tuple[str, str, str, str]]:
    """Open alarms: (policy or "", kind, detail, since), oldest first."""
    with ledger.read() as tx:
        rows = tx.execute(
            select(t.alarm).where(t.alarm.c.cleared_at.is_(None)).order_by(t.alarm.c.id)
        )
        return [(r.policy, r.kind, r.detail, r.raised_at) for r in rows]


@dataclass(frozen=True, slots=True)
class _Known:
    """What the ledger says of all policies at once, by their names."""

    frozen: bool
    schedules: Mapping[str, Any]
    newest: Mapping[str, Any]
    last: Mapping[str, Any]
    successes: Mapping[str, str]
    alarms: Mapping[str, list[str]]
    partly: Mapping[str, int]


def _known(tx: Connection) -> _Known:
    run = t.run.c
    newest = select(func.max(run.id)).where(_WHOLE).group_by(run.policy)
    looked = select(run.policy, run.state, run.counts)
    ended = (
        select(run.policy, func.max(run.finished_at).label("at"))
        .where(_WHOLE, run.state.in_([str(s) for s in FINAL]))
        .group_by(run.policy)
        .subquery()
    )
    last = (
        select(run.policy, run.state, run.started_at, run.finished_at)
        .join(
            ended,
            (ended.c.policy == run.policy) & (ended.c.at == run.finished_at),
        )
        .where(_WHOLE)
        .order_by(run.id)
    )
    successes = (
        select(run.policy, func.max(run.finished_at).label("at"))
        .where(_WHOLE, run.state == str(RunState.DONE))
        .group_by(run.policy)
    )
    open_alarms: dict[str, list[str]] = defaultdict(list)
    for row in tx.execute(
        select(t.alarm.c.policy, t.alarm.c.kind)
        .where(t.alarm.c.cleared_at.is_(None))
        .order_by(t.alarm.c.id)
    ):
        open_alarms[row.policy].append(row.kind)
    frozen = tx.execute(select(t.freeze.c.id).where(t.freeze.c.thawed_at.is_(None))).first()
    return _Known(
        frozen=frozen is not None,
        schedules={row.policy: row for row in tx.execute(select(t.schedule))},
        newest={r.policy: r for r in tx.execute(looked.where(run.id.in_(newest)))},
        last={row.policy: row for row in tx.execute(last)},
        successes={row.policy: row.at for row in tx.execute(successes)},
        alarms=open_alarms,
        partly=fates.partly(tx),
    )


def _one(
    in_force: InForce, name: str, known: _Known, job: Job | None, now: datetime
) -> PolicyStatus:
    newest, last = known.newest.get(name), known.last.get(name)
    schedule = known.schedules.get(name)
    counts = (newest.counts if newest is not None else None) or {}
    overdue = _overdue(counts)
    return PolicyStatus(
        policy=name,
        state=_state(in_force, name, newest, schedule, now, frozen=known.frozen),
        last_run=last.finished_at if last is not None else None,
        last_state=last.state if last is not None else None,
        next_fire=schedule.next_fire if schedule is not None else _first_fire(job, now),
        overdue=overdue,
        oldest_overdue_days=counts.get("oldest_overdue_days", 0) if overdue else 0,
        held=counts.get("held", 0),
        review=counts.get("review", 0),
        alarms=tuple(known.alarms.get(name, ())),
        last_success=known.successes.get(name),
        last_seconds=_seconds(last),
        unverified=counts.get("unknown", 0),
        still_there=counts.get("still_there", 0),
        partly_disposed=known.partly.get(name, 0),
    )


def _seconds(run: Any) -> float | None:
    if run is None or not run.started_at or not run.finished_at:
        return None
    return (instant(run.finished_at) - instant(run.started_at)).total_seconds()


def _first_fire(job: Job | None, now: datetime) -> str | None:
    upcoming = next_fire(job.schedule, job.zone, None, now) if job else None
    return stamp(upcoming) if upcoming else None


def _overdue(counts: Mapping[str, int]) -> int:
    """Records that were past their date when last looked at, less those that are gone since."""
    gone = counts.get("disposed", 0) + counts.get("already_absent", 0)
    return max(0, counts.get("overdue", 0) - gone)


def _state(
    in_force: InForce, name: str, newest: Any, schedule: Any, now: datetime, *, frozen: bool
) -> str:
    standing = in_force.standing(name)
    state = RunState(newest.state) if newest is not None else None
    due = instant(schedule.next_fire) if schedule is not None and schedule.next_fire else None
    late = due is not None and (now - due).total_seconds() > LATE_AFTER_SECONDS
    in_order = (
        (standing is Standing.BROKEN, "broken"),
        (frozen, "frozen"),
        (standing is Standing.NEW, "not approved"),
        (state is RunState.WAITING, "waiting for approval"),
        (state is RunState.STOPPED, "stopped"),
        (state in (RunState.PARTIAL, RunState.FAILED), "failing"),
        (late, "late"),
        (state is not None and state not in FINAL, "running"),
        (standing is Standing.CHANGED, "change not approved"),
        (standing is Standing.REMOVED, "removal not approved"),
    )
    return next((word for holds, word in in_order if holds), "ok")
