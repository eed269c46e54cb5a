"""Rows as both file forms give them, and what makes a row a record."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from hashlib import blake2b
from typing import NamedTuple, Protocol

from retention.connectors.base import Scalar, Value, When
from retention.connectors.spreadsheet.dates import from_serial, from_text

_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")


class Cell(NamedTuple):
    """One cell that holds something, were it an empty text of the workbook's table."""

    column: int
    """1 for A."""
    kind: str
    """`s` text, `n` number, `b` boolean, `e` error, `d` ISO date."""
    value: bytes
    """UTF-8 text; of a formula, the result that was stored with it."""
    formula: bool = False
    shared: int = -1
    """Index in the workbook's table of strings, or -1."""


class Row(NamedTuple):
    """One row with at least one cell that holds something, or none."""

    number: int
    cells: list[Cell]
    raw: bytes = b""
    ragged: bool = False
    """More fields than the header has names: values may stand under the wrong name."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """How this file writes dates."""

    since_1904: bool = False
    date_format: str | None = None


class Table(Protocol):
    """A sheet or a CSV file that is open for reading."""

    container: str
    calendar: Calendar

    def rows(self, only: Collection[int] = ()) -> Iterator[Row]:
        """Every row in order, streamed. Raises PermanentFailure where the file is malformed.

        `only`: cells of other columns may be left out, for speed; `raw` is whole all the same.
        """


SEPARATOR = b"\x01"
"""Between the values of a row that is hashed. XML cannot hold it; where CSV does, it is escaped."""
_IN_CSV = re.compile(rb"[\x01\x02]")


def head_of(cells: Iterable[tuple[int, str]]) -> bytes:
    """What is hashed of a row before its values: column and kind of every cell."""
    return b",".join(b"%d%b" % (column, kind.encode()) for column, kind in cells) + b"\0"


def fingerprint(row: Row, read: Collection[int] = ()) -> str:
    """Hash of a row's values, the same however the program that saved them encodes them.

    Results of formulas count only in the columns `read` from: elsewhere a `TODAY()` would make
    every row a changed one on each save.
    """
    head: list[tuple[int, str]] = []
    values: list[bytes] = []
    for column, kind, value, formula, _ in row.cells:
        if formula and column not in read:
            head.append((column, "="))
        elif value:
            head.append((column, kind))
            values.append(value)
    text = SEPARATOR.join(values)
    if text.count(SEPARATOR) >= max(len(values), 1) or b"\x02" in text:
        text = SEPARATOR.join(_IN_CSV.sub(_otherwise, value) for value in values)
    return blake2b(head_of(head) + text, digest_size=16).hexdigest()


def _otherwise(match: re.Match[bytes]) -> bytes:
    return b"\x02a" if match[0] == SEPARATOR else b"\x02b"


def text_of(cell: Cell) -> str:
    """A cell's value as text, control characters unescaped."""
    text = cell.value.decode()
    if cell.kind == "s" and "_x" in text:
        text = _ESCAPED.sub(lambda m: chr(int(m[1], 16)), text)
    return text


def scalar_of(cell: Cell | None) -> Scalar:
    """A cell's value; errors and empty cells are None."""
    if cell is None or cell.kind == "e" or not cell.value:
        return None
    if cell.kind == "b":
        return cell.value != b"0"
    if cell.kind == "n":
        return number_of(cell.value)
    return text_of(cell)


def number_of(value: bytes) -> int | float | str:
    """An integer where it is one, so that a key typed as 1042 is not read as 1042.0."""
    try:
        number = float(value)
    except ValueError:
        return value.decode()
    return int(number) if number.is_integer() and abs(number) < 1e15 else number


def date_of(cell: Cell | None, calendar: Calendar) -> When:
    """A cell's date, or None where it is empty or can be read in no way or in two."""
    if cell is None or not cell.value:
        return None
    if cell.kind == "n":
        number = number_of(cell.value)
        if isinstance(number, str):
            return None
        return from_serial(number, since_1904=calendar.since_1904)
    if cell.kind == "d":
        return from_text(text_of(cell))
    return from_text(text_of(cell), calendar.date_format) if cell.kind == "s" else None


def key_of(cell: Cell | None) -> str:
    """A key as text; empty where there is none."""
    value = scalar_of(cell)
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    text = "" if value is None else str(value)
    return text if text.strip() else ""


def json_value(value: Value | When) -> Scalar:
    """A value as JSON can carry it."""
    if isinstance(value, date | datetime):
        return value.isoformat()
    return value if not isinstance(value, tuple) else ", ".join(value)
