"""Which firings are owed at a tick. Pure: the ledger remembers, the caller gives the time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta

from retention.policy.model import Misfire
from retention.schedule.fires import moments, next_fire
from retention.schedule.model import Job

ON_TIME = timedelta(seconds=60)
"""A firing that starts later than this after its due moment is late."""

MOST_AT_ONCE = 100
"""How many missed firings `misfire: all` makes up for in one tick."""

MOST_LISTED = 1000
"""How many missed moments one tick lists; the rest is counted in `missed_total`."""


@dataclass(frozen=True, slots=True)
class Firing:
    """One due moment of one job. (`policy`, `due_at`) is its identity."""

    policy: str
    due_at: datetime
    late: bool = False


@dataclass(frozen=True, slots=True)
class Owed:
    """What a tick has to do.

    `fire`: to be inserted as runs, oldest first. `missed`: due moments that are not made up for,
    oldest first, to be recorded; the newest `MOST_LISTED` of `missed_total`. `last_due`: the last
    due moment that is dealt with now, to be stored and given to the next tick. `behind`: by how
    much the clock is behind the last tick; above zero nothing fires and `clock_went_back` is set.
    """

    fire: tuple[Firing, ...]
    missed: tuple[datetime, ...]
    next_fire: datetime | None
    last_due: datetime | None
    missed_total: int = 0
    behind: timedelta = timedelta()

    @property
    def clock_went_back(self) -> bool:
        return self.behind > timedelta()


def owed(
    job: Job,
    last_due: datetime | None,
    last_tick: datetime,
    now: datetime,
    start_deadline: timedelta | None = None,
) -> Owed:
    """The firings of `job` that became due after `last_tick`, up to and including `now`.

    `last_due`: the last due moment of this job that any tick dealt with (fired or missed), None
    before the first. `last_tick`: the latest instant up to which ticks have looked, or when the
    job was first seen; the caller never moves it back. `start_deadline` (default: the job's):
    what is later than this is not started any more.

    Misfires: `coalesce` fires the latest only; `all` fires the newest hundred; `skip` fires only
    what is on time (within the deadline, else a minute). Whatever is not fired is missed.
    """
    if now < last_tick:
        coming = next_fire(job.schedule, job.zone, last_due, _later(last_tick, last_due))
        return Owed((), (), coming, last_due, behind=last_tick - now)
    deadline = job.start_deadline if start_deadline is None else start_deadline
    due: deque[datetime] = deque(maxlen=MOST_LISTED + MOST_AT_ONCE)
    total = 0
    coming = None
    for moment in moments(job.schedule, job.zone, last_due, _later(last_tick, last_due)):
        if moment > now:
            coming = moment
            break
        due.append(moment)
        total += 1
    fired = _chosen(job.misfire, list(due), now, deadline)
    missed = [moment for moment in due if moment not in fired][-MOST_LISTED:]
    return Owed(
        fire=tuple(Firing(job.policy, m, late=now - m > ON_TIME) for m in due if m in fired),
        missed=tuple(missed),
        next_fire=coming,
        last_due=due[-1] if due else last_due,
        missed_total=total - len(fired),
    )


def _chosen(
    misfire: Misfire, due: list[datetime], now: datetime, deadline: timedelta | None
) -> frozenset[datetime]:
    """Which of the due moments are started."""
    if misfire is Misfire.SKIP and deadline is None:
        deadline = ON_TIME
    open_still = [m for m in due if deadline is None or now - m <= deadline]
    most = MOST_AT_ONCE if misfire is Misfire.ALL else 1
    return frozenset(open_still[-most:])


def _later(last_tick: datetime, last_due: datetime | None) -> datetime:
    return last_tick if last_due is None else max(last_tick, last_due)
