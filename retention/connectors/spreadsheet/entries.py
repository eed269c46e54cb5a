"""Copies on their way into a sheet: what a value becomes in a cell, and if it reads back so."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, tzinfo

from retention.connectors.base import Arrival, Value, When
from retention.connectors.spreadsheet.columns import Columns
from retention.connectors.spreadsheet.identity import untouchable
from retention.connectors.spreadsheet.table import (
    Calendar,
    Cell,
    Row,
    date_of,
    key_of,
    scalar_of,
)

Stored = str | int | float | bool | date
"""What a cell is given: a text, a number, a truth value, or (where cells have dates) a date."""
DateWriter = Callable[[int, date], Stored]
"""(column, a day or an instant in the organisation's zone) → what its cell is given."""

_LONGEST = 32_767
"""UTF-16 units a cell can hold; programs cut off what is longer, or do not open the file."""
_EXACT = 10**15
_UNWRITABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class Refused(Exception):
    """A copy that cannot be written as it is; carries a code, never a value."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Entry:
    """One copy as it will stand in a row."""

    key: str
    cells: Mapping[int, Stored]
    """By column, the key's too; empty values are left out."""
    dates: Mapping[int, date]
    """By column, the dates among them: days, or instants."""


def entry_of(arrival: Arrival, columns: Columns, write_date: DateWriter, zone: tzinfo) -> Entry:
    """What is written for a copy. Raises Refused."""
    if not arrival.key.strip() or untouchable(arrival.key):
        raise Refused("no_key")
    cells: dict[int, Stored] = {columns.key: _text(arrival.key)}
    dates: dict[int, date] = {}
    for name, value in arrival.values.items():
        column = columns.places[name.strip()]
        if isinstance(value, date) and name in columns.dates:
            dates[column] = value
            local = value.astimezone(zone) if isinstance(value, datetime) else value
            cells[column] = write_date(column, local)
        else:
            stored = _stored(value)
            if stored != "":
                cells[column] = stored
    return Entry(arrival.key, cells, dates)


def _stored(value: Value) -> Stored:
    if value is None:
        return ""
    if isinstance(value, bool):
        return value
    if isinstance(value, float) and math.isfinite(value):
        value = int(value) if value.is_integer() else value
    if isinstance(value, int | float):
        # A cell's number has 15 digits: longer ones are names of something.
        return value if abs(value) < _EXACT else str(value)
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _text(text) if text.strip() else ""


def _text(text: str) -> str:
    if _UNWRITABLE.search(text):
        raise Refused("control_characters")
    if len(text.encode("utf-16-le")) > 2 * _LONGEST:
        raise Refused("too_long")
    return text


def reads_back(entry: Entry, row: Row, columns: Columns, calendar: Calendar, zone: tzinfo) -> bool:
    """Whether a row is read as this very entry, with nothing beside it but formulas."""
    cells = {cell.column: cell for cell in row.cells if cell.value and not cell.formula}
    if cells.keys() != entry.cells.keys() or key_of(cells[columns.key]) != entry.key:
        return False
    return all(
        _same_date(entry.dates[column], date_of(cells[column], calendar), zone)
        if column in entry.dates
        else column == columns.key or _same(cells[column], stored)
        for column, stored in entry.cells.items()
    )


def _same(cell: Cell, stored: Stored) -> bool:
    read = scalar_of(cell)
    # A text that looks like a number must be read as text; in CSV a number is text too.
    return read == stored if isinstance(stored, str) else str(read) == str(stored)


def _same_date(meant: date, read: When, zone: tzinfo) -> bool:
    if isinstance(meant, datetime):
        if isinstance(read, datetime):
            return abs((read - meant).total_seconds()) < 1
        meant = meant.astimezone(zone).date()
    return read == meant and not isinstance(read, datetime)
