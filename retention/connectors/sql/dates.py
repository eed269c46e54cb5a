"""Dates as databases store them: with a zone, without one, as days, as text, as seconds.

Whatever cannot be read as a date is None: such a record is reported, and never due.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import Enum, auto
from typing import Any

from sqlalchemy import ColumnElement, and_, between, case, func, literal, not_, or_
from sqlalchemy.types import Date, DateTime, Integer, TypeEngine

from retention.connectors.base import When

_MARGIN = timedelta(days=2)
"""Push-down may be coarse, never stricter: zones, summer time and civil days fit in this."""

_DIGITS = re.compile(r"\d{8,17}")
_SECONDS = range(1, 100_000_000_000)
_MILLISECONDS = range(100_000_000_000, 100_000_000_000_000)
_MICROSECONDS = range(100_000_000_000_000, 100_000_000_000_000_000)
_OLDEST, _NEWEST = date(1, 1, 3), date(9999, 12, 28)


class Shape(Enum):
    """How a column stores dates."""

    INSTANT = auto()
    """With a zone."""
    UTC = auto()
    """Without one in the answer, but the server keeps UTC (MariaDB TIMESTAMP)."""
    LOCAL = auto()
    """Clock time of the location's zone."""
    DAY = auto()
    NUMBER = auto()
    """Seconds, milliseconds or microseconds since 1970."""
    ANY = auto()
    """Text, or a database that does not hold on to types."""


def shape_of(kind: str, column: TypeEngine[Any]) -> Shape:
    """How a column of this reflected type stores dates; `kind` is the session's."""
    if kind == "sqlite":
        return Shape.ANY
    if isinstance(column, Date):
        return Shape.DAY
    if isinstance(column, DateTime):
        if kind == "mysql":
            return Shape.UTC if type(column).__name__.upper() == "TIMESTAMP" else Shape.LOCAL
        return Shape.INSTANT if column.timezone else Shape.LOCAL
    return Shape.NUMBER if isinstance(column, Integer) else Shape.ANY


def expression(kind: str, shape: Shape, column: ColumnElement[Any]) -> ColumnElement[Any]:
    """What to select: PostgreSQL's infinity and years before 1 have no date in Python."""
    if kind == "postgresql" and shape in {Shape.INSTANT, Shape.LOCAL, Shape.DAY}:
        return case((between(column, _OLDEST, _NEWEST), column))
    return column


def reader(shape: Shape, zone: tzinfo) -> Callable[[Any], When]:
    """A function from the stored value to an instant in UTC, a civil date, or None."""
    utc_zone = str(zone) in {"UTC", "Etc/UTC"}

    def of_datetime(value: datetime) -> datetime:
        if value.tzinfo is not None:
            return value if value.tzinfo is UTC else value.astimezone(UTC)
        if shape is Shape.UTC or utc_zone:
            return value.replace(tzinfo=UTC)
        # A clock time that occurs twice, or never, is taken as the later one: never too early.
        local = value.replace(tzinfo=zone)
        return max(local.astimezone(UTC), local.replace(fold=1).astimezone(UTC))

    def read(value: Any) -> When:
        if value is None:
            return None
        try:
            if isinstance(value, datetime):
                return of_datetime(value)
            if isinstance(value, date):
                return value
            parsed = _parse(value)
            return of_datetime(parsed) if isinstance(parsed, datetime) else parsed
        except (ValueError, OverflowError, OSError):
            return None

    return read


def _parse(value: Any) -> When:
    """ISO 8601 text, YYYYMMDD[HHMMSS], or a number of (milli-, micro-)seconds since 1970."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return _since_1970(value)
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    text = str(value).strip()
    if not _DIGITS.fullmatch(text):
        if len(text) == 10:
            return date.fromisoformat(text)
        # Shorter ISO forms (2024-03, 2024-W10) are no points in time.
        return datetime.fromisoformat(text) if len(text) > 12 else None
    if len(text) in (8, 14) and 1900 <= int(text[:4]) <= 2999:
        form = "%Y%m%d" if len(text) == 8 else "%Y%m%d%H%M%S"
        parsed = datetime.strptime(text, form)  # noqa: DTZ007 -- the caller gives it the location's zone
        return parsed.date() if len(text) == 8 else parsed
    return _since_1970(int(text))


def _since_1970(value: float) -> datetime | None:
    # Zero stands for "not set" far more often than for 1 January 1970.
    whole = int(value)
    for known, unit in ((_SECONDS, 1), (_MILLISECONDS, 1000), (_MICROSECONDS, 1_000_000)):
        if whole in known:
            return datetime.fromtimestamp(value / unit, UTC)
    return None


def not_after(
    kind: str, shape: Shape, column: ColumnElement[Any], instant: datetime, zone: tzinfo
) -> ColumnElement[bool] | None:
    """A condition that every row before `instant`, or without a readable date, fulfils.

    None where the column cannot be compared in the database.
    """
    later = _shifted(instant, _MARGIN)
    local = later.astimezone(zone).replace(tzinfo=None)
    match shape:
        case Shape.NUMBER:
            return _numbers_not_after(column, later)
        case Shape.ANY:
            return _texts_not_after(column, later) if kind == "sqlite" else None
        case Shape.INSTANT:
            known = column < _aware(instant)
        case Shape.UTC:
            known = column < _aware(instant).replace(tzinfo=None)
        case Shape.LOCAL:
            known = column < local
        case Shape.DAY:
            known = column <= local.date()
    return or_(known, column.is_(None))


def not_before(
    shape: Shape, column: ColumnElement[Any], day: date, zone: tzinfo
) -> ColumnElement[bool] | None:
    """A condition that every row on or after this day, or without a readable date, fulfils."""
    start = _shifted(datetime(day.year, day.month, day.day, tzinfo=UTC), -_MARGIN)
    naive = start.astimezone(zone).replace(tzinfo=None)
    if shape is Shape.INSTANT:
        return or_(column >= _aware(start), column.is_(None))
    if shape in {Shape.UTC, Shape.LOCAL}:
        return or_(column >= naive, column.is_(None))
    if shape is Shape.DAY:
        return or_(column >= naive.date(), column.is_(None))
    return None


def _aware(instant: datetime) -> datetime:
    return instant.astimezone(UTC)


def _shifted(instant: datetime, by: timedelta) -> datetime:
    try:
        return instant.astimezone(UTC) + by
    except OverflowError:
        return instant.astimezone(UTC)


def _numbers_not_after(column: ColumnElement[Any], instant: datetime) -> ColumnElement[bool]:
    later = []
    for known, unit in ((_SECONDS, 1), (_MILLISECONDS, 1000), (_MICROSECONDS, 1_000_000)):
        start = int(instant.timestamp() * unit)
        if start < known.stop:
            later.append(between(column, max(start, known.start), known.stop - 1))
    return or_(not_(or_(*later)), column.is_(None))


def _texts_not_after(column: ColumnElement[Any], instant: datetime) -> ColumnElement[bool]:
    """Only text that starts like an ISO date and that SQLite itself can read may be left out."""
    later = and_(
        func.typeof(column) == literal("text"),
        column.op("GLOB")("[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]*"),
        func.julianday(column) >= func.julianday(instant.strftime("%Y-%m-%d %H:%M:%S")),
    )
    return func.coalesce(later, 0) == 0
