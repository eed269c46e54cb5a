"""Taking rows out of an OpenDocument spreadsheet: everything else stays, or nothing happens at all.

As in workbooks (see edit): rows are removed and the rest moves up where that can be done as the
office program would do it, and emptied in place where it cannot.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import BinaryIO

from retention.connectors.base import Scalar
from retention.connectors.spreadsheet.columns import Columns
from retention.connectors.spreadsheet.odsaround import Around, pivots, touches
from retention.connectors.spreadsheet.odsbook import OdsBook, OdsTable
from retention.connectors.spreadsheet.odsparts import (
    chart_parts,
    derived_pictures,
    fewer_cells,
    manifest_without,
    without_cached,
)
from retention.connectors.spreadsheet.odsrows import (
    beside_values,
    blank,
    elements,
    parse_row,
    unbroken,
    with_values,
    without_result,
)
from retention.connectors.spreadsheet.odsshift import Move, own_row_only
from retention.connectors.spreadsheet.odsxml import CONTENT, Piece, whole, with_attributes
from retention.connectors.spreadsheet.package import Package
from retention.connectors.spreadsheet.residue import Needles, left_in
from retention.connectors.spreadsheet.shift import RowMap, Unshiftable
from retention.connectors.spreadsheet.survey import Survey, same_rows
from retention.connectors.spreadsheet.table import Row
from retention.connectors.spreadsheet.xmltext import escape, unescape
from retention.errors import PermanentFailure

META, MANIFEST_PART = "meta.xml", "META-INF/manifest.xml"
_SIGNATURES = "META-INF/documentsignatures.xml"
_AT_ONCE = 200_000
_GROUP = re.compile(
    rb"<(/?)table:(table-row-group|table-header-rows|table-rows)(?=[\s/>])[^>]*?(/?)>"
)
_FORMULA = re.compile(rb"""\stable:formula\s*=\s*(?:"([^"]*)"|'([^']*)')""")


@dataclass
class OdsWatch:
    """Sees every row of the sheet once, before the act."""

    table: OdsTable
    formulas: bool = False
    arrays: list[tuple[int, int]] = field(default_factory=list)
    merges: list[tuple[int, int]] = field(default_factory=list)

    def look(self, row: Row) -> str:
        """Why this row may not be touched, "" where it may."""
        raw = row.raw
        if b"table:formula" in raw:
            self.formulas = True
        if b"-rows-spanned" in raw:
            for part in elements(raw):
                self._span(row.number, part.said, b"table:number-rows-spanned", self.merges)
                self._span(row.number, part.said, b"table:number-matrix-rows-spanned", self.arrays)
        return "picture" if b"<draw:" in raw or b"<dr3d:" in raw else ""

    def _span(
        self, number: int, said: Mapping[bytes, bytes], name: bytes, out: list[tuple[int, int]]
    ) -> None:
        rows = whole(said.get(name, b"1"), CONTENT)
        if rows > 1:
            out.append((number, number + rows - 1))


def refuse_opaque_ods(book: OdsBook, sheet: str) -> None:
    """Raise where the document keeps copies that cannot be edited, or would break."""
    names = book.package.names
    if _SIGNATURES in names:
        raise _opaque("it is digitally signed", "remove the signature, and sign again afterwards")
    if any(name.startswith("Versions/") or name == "VersionList.xml" for name in names):
        raise _opaque("it holds older versions of itself", "delete them under File, Versions")
    linked = next((s.linked for s in book.sheets if s.name == sheet), False)
    if linked:
        raise _opaque(
            "the sheet is filled from another document", "break the link, or clean that document"
        )
    outer = b"".join(p.raw for p in book.pieces() if p.kind == "between" and not p.sheet)
    if any(touches(pivot, sheet) for pivot in pivots(outer)):
        raise PermanentFailure(
            "the document holds a pivot table over the sheet, which keeps copies of its rows",
            hint="delete the pivot table, or move it into a document of its own",
            code="pivot",
        )


def _opaque(what: str, hint: str) -> PermanentFailure:
    return PermanentFailure(f"the document cannot be edited: {what}", hint=hint, code="opaque")


