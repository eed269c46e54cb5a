"""Adding rows to a sheet of an OpenDocument spreadsheet, below the last record."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from functools import cached_property
from typing import BinaryIO

from retention.connectors.spreadsheet.columns import Columns, cell_at
from retention.connectors.spreadsheet.ending import Computes, Ending
from retention.connectors.spreadsheet.entries import Entry, Stored
from retention.connectors.spreadsheet.odsbook import OdsBook, OdsTable
from retention.connectors.spreadsheet.odsedit import refuse_opaque_ods
from retention.connectors.spreadsheet.odsrows import blank, parse_row, with_values, without_result
from retention.connectors.spreadsheet.odsshift import own_row_only
from retention.connectors.spreadsheet.odsxml import CONTENT, LAST_ROW, Piece
from retention.connectors.spreadsheet.package import Package
from retention.connectors.spreadsheet.survey import checksum
from retention.connectors.spreadsheet.table import Row
from retention.connectors.spreadsheet.xmltext import unescape
from retention.errors import PermanentFailure

_FIRST_DAY = date(1900, 3, 1)
"""What is before it is read as a time of day (see odsrows)."""
_FORMULA = re.compile(rb"""\stable:formula\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_AREA = re.compile(r"\[\.\$?[A-Z]{1,3}\$?(\d+):\.\$?[A-Z]{1,3}\$?(\d+)\]")
_TOTALS = re.compile(r"\b(?:SUBTOTAL|AGGREGATE)\s*\(")
_EMPTY = b"<table:table-row></table:table-row>"
_NOT_COPIED = re.compile(
    rb"""\s(?:table:number-rows-repeated|table:visibility|xml:id)\s*=\s*(?:"[^"]*"|'[^']*')"""
)
_REPEATED = re.compile(rb"""(\stable:number-rows-repeated\s*=\s*)["']\d+["']""")
_HEADER_END = re.compile(rb"\s*</table:table-header-rows\s*>")


class OdsAddition:
    """Rows to be added to one sheet."""

    def __init__(self, table: OdsTable, columns: Columns) -> None:
        self.table, self.columns, self.book = table, columns, table.book
        self.ending = Ending()
        self.within: range | None = None

    def look(self, row: Row) -> Computes:
        """What the formulas of a row read."""
        texts = [unescape(a or b).decode() for a, b in _FORMULA.findall(row.raw)]
        for text in texts:
            lines = [sorted((int(m[1]), int(m[2]))) for m in _AREA.finditer(text)]
            above = any(self.columns.header < a < b < row.number for a, b in lines)
            if above or _TOTALS.search(text):
                return Computes.TOTAL
        # Formulas that stand prepared below the records are not filled here.
        return Computes.OTHER_ROWS

    @property
    def first(self) -> int:
        """Number of the first new row."""
        return self.ending.last + 1

    def prepare(self, count: int) -> None:
        """Raise PermanentFailure where so many rows cannot be added."""
        refuse_opaque_ods(self.book, self.table.container)
        if self.ending.last + count > LAST_ROW:
            raise PermanentFailure("the sheet is full", hint="begin another one", code="full")

    def date(self, column: int, when: date) -> Stored:
        """A date as cells hold it, with the time of day where the one above has it."""
        day = when.date() if isinstance(when, datetime) else when
        if day < _FIRST_DAY:
            return day.isoformat()
        above = cell_at(self.ending.above, column) if self.ending.above is not None else None
        timed = above is not None and above.kind == "d" and b"T" in above.value
        if isinstance(when, datetime) and timed:
            return when.replace(tzinfo=None, microsecond=0)
        return day

    @cached_property
    def _template(self) -> bytes:
        """The last record's row, emptied: its styles, and rules for what may be typed."""
        above = self.ending.above
        if above is None or b"-spanned" in above.raw or b"covered-table-cell" in above.raw:
            return _EMPTY
        raw = blank(above.raw)
        end = raw.index(b">") + 1
        return _NOT_COPIED.sub(b"", raw[:end]) + raw[end:]

    def row(self, number: int, entry: Entry) -> bytes:  # noqa: ARG002 - rows bear no numbers here
        """The row's XML."""
        return with_values(self._template, entry.cells)

    def parsed(self, number: int, raw: bytes) -> Row:
        """The row as it will be read."""
        return parse_row(number, raw)

    def write(self, out: BinaryIO, rows: Mapping[int, bytes]) -> Iterator[Row]:
        """Write the new package; gives the new rows as it reads. Raises PermanentFailure."""
        self.book.package.rewrite(out, {CONTENT: self._content(rows)})
        out.flush()
        out.seek(0)
        again = OdsBook(Package(out))
        sheet = next(s for s in again.sheets if s.name == self.table.container)
        table = OdsTable(again, sheet, self.table.calendar.date_format)
        if checksum(table, set(rows)) != self.ending.kept(rows):
            return
        for row in table.rows():
            if row.number in rows:
                yield row

    def _content(self, rows: Mapping[int, bytes]) -> Iterator[bytes]:
        writer = _Writer(self, b"".join(rows[number] for number in sorted(rows)), len(rows))
        buffer: list[bytes] = []
        for piece in self.book.pieces():
            buffer.append(writer.written(piece))
            if len(buffer) == 1000:
                yield b"".join(buffer)
                buffer.clear()
        yield b"".join(buffer)


