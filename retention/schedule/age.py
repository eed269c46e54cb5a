"""How old a record can get: the worst case over every day of eight years.

All in local civil dates, as decisions are. A record whose starting point is day S is first seen
by the first firing on a later date (it may have come in just after the firing of day S). A firing
on day F takes it when its minimum has passed and its maximum ends before the date of the next
firing (design.md §5, rule 8). Its age then is F - S. The worst case is the largest such age over
all S in eight years, leap years included.

- A maximum only: at most the maximum (its longest calendar length), unless a gap between two
  firings is longer than that: then the gap, and the promise cannot be kept.
- A minimum only: the minimum, plus the wait for the next firing.
- A cutoff (end of month, quarter, year) comes on top, because the period begins only there.
- A maximum with hours in it: the longest gap between two firings where that is longer, else the
  maximum, rounded up to days.
- `on_event`: one day, since the daily sweep catches what the event itself did not reach.

Not in it: downtime, records that come in with an old date, holds, and a bin's grace.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import islice, pairwise
from math import ceil
from zoneinfo import ZoneInfo

from retention.policy.counting import due_by, earliest_after
from retention.policy.model import Cutoff, Organisation, Policy, Then
from retention.policy.periods import Period
from retention.schedule.cron import Cron, days_from
from retention.schedule.fires import add_interval, moments
from retention.schedule.model import Every, LastOfAll, OnEvent, Schedule, crons_of

HORIZON = 8 * 365 + 2
"""Days of which each is tried as a starting point; eight years hold two leap days."""

_LONGEST_YEARS = 150
"""A longer period is not simulated: the cadence no longer matters."""

_SAMPLE_FIRES = 3000
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Age:
    """`days`: the largest age. `late`: the most days by which a record outlives its maximum."""

    days: int
    late: int = 0


def worst_case(
    policy: Policy, schedule: Schedule, organisation: Organisation, zone: ZoneInfo, year: int
) -> Age | None:
    """The largest age at which a record is disposed of, from `year` on; None without a period."""
    minimum, maximum = policy.keep_at_least, policy.delete_at_latest
    year = _year_of_first_fire(schedule, year)
    if policy.then.kind is Then.KEEP or (minimum is None and maximum is None):
        return None
    if minimum is None and maximum is not None:
        if isinstance(schedule, OnEvent):
            return Age(1)
        if maximum.hours and policy.cutoff is None:
            return _with_hours(schedule, zone, maximum, year)
    earliest = _ends(policy.cutoff, minimum, organisation, year, late=True)
    due = _ends(policy.cutoff, maximum, organisation, year, late=False)
    last = max(*earliest, *due)
    if last > date(year + _LONGEST_YEARS, 1, 1).toordinal():
        return Age(last - date(year, 1, 1).toordinal())
    ages = [_simulate(days, earliest, due, year) for days in _phases(schedule, zone, year, last)]
    return Age(max(a.days for a in ages), late=max(a.late for a in ages))


def readings(schedule: Schedule, zone: ZoneInfo, year: int) -> dict[str, int]:
    """What "every three months or at the quarter, whichever is last" can mean, in days.

    `per record`: each record goes when its own interval is over. `per run`: the longest wait
    between two runs, the interval being counted from the last run; this is what `last_of` does.
    `first fire on or after`: each record's own interval, then the first cron moment on or after
    that date. Empty for every other kind of schedule.
    """
    if not isinstance(schedule, LastOfAll):
        return {}
    first = date(year, 1, 1)
    starts = [first + timedelta(n) for n in range(HORIZON)]
    reached = [max((add_interval(s, p) for p in schedule.intervals), default=s) for s in starts]
    found: dict[str, int] = {}
    if schedule.intervals:
        found["per record"] = max((r - s).days for s, r in zip(starts, reached, strict=True))
    last = max(reached).toordinal()
    lists = list(_phases(schedule, zone, year, last))
    found["per run"] = max(b - a for days in lists for a, b in pairwise(days))
    if schedule.intervals and schedule.crons:
        grids = [_cron_days(cron.days, first, last) for cron in schedule.crons]
        found["first fire on or after"] = max(
            min(grid[bisect_left(grid, r.toordinal())] for grid in grids) - s.toordinal()
            for s, r in zip(starts, reached, strict=True)
        )
    return found


def _year_of_first_fire(schedule: Schedule, year: int) -> int:
    """Where to begin, so that schedules that fire once in many years are caught as well."""
    firsts = (next(days_from(cron.days, date(year, 1, 1)), None) for cron in crons_of(schedule))
    return max((day.year for day in firsts if day is not None), default=year)


@lru_cache(maxsize=256)
def _simulate(
    fires: tuple[int, ...], earliest: tuple[int, ...], due: tuple[int, ...], year: int
) -> Age:
    """All days as ordinals. Empty `earliest` or `due`: the policy has no such end."""
    base = date(year, 1, 1).toordinal()
    worst = late = 0
    for start in range(max(base, fires[0]), base + HORIZON):
        index = bisect_right(fires, start)
        allowed = earliest[start - base] if earliest else start
        index = max(index, bisect_left(fires, allowed))
        if due:
            ends = max(due[start - base], allowed)  # a maximum below the minimum is raised to it
            index = max(index, bisect_right(fires, ends) - 1)
            late = max(late, fires[index] - ends)
        worst = max(worst, fires[index] - start)
    return Age(worst, late)


@lru_cache(maxsize=64)
def _ends(
    cutoff: Cutoff | None,
    period: Period | None,
    organisation: Organisation,
    year: int,
    *,
    late: bool,
) -> tuple[int, ...]:
    """For each starting day of the horizon, the ordinal on which a minimum or a maximum ends."""
    if period is None:
        return ()
    end = earliest_after if late else due_by
    first = date(year, 1, 1)
    return tuple(
        end(first + timedelta(n), cutoff, period, organisation).toordinal() for n in range(HORIZON)
    )


def _phases(schedule: Schedule, zone: ZoneInfo, year: int, last: int) -> Iterable[tuple[int, ...]]:
    """The dates of all firings until well after `last`, for every way the count may begin."""
    if isinstance(schedule, Cron | OnEvent):
        cron = schedule.sweep if isinstance(schedule, OnEvent) else schedule
        return [_cron_days(cron.days, date(year, 1, 1), last)]
    parts: Iterable[Cron | Every] = (schedule,) if isinstance(schedule, Every) else schedule.parts
    by_month = any(isinstance(p, Every) and p.unit in ("month", "year") for p in parts)
    months = range(1, 13) if by_month else (1,)
    return {_chain(schedule, zone, date(year, month, 1), last) for month in months}


@lru_cache(maxsize=64)
def _chain(schedule: Every | LastOfAll, zone: ZoneInfo, first: date, last: int) -> tuple[int, ...]:
    after = datetime.combine(first, datetime.min.time(), UTC) - _DAY
    days = (m.astimezone(zone).date().toordinal() for m in moments(schedule, zone, None, after))
    return _until(days, last)


@lru_cache(maxsize=64)
def _cron_days(part: str, first: date, last: int) -> tuple[int, ...]:
    return _until((d.toordinal() for d in days_from(part, first)), last)


def _until(days: Iterator[int], last: int) -> tuple[int, ...]:
    """Distinct days, through the second one after `last`."""
    found: list[int] = []
    beyond = 0
    for day in days:
        if found and found[-1] == day:
            continue
        found.append(day)
        beyond += day > last
        if beyond == 2:
            break
    return tuple(found)


def _with_hours(schedule: Schedule, zone: ZoneInfo, maximum: Period, year: int) -> Age:
    after = datetime(year, 1, 1, tzinfo=UTC)
    # Wall time: the night on which clocks go back does not make a daily schedule miss 24 hours.
    walls = (m.astimezone(zone).replace(tzinfo=None) for m in moments(schedule, zone, None, after))
    gap = max((b - a for a, b in pairwise(islice(walls, _SAMPLE_FIRES))), default=timedelta())
    longest = timedelta(
        days=maximum.years * 366 + maximum.months * 31 + maximum.days, hours=maximum.hours
    )
    return Age(ceil(max(gap, longest) / _DAY), late=ceil(max(gap - longest, timedelta()) / _DAY))
