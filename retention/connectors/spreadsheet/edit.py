"""Taking rows out of a workbook: everything else stays, or nothing happens at all.

Rows are removed and the rest moves up where that can be done as Excel would do it. Where something
in the workbook points at rows in a way that cannot be moved safely (charts, notes, formulas that
read a row which goes), the rows are emptied in place instead, which moves nothing.
"""

from __future__ import annotations

import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO

from retention.connectors.base import Scalar
from retention.connectors.spreadsheet.columns import Columns
from retention.connectors.spreadsheet.others import (
    Others,
    look_at_others,
    without_stale_results,
)
from retention.connectors.spreadsheet.package import Package
from retention.connectors.spreadsheet.parts import (
    drop_chart_caches,
    drop_notes,
    drop_relationships,
    edit_workbook,
    refuse_watchers,
    row_hazards,
    shift_tables,
)
from retention.connectors.spreadsheet.residue import (
    Needles,
    is_text,
    left_in,
    may_occur,
    vocabulary,
)
from retention.connectors.spreadsheet.rowxml import Formulas, blank, renumber, with_values
from retention.connectors.spreadsheet.sheetxml import SheetXml
from retention.connectors.spreadsheet.shift import RowMap, Unshiftable, corners_of
from retention.connectors.spreadsheet.skeleton import Skeleton
from retention.connectors.spreadsheet.strings import emptied
from retention.connectors.spreadsheet.survey import Survey, checksum
from retention.connectors.spreadsheet.table import Row
from retention.connectors.spreadsheet.workbook import SheetTable, Workbook
from retention.connectors.spreadsheet.xmltext import attributes
from retention.errors import PermanentFailure

_FEW, _MANY = 10_000, 200_000
_LONG = 4 << 20


@dataclass
class RowWatch:
    """Sees every row of the sheet once, before the act."""

    table: SheetTable
    formulas: bool = False
    shared_masters: set[int] = field(default_factory=set)
    arrays: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hazard = row_hazards(self.table.workbook, self.table.sheet)
        self.names = self.table.workbook.xml(self.table.sheet).grammar

    def look(self, row: Row) -> str:
        """Why this row may not be touched, "" where it may."""
        if b" vm=" in row.raw:
            return "picture_in_cell"
        if b"<%bf" % self.names.prefix in row.raw:
            self.formulas = True
            for match in self.names.formula.finditer(row.raw):
                said = attributes(match[1])
                if said.get(b"t") == b"shared" and b"ref" in said:
                    self.shared_masters.add(row.number)
                elif b"ref" in said:
                    corners = corners_of(said[b"ref"].decode())
                    if corners[0].row != corners[-1].row or said.get(b"t") == b"dataTable":
                        self.arrays.append((corners[0].row, corners[-1].row))
        return self.hazard(row.number)


