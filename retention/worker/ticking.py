"""Writing owed firings as runs and ringing for those that wait: what a scheduler process does.

Any number of them may run: a firing is unique in the ledger, a wake-up too many does nothing.
Between two ticks one cheap question a second finds runs and events that commands wrote elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import func, select

from retention.errors import LedgerMoved, LedgerUnreachable
from retention.ledger import tables as t
from retention.ledger.store import Ledger, instant, stamp
from retention.run import evidence
from retention.run.claim import Waiting
from retention.run.context import Context
from retention.run.executor import Executor
from retention.settings import Settings
from retention.watch import logs, nodes
from retention.watch.watch import Watch
from retention.worker.desk import Desk

LOOK = 1.0
"""Seconds between two looks at the ledger."""
UNDONE = timedelta(minutes=5)
"""A run that waits so long past its moment should have been begun."""
UNSEEN = timedelta(minutes=2)
"""A worker that was not seen for so long is not there."""
NOBODY = "nobody-works"
FIRST = 100
"""Wake-ups are sent for so many runs at once; the others are woken when these are done."""

_MARKS = select(
    select(func.max(t.event.c.id)).scalar_subquery().label("event"),
    select(func.max(t.run.c.id)).scalar_subquery().label("run"),
    select(func.count()).select_from(t.enforced).scalar_subquery().label("enforced"),
    select(func.max(t.enforced.c.approved_at)).scalar_subquery().label("approved"),
)
_NEXT = select(func.min(t.schedule.c.next_fire))


class Marks(NamedTuple):
    """What changes when a command elsewhere makes work."""

    event: int | None
    run: int | None
    enforced: int
    approved: str | None


class Ticker:
    """One scheduler. `ring` must not block: it is told of runs that should be begun."""

    def __init__(
        self,
        settings: Settings,
        ring: Callable[[Sequence[Waiting]], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._ring = ring
        self._monotonic = monotonic
        self.desk = Desk(settings)
        self._watch: Watch | None = None
        self._due = 0.0
        self._next_fire: datetime | None = None
        self._marks: Marks | None = None
        self._rung: dict[int, float] = {}
        self._troubled = False

    def begin(self) -> None:
        """Open the home. Raises whatever is wrong with it: better at the start than at night."""
        self._seen()

    def round(self) -> float:
        """Tick if it is time to, and ring. Returns the seconds until the next round.

        Raises LedgerMoved, AuditUnwritable and PolicyError: only a person, or another version, can
        mend that. A ledger that does not answer is asked again.
        """
        try:
            self._round()
            self._well()
        except LedgerMoved:
            raise
        except LedgerUnreachable as error:
            self._ill(error.code)
            if self._watch is not None:
                self._watch.after_tick(self.desk.home, ok=False)
            return LOOK
        left = self._due - self._monotonic()
        if self._next_fire is not None:
            ctx = self.desk.home.ctx
            left = min(left, (self._next_fire - ctx.clock.now()).total_seconds())
        return min(LOOK, max(0.02, left))

    def end(self) -> None:
        """As it was asked to."""
        if self._watch is not None:
            self._watch.close()
        self.desk.close()

    def _seen(self) -> Watch:
        """What the outside sees of this process: sign of life, metrics, alarms told, ping."""
        if self._watch is None:
            self._watch = Watch.of(self.desk.home, "scheduler")
        return self._watch

    def _round(self) -> None:
        ctx = self.desk.home.ctx
        self._seen().alive()
        marks = _marks(ctx.ledger)
        now = ctx.clock.now()
        owed = self._next_fire is not None and self._next_fire <= now
        if owed or marks != self._marks or self._monotonic() >= self._due:
            self._tick(now)
            marks = _marks(ctx.ledger)
        self._marks = marks
        self._wake()

    def _tick(self, now: datetime) -> None:
        executor = self.desk.executor()
        executor.tick()
        executor.sign()
        self._due = self._monotonic() + self._settings.tick_seconds
        self._next_fire = _next_fire(executor.ctx.ledger, now)
        _nobody(executor, now)
        self._seen().after_tick(self.desk.home, ok=True)

    def _wake(self) -> None:
        """Ring once for each run that waits, and again after a tick: a message may be lost."""
        executor = self.desk.current()
        waiting = executor.waiting(FIRST)
        now = self._monotonic()
        again = now - self._settings.tick_seconds
        known = {w.run_id: self._rung[w.run_id] for w in waiting if w.run_id in self._rung}
        fresh = [w for w in waiting if known.get(w.run_id, again) <= again]
        self._rung = known | {w.run_id: now for w in fresh}
        if fresh:
            self._ring(fresh)

    def _ill(self, code: str) -> None:
        if not self._troubled:
            self._troubled = True
            logs.get().warning("ledger unreachable", code=code)

    def _well(self) -> None:
        if self._troubled:
            self._troubled = False
            logs.get().info("ledger answers again")


def _marks(ledger: Ledger) -> Marks:
    with ledger.read() as tx:
        return Marks(*tx.execute(_MARKS).one())


def _next_fire(ledger: Ledger, now: datetime) -> datetime | None:
    """The next moment that is not past: one that is stays owed for a reason, and is looked at."""
    with ledger.read() as tx:
        text = tx.execute(_NEXT.where(t.schedule.c.next_fire > stamp(now))).scalar_one_or_none()
    return instant(text) if text else None


def _nobody(executor: Executor, now: datetime) -> None:
    """Runs wait and no process is there that would do them: an alarm; else none."""
    ctx = executor.ctx
    free = [w.run_id for w in executor.waiting(FIRST)]
    with ctx.ledger.read() as tx:
        oldest = tx.execute(
            select(func.min(t.run.c.due_at)).where(t.run.c.id.in_(free))
        ).scalar_one_or_none()
        working = any(
            node.role in ("worker", "daemon") and now - node.seen_at <= UNSEEN
            for node in nodes.every(tx)
        )
    late = oldest is not None and now - instant(oldest) > UNDONE
    _raise(ctx, alarm=late and not working)


def _raise(ctx: Context, *, alarm: bool) -> None:
    with ctx.ledger.read() as tx:
        open_now = tx.execute(
            select(t.alarm.c.id).where(t.alarm.c.kind == NOBODY, t.alarm.c.cleared_at.is_(None))
        ).first()
    if alarm == (open_now is not None):
        return
    with ctx.ledger.write() as tx:
        if alarm:
            evidence.alarm(ctx, tx, "", NOBODY, "runs wait, and no worker was seen")
        else:
            evidence.clear_alarms(ctx, tx, "", (NOBODY,))
