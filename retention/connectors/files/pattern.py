"""What names say: `{customer}/invoice-{YYYY}-{MM}-{DD}*`.

Upper-case parts in braces make a date, others are fields. A pattern with a slash is held against
the end of the path, one without against the name.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from retention.connectors.base import When

_DATE_PARTS = {"YYYY": 4, "MM": 2, "DD": 2, "hh": 2, "mm": 2, "ss": 2}
_HOLE = re.compile(r"\{([^{}]*)\}")
_FIELD = re.compile(r"[a-z][a-z0-9_]*")
_GREEDY = {"*": "[^/]*", "?": "[^/]"}


class Reading(NamedTuple):
    """What one path says."""

    when: When
    fields: dict[str, str]


class NamePattern:
    """One pattern. Raises ValueError for what could not be read in one way only."""

    def __init__(self, text: str) -> None:
        self.text = text
        names: list[str] = []
        parts: list[str] = []
        at = 0
        for hole in _HOLE.finditer(text):
            parts += [_plain(text[at : hole.start()]), self._hole(hole.group(1), names)]
            at = hole.end()
        parts.append(_plain(text[at:]))
        if not names:
            raise ValueError("a pattern names something in braces: {YYYY}, {customer}")
        self.fields = tuple(n for n in names if n not in _DATE_PARTS)
        self.dated = "YYYY" in names
        self._timed = "hh" in names
        _check_date(names)
        folders = "" if text.startswith("/") else "(?:.*/)?"
        self._shape = re.compile(folders + "".join(parts).removeprefix("/"), re.DOTALL)

    @staticmethod
    def _hole(name: str, names: list[str]) -> str:
        if name in names:
            raise ValueError(f"{{{name}}} stands twice")
        names.append(name)
        if width := _DATE_PARTS.get(name):
            return rf"(?P<{name}>[0-9]{{{width}}})"
        if not _FIELD.fullmatch(name):
            known = ", ".join(_DATE_PARTS)
            raise ValueError(f"{{{name}}} is neither a lower-case name nor one of {known}")
        return f"(?P<{name}>[^/]+?)"

    def read(self, path: str, zone: ZoneInfo) -> Reading | None:
        """What the path says; None where it does not fit. `when` is None where it is no date."""
        if (found := self._shape.fullmatch(path)) is None:
            return None
        said = found.groupdict()
        fields = {name: said[name] for name in self.fields}
        return Reading(self._date(said, zone) if self.dated else None, fields)

    def _date(self, said: dict[str, str], zone: ZoneInfo) -> When:
        year, month, day = (int(said.get(part, 0)) for part in ("YYYY", "MM", "DD"))
        try:
            # A year or a month alone means its end: a record is never older than its name says.
            month = month if "MM" in said else 12
            last = calendar.monthrange(year, month)[1]
            civil = date(year, month, day if "DD" in said else last)
            if not self._timed:
                return civil
            hour, minute, second = (int(said.get(part, 0)) for part in ("hh", "mm", "ss"))
            local = datetime(civil.year, civil.month, civil.day, hour, minute, second)  # noqa: DTZ001 -- the zone follows
            # An hour that occurs twice means the later one: never older than the name says.
            return local.replace(tzinfo=zone, fold=1).astimezone(UTC)
        except (ValueError, OverflowError, calendar.IllegalMonthError):
            return None


class NamePatterns:
    """Several patterns, in the order in which they are tried."""

    def __init__(self, texts: Sequence[str], zone: ZoneInfo) -> None:
        self._patterns = tuple(NamePattern(text) for text in texts)
        self._zone = zone

    @property
    def fields(self) -> frozenset[str]:
        """Names of the fields that some pattern reads."""
        return frozenset(name for p in self._patterns for name in p.fields)

    @property
    def dated(self) -> bool:
        """Whether some pattern reads a date."""
        return any(p.dated for p in self._patterns)

    def read(self, path: str) -> Reading:
        """What the first pattern that fits reads in this path."""
        for pattern in self._patterns:
            if (found := pattern.read(path, self._zone)) is not None:
                return found
        return Reading(None, {})


def start_of(when: When) -> datetime | None:
    """The first instant that a date may mean in any zone."""
    if when is None or isinstance(when, datetime):
        return when
    return datetime(when.year, when.month, when.day, tzinfo=UTC) - timedelta(hours=14)


def _plain(text: str) -> str:
    if "{" in text or "}" in text:
        raise ValueError("a brace in a pattern is not closed, or not opened")
    if "**" in text:
        raise ValueError("a pattern has no `**`: it is held against the end of the path anyway")
    return "".join(_GREEDY.get(char) or re.escape(char) for char in text)


def _check_date(names: Sequence[str]) -> None:
    order = tuple(_DATE_PARTS)
    given = [part for part in order if part in names]
    if given and given != list(order[: len(given)]):
        raise ValueError("a date has {YYYY}, then {MM}, {DD}, {hh}, {mm}, {ss}, none left out")
