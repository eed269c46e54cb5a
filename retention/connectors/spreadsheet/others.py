"""The sheets of a workbook that an act does not concern, and what of it concerns them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from retention.connectors.spreadsheet.rowxml import without_results
from retention.connectors.spreadsheet.sheetxml import Grammar, SheetXml, column_number, parse_row
from retention.connectors.spreadsheet.shift import (
    RowMap,
    Unshiftable,
    corners_of,
    reads_elsewhere,
    sheets_of,
    shift_formula,
    tokens,
    translate,
)
from retention.connectors.spreadsheet.skeleton import Skeleton, mentions
from retention.connectors.spreadsheet.workbook import Sheet, Workbook
from retention.connectors.spreadsheet.xmltext import attributes, escape, unescape, written

_Area = tuple[int, int, int, int]
"""First and last row, first and last column."""


@dataclass(slots=True)
class Others:
    """What one pass over the other sheets found."""

    used: bytearray
    """1 for every shared string that one of them uses."""
    references: int = 0
    formulas: bool = False
    elsewhere: list[Sheet] = field(default_factory=list)
    """Sheets with a formula that reads beyond their own cells."""
    around: dict[str, SheetXml] = field(default_factory=dict)
    """By part: a pass over the sheet that has ended, so that head and tail are known."""
    watching: list[Sheet] = field(default_factory=list)
    """Sheets on which something, a formula or a rule, may point at the sheet."""
    spilled: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By part: ranges that formulas of `elsewhere` fill with copies of other cells."""


def look_at_others(
    workbook: Workbook, sheet: Sheet, emptied: dict[str, tuple[str, ...]] | None = None
) -> Others:
    """Survey every other sheet, hidden ones too. `emptied`: ranges that will hold nothing."""
    found = Others(bytearray(len(workbook.strings)))
    for other in workbook.sheets:
        if other.worksheet and other.part != sheet.part:
            _survey(workbook, other, sheet.name, found, (emptied or {}).get(other.part, ()))
    return found


def _survey(
    workbook: Workbook, other: Sheet, name: str, found: Others, emptied: Sequence[str]
) -> None:
    xml, strings = workbook.xml(other), workbook.strings
    reads = watches = False
    found.around[other.part] = xml
    areas = [block_of(text) for text in emptied]
    filled: list[str] = []
    results: list[int] = []
    for number, raw in xml.raw_rows():
        if b"<%bf" % xml.grammar.prefix in raw:
            found.formulas = True
            for match in xml.grammar.formula.finditer(raw):
                formula = unescape(match[2] or b"").decode()
                reads = reads or reads_elsewhere(formula)
                watches = watches or _names(formula, name)
                said = attributes(match[1])
                if said.get(b"t") == b"array" and b":" in said.get(b"ref", b""):
                    filled.append(said[b"ref"].decode())
        inside = _beside(areas, number)
        computed = _beside(map(block_of, filled), number)
        for cell in parse_row(number, raw, xml.grammar, strings, xml.part).cells:
            if cell.shared >= 0 and not _within(cell.column, inside):
                if cell.formula or _within(cell.column, computed):
                    results.append(cell.shared)
                else:
                    found.used[cell.shared] = 1
                    found.references += 1
    if watches or mentions((xml.head + xml.tail).decode(), name):
        found.watching.append(other)
    if reads:
        found.elsewhere.append(other)
        found.spilled[other.part] = tuple(filled)
        return
    for index in results:
        found.used[index] = 1
    found.references += len(results)


def _beside(areas: Iterable[_Area], number: int) -> list[_Area]:
    return [area for area in areas if area[0] <= number <= area[1]]


def _within(column: int, areas: Iterable[_Area]) -> bool:
    return any(area[2] <= column <= area[3] for area in areas)


def block_of(text: str) -> _Area:
    """First and last row, first and last column of a range."""
    corners = corners_of(text)
    lines = [corner.row for corner in corners]
    columns = [column_number(c.letters.upper().encode()) for c in corners]
    return min(lines), max(lines), min(columns), max(columns)


