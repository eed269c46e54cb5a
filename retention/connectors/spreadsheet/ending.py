"""Where the records of a sheet end: the row after which a new one can be added."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple

from retention.connectors.spreadsheet.blocks import Block
from retention.connectors.spreadsheet.columns import Columns, cell_at, is_typed, pieces
from retention.connectors.spreadsheet.identity import own_key
from retention.connectors.spreadsheet.table import Cell, Row, Table, date_of, fingerprint, text_of
from retention.errors import PermanentFailure

_WRAP = 1 << 128


class Computes(Enum):
    """What the formulas of a row read."""

    OWN_ROW = auto()
    OTHER_ROWS = auto()
    TOTAL = auto()
    """The rows above it: this row is no record, whatever stands in its key column."""


class Free(NamedTuple):
    """A row below the records that a new record may take: empty, or with formulas prepared."""

    raw: bytes
    print: int


@dataclass(slots=True)
class Ending:
    """What one pass over a sheet found."""

    known: set[str] = field(default_factory=set)
    """Keys that are there, of those asked for."""
    last: int = 0
    """Number of the last record's row; the header's where there is none."""
    end: int = 0
    """Number of the last row of any kind."""
    above: Row | None = None
    """The last record."""
    free: dict[int, Free] = field(default_factory=dict)
    """By number: rows that follow at once."""
    below: int | None = None
    """Number of a row below the records that is none."""
    within: range | None = None
    """Rows of the Excel table that holds the records, where there is one."""
    prints: int = 0

    def kept(self, taken: Collection[int]) -> int:
        """The sum (see survey.checksum) of all rows but those that new records take."""
        gone = sum(self.free[n].print for n in taken if n in self.free)
        return (self.prints - gone) % _WRAP

    def text_above(self, column: int) -> str:
        """What the last record says in a column, as text; "" where it is no text."""
        cell = cell_at(self.above, column) if self.above is not None else None
        return text_of(cell) if cell is not None and cell.kind in "sd" else ""

    def refuse_below(self, count: int, place: str) -> None:
        """Raise where something stands below the records: new ones would end up beyond it.

        `count`: rows to be added. Below an Excel table there may be room for so many.
        """
        if self.below is None or (self.within is not None and self.below > self.last + count):
            return
        raise PermanentFailure(
            f"row {self.below} stands below the records and is none: a total, or a remark",
            hint="move it above the header or to another sheet, so that rows can be added; if it "
            "is a record, give it a key and a date",
            place=place,
            code="below_records",
        )


def ending_of(
    table: Table,
    columns: Columns,
    wanted: Collection[str],
    place: str,
    look: Callable[[Row], Computes],
    within: range | None = None,
) -> Ending:
    """Find the last record. `look` sees every row that holds a formula, from the top.

    In an Excel table (its rows are `within`) every row that holds anything is a record. Else a row
    is one by a date in a date column; or by a key, unless it adds up the rows above, or stands
    alone below a gap, or below what is no record.
    """
    ending = Ending(last=columns.header, within=within)
    seeking = _Seeking(ending, columns, frozenset(wanted), place, look, table)
    for piece in pieces(table):
        if isinstance(piece, Block):
            seeking.block(piece)
        else:
            seeking.row(piece)
    return seeking.ending


@dataclass(slots=True)
class _Seeking:
    """The pass itself."""

    ending: Ending
    columns: Columns
    wanted: frozenset[str]
    place: str
    look: Callable[[Row], Computes]
    table: Table

    def row(self, row: Row) -> None:
        """Take in one row."""
        ending, columns = self.ending, self.columns
        own_print = int(fingerprint(row), 16)
        ending.prints += own_print
        ending.end = row.number
        formulas = any(cell.formula for cell in row.cells)
        computes = self.look(row) if formulas else Computes.OWN_ROW
        if row.number <= columns.header:
            return
        key = own_key(row, columns, self.place)
        if key in self.wanted:
            ending.known.add(key)
        self._sort(row, key, own_print, computes)

    def _sort(self, row: Row, key: str, own_print: int, computes: Computes) -> None:
        formulas = any(cell.formula for cell in row.cells)
        if self._is_record(row, key, computes):
            self._record(row)
        elif is_typed(row, self.columns) or (formulas and not self._prepared(row, computes)):
            self._below(row.number)
        else:
            self._free(row.number, row.raw, own_print)

    def _is_record(self, row: Row, key: str, computes: Computes) -> bool:
        ending = self.ending
        if ending.within is not None:
            return row.number in ending.within and is_typed(row, self.columns)
        if computes is Computes.TOTAL:
            return False
        if self._dated(row):
            return True
        typed = sum(bool(cell.value) and not cell.formula for cell in row.cells)
        return bool(key) and ending.below is None and (row.number == ending.last + 1 or typed > 1)

    def _prepared(self, row: Row, computes: Computes) -> bool:
        first, last = self.columns.block
        inside = all(first <= cell.column <= last for cell in row.cells)
        return inside and computes is Computes.OWN_ROW

    def _dated(self, row: Row) -> bool:
        cells: list[Cell | None] = [cell_at(row, c) for c in self.columns.dates.values()]
        return any(
            cell is not None and not cell.formula and date_of(cell, self.table.calendar)
            for cell in cells
        )

    def block(self, block: Block) -> None:
        """Take in a run of rows, of which only the end matters."""
        ending, columns = self.ending, self.columns
        prints = [int(print_, 16) for print_ in block.fingerprints()]
        ending.prints += sum(prints)
        ending.end = block.numbers[-1]
        keys = block.texts(columns.key)
        first = bisect_right(block.numbers, columns.header)
        ending.known |= self.wanted.intersection(keys[first:])
        numbers = block.numbers[first:]
        if self._all_records(numbers, keys[first:]):
            self._record(next(block.select([len(block) - 1]).rows()))
            return
        for at, row in enumerate(block.rows()):
            if at >= first:
                self._sort(row, keys[at], prints[at], Computes.OWN_ROW)

    def _all_records(self, numbers: Sequence[int], keys: Sequence[str]) -> bool:
        """Whether this is a run of rows with keys that goes on where the records have ended."""
        ending = self.ending
        if not numbers or not all(keys) or ending.below is not None:
            return False
        whole = numbers[0] == ending.last + 1 and numbers[-1] - numbers[0] + 1 == len(numbers)
        return whole and (ending.within is None or numbers[-1] in ending.within)

    def _record(self, row: Row) -> None:
        ending = self.ending
        ending.last, ending.above, ending.below = row.number, row, None
        ending.free.clear()

    def _below(self, number: int) -> None:
        if self.ending.below is None:
            self.ending.below = number

    def _free(self, number: int, raw: bytes, own_print: int) -> None:
        if self.ending.last < number <= self.ending.last + len(self.wanted):
            self.ending.free[number] = Free(raw, own_print)
