"""Taking rows out of a workbook: everything else stays, or nothing happens at all.

Rows are removed and the rest moves up where that can be done as Excel would do it. Where something
in the workbook points at rows in a way that cannot be moved safely, the rows are emptied in place
instead, which moves nothing, or the act is refused: as the location's `mode` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO

from retention.connectors.base import Scalar
from retention.connectors.spreadsheet.charts import drop_caches
from retention.connectors.spreadsheet.columns import Columns
from retention.connectors.spreadsheet.comments import drop_notes
from retention.connectors.spreadsheet.departed import Departed, prove_clean
from retention.connectors.spreadsheet.edits import Edits
from retention.connectors.spreadsheet.names import compute_anew, drop_calc_chain
from retention.connectors.spreadsheet.others import Others, followed, look_at_others
from retention.connectors.spreadsheet.package import Package
from retention.connectors.spreadsheet.parts import row_hazards, shift_parts
from retention.connectors.spreadsheet.pivots import Pivots, empty_caches, pivots_over
from retention.connectors.spreadsheet.properties import (
    clean_filters,
    clean_links,
    clean_people,
    clean_properties,
    clean_rules,
    clean_table_filters,
    drop_thumbnail,
)
from retention.connectors.spreadsheet.rowxml import Formulas, blank, moved, renumber, with_values
from retention.connectors.spreadsheet.settings import Mode
from retention.connectors.spreadsheet.sheetxml import SheetXml
from retention.connectors.spreadsheet.shift import LAST_ROW, RowMap, Unshiftable, corners_of
from retention.connectors.spreadsheet.skeleton import Skeleton
from retention.connectors.spreadsheet.strings import emptied
from retention.connectors.spreadsheet.survey import Survey, same_rows
from retention.connectors.spreadsheet.table import Row
from retention.connectors.spreadsheet.workbook import SheetTable, Workbook
from retention.connectors.spreadsheet.xmltext import attributes
from retention.errors import PermanentFailure


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
        mode: Mode = "auto",
    ) -> None:
        self.workbook: Workbook = table.workbook
        self.table, self.sheet, self.columns = table, table.sheet, columns
        self.survey, self.watch, self.masked = survey, watch, masked
        self.mode = mode
        self._pivots = Pivots((), {})
        self._emptied: dict[str, tuple[str, ...]] = {}
        """By part of another sheet: ranges that hold copies until they are computed anew."""
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
        numbers = [row.number for row in self.survey.meant]
        self._pivots = pivots_over(Edits(self.workbook), self.sheet)
        self._others = look_at_others(self.workbook, self.sheet, self._pivots.areas)
        self._emptied = {
            part: (*self._pivots.areas.get(part, ()), *self._others.spilled.get(part, ()))
            for part in {*self._pivots.areas, *self._others.spilled}
        }
        self._used = self._still_used(self._others)
        over = None if self.masked is None else frozenset(self._values())
        self._departed = Departed(
            self.table, self.columns, self.survey, self._used[0], over, self._others.around,
            self._emptied,
        )  # fmt: skip
        try:
            if self.masked is not None or self.mode == "blank":
                raise Unshiftable("nothing moves")
            order = [sheet.name for sheet in self.workbook.sheets]
            rows = RowMap(numbers, breaking=self.mode == "remove", order=order)
            self._rewrite(out, rows, numbers)
            self.moved = True
        except Unshiftable as why:
            if self.masked is None and self.mode == "remove":
                raise PermanentFailure(
                    f"rows cannot be removed: the workbook holds {why}",
                    hint="take that out by hand, or say `mode: auto` so that rows are emptied",
                    code="cannot_remove",
                ) from why
            out.seek(0)
            out.truncate()
            self._blank(out, numbers)
        self._prove(out, numbers)

    def _blank(self, out: BinaryIO, numbers: list[int]) -> None:
        try:
            self._rewrite(out, None, numbers)
        except Unshiftable as still:
            raise PermanentFailure(
                f"rows cannot be taken out: the sheet holds {still}",
                hint="remove it by hand, or keep the rows in a plain sheet of their own",
                code="cannot_edit",
            ) from still

    def _rewrite(self, out: BinaryIO, rows: RowMap | None, numbers: list[int]) -> None:
        gone = frozenset(numbers)
        parts = Edits(self.workbook)
        skeleton = Skeleton(self.table.xml)
        over = None if self.masked is None else frozenset(self._values())
        links = skeleton.drop_links(gone, over)
        if self.masked is None:
            drop_notes(parts, self.sheet, gone)
            skeleton.drop_values(gone)
        if rows is not None:
            shift_parts(parts, self.sheet, skeleton, rows)
        if self.watch.formulas or self._others.formulas:
            compute_anew(parts)
        drop_calc_chain(parts)
        parts.drop_relationships(self.sheet.part, set(links))
        self._forget(parts, skeleton)
        edits: dict[str, Iterable[bytes] | None] = {}
        around = skeleton.split() if rows is not None or skeleton.changed else None
        edits[self.sheet.part] = self._sheet(around, rows, gone)
        edits |= self._elsewhere(rows)
        edits |= self._strings()
        edits |= {k: None if v is None else [v] for k, v in parts.result().items()}
        self.workbook.package.rewrite(out, edits)

    def _forget(self, parts: Edits, skeleton: Skeleton) -> None:
        """Copies of cells, and texts about them, that stand in other parts."""
        stale = {sheet.name for sheet in self._others.elsewhere} | {self.sheet.name}
        stale |= {s.name for s in self.workbook.sheets if s.part in self._pivots.areas}
        drop_caches(parts, stale)
        epoch = datetime(1904, 1, 1) if self.workbook.since_1904 else datetime(1899, 12, 30)  # noqa: DTZ001 - a calendar of days, in no zone
        empty_caches(parts, self._pivots, self._departed.still_held, epoch)
        drop_thumbnail(parts)
        gone = self._departed.gone
        clean_properties(parts, gone)
        clean_people(parts, gone)
        clean_links(parts, gone)
        clean_table_filters(parts, gone)
        skeleton.changed |= clean_rules(skeleton.root, gone)
        skeleton.changed |= clean_filters([skeleton.root], gone)

    def _elsewhere(self, rows: RowMap | None) -> dict[str, Iterable[bytes]]:
        """The other sheets that must change: they read the rows, or say something of them."""
        edits: dict[str, Iterable[bytes]] = {}
        for other in self.workbook.sheets:
            if not other.worksheet or other.part == self.sheet.part:
                continue
            skeleton = Skeleton(self._others.around[other.part])
            watches = rows is not None and other in self._others.watching
            if watches and rows is not None:
                skeleton.point(rows, self.sheet.name)
            skeleton.changed |= clean_rules(skeleton.root, self._departed.gone)
            skeleton.changed |= clean_filters([skeleton.root], self._departed.gone)
            emptied = self._emptied.get(other.part, ())
            stale = other in self._others.elsewhere or bool(emptied)
            if watches or skeleton.changed or stale:
                edits[other.part] = followed(
                    self.workbook, other, self.sheet, rows, skeleton, emptied, stale=stale
                )
        return edits

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
        careful = self.survey.careful
        first = rows.removed[0] if rows is not None else LAST_ROW
        for number, raw in xml.raw_rows():
            has = formula in raw
            if number not in gone and number not in careful:
                if rows is not None and number > first:
                    yield moved(raw, number, rows.row(number) or number, names)
                else:
                    yield raw
            elif number not in gone:
                new = number if rows is None else rows.row(number) or number
                if has:
                    yield formulas.moved(number, raw, new)
                else:
                    yield renumber(raw, new, names) if new != number else raw
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

    def _still_used(self, others: Others) -> tuple[bytearray, int]:
        """Strings that a cell which stays uses, and how many cells use any."""
        used = bytearray(others.used)
        for index, flag in enumerate(self.survey.used):
            if flag:
                used[index] = 1
        references = self.survey.references + others.references
        if self.masked is not None:
            stay, count = self._still_used_beside()
            references += count
            for index in stay:
                used[index] = 1
        return used, references

    def _strings(self) -> dict[str, Iterable[bytes]]:
        part = self.workbook.strings_part
        if part is None or part not in self.workbook.package.names:
            return {}
        return {part: emptied(self.workbook.package.chunks(part), part, *self._used)}

    def _still_used_beside(self) -> tuple[set[int], int]:
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

    def _prove(self, out: BinaryIO, numbers: list[int]) -> None:
        """Read the new file as a stranger would: what stays is the same, nothing else is left."""
        out.flush()
        out.seek(0)
        again = Workbook(Package(out))
        table = SheetTable(again, again.sheet(self.sheet.name), None)
        skip = frozenset() if self.moved else frozenset(numbers)
        strings = self.workbook.strings.same(again.strings, self._used[0])
        if not strings or not same_rows(self.survey, self.table, table, skip):
            raise PermanentFailure(
                "the new file did not read back the same; the old one was kept",
                hint="this is a fault of ours: please report it",
                code="not_the_same",
            )
        prove_clean(again, table, self._departed)


def foresee(table: SheetTable) -> str:
    """Why rows of a sheet could not be removed, as far as that shows before any is due; or ""."""
    order = [sheet.name for sheet in table.workbook.sheets]
    try:
        rows = RowMap([LAST_ROW], order=order)
        shift_parts(Edits(table.workbook), table.sheet, Skeleton(table.xml), rows)
    except Unshiftable as why:
        return str(why)
    return ""
