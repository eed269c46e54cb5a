"""Schedules in words, where they are simple enough to be said; the schedule itself otherwise."""

from __future__ import annotations

import re

_NAMED = {
    "@hourly": "every hour",
    "@daily": "every day",
    "@weekly": "every week",
    "@monthly": "every month",
    "@quarterly": "every quarter",
    "@yearly": "every year",
    "on_event": "within a minute of the event, and every day for records that arrive later",
}
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_NUMBERS = re.compile(r"\d+(,\d+)*")


def schedule_words(schedule: str) -> str:
    """`0 3 1 * *` as `on day 1 of every month at 03:00`."""
    said = schedule.strip()
    if said in _NAMED:
        return _NAMED[said]
    fields = said.split()
    if len(fields) != 5 or fields[0].startswith("every"):
        return said
    return _cron(fields) or f"`{said}`"


def _cron(fields: list[str]) -> str | None:
    minute, hour, day, month, weekday = fields
    months = _numbered(month, _MONTHS, 1)
    if not (minute.isdigit() and hour.isdigit()) or months is None:
        return None
    days = _days(day, weekday, months)
    return f"{days} at {int(hour):02}:{int(minute):02}" if days else None


def _days(day: str, weekday: str, months: str) -> str | None:
    inside = f" in {months}" if months else ""
    if weekday != "*":
        names = _numbered(weekday, _DAYS, 0)
        return f"every {names}{inside}" if names and day == "*" else None
    if day == "*":
        return f"every day{inside}"
    if day != "L" and not _NUMBERS.fullmatch(day):
        return None
    which = "the last day" if day == "L" else f"day {_and(day.split(','))}"
    return f"on {which} of {months or 'every month'}"


def _numbered(field: str, names: list[str], first: int) -> str | None:
    """Names of the numbers in a field; "" for `*`; None where it is no plain list."""
    if field == "*":
        return ""
    if not _NUMBERS.fullmatch(field):
        return None
    numbers = [int(n) - first for n in field.split(",")]
    if any(not 0 <= n < len(names) for n in numbers):
        return None
    return _and([names[n] for n in numbers])


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