class Removal:
    """Rows of one sheet to be taken out, or values of one sheet to be overwritten."""

    def __init__(
        self,
        table: SheetTable,
        columns: Columns,
        survey: Survey,
        watch: RowWatch,
        masked: Mapping[str, Scalar] | None = None,
    ) -> None:
        self.workbook: Workbook = table.workbook
        self.table, self.sheet, self.columns = table, table.sheet, columns
        self.survey, self.watch, self.masked = survey, watch, masked
        self._skeleton: Skeleton | None = None
        self.moved = False
        """Whether rows below moved up, once written."""

    def refuse_rows(self) -> None:
        """Leave alone what cannot be taken out without hurting a row that stays."""
        numbers = [row.number for row in self.survey.meant]
        rows = RowMap(numbers)
        codes: dict[int, str] = {}
        for first, last in self.watch.arrays:
            if rows.intersects(first, last):
                codes |= dict.fromkeys(range(first, last + 1), "array_formula")
        if self.masked is None:
            for first, last in Skeleton(self.table.xml).merges():
                if rows.row(first) is None and rows.span(first, last) is not None:
                    # The merged value stands in its first row and belongs to the others too.
                    codes |= dict.fromkeys(range(first, last + 1), "merged_cells")
        self.survey.refuse({n: codes[n] for n in numbers if n in codes})

    def write(self, out: BinaryIO) -> None:
        """Write the new package and prove it. Raises PermanentFailure, leaving `out` useless."""
        others = look_at_others(self.workbook, self.sheet)
        numbers = [row.number for row in self.survey.meant]
        try:
            if self.masked is not None:
                raise Unshiftable("nothing moves")
            if others.watching:
                raise Unshiftable("another sheet points at rows")
            refuse_watchers(self.workbook, self.sheet)
            self._rewrite(out, others, RowMap(numbers), numbers)
            self.moved = True
        except Unshiftable:
            out.seek(0)
            out.truncate()
            try:
                self._rewrite(out, others, None, numbers)
            except Unshiftable as still:
                raise PermanentFailure(
                    f"rows cannot be taken out: the sheet holds {still}",
                    hint="remove it by hand, or keep the rows in a plain sheet of their own",
                    code="cannot_edit",
                ) from still
        self._prove(out, numbers)

    def _rewrite(
        self, out: BinaryIO, others: Others, rows: RowMap | None, numbers: list[int]
    ) -> None:
        gone = frozenset(numbers)
        formulas = self.watch.formulas or others.formulas
        edits: dict[str, Iterable[bytes] | None] = {}

        def add(more: Mapping[str, bytes | None]) -> None:
            edits.update({k: None if v is None else [v] for k, v in more.items()})

        skeleton = Skeleton(self.table.xml)
        over = None if self.masked is None else frozenset(self._values())
        links = skeleton.drop_links(gone, over)
        if rows is not None:
            skeleton.shift(rows, self.sheet.name)
            add(shift_tables(self.workbook, self.sheet, rows))
        add(edit_workbook(self.workbook, self.sheet, rows, recompute=formulas))
        add(drop_relationships(self.workbook, self.sheet, links))
        add(drop_chart_caches(self.workbook, self.sheet))
        if self.masked is None:
            add(drop_notes(self.workbook, self.sheet, gone))
        around = skeleton.split() if rows is not None or skeleton.changed else None
        edits[self.sheet.part] = self._sheet(around, rows, gone)
        for other in others.elsewhere:
            edits[other.part] = without_stale_results(self.workbook, other)
        edits |= self._strings(others)
        self.workbook.package.rewrite(out, edits)

    def _sheet(
        self, around: tuple[bytes, bytes] | None, rows: RowMap | None, gone: frozenset[int]
    ) -> Iterator[bytes]:
        xml = self.workbook.xml(self.sheet)
        yield around[0] if around else xml.head + xml.opening
        buffer: list[bytes] = []
        for raw in self._rows(xml, rows, gone):
            buffer.append(raw)
            if len(buffer) == 1000:
                yield b"".join(buffer)
                buffer.clear()
        yield b"".join(buffer)
        yield around[1] if around else xml.closing + xml.tail

    def _rows(self, xml: SheetXml, rows: RowMap | None, gone: frozenset[int]) -> Iterator[bytes]:
        names = xml.grammar
        formula = b"<%bf" % names.prefix
        formulas = Formulas(self.sheet.name, rows, names)
        for number, raw in xml.raw_rows():
            has = formula in raw
            if number not in gone:
                kept = formulas.put_right(number, raw) if has else raw
                if rows is not None and number > rows.removed[0]:
                    kept = renumber(kept, rows.row(number) or number, names)
                yield kept
            elif self.masked is not None:
                own = formulas.put_right(number, raw, distrust=True) if has else raw
                yield with_values(own, number, self._values(), names)
            else:
                if has:
                    formulas.learn(number, raw)
                if rows is None:
                    yield blank(raw, names)

    def _values(self) -> dict[int, Scalar]:
        return {self.columns.places[name]: v for name, v in (self.masked or {}).items()}

    def _used(self, others: Others) -> bytearray:
        used = bytearray(others.used)
        for index, flag in enumerate(self.survey.used):
            if flag:
                used[index] = 1
        return used

    def _strings(self, others: Others) -> dict[str, Iterable[bytes] | None]:
        part = self.workbook.strings_part
        if part is None or part not in self.workbook.package.names:
            return {}
        used = self._used(others)
        references = self.survey.references + others.references
        if self.masked is not None:
            stay, count = self._still_used()
            references += count
            for index in stay:
                used[index] = 1
        self._orphans = array.array(
            "Q", (i for row in self.survey.meant for i in row.shared if not used[i])
        )
        return {part: emptied(self.workbook.package.chunks(part), part, used, references)}

    def _still_used(self) -> tuple[set[int], int]:
        """Strings that rows with new values still use in their other columns."""
        numbers = {row.number for row in self.survey.meant}
        columns = set(self._values())
        stay: set[int] = set()
        count = 0
        for row in self.table.rows():
            if row.number in numbers:
                indices = [c.shared for c in row.cells if c.shared >= 0 and c.column not in columns]
                stay.update(indices)
                count += len(indices)
        return stay, count

    _orphans: array.array[int] = array.array("Q")

    def _prove(self, out: BinaryIO, numbers: list[int]) -> None:
        """Read the new file as a stranger would: what stays is the same, nothing else is left."""
        out.flush()
        out.seek(0)
        again = Workbook(Package(out))
        table = SheetTable(again, again.sheet(self.sheet.name), None)
        skip = frozenset() if self.moved else frozenset(numbers)
        if checksum(table, skip) != self.survey.kept:
            raise PermanentFailure(
                "the new file did not read back the same; the old one was kept",
                hint="this is a fault of ours: please report it",
                code="not_the_same",
            )
        others = [s for s in again.sheets if s.worksheet and s.part != table.sheet.part]
        live = {other.part for other in again.sheets if other.worksheet}
        if again.strings_part is not None:
            live.add(again.strings_part)
        derived = [name for name in again.package.zip.namelist() if name not in live]
        around = {sheet.part: _around(SheetTable(again, sheet, None)) for sheet in others}
        around[table.sheet.part] = _around(table)
        size = sum(again.package.zip.getinfo(name).file_size for name in derived)
        # Few values at a time keep memory flat; many, where the parts are long to read.
        known: set[str] | None = None
        if size < _LONG and all(is_text(name) for name in derived):
            texts = [
                again.package.read(n) for n in derived if n.endswith((".xml", ".rels", ".vml"))
            ]
            known = vocabulary([*texts, *around.values()])
        for needles in self._needles(_FEW if size < _LONG else _MANY, known):
            hits: dict[str, str] = {}
            for part, value in left_in(again.package.zip, derived, needles):
                hits.setdefault(value, part)
            for part, text in around.items():
                hits |= dict.fromkeys(needles.among([text]), part)
            for value, part in hits.items():
                if not _held(again, value):
                    raise PermanentFailure(
                        f"{part}: the file would still hold values of rows that go",
                        hint="remove what holds them by hand (a note, a text box, a pivot table, "
                        "a document property), and run again",
                        code="residue",
                    )

    def _needles(self, at_once: int, known: set[str] | None) -> Iterator[Needles]:
        values = (v for v in self._values_that_go() if known is None or may_occur(v, known))
        while some := list(islice(values, at_once)):
            yield Needles(some)

    def _values_that_go(self) -> Iterator[str]:
        strings = self.workbook.strings
        for index in self._orphans:
            yield strings[index].decode()
        for row in self.survey.meant:
            for text in row.texts:
                yield text.decode()


def _around(table: SheetTable) -> bytes:
    return table.xml.head + b" " + table.xml.tail


def _held(workbook: Workbook, value: str) -> bool:
    """Whether a cell that stays holds exactly this: then it is another record's value too."""
    text = value.encode()
    return any(
        cell.value == text
        for sheet in workbook.sheets
        if sheet.worksheet
        for row in SheetTable(workbook, sheet, None).rows()
        for cell in row.cells
    )
