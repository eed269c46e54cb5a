"""Tables (list objects): their ranges shrink with the rows, their formulas move along."""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree

from retention.connectors.spreadsheet.edits import Edits, remove
from retention.connectors.spreadsheet.shift import (
    RowMap,
    Unshiftable,
    corners_of,
    number_in,
    shift_formula,
    tokens,
)
from retention.connectors.spreadsheet.workbook import Sheet, Workbook
from retention.connectors.spreadsheet.xmltext import parse


def tables_of(workbook: Workbook, sheet: Sheet) -> Iterator[tuple[str, etree._Element]]:
    """The sheet's tables."""
    for kind, part in workbook.relations_of(sheet.part).values():
        if kind.endswith("/table") and part in workbook.package.names:
            yield part, parse(workbook.package.read(part), part)


def names_of(root: etree._Element) -> set[str]:
    """The names of a table, in small letters."""
    return {root.get("name", "").casefold(), root.get("displayName", "").casefold()} - {""}


def shift_tables(edits: Edits, sheet: Sheet, rows: RowMap) -> None:
    """Move every table's range and formulas. Raises Unshiftable."""
    for other in edits.workbook.sheets:
        here = other.part == sheet.part
        for part in edits.related(other.part, "table"):
            _shift_formulas(edits, part, rows, sheet.name, here=here)
            if here:
                _shift_range(edits, part, rows)
        if here:
            for part in edits.related(other.part, "tableSingleCells"):
                for item in list(edits.tree(part)):
                    moved = rows.area(item.get("r", ""))
                    if moved is None:
                        raise Unshiftable("a cell that is bound to XML and goes")
                    item.set("r", moved)
                    edits.touch(part)


def _shift_range(edits: Edits, part: str, rows: RowMap) -> None:
    root = edits.tree(part)
    for item in list(root.iter("{*}*")):
        if "ref" in item.attrib:
            moved = rows.area(item.get("ref", ""))
            if moved is None and etree.QName(item).localname == "sortCondition":
                remove(item)
                continue
            if moved is None:
                raise Unshiftable("a table that loses all rows")
            item.set("ref", moved)
    corners = corners_of(root.get("ref", ""))
    around = number_in(root.get("headerRowCount", "1"))
    around += number_in(root.get("totalsRowCount", "0"))
    if corners[-1].row - corners[0].row + 1 <= around:
        raise Unshiftable("a table that loses all rows")
    edits.touch(part)


def _shift_formulas(edits: Edits, part: str, rows: RowMap, sheet: str, *, here: bool) -> None:
    for item in edits.tree(part).iter("{*}*"):
        if not etree.QName(item).localname.endswith("Formula") or not item.text:
            continue
        moved = shift_formula(item.text, rows, sheet, here=here)
        if moved != item.text:
            fixed = all(
                corner.fixed_row
                for kind, text in tokens(item.text)
                if kind == "area"
                for corner in corners_of(text)
            )
            if not fixed:
                # It is written for one row of the column, and programs differ in which.
                raise Unshiftable("a table whose formula reads single cells")
            item.text = moved
            edits.touch(part)
