"""The two ends of a period: the first day on which disposal is allowed, the last day of existence.

Minimum rounds late, maximum rounds early (design.md §5; Regulation 1182/71 art. 3):

- from an event on day D, without a cutoff, a period runs through `last_day(D, period)`:
  earliest is the day after it, due is that day;
- with a cutoff that closes on day C, it runs from 00:00 of C + 1 and ends at 00:00 of
  (C + 1) + period: earliest is that day, due is the day before. Where the month lacks that day,
  the minimum goes on to the first of the next month, the maximum ends with the month's last day
  as its (excluded) end;
- hours count from the instant, real hours also when clocks change. A civil date whose hour is
  unknown counts from its end for a minimum and from its start for a maximum.

Dates that no calendar can hold (year 10000) become `date.max`: never allowed, never due.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta

from retention.policy.accounting import cutoff_end
from retention.policy.model import Cutoff, Organisation
from retention.policy.periods import Period, last_day

DAY = timedelta(days=1)


@lru_cache(maxsize=64)
def zone_of(name: str) -> ZoneInfo:
    """The time zone of that IANA name. Raises ZoneInfoNotFoundError (a KeyError) or ValueError."""
    return ZoneInfo(name)


def civil_day(when: date | datetime, organisation: Organisation) -> date:
    """The local civil date of an aware instant; a civil date as it is.

    Raises ValueError for a naive datetime: nobody knows which instant it names.
    """
    if not isinstance(when, datetime):
        return when
    return _local(when, organisation).date()


def earliest_after(
    start: date | datetime, cutoff: Cutoff | None, period: Period, organisation: Organisation
) -> date:
    """First civil date on which a minimum of `period` from `start` allows disposal."""
    day = civil_day(start, organisation)
    try:
        if cutoff is not None:
            begin = cutoff_end(day, cutoff, organisation) + DAY
            if not period.hours:
                return _add_late(begin, period)
            instant = _midnight(begin, organisation)
        elif not period.hours:
            return _last_day(day, period) + DAY
        elif isinstance(start, datetime):
            instant = _local(start, organisation)
        else:
            instant = _midnight(day + DAY, organisation)
        end = _end(instant, period, organisation, late=True)
        return end.date() if _is_midnight(end, organisation) else end.date() + DAY
    except OverflowError:
        return date.max


def due_by(
    start: date | datetime, cutoff: Cutoff | None, period: Period, organisation: Organisation
) -> date:
    """Last civil date on which a record may exist under a maximum of `period` from `start`."""
    day = civil_day(start, organisation)
    try:
        if cutoff is not None:
            begin = cutoff_end(day, cutoff, organisation) + DAY
            if not period.hours:
                return _last_day(begin, period) - DAY
            instant = _midnight(begin, organisation)
        elif not period.hours:
            return _last_day(day, period)
        elif isinstance(start, datetime):
            instant = _local(start, organisation)
        else:
            instant = _midnight(day, organisation)
        end = _end(instant, period, organisation, late=False)
        return end.date() - DAY if _is_midnight(end, organisation) else end.date()
    except OverflowError:
        return date.max


def _within_calendar(year: int, period: Period) -> None:
    if year + period.years + period.months // 12 + 1 > date.max.year:
        raise OverflowError


def _last_day(start: date, period: Period) -> date:
    _within_calendar(start.year, period)
    return last_day(start, period)


def _add_late(begin: date, period: Period) -> date:
    """`begin` + `period`, where a day that the month lacks becomes the first of the next month."""
    _within_calendar(begin.year, period)
    moved = begin + relativedelta(years=period.years, months=period.months)
    if moved.day != begin.day:
        moved += DAY
    return moved + timedelta(period.days)


def _end(start: datetime, period: Period, organisation: Organisation, *, late: bool) -> datetime:
    """End of a period with hours, local. Months and days by the calendar, hours in real time."""
    _within_calendar(start.year, period)
    wall = start.replace(tzinfo=None)
    moved = wall + relativedelta(years=period.years, months=period.months)
    if late and moved.day != wall.day:
        moved += DAY
    moved += timedelta(days=period.days)
    fold = start.fold if moved == wall else int(late)
    anchored = moved.replace(tzinfo=zone_of(organisation.timezone), fold=fold)
    return _local(anchored.astimezone(UTC) + timedelta(hours=period.hours), organisation)


def _midnight(day: date, organisation: Organisation) -> datetime:
    """The instant at which `day` begins there (the first one that exists)."""
    wall = datetime.combine(day, time(), zone_of(organisation.timezone))
    return wall.astimezone(UTC).astimezone(wall.tzinfo)


def _is_midnight(instant: datetime, organisation: Organisation) -> bool:
    return instant.astimezone(UTC) == _midnight(instant.date(), organisation).astimezone(UTC)


def _local(when: datetime, organisation: Organisation) -> datetime:
    if when.tzinfo is None or when.utcoffset() is None:
        raise ValueError("a naive datetime names no instant")
    try:
        return when.astimezone(zone_of(organisation.timezone))
    except OverflowError:
        return when
