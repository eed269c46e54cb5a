"""Dates in cells: serial numbers of two calendars, and text that can be read in one way only."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

from retention.connectors.base import When

_ISO = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?"
)
_DOTTED = re.compile(r"(\d{1,2})\.(\d{1,2})\.(\d{4})(?: \d{1,2}[:.]\d{2}(?:[:.]\d{2})?)?")
_LAST_SERIAL = 2_958_465  # 9999-12-31


def from_serial(serial: float, *, since_1904: bool) -> date | None:
    """The civil date of a serial day number (ECMA-376 part 1, 18.17.4), or None.

    The 1900 calendar counts a 29 February 1900 that never was. Programs disagree by a day on what
    comes before it, so days up to 60 have no date. Neither have numbers below 1, which are times of
    a day, in the 1904 calendar too. The time of day is dropped: a cell has no time zone.
    """
    if not 1 <= serial <= _LAST_SERIAL:  # also false for NaN
        return None
    day = int(serial)
    if since_1904:
        return date(1904, 1, 1) + timedelta(days=day) if day <= _LAST_SERIAL - 1462 else None
    return date(1899, 12, 30) + timedelta(days=day) if day > 60 else None


def from_text(text: str, date_format: str | None = None) -> When:
    """ISO 8601, day.month.year with dots, or exactly `date_format`; anything else is None.

    Day and month separated by slashes are not guessed at. An instant is given back only where
    the text names its offset from UTC; a time without one is dropped.
    """
    text = text.strip()
    try:
        if date_format is not None:
            return _civil(datetime.strptime(text, date_format))  # noqa: DTZ007 - see _civil
        if _ISO.fullmatch(text):
            return _civil(datetime.fromisoformat(text))
        if dotted := _DOTTED.fullmatch(text):
            day, month, year = (int(part) for part in dotted.groups())
            return date(year, month, day)
    except (ValueError, OverflowError):
        return None
    return None


def _civil(moment: datetime) -> When:
    return moment.date() if moment.tzinfo is None else moment.astimezone(UTC)


def to_serial(day: date, *, since_1904: bool) -> int | None:
    """The serial day number that `from_serial` reads as this day, or None where there is none."""
    first = date(1904, 1, 1) if since_1904 else date(1899, 12, 30)
    serial = (day - first).days
    return serial if from_serial(serial, since_1904=since_1904) == day else None


def to_text(when: date, above: str, date_format: str | None = None) -> str:
    """A day, or an instant in the zone whose clock is to be shown, as text that `from_text` reads.

    Written by `date_format`, else as the text `above` it in the column is, else as ISO 8601.
    """
    if date_format is not None:
        return when.strftime(date_format)
    above = above.strip()
    timed = isinstance(when, datetime)
    day = f"{when.year:04}-{when.month:02}-{when.day:02}"
    if _DOTTED.fullmatch(above):
        padded = not re.match(r"\d\.|\d\d\.\d\.", above)
        day = f"{when:%d.%m.}" if padded else f"{when.day}.{when.month}."
        return f"{day}{when.year:04}" + (f"{when: %H:%M}" if timed and ":" in above else "")
    if _ISO.fullmatch(above) and isinstance(when, datetime):
        if len(above) == 10:
            return day
        if not re.fullmatch(r".{11}[\d:.]*", above):
            return when.astimezone(UTC).isoformat(above[10], "seconds").replace("+00:00", "Z")
        return f"{day}{above[10]}{when:%H:%M}"
    return f"{day}{when: %H:%M}" if timed else day
