"""Adding rows to a sheet of a workbook, below the last record; all other rows stay as they are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from functools import cached_property
from typing import BinaryIO

from retention.connectors.base import Scalar
from retention.connectors.spreadsheet.columns import Columns
from retention.connectors.spreadsheet.computing import Look
from retention.connectors.spreadsheet.dates import to_serial, to_text
from retention.connectors.spreadsheet.datestyles import Shows, shown_by
from retention.connectors.spreadsheet.edits import Edits
from retention.connectors.spreadsheet.ending import Computes, Ending
from retention.connectors.spreadsheet.entries import Entry, Stored
from retention.connectors.spreadsheet.growing import (
    column_styles,
    grow_table,
    in_the_way,
    refuse_merged,
    rows_of_table,
    with_dimension,
)
from retention.connectors.spreadsheet.names import compute_anew
from retention.connectors.spreadsheet.others import followed, look_at_others
from retention.connectors.spreadsheet.package import Package
from retention.connectors.spreadsheet.parts import refuse_opaque
from retention.connectors.spreadsheet.rowxml import valued, without_results
from retention.connectors.spreadsheet.sheetxml import (
    Grammar,
    SheetXml,
    column_letters,
    column_number,
    parse_row,
)
from retention.connectors.spreadsheet.shift import LAST_ROW, Unshiftable
from retention.connectors.spreadsheet.skeleton import Skeleton
from retention.connectors.spreadsheet.survey import checksum
from retention.connectors.spreadsheet.table import Row
from retention.connectors.spreadsheet.workbook import SheetTable, Workbook
from retention.connectors.spreadsheet.xmltext import attributes
from retention.errors import PermanentFailure

_LITERAL = "_x005F_"
"""An underscore that does not begin the code of a character (ECMA-376 part 1, 22.9.2.19)."""


class SheetAddition:
    """Rows to be added to one sheet."""

    def __init__(self, table: SheetTable, columns: Columns) -> None:
        self.table, self.columns = table, columns
        self.workbook, self.sheet = table.workbook, table.sheet
        self.ending = Ending()
        self.names: Grammar = self.workbook.xml(self.sheet).grammar
        self.formulas = False
        self._looking = Look(self.sheet.name, self.names, columns.header)

    def look(self, row: Row) -> Computes:
        """What the formulas of a row read; rows come from the top."""
        self.formulas = True
        return self._looking.computes(row.number, row.raw)

    @cached_property
    def within(self) -> range | None:
        """Rows of the Excel table around the records."""
        with self._unshiftable():
            return rows_of_table(Edits(self.workbook), self.sheet, self.columns)

    @property
    def first(self) -> int:
        """Number of the first new row."""
        return self.ending.last + 1

    def prepare(self, count: int) -> None:
        """Raise PermanentFailure where so many rows cannot be added."""
        refuse_opaque(self.workbook, self.sheet)
        rows = range(self.first, self.first + count)
        if rows[-1] > LAST_ROW:
            raise PermanentFailure("the sheet is full", hint="begin another one", code="full")
        with self._unshiftable():
            grow_table(Edits(self.workbook), self.sheet, self.columns, self.ending.last, rows)
            refuse_merged(self._skeleton.root, rows)
        if self._looking.results_in(rows):
            raise in_the_way("the result of a formula")

    @contextlib.contextmanager
    def _unshiftable(self) -> Iterator[None]:
        try:
            yield
        except Unshiftable as why:
            raise PermanentFailure(
                f"rows cannot be added: the sheet holds {why}",
                hint="remove it by hand, or name another sheet in copy_to",
                code="cannot_add",
            ) from why

    @cached_property
    def _skeleton(self) -> Skeleton:
        return Skeleton(self.table.xml)

    @cached_property
    def _styles(self) -> dict[int, bytes]:
        """Style by column: as the last record has it, else as the column says."""
        above = self.ending.above
        own = dict(self._cells(above.raw, style=True)) if above is not None else {}
        return column_styles(self._skeleton.root) | own

    def _cells(self, raw: bytes, *, style: bool = False) -> Iterator[tuple[int, bytes]]:
        column = 0
        for match in self.names.cell.finditer(raw):
            said = attributes(match[1])
            name = said.get(b"r", b"").rstrip(b"0123456789")
            column = column_number(name) if name else column + 1
            yield column, said.get(b"s", b"") if style else match[0]

    @cached_property
    def _shown(self) -> list[Shows]:
        return shown_by(self.workbook)

    def date(self, column: int, when: date) -> Stored:
        """A serial number where the style above shows dates, else text."""
        style = self._styles.get(column, b"")
        shows = Shows.NUMBER
        if style.isdigit() and int(style) < len(self._shown):
            shows = self._shown[int(style)]
        day = when.date() if isinstance(when, datetime) else when
        serial = to_serial(day, since_1904=self.workbook.since_1904)
        if shows is Shows.NUMBER or serial is None:
            above = self.ending.text_above(column)
            return to_text(when, above, self.table.calendar.date_format)
        if shows is Shows.TIME_TOO and isinstance(when, datetime):
            seconds = when.hour * 3600 + when.minute * 60 + when.second
            return serial + seconds / 86_400 if seconds else serial
        return serial

    def row(self, number: int, entry: Entry) -> bytes:
        """The row's XML, with what stands prepared there. Raises PermanentFailure."""
        names, p = self.names, self.names.prefix
        free = self.ending.free.get(number)
        there = dict(self._cells(free.raw)) if free is not None else {}
        cells: list[bytes] = []
        for column in sorted({*self._styles, *there, *entry.cells}):
            old = there.get(column, b"")
            matched = names.cell.match(old)
            said = attributes(matched[1]) if matched is not None else {}
            style = self._styles.get(column) or said.get(b"s", b"")
            said = {b"r": column_letters(column) + b"%d" % number} | (
                {b"s": style} if style else {}
            )
            if b"<%bf" % p in old:
                if column in entry.cells:
                    raise _computed(number, self.sheet.name)
                cells.append(without_results(old, names))
            elif column in entry.cells:
                cells.append(valued(names, said, _in_xml(entry.cells[column])))
            elif style:
                cells.append(valued(names, said, None))
        opened = names.row.match(free.raw) if free is not None else None
        said = attributes(opened[1]) if opened is not None else {}
        kept = b"".join(b' %b="%b"' % (k, v) for k, v in said.items() if k not in _DROPPED)
        return b'<%brow r="%d"%b>%b</%brow>' % (p, number, kept, b"".join(cells), p)

    def parsed(self, number: int, raw: bytes) -> Row:
        """The row as it will be read."""
        return parse_row(number, raw, self.names, self.workbook.strings, self.sheet.part)

    def write(self, out: BinaryIO, rows: Mapping[int, bytes]) -> Iterator[Row]:
        """Write the new package; gives the new rows as it reads. Raises PermanentFailure."""
        parts = Edits(self.workbook)
        reach = range(min(rows), max(rows) + 1)
        grow_table(parts, self.sheet, self.columns, self.ending.last, reach)
        edits: dict[str, Iterable[bytes] | None] = {self.sheet.part: self._sheet(rows)}
        others = look_at_others(self.workbook, self.sheet)
        if self.formulas or others.formulas:
            compute_anew(parts)
        for other in others.elsewhere:
            skeleton = Skeleton(others.around[other.part])
            edits[other.part] = followed(
                self.workbook, other, self.sheet, None, skeleton, stale=True
            )
        edits |= {part: None if data is None else [data] for part, data in parts.result().items()}
        self.workbook.package.rewrite(out, edits)
        out.flush()
        out.seek(0)
        again = Workbook(Package(out))
        table = SheetTable(again, again.sheet(self.sheet.name), self.table.calendar.date_format)
        if checksum(table, set(rows)) != self.ending.kept(rows):
            return
        for row in table.rows():
            if row.number in rows:
                yield row

    def _sheet(self, rows: Mapping[int, bytes]) -> Iterator[bytes]:
        xml = self.workbook.xml(self.sheet)
        yield with_dimension(xml.head, max(rows), range(1, max(self.columns.places.values()) + 1))
        yield xml.opened
        buffer: list[bytes] = []
        for raw in self._rows(xml, rows):
            buffer.append(raw)
            if len(buffer) == 1000:
                yield b"".join(buffer)
                buffer.clear()
        yield b"".join(buffer) + xml.closed + xml.tail

    def _rows(self, xml: SheetXml, rows: Mapping[int, bytes]) -> Iterator[bytes]:
        looking = Look(self.sheet.name, self.names, self.columns.header)
        left = iter(sorted(rows))
        following = next(left, None)
        for number, raw in xml.raw_rows():
            while following is not None and following <= number:
                yield rows[following]
                following = next(left, None)
            if number in rows:
                continue
            stale = b"<%bf" % self.names.prefix in raw and (
                looking.computes(number, raw) is not Computes.OWN_ROW
            )
            yield without_results(raw, self.names) if stale else raw
        while following is not None:
            yield rows[following]
            following = next(left, None)


_DROPPED = frozenset({b"r", b"spans", b"hidden"})


def _in_xml(stored: Stored) -> Scalar:
    if isinstance(stored, date):
        raise TypeError("a workbook's cells hold no dates")
    if isinstance(stored, str):
        # As text, `_x0041_` must not be read as the code of a letter.
        pieces = stored.split("_x")
        return pieces[0] + "".join(_begun(piece) + piece for piece in pieces[1:])
    return stored


def _begun(piece: str) -> str:
    coded = (
        len(piece) >= 5
        and piece[4] == "_"
        and all(c in "0123456789abcdefABCDEF" for c in piece[:4])
    )
    return f"{_LITERAL}x" if coded else "_x"


def _computed(number: int, sheet: str) -> PermanentFailure:
    return PermanentFailure(
        f"row {number} computes a column by a formula into which a copy would be written",
        hint="leave that column out of copy_to, or choose another one",
        place=f"sheet {sheet!r}",
        code="column_computed",
    )
