"""Keeping the ledger small: what closed runs leave behind goes after a while.

The audit log is the evidence; these rows are only the working memory of runs. Batches and scans
of a closed run go after a week, its row after a good year, but the newest of each policy stay:
limits compare with them, and `status` shows them.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, or_, select

from retention.ledger import tables as t
from retention.ledger.store import stamp
from retention.run.claim import FINAL
from retention.run.context import Context
from retention.run.limits import HISTORY

WORKING_MEMORY = timedelta(days=7)
ROWS = timedelta(days=400)
AT_ONCE = 500
"""Runs in one transaction, so that nobody waits for long."""


def compact(ctx: Context) -> int:
    """Remove what is old. Returns the number of runs that were touched."""
    now = ctx.clock.now()
    touched = 0
    while True:
        with ctx.ledger.write() as tx:
            done = _forget_work(tx, now) + _forget_runs(tx, now)
            if not done:
                _forget_alarms(tx, now)
        touched += done
        if not done:
            return touched


def _forget_work(tx: Connection, now: datetime) -> int:
    """Batches, scans and shards of runs that closed a week ago."""
    closed = select(t.run.c.id).where(
        t.run.c.state.in_([str(s) for s in FINAL]),
        t.run.c.finished_at < stamp(now - WORKING_MEMORY),
        t.run.c.parent_id.is_(None),
    )
    children = t.run.alias("child").c
    worked = closed.where(
        or_(
            t.run.c.id.in_(select(t.scan.c.run_id)),
            t.run.c.id.in_(select(t.batch.c.run_id)),
            select(children.id).where(children.parent_id == t.run.c.id).correlate(t.run).exists(),
        )
    )
    runs = list(tx.execute(worked.limit(AT_ONCE)).scalars())
    if runs:
        shards = list(tx.execute(select(t.run.c.id).where(t.run.c.parent_id.in_(runs))).scalars())
        for some in (runs, shards):
            for start in range(0, len(some), AT_ONCE):
                these = some[start : start + AT_ONCE]
                tx.execute(delete(t.batch).where(t.batch.c.run_id.in_(these)))
                tx.execute(delete(t.scan).where(t.scan.c.run_id.in_(these)))
        tx.execute(delete(t.run).where(t.run.c.parent_id.in_(runs)))
    return len(runs)


def _forget_runs(tx: Connection, now: datetime) -> int:
    """Rows of runs that closed more than a year ago, but for each policy's newest."""
    ranked = (
        select(
            t.run.c.id,
            t.run.c.finished_at,
            func.row_number()
            .over(partition_by=t.run.c.policy, order_by=t.run.c.id.desc())
            .label("rank"),
        )
        .where(t.run.c.state.in_([str(s) for s in FINAL]), t.run.c.parent_id.is_(None))
        .subquery()
    )
    old = list(
        tx.execute(
            select(ranked.c.id)
            .where(ranked.c.rank > 2 * HISTORY, ranked.c.finished_at < stamp(now - ROWS))
            .limit(AT_ONCE)
        ).scalars()
    )
    if old:
        tx.execute(delete(t.run).where(t.run.c.id.in_(old)))
    return len(old)


def _forget_alarms(tx: Connection, now: datetime) -> None:
    tx.execute(delete(t.alarm).where(t.alarm.c.cleared_at < stamp(now - ROWS)))