def _names(formula: str, name: str) -> bool:
    folded = name.casefold()
    return any(
        (kind == "sheet" and (folded in sheets_of(text) or ":" in text))
        or (kind == "name" and text.upper() in ("INDIRECT", "OFFSET"))
        for kind, text in tokens(formula)
    )


def followed(
    workbook: Workbook,
    other: Sheet,
    sheet: Sheet,
    rows: RowMap | None,
    skeleton: Skeleton,
    emptied: Sequence[str] = (),
    *,
    stale: bool,
) -> Iterator[bytes]:
    """Another sheet once rows of `sheet` have gone: what points at them moved, no stale result.

    `skeleton`: what stands around its rows, already put right. `emptied`: ranges that pivot tables
    and formulas wrote, which hold nothing until they are refreshed. `stale`: stored results of its
    formulas may rest on rows that went. Raises Unshiftable.
    """
    xml = workbook.xml(other)
    around = skeleton.split() if skeleton.changed else None
    yield around[0] if around else xml.head + xml.opening
    following = _Following(rows, sheet.name, xml.grammar)
    areas = [block_of(text) for text in emptied]
    for number, raw in xml.raw_rows():
        out = raw
        if b"<%bf" % xml.grammar.prefix in raw:
            if rows is not None:
                out = following.put_right(number, out)
            if stale:
                out = without_results(out, xml.grammar)
        inside = _beside(areas, number)
        yield _emptied(out, inside, xml.grammar) if inside else out
    yield around[1] if around else xml.closing + xml.tail


def _emptied(raw: bytes, areas: Sequence[_Area], names: Grammar) -> bytes:
    column = 0

    def cell(match: re.Match[bytes]) -> bytes:
        nonlocal column
        said = attributes(match[1])
        column = column_number(said[b"r"].rstrip(b"0123456789")) if b"r" in said else column + 1
        if not _within(column, areas) or names.formula.search(match[2] or b""):
            return match[0]
        kept: dict[bytes, bytes] = {k: said[k] for k in (b"r", b"s") if k in said}
        return b"<%bc%b/>" % (names.prefix, written(kept))

    return names.cell.sub(cell, raw)


class _Following:
    """Formulas of another sheet, of which only those that read the sheet are written anew."""

    def __init__(self, rows: RowMap | None, sheet: str, names: Grammar) -> None:
        self._rows, self._sheet, self._names = rows, sheet, names
        self._masters: dict[bytes, tuple[int, int, str]] = {}

    def put_right(self, number: int, raw: bytes) -> bytes:
        return self._names.cell.sub(lambda cell: self._cell(number, cell), raw)

    def _cell(self, number: int, cell: re.Match[bytes]) -> bytes:
        formula = self._names.formula.search(cell[2] or b"")
        if formula is None:
            return cell[0]
        said = attributes(formula[1])
        text = unescape(formula[2] or b"").decode()
        if said.get(b"t") == b"shared":
            where = attributes(cell[1]).get(b"r", b"")
            column = column_number(where.rstrip(b"0123456789"))
            group = said.get(b"si", b"")
            if text and _names(text, self._sheet):
                self._masters[group] = (number, column, text)
            if group not in self._masters:
                return cell[0]
            row, first, master = self._masters[group]
            text = text or translate(master, number - row, column - first)
            said = {k: v for k, v in said.items() if k not in (b"t", b"si", b"ref")}
        elif not text or not _names(text, self._sheet):
            return cell[0]
        if self._rows is None:
            return cell[0]
        if b"ref" in said and said.get(b"t") != b"array":
            raise Unshiftable("a formula in an unusual form on another sheet")
        moved = shift_formula(text, self._rows, self._sheet, here=False)
        inside = b"<%bf%b>%b</%bf>" % (
            self._names.prefix, written(said), escape(moved), self._names.prefix,
        )  # fmt: skip
        whole = cell[0]
        start = cell.start(2) - cell.start()
        at, end = start + formula.start(), start + formula.end()
        return whole[:at] + inside + whole[end:]
