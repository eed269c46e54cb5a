"""Which firings are owed, written down as runs (engine.md, design 2 and 3).

The ledger schedules: any number of processes may tick at any moment, because a firing is unique
by (policy, due time, kind) and the schedule's row moves in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection, Table, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from retention.ledger import tables as t
from retention.ledger.store import instant, stamp
from retention.policy.model import Approval, Then
from retention.run import evidence
from retention.run.claim import RunState
from retention.run.context import Context
from retention.run.in_force import InForce, Standing, remember
from retention.schedule.due import owed
from retention.schedule.fires import next_fire
from retention.schedule.model import Job, OnEvent
from retention.subjects.state import OBJECTED, WITHDRAWN

LAST_TICK = "last_tick"
STEP_BACK = timedelta(minutes=1)
"""A clock that went back by less than this was only corrected."""
EVENT_OVERLAP = timedelta(minutes=2)
"""Events are looked for again over this time: a slower process may commit an earlier one later."""


def clock_went_back(tx: Connection, now: datetime) -> bool:
    """Whether the ledger has seen a clearly later moment than `now`."""
    last = tx.execute(select(t.meta.c.value).where(t.meta.c.key == LAST_TICK)).scalar_one_or_none()
    return last is not None and now < instant(last) - STEP_BACK


def tick(ctx: Context, in_force: InForce, jobs: Mapping[str, Job]) -> list[int]:
    """Write down every firing owed by now. Returns the new runs' ids. Raises LedgerMoved.

    Policies that only keep have nothing to do at any moment, so they never fire.
    """
    now = ctx.clock.now()
    jobs = {n: j for n, j in jobs.items() if in_force.policy(n).then.kind is not Then.KEEP}
    with ctx.ledger.write() as tx:
        ctx.ledger.same_schema(tx)
        if clock_went_back(tx, now):
            evidence.alarm(ctx, tx, "", "clock-went-back", "the machine's clock went backwards")
            return []
        evidence.clear_alarms(ctx, tx, "", ("clock-went-back",))
        previous = tx.execute(
            select(t.meta.c.value).where(t.meta.c.key == LAST_TICK)
        ).scalar_one_or_none()
        _adopt(tx, jobs, now)
        created = [
            run_id
            for row in tx.execute(
                select(t.schedule)
                .where(t.schedule.c.next_fire <= stamp(now))
                .order_by(t.schedule.c.policy)
                .with_for_update(skip_locked=True)
            ).all()
            if row.policy in jobs
            for run_id in _fire(
                ctx, tx, in_force, jobs[row.policy], row.last_due, row.next_fire, now
            )
        ]
        created += _events(tx, in_force, jobs, instant(previous) if previous else now, now)
        created += _again(ctx, tx, in_force, jobs, now)
        remember(tx, LAST_TICK, stamp(now))
    return created


def _adopt(tx: Connection, jobs: Mapping[str, Job], now: datetime) -> None:
    """Give new and changed jobs their next firing."""
    known = {row.policy: row for row in tx.execute(select(t.schedule)).all()}
    for job in jobs.values():
        row = known.get(job.policy)
        if row is not None and row.digest == job.digest:
            continue
        last = instant(row.last_due) if row is not None and row.last_due else None
        upcoming = next_fire(job.schedule, job.zone, last, now)
        values = {
            "digest": job.digest,
            "next_fire": stamp(upcoming) if upcoming else None,
            "last_tick": stamp(now),
        }
        if row is None:
            tx.execute(_ignoring(tx, t.schedule).values(policy=job.policy, **values))
        else:
            tx.execute(update(t.schedule).where(t.schedule.c.policy == job.policy).values(**values))


def _fire(
    ctx: Context,
    tx: Connection,
    in_force: InForce,
    job: Job,
    last_due: str | None,
    expected: str,
    now: datetime,
) -> list[int]:
    # Everything before the firing that was expected is settled, so that is where to look from.
    since = instant(expected) - timedelta(milliseconds=1)
    due = owed(job, instant(last_due) if last_due else None, since, now)
    created = []
    for moment in due.missed:
        ctx.log.append(
            tx,
            now,
            "firing.missed",
            actor="scheduler",
            policy=job.policy,
            digest=job.digest,
            firing=moment,
        )
    if due.missed:
        evidence.alarm(ctx, tx, job.policy, "missed", f"{len(due.missed)} firings were missed")
    if in_force.may_run(job.policy):
        for firing in due.fire:
            run_id = new_run(
                tx,
                job.policy,
                job.digest,
                firing.due_at,
                "schedule",
                now,
                late=firing.late,
                system=in_force.only_system(job.policy),
            )
            created += [run_id] if run_id is not None else []
    elif due.fire and in_force.standing(job.policy) is Standing.NEW:
        evidence.alarm(
            ctx, tx, job.policy, "not-approved", "a firing passed without an approved plan"
        )
    tx.execute(
        update(t.schedule)
        .where(t.schedule.c.policy == job.policy)
        .values(
            next_fire=stamp(due.next_fire) if due.next_fire else None,
            last_due=stamp(due.last_due) if due.last_due else last_due,
            last_tick=stamp(now),
        )
    )
    return created


def _events(
    tx: Connection,
    in_force: InForce,
    jobs: Mapping[str, Job],
    since: datetime,
    now: datetime,
) -> list[int]:
    """Policies that wait for events fire when one came, besides their daily sweep."""
    created = []
    for job in jobs.values():
        if not isinstance(job.schedule, OnEvent) or not in_force.may_run(job.policy):
            continue
        latest = tx.execute(
            select(func.max(t.event.c.recorded_at)).where(
                t.event.c.name.in_(sorted(_names(in_force, job.policy))),
                t.event.c.recorded_at > stamp(since - EVENT_OVERLAP),
                t.event.c.recorded_at <= stamp(now),
            )
        ).scalar_one_or_none()
        if latest is not None:
            run_id = new_run(
                tx,
                job.policy,
                job.digest,
                instant(latest),
                "event",
                now,
                system=in_force.only_system(job.policy),
            )
            created += [run_id] if run_id is not None else []
    return created


def _again(
    ctx: Context,
    tx: Connection,
    in_force: InForce,
    jobs: Mapping[str, Job],
    now: datetime,
) -> list[int]:
    """A policy whose last run left something undone is tried again a day later, and so on.

    Where a person approves every plan, that person decides when.
    """
    created = []
    failing = tx.execute(
        select(t.alarm.c.policy)
        .where(t.alarm.c.kind == "partial", t.alarm.c.cleared_at.is_(None))
        .distinct()
    ).scalars()
    for name in failing.all():
        if name not in jobs or not in_force.may_run(name):
            continue
        if in_force.policy(name).approval is Approval.EACH_RUN:
            continue
        last = tx.execute(
            select(t.run.c.state, t.run.c.finished_at)
            .where(t.run.c.policy == name, t.run.c.parent_id.is_(None))
            .order_by(t.run.c.id.desc())
            .limit(1)
        ).one_or_none()
        if last is None or last.state != str(RunState.PARTIAL):
            continue
        due_at = instant(last.finished_at) + ctx.pace.again
        if due_at <= now:
            system = in_force.only_system(name)
            run_id = new_run(tx, name, jobs[name].digest, due_at, "again", now, system=system)
            created += [run_id] if run_id is not None else []
    return created


def _names(in_force: InForce, policy: str) -> Iterable[str]:
    start = in_force.policy(policy).starting_point
    named = {leaf.event for leaf in start.leaves() if leaf.event} if start else set()
    return named | {WITHDRAWN, OBJECTED}


def new_run(
    tx: Connection,
    policy: str,
    digest: str,
    due_at: datetime,
    kind: str,
    now: datetime,
    *,
    late: bool = False,
    state: RunState = RunState.PENDING,
    approved_by: str | None = None,
    system: str | None = None,
) -> int | None:
    """Insert a run; None where this firing has one already. `system`: the only one it touches."""
    row = tx.execute(
        _ignoring(tx, t.run)
        .values(
            policy=policy,
            digest=digest,
            due_at=stamp(due_at),
            kind=kind,
            state=str(state),
            late=late,
            token=0,
            attempts=0,
            created_at=stamp(now),
            approved_by=approved_by,
            system=system,
            turn=stamp(now),
            counts={},
            note="",
        )
        .returning(t.run.c.id)
    ).first()
    return int(row.id) if row else None


def _ignoring(tx: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """INSERT … ON CONFLICT DO NOTHING, in the ledger's dialect."""
    if tx.dialect.name == "postgresql":
        return postgresql.insert(table).on_conflict_do_nothing()
    return sqlite.insert(table).on_conflict_do_nothing()