class OdsRemoval:
    """Rows of one sheet to be taken out, or values of one sheet to be overwritten."""

    def __init__(
        self,
        table: OdsTable,
        columns: Columns,
        survey: Survey,
        watch: OdsWatch,
        masked: Mapping[str, Scalar] | None = None,
        *,
        mode: str = "auto",
    ) -> None:
        self.book, self.table, self.columns = table.book, table, columns
        self.survey, self.watch, self.masked, self.mode = survey, watch, masked, mode
        self.moved = False
        """Whether rows below moved up, once written."""

    @property
    def sheet(self) -> str:
        """Name of the sheet."""
        return self.table.container

    def refuse_rows(self) -> None:
        """Leave alone what cannot be taken out without hurting a row that stays."""
        numbers = [row.number for row in self.survey.meant]
        rows = RowMap(numbers)
        codes: dict[int, str] = {}
        for first, last in self.watch.arrays:
            if rows.intersects(first, last):
                codes |= dict.fromkeys(range(first, last + 1), "array_formula")
        if self.masked is None:
            for first, last in self.watch.merges:
                if rows.row(first) is None and rows.span(first, last) is not None:
                    codes |= dict.fromkeys(range(first, last + 1), "merged_cells")
        self.survey.refuse({n: codes[n] for n in numbers if n in codes})

    def write(self, out: BinaryIO) -> None:
        """Write the new package and prove it. Raises PermanentFailure, leaving `out` useless."""
        numbers = [row.number for row in self.survey.meant]
        try:
            if self.masked is not None or self.mode == "blank":
                raise Unshiftable("nothing moves")
            self._rewrite(out, Move(self.sheet, RowMap(numbers)), numbers)
            self.moved = True
        except Unshiftable as why:
            if self.masked is None and self.mode == "remove":
                raise PermanentFailure(
                    f"rows cannot be removed: the document holds {why}",
                    hint="say `mode: auto`, then such rows are emptied in place",
                    code="cannot_remove",
                ) from why
            out.seek(0)
            out.truncate()
            self._rewrite(out, None, numbers)
        self._prove(out, numbers)

    def _rewrite(self, out: BinaryIO, move: Move | None, numbers: list[int]) -> None:
        package = self.book.package
        edits: dict[str, Iterable[bytes] | None] = {
            CONTENT: self._content(move, frozenset(numbers))
        }
        around = Around(move) if move else Around(Move(self.sheet, RowMap([])))
        charts = chart_parts(package, around)
        dropped = derived_pictures(package, charts)
        for name in charts:
            text = without_cached(package.read(name))
            if move:
                text = around.described(around.moved(text, ""))
            edits[name] = [text]
        if move and "styles.xml" in package.names:
            around.moved(package.read("styles.xml"), "")
        edits |= dict.fromkeys(dropped)
        if dropped and MANIFEST_PART in package.names:
            edits[MANIFEST_PART] = [manifest_without(package.read(MANIFEST_PART), dropped)]
        if self.masked is None and META in package.names:
            count = sum(len(parse_row(p.number, p.raw).cells) for p in self._meant_rows(numbers))
            edits[META] = [fewer_cells(package.read(META), count)]
        package.rewrite(out, edits)

    def _meant_rows(self, numbers: list[int]) -> Iterator[Piece]:
        gone = frozenset(numbers)
        for piece in self.book.pieces():
            if piece.kind == "row" and piece.sheet == self.sheet and piece.number in gone:
                yield piece

    def _content(self, move: Move | None, gone: frozenset[int]) -> Iterator[bytes]:
        writer = _Writer(self, move, gone)
        buffer: list[bytes] = []
        for piece in self.book.pieces():
            buffer.append(writer.written(piece))
            if len(buffer) == 1000:
                yield b"".join(buffer)
                buffer.clear()
        yield b"".join(buffer)

    def values(self) -> dict[int, Scalar]:
        """What masking writes, by column."""
        return {self.columns.places[name]: v for name, v in (self.masked or {}).items()}

    def _prove(self, out: BinaryIO, numbers: list[int]) -> None:
        """Read the new file as a stranger would: what stays is the same, nothing else is left."""
        out.flush()
        out.seek(0)
        again = OdsBook(Package(out))
        table = OdsTable(again, next(s for s in again.sheets if s.name == self.sheet), None)
        skip = frozenset() if self.moved else frozenset(numbers)
        if not same_rows(self.survey, self.table, table, skip):
            raise PermanentFailure(
                "the new file did not read back the same; the old one was kept",
                hint="this is a fault of ours: please report it",
                code="not_the_same",
            )
        derived = [name for name in again.package.zip.namelist() if name != CONTENT]
        values = (text.decode() for row in self.survey.meant for text in row.texts)
        while some := list(islice(values, _AT_ONCE)):
            needles = Needles(some)
            hits: dict[str, str] = {}
            for part, value in left_in(again.package.zip, derived, needles):
                hits.setdefault(value, part)
            hits |= dict.fromkeys(needles.among(_around_values(again)), CONTENT)
            held = _held(again, set(hits)) if hits else set[str]()
            for value, part in hits.items():
                if value not in held:
                    raise PermanentFailure(
                        f"{part}: the file would still hold values of rows that go",
                        hint="remove what holds them by hand (a note, a text box, a filter, a "
                        "document property), and run again",
                        code="residue",
                    )


