"""The header row: which name stands over which column, and which rows are records below it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from retention.connectors.base import Op, Target
from retention.connectors.spreadsheet.blocks import Block
from retention.connectors.spreadsheet.csvfile import CsvTable
from retention.connectors.spreadsheet.settings import SpreadsheetLocation
from retention.connectors.spreadsheet.table import Cell, Row, Table, date_of, text_of
from retention.connectors.spreadsheet.workbook import SheetTable
from retention.errors import PermanentFailure

_LOOK_FOR_HEADER = 30


@dataclass(frozen=True, slots=True)
class Columns:
    """Names and places of the columns of one table."""

    header: int
    key: int
    places: Mapping[str, int]
    """Every name that stands once in the header, stripped, with its column."""
    dates: Mapping[str, int]
    fields: Mapping[str, int]
    read: frozenset[int]
    """Columns that decisions rest on."""
    block: tuple[int, int]
    """First and last column of the unbroken run of named columns around the key."""


def settings_of(target: Target) -> SpreadsheetLocation:
    """A target's settings. Raises TypeError on another connector's."""
    if not isinstance(target.settings, SpreadsheetLocation):
        raise TypeError("the target's settings are of another connector")
    return target.settings


def columns_of(table: Table, target: Target, place: str) -> Columns:
    """Read the header. Raises PermanentFailure where it is not what the policy file says."""
    settings = settings_of(target)
    header = _row(table, settings.header)
    named: dict[str, int] = {}
    twice: set[str] = set()
    for cell in header:
        name = text_of(cell).strip()
        if name in named:
            twice.add(name)
        named.setdefault(name, cell.column)
    named.pop("", None)
    tested = tuple(c.source for c in target.where if c.op in (Op.BEFORE, Op.AFTER))
    dates = tuple(dict.fromkeys((*target.dates, *(b.source for b in target.bounds))))
    fields = tuple(dict.fromkeys((*target.fields, *(c.source for c in target.where))))
    for name in (settings.key, *dates, *fields):
        if name.strip() in twice:
            raise PermanentFailure(
                f"the column {name!r} stands twice in row {settings.header}",
                hint="give every column its own name",
                place=place,
                code="header_twice",
            )
        if name.strip() not in named:
            raise _missing(table, name, settings, place)
    if isinstance(table, CsvTable):
        table.width = max(named.values())
    dated = {name: named[name.strip()] for name in (*dates, *(t for t in tested if t in fields))}
    columns = Columns(
        settings.header,
        named[settings.key.strip()],
        {name: column for name, column in named.items() if name not in twice},
        dated,
        {name: named[name.strip()] for name in fields},
        frozenset(named[name.strip()] for name in (settings.key, *dates, *fields)),
        _block(set(named.values()), named[settings.key.strip()]),
    )
    _refuse_second_header(table, columns, header, place)
    return columns


def _row(table: Table, number: int) -> list[Cell]:
    for row in table.rows():
        if row.number >= number:
            return row.cells if row.number == number else []
    return []


def _missing(
    table: Table, name: str, settings: SpreadsheetLocation, place: str
) -> PermanentFailure:
    elsewhere = ""
    for row in table.rows():
        if row.number > _LOOK_FOR_HEADER:
            break
        if settings.key.strip() in {text_of(c).strip() for c in row.cells} and (
            name.strip() in {text_of(c).strip() for c in row.cells}
        ):
            elsewhere = f"; the name stands in row {row.number}: say `header: {row.number}`"
            break
    alike = _alike(table, name, settings.header)
    if alike is not None:
        elsewhere = f"; it says {alike!r}, with other letters or spaces" + elsewhere
    return PermanentFailure(
        f"there is no column {name!r} in row {settings.header}",
        hint="check the spelling, and `header:` if the names stand in another row" + elsewhere,
        place=place,
        code="no_column",
    )


def _alike(table: Table, name: str, header: int) -> str | None:
    """A name that differs in case and spaces only."""
    wanted = "".join(name.split()).casefold()
    for cell in _row(table, header):
        if "".join(text_of(cell).split()).casefold() == wanted:
            return text_of(cell)
    return None


def _block(named: set[int], key: int) -> tuple[int, int]:
    first = last = key
    while first - 1 in named:
        first -= 1
    while last + 1 in named:
        last += 1
    return first, last


def _refuse_second_header(table: Table, columns: Columns, header: list[Cell], place: str) -> None:
    """Two header rows shift nothing visibly, and every date below would be read as missing."""
    first = next((row for row in table.rows() if row.number > columns.header and row.cells), None)
    if first is None:
        return
    cells = {cell.column: cell for cell in first.cells}
    dated = [cells[c] for c in columns.dates.values() if c in cells]
    wordy = [
        cell
        for cell in dated
        if cell.kind == "s"
        and date_of(cell, table.calendar) is None
        and re.fullmatch(r"[^\W\d][^\d]*", text_of(cell).strip())
    ]
    titles = {cell.column: text_of(cell).strip().casefold() for cell in header}
    same = sum(titles.get(c) == text_of(cell).strip().casefold() for c, cell in cells.items())
    only_text = all(cell.kind == "s" for cell in cells.values())
    if (dated and len(wordy) == len(dated) and only_text and columns.key in cells) or (
        len(cells) > 1 and same * 2 > len(cells)
    ):
        raise PermanentFailure(
            f"row {first.number} looks like a second header row",
            hint=f"say `header: {first.number}` if the names stand there, "
            "or put a date into its date column",
            place=place,
            code="two_headers",
        )


def records(table: Table, columns: Columns, only: Collection[int] = ()) -> Iterator[Row]:
    """Rows below the header that hold anything (in the columns `only`, where said).

    A row of formulas alone is a total below the records, or beside them: nobody typed it.
    """
    for row in table.rows(only):
        if row.number > columns.header and is_typed(row, columns):
            yield row


def pieces(table: Table) -> Iterator[Block | Row]:
    """Every row in order, in blocks where the table can be read so."""
    yield from table.pieces() if isinstance(table, SheetTable) else table.rows()


def record_pieces(table: Table, columns: Columns) -> Iterator[Block | Row]:
    """What `records` gives, in blocks where the table can be read so."""
    for piece in pieces(table):
        if isinstance(piece, Block):
            chosen = piece.filled(above=columns.header, first_look=columns.key)
            if chosen:
                yield piece.select(chosen)
        elif piece.number > columns.header and is_typed(piece, columns):
            yield piece


def is_typed(row: Row, columns: Columns) -> bool:
    """Whether a row is one that somebody typed, not one of formulas alone."""
    return any(cell.column == columns.key if cell.formula else cell.value for cell in row.cells)


def cell_at(row: Row, column: int) -> Cell | None:
    """The cell of a row in a column."""
    for cell in row.cells:
        if cell.column == column:
            return cell
    return None
