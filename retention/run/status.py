"""How things stand, from the ledger alone: no system is asked, so it always answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from retention.ledger import tables as t
from retention.ledger.store import Ledger, instant, stamp
from retention.run.claim import FINAL, RunState
from retention.run.in_force import InForce, Standing
from retention.schedule.fires import next_fire
from retention.schedule.model import Job

LATE_AFTER_SECONDS = 300
"""A firing that should have begun so long ago and has not: nothing is running."""


@dataclass(frozen=True, slots=True)
class PolicyStatus:
    """One policy's row of `status`. `state` is one word; `alarms` name what is wrong."""

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
        }

    @property
    def ill(self) -> bool:
        """Whether monitoring should call somebody."""
        return self.state in ("broken", "failing", "late", "stopped") or self.overdue > 0


def status(
    ledger: Ledger, in_force: InForce, jobs: Mapping[str, Job], now: datetime
) -> list[PolicyStatus]:
    """Every policy, in the files or still enforced, sorted by name.

    A policy that no tick has met yet shows the firing that the next tick would give it.
    """
    with ledger.read() as tx:
        frozen = tx.execute(select(t.freeze.c.id).where(t.freeze.c.thawed_at.is_(None))).first()
        schedules = {row.policy: row for row in tx.execute(select(t.schedule)).all()}
        return [
            _one(
                tx,
                in_force,
                name,
                schedules.get(name),
                jobs.get(name),
                now,
                frozen=frozen is not None,
            )
            for name in in_force.names()
        ]


def alarms(ledger: Ledger) -> list[tuple[str, str, str, str]]:
    """Open alarms: (policy or "", kind, detail, since), oldest first."""
    with ledger.read() as tx:
        rows = tx.execute(
            select(t.alarm).where(t.alarm.c.cleared_at.is_(None)).order_by(t.alarm.c.id)
        )
        return [(r.policy, r.kind, r.detail, r.raised_at) for r in rows]


def _one(
    tx: Connection,
    in_force: InForce,
    name: str,
    schedule: Any,
    job: Job | None,
    now: datetime,
    *,
    frozen: bool,
) -> PolicyStatus:
    newest = tx.execute(
        select(t.run).where(t.run.c.policy == name).order_by(t.run.c.id.desc()).limit(1)
    ).first()
    last = tx.execute(
        select(t.run)
        .where(t.run.c.policy == name, t.run.c.state.in_([str(s) for s in FINAL]))
        .order_by(t.run.c.finished_at.desc())
        .limit(1)
    ).first()
    open_alarms = tuple(
        tx.execute(
            select(t.alarm.c.kind).where(t.alarm.c.policy == name, t.alarm.c.cleared_at.is_(None))
        ).scalars()
    )
    counts = (newest.counts if newest is not None else None) or {}
    overdue = _overdue(counts) if newest is not None else 0
    return PolicyStatus(
        policy=name,
        state=_state(in_force, name, newest, schedule, now, frozen=frozen),
        last_run=last.finished_at if last is not None else None,
        last_state=last.state if last is not None else None,
        next_fire=schedule.next_fire if schedule is not None else _first_fire(job, now),
        overdue=overdue,
        oldest_overdue_days=counts.get("oldest_overdue_days", 0) if overdue else 0,
        held=counts.get("held", 0),
        review=counts.get("review", 0),
        alarms=open_alarms,
    )


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
