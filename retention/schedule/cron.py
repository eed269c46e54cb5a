"""Cron expressions and the instants at which they fire. croniter lives in this file only.

croniter expands the fields and walks the odd days (`L`, `5#2`); which of its dates is which
instant is decided in `wall`, because croniter fires twice on the night on which clocks go back.
Dates are kept per day part and year, so that ten thousand policies that differ in their minute
share them.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter

from retention.schedule.fields import FIELDS, CronError, plain
from retention.schedule.wall import instant_of

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 1,4,7,10 *",
    "@yearly": "0 0 1 1 *",
}

_SEARCH_YEARS = 50
"""A 29 February on a given day of the week comes at most 40 years after the last one."""

_WORDS = re.compile(r"[^ \t]+")


@dataclass(frozen=True, slots=True)
class Cron:
    """A parsed expression: plain cron text, the times of day, and the part that picks the days."""

    text: str
    days: str = field(compare=False)
    """Day of month, month and day of week, e.g. `1 1,4,7,10 *`."""
    times: tuple[time, ...] = field(compare=False, repr=False)
    """Local times of day, ascending."""

    @property
    def standard(self) -> bool:
        """True where every cron program reads the text in the same way (no `L`, no `#`)."""
        return not any(sign in self.text for sign in "L#")


def parse(text: str, *, name: str = "", both_day_fields: bool = False) -> Cron:
    """Read exactly five fields or one of our aliases. `name` is the policy that `H` spreads by.

    `both_day_fields` allows a day of month together with a day of week, which cron reads as
    "either". Raises CronError (codes `bad-cron`, `both-day-fields`, `never-fires`).
    """
    said = text.strip(" \t")
    if said.startswith("@"):
        if said.lower() not in ALIASES:
            raise CronError(f"`{said}` is no schedule we know", hint="use " + ", ".join(ALIASES))
        said = ALIASES[said.lower()]
    words = _WORDS.findall(said)
    if not said.isascii() or not said.replace("\t", " ").isprintable():
        raise CronError("a cron expression holds a sign that cron does not know")
    if len(words) != 5:
        raise CronError(
            f"a cron expression has five fields, this has {len(words)}",
            hint="minute, hour, day of month, month, day of week; seconds and years do not exist",
        )
    fields = [plain(kind, word, name) for kind, word in zip(FIELDS, words, strict=True)]
    if fields[2] != "*" and fields[4] != "*":
        fields = _both(fields, both_day_fields)
    return _compiled(" ".join(fields))


def _both(fields: list[str], allowed: bool) -> list[str]:
    """Both day fields are set: refused, or written so that no cron takes them for "and"."""
    if not allowed:
        raise CronError(
            "day of month and day of week are both set: cron fires when either matches",
            hint="leave one of them `*`, or say `both_day_fields: true` if either is meant",
            code="both-day-fields",
        )
    if "#" in fields[4] or "L" in fields[4]:
        raise CronError(
            "a numbered day of the week cannot stand beside a day of month",
            hint="make two policies",
            code="both-day-fields",
        )
    # Vixie's cron takes "and" instead of "or" as soon as a day field begins with a star.
    for index in (2, 4):
        kind = FIELDS[index]
        fields[index] = fields[index].replace("*", f"{kind.low}-{kind.high}")
    return fields


@lru_cache(maxsize=16384)
def _compiled(text: str) -> Cron:
    try:
        minutes, hours, *_ = croniter.expand(text, strict=True)[0]
    except CroniterError:
        if croniter.is_valid(text):  # valid unless strict: no month of these has such a day
            raise CronError(
                f"`{text}` never fires: no such date exists",
                hint="choose a day that the month has, or `L` for its last day",
                code="never-fires",
            ) from None
        raise CronError(f"`{text}` is no cron expression") from None
    return Cron(
        text=text,
        days=text.split(" ", 2)[2],
        times=tuple(time(h, m) for h in _ints(hours, 24) for m in _ints(minutes, 60)),
    )


def _ints(expanded: list[int | str], size: int) -> list[int]:
    return list(range(size)) if expanded == ["*"] else [int(v) for v in expanded]


@lru_cache(maxsize=1024)
def days_of(part: str, year: int) -> tuple[date, ...]:
    """The dates of that year on which the day part (`Cron.days`) fires, ascending."""
    expanded, numbered = croniter.expand(f"0 0 {part}")
    monthdays, months, weekdays = expanded[2:]
    if numbered or "l" in monthdays:
        return _walked(part, year)
    first = date(year, 1, 1).toordinal()
    every = (date.fromordinal(n) for n in range(first, date(year, 12, 31).toordinal() + 1))
    in_months = [d for d in every if months == ["*"] or d.month in months]
    if monthdays == ["*"]:
        return tuple(d for d in in_months if weekdays == ["*"] or d.isoweekday() % 7 in weekdays)
    return tuple(
        d
        for d in in_months
        if d.day in monthdays or (weekdays != ["*"] and d.isoweekday() % 7 in weekdays)
    )


def _walked(part: str, year: int) -> tuple[date, ...]:
    # Naive on purpose: croniter then counts plain local dates and leaves clock changes to us.
    before = datetime.combine(date(year, 1, 1), time()) - timedelta(minutes=1)
    found: list[date] = []
    for moment in croniter(f"0 0 {part}", before, max_years_between_matches=2).all_next(datetime):
        if moment.year > year:
            break
        found.append(moment.date())
    return tuple(found)


def days_from(part: str, day: date) -> Iterator[date]:
    """The dates on or after `day` on which a day part fires. Ends after 50 empty years."""
    empty = 0
    for year in range(day.year, date.max.year):
        days = days_of(part, year)
        yield from days[bisect_left(days, day) :] if year == day.year else days
        empty = 0 if days else empty + 1
        if empty > _SEARCH_YEARS:
            return


def fires(cron: Cron, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """The instants (UTC) strictly after `after` at which the expression fires, ascending.

    Once per local wall time: of a time that occurs twice only the first is taken, also where the
    hour is `*` (which is then silent for the repeated hour); a time that does not exist is moved
    to the next instant that does. Two that meet there are one. Raises ValueError for a naive
    `after`.
    """
    if after.utcoffset() is None:
        raise ValueError("a naive datetime names no instant")
    wall = after.astimezone(zone).replace(tzinfo=None)
    last = after.astimezone(UTC)
    for day in days_from(cron.days, wall.date()):
        times = cron.times
        if day == wall.date():
            times = times[bisect_right(times, wall.time()) :]
        for at in times:
            instant = instant_of(datetime.combine(day, at), zone)
            if instant > last:
                last = instant
                yield instant


def next_after(cron: Cron, zone: ZoneInfo, after: datetime) -> datetime:
    """The first instant (UTC) strictly after `after` at which the expression fires.

    Raises CronError (`never-fires`) where the calendar ends before it does.
    """
    for instant in fires(cron, zone, after):
        return instant
    raise CronError(f"`{cron.text}` never fires again", code="never-fires")