class _Writer:
    """Turns pieces of the old document into pieces of the new one."""

    def __init__(self, addition: OdsAddition, fresh: bytes, count: int) -> None:
        self.sheet = addition.table.container
        self.header, self.last = addition.columns.header, addition.ending.last
        self.fresh, self.left = fresh, count
        self.waiting = self.grouped = False

    def written(self, piece: Piece) -> bytes:
        """What stands in its place."""
        raw = piece.raw
        if piece.kind == "row" and b"table:formula" in raw:
            raw = _trusted(piece)
        if piece.sheet != self.sheet or not (self.waiting or self._at_the_end(piece)):
            return self._after(piece, raw) if piece.sheet == self.sheet else raw
        if not self.waiting:
            if self.last == self.header:
                # The header may stand in a group of its own, which ends first.
                self.waiting = True
                return raw
            return raw + self._take_fresh()
        if piece.kind == "between" and not raw.strip():
            return raw
        self.waiting = False
        closed = _HEADER_END.match(raw) if piece.kind == "between" else None
        if closed is not None:
            return closed[0] + self._take_fresh() + raw[closed.end() :]
        return self._take_fresh() + self._after(piece, raw)

    def _at_the_end(self, piece: Piece) -> bool:
        return (
            piece.kind == "row"
            and bool(self.fresh)
            and piece.number <= self.last < piece.number + piece.repeated
        )

    def _take_fresh(self) -> bytes:
        fresh, self.fresh = self.fresh, b""
        return fresh

    def _after(self, piece: Piece, raw: bytes) -> bytes:
        """The empty rows below: new ones take the place of as many, so that nothing moves."""
        if piece.kind == "between" and b"table:table-" in raw:
            self.grouped = True
        if piece.kind != "row" or self.fresh or piece.number <= self.last or not self.left:
            return raw
        if any(mark in raw for mark in (b"<draw:", b"<office:annotation", b"covered-table-cell")):
            raise PermanentFailure(
                "a note, a shape or a merged cell lies below the records",
                hint="move it to another place, so that rows can be added",
                code="below_records",
            )
        if piece.repeated > self.left:
            stay, self.left = piece.repeated - self.left, 0
            end = raw.index(b">") + 1
            return _REPEATED.sub(rb'\g<1>"%d"' % stay, raw[:end]) + raw[end:]
        if self.grouped:
            return raw  # a group must keep a row
        self.left -= piece.repeated
        return b""


def _trusted(piece: Piece) -> bytes:
    """The row without results that may rest on rows which are added."""
    texts = [unescape(a or b).decode() for a, b in _FORMULA.findall(piece.raw)]
    stale = not all(own_row_only(text, piece.number) for text in texts)
    return without_result(piece.raw) if stale else piece.raw