class _Writer:
    """Turns pieces of the old document into pieces of the new one."""

    def __init__(self, removal: OdsRemoval, move: Move | None, gone: frozenset[int]) -> None:
        self.removal, self.move, self.gone = removal, move, gone
        self.around = Around(move) if move else None
        self._groups: list[int] = []

    def written(self, piece: Piece) -> bytes:
        """What stands in its place."""
        if piece.kind == "row":
            return self._row(piece)
        if self.around is None or piece.kind == "end":
            return piece.raw
        if piece.sheet == self.removal.sheet:
            self._watch_groups(piece.raw)
        return self.around.moved(piece.raw, piece.sheet)

    def _watch_groups(self, raw: bytes) -> None:
        for closing, _, empty in _GROUP.findall(raw):
            if empty:
                continue
            if not closing:
                self._groups.append(0)
            elif not self._groups.pop():
                raise Unshiftable("a group of rows of which none would stay")

    def _row(self, piece: Piece) -> bytes:
        here = piece.sheet == self.removal.sheet
        if here and piece.number in self.gone:
            if self.removal.masked is not None:
                own = without_result(piece.raw) if b"table:formula" in piece.raw else piece.raw
                return with_values(own, self.removal.values())
            return b"" if self.move else blank(piece.raw)
        if here:
            self._groups = [count + 1 for count in self._groups]
        raw = piece.raw
        if b"table:formula" in raw:
            raw = self._formulas(piece)
        if self.around is not None:
            if here and b"table:number-rows-spanned" in raw:
                raw = self._merges(piece, raw)
            if self.around.concerns(raw) or b"<draw:" in raw:
                raw = self.around.moved(raw, piece.sheet)
        return raw

    def _formulas(self, piece: Piece) -> bytes:
        texts = [unescape(a or b).decode() for a, b in _FORMULA.findall(piece.raw)]
        stale = not all(own_row_only(text, piece.number) for text in texts)
        raw = piece.raw
        if self.move is not None:
            raw = with_attributes(raw, lambda e, n, v: self._formula(e, n, v, piece))
        return without_result(raw) if stale else raw

    def _formula(self, element: bytes, name: bytes, value: bytes, piece: Piece) -> bytes | None:
        if name != b"table:formula" or not element.startswith(b"table:") or self.move is None:
            return None
        text = unescape(value).decode()
        moved = self.move.formula(text, piece.sheet)
        if piece.repeated > 1 and moved != text:
            raise Unshiftable("a formula that is written once for several rows")
        return escape(moved).replace(b'"', b"&quot;")

    def _merges(self, piece: Piece, raw: bytes) -> bytes:
        def fewer(_: bytes, name: bytes, value: bytes) -> bytes | None:
            if name != b"table:number-rows-spanned" or self.move is None:
                return None
            rows = whole(value, CONTENT)
            left = self.move.rows.span(piece.number, piece.number + rows - 1)
            return None if left is None else b"%d" % (left[1] - left[0] + 1)

        return with_attributes(raw, fewer)


def _around_values(book: OdsBook) -> Iterator[bytes]:
    for piece in book.pieces():
        if piece.kind != "row":
            bare = unbroken(piece.raw)
            yield piece.raw if bare is piece.raw else piece.raw + b" " + bare + b" "
        elif hanging := beside_values(piece.raw):
            yield b" " + hanging + b" " + unbroken(hanging) + b" "


def _held(book: OdsBook, values: set[str]) -> set[str]:
    """Those that a cell which stays holds exactly: then they are another record's values too."""
    wanted = {value.encode() for value in values}
    found: set[bytes] = set()
    for sheet in book.sheets:
        for row in OdsTable(book, sheet, None).rows():
            found |= wanted.intersection(cell.value for cell in row.cells)
    return {value.decode() for value in found}
