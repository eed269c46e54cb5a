"""The firings of any schedule, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta

from retention.schedule.cron import Cron, fires, next_after
from retention.schedule.model import Every, Job, LastOfAll, OnEvent, Schedule
from retention.schedule.wall import instant_of

_TICK = timedelta(microseconds=1)


def next_fire(
    schedule: Schedule, zone: ZoneInfo, last_fire: datetime | None, after: datetime
) -> datetime | None:
    """The first due moment (UTC) strictly after `after`, given the last scheduled firing.

    `last_fire` matters to `every …` and `last_of` only: they count from it, in local dates. None
    means that the policy never fired; then the first cron moment (or the quiet hour) after `after`
    starts the count. Only scheduled firings count, not a `run` by hand, which would push every
    later one off its grid. None: the calendar ends.
    """
    return next(moments(schedule, zone, last_fire, after), None)


def moments(
    schedule: Schedule, zone: ZoneInfo, last_fire: datetime | None, after: datetime
) -> Iterator[datetime]:
    """All due moments (UTC) strictly after `after`, ascending, as `next_fire` defines them."""
    if isinstance(schedule, Cron):
        yield from fires(schedule, zone, after)
        return
    if isinstance(schedule, OnEvent):
        yield from fires(schedule.sweep, zone, after)
        return
    try:
        moment = last_fire.astimezone(UTC) if last_fire else _first(schedule, zone, after)
        if last_fire is None:
            yield moment
        while True:
            moment = _step(schedule, zone, moment)
            if moment > after:
                yield moment
    except OverflowError:
        return


def fires_between(
    job: Job,
    start: datetime,
    end: datetime,
    limit: int | None = None,
    last_fire: datetime | None = None,
) -> tuple[datetime, ...]:
    """Due moments after `start` up to and including `end` (UTC), at most `limit` of them."""
    found: list[datetime] = []
    for moment in islice(moments(job.schedule, job.zone, last_fire, start), limit):
        if moment > end:
            break
        found.append(moment)
    return tuple(found)


def add_interval(day: date, interval: Every) -> date:
    """`day` plus the interval by the calendar; a day that the month lacks becomes its last."""
    count, unit = interval.count, interval.unit
    return day + relativedelta(
        days=count if unit == "day" else 0,
        weeks=count if unit == "week" else 0,
        months=count if unit == "month" else 0,
        years=count if unit == "year" else 0,
    )


def _first(schedule: Every | LastOfAll, zone: ZoneInfo, after: datetime) -> datetime:
    crons = schedule.crons if isinstance(schedule, LastOfAll) else ()
    return max(next_after(cron, zone, after) for cron in crons or (schedule.anchor,))


def _step(schedule: Every | LastOfAll, zone: ZoneInfo, last: datetime) -> datetime:
    """The firing that follows the one at `last`."""
    day = last.astimezone(zone).date()
    if isinstance(schedule, Every):
        return _on_or_after(schedule.anchor, zone, add_interval(day, schedule))
    reached = max((add_interval(day, part) for part in schedule.intervals), default=day)
    if not schedule.crons:
        return _on_or_after(schedule.anchor, zone, reached)
    latest = max(next_after(cron, zone, last) for cron in schedule.crons)
    if latest.astimezone(zone).date() >= reached:
        return latest
    return min(_on_or_after(cron, zone, reached) for cron in schedule.crons)


def _on_or_after(cron: Cron, zone: ZoneInfo, day: date) -> datetime:
    """The first firing on that local date or later."""
    return next_after(cron, zone, instant_of(datetime.combine(day, time()), zone) - _TICK)
