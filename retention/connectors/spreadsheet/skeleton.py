"""What stands around a sheet's rows: merges, filters, rules, links. Moved along, or refused."""

from __future__ import annotations

from collections.abc import Collection

from lxml import etree

from retention.connectors.spreadsheet.sheetxml import SheetXml, column_number
from retention.connectors.spreadsheet.shift import (
    RowMap,
    Unshiftable,
    corners_of,
    shift_formula,
    tokens,
)
from retention.connectors.spreadsheet.xmltext import MAIN, RELATIONSHIPS, parse, serialise

_ROWS = "@@rows@@"
_MOVABLE = frozenset(
    {
        "sheetPr", "dimension", "sheetViews", "sheetFormatPr", "cols", "sheetData", "sheetCalcPr",
        "sheetProtection", "protectedRanges", "autoFilter", "sortState", "mergeCells",
        "phoneticPr", "conditionalFormatting", "dataValidations", "hyperlinks", "printOptions",
        "pageMargins", "pageSetup", "headerFooter", "rowBreaks", "colBreaks", "ignoredErrors",
        "picture", "tableParts",
    }
)  # fmt: skip


class Skeleton:
    """A sheet without its rows, as a tree."""

    def __init__(self, xml: SheetXml) -> None:
        """`xml`: a pass that has ended."""
        self.root = parse(xml.head + xml.opening + xml.closing + xml.tail, xml.part)
        self.changed = False

    def split(self) -> tuple[bytes, bytes]:
        """Bytes before the first row and after the last."""
        data = self.root.find(_name("sheetData"))
        if data is None:
            raise Unshiftable("a sheet without data")
        data.text = _ROWS
        before, _, after = serialise(self.root).partition(_ROWS.encode())
        return before, after

    def merges(self) -> list[tuple[int, int]]:
        """First and last row of every merged range that is higher than one row."""
        spans = [
            (corners[0].row, corners[-1].row)
            for item in self.root.iter(_name("mergeCell"))
            if (corners := corners_of(item.get("ref", "")))
        ]
        return [span for span in spans if span[0] != span[1]]

    def drop_links(
        self, removed: Collection[int], columns: Collection[int] | None = None
    ) -> list[str]:
        """Remove the hyperlinks of rows that go; gives ids of relationships that no link uses.

        `columns`: only links in these columns go.
        """
        gone: list[str] = []
        for link in list(self.root.iter(_name("hyperlink"))):
            corners = corners_of(link.get("ref", ""))
            if columns is not None and column_number(corners[0].letters.encode()) not in columns:
                continue
            if all(row in removed for row in range(corners[0].row, corners[-1].row + 1)):
                self.changed = True
                gone.append(link.get(f"{{{RELATIONSHIPS}}}id", ""))
                _remove(link)
        left = {x.get(f"{{{RELATIONSHIPS}}}id") for x in self.root.iter(_name("hyperlink"))}
        for group in list(self.root.iter(_name("hyperlinks"))):
            if len(group) == 0:
                _remove(group)
        return [i for i in gone if i and i not in left]

    def shift(self, rows: RowMap, sheet: str) -> None:
        """Move everything along. Raises Unshiftable where something stands that cannot be moved."""
        for child in self.root:
            if etree.QName(child).localname not in _MOVABLE:
                raise Unshiftable(f"the sheet's part {etree.QName(child).localname}")
        for item in list(self.root.iter(_name("dimension"), _name("autoFilter"), _name("mergeCell"),
                                        _name("hyperlink"), _name("sortState"),
                                        _name("sortCondition"))):  # fmt: skip
            _move(item, "ref", rows)
        for item in list(self.root.iter(_name("protectedRange"), _name("ignoredError"))):
            _move(item, "sqref", rows)
        for item in list(self.root.iter(_name("conditionalFormatting"), _name("dataValidation"))):
            _move_rule(item, rows, sheet)
        self._move_breaks(rows)
        for name in ("mergeCells", "dataValidations", "hyperlinks", "protectedRanges"):
            for group in list(self.root.iter(_name(name))):
                if len(group) == 0:
                    _remove(group)
                elif group.get("count") is not None:
                    group.set("count", str(len(group)))

    def _move_breaks(self, rows: RowMap) -> None:
        for item in list(self.root.iterfind(f"{_name('rowBreaks')}/{_name('brk')}")):
            # A break stands below its row; one below a row that goes stands below the row before.
            moved = rows.span(1, int(item.get("id", "0")))
            if moved is None:
                _remove(item)
            else:
                item.set("id", str(moved[1]))


def _move(item: etree._Element, attribute: str, rows: RowMap) -> None:
    moved = rows.sqref(item.get(attribute, ""))
    if moved:
        item.set(attribute, moved)
    elif etree.QName(item).localname in ("dimension", "autoFilter", "sortState"):
        raise Unshiftable("a filter or sorting whose rows all go")
    else:
        _remove(item)


def _move_rule(item: etree._Element, rows: RowMap, sheet: str) -> None:
    old = item.get("sqref", "")
    anchor = min(corners_of(part)[0].row for part in old.split())
    new = rows.sqref(old)
    if not new:
        _remove(item)
        return
    item.set("sqref", new)
    to = min(corners_of(part)[0].row for part in new.split())
    for formula in item.iter(_name("formula"), _name("formula1"), _name("formula2")):
        formula.text = _anchored(formula.text or "", anchor, to, rows, sheet)


def _anchored(formula: str, anchor: int, to: int, rows: RowMap, sheet: str) -> str:
    """A rule's formula reads relative to its first row: that stays; fixed rows move."""
    read = [c for kind, text in tokens(formula) if kind == "area" for c in corners_of(text)]
    if any(not c.fixed_row and c.row != anchor for c in read):
        raise Unshiftable("a rule that reads other rows than its own")
    relative = [c for c in read if not c.fixed_row]
    if not relative:
        return shift_formula(formula, rows, sheet, here=True)
    if len(relative) != len(read) or any(k in ("sheet", "rows") for k, _ in tokens(formula)):
        raise Unshiftable("a rule that reads its own row and others")
    return _to_row(formula, to)


def _to_row(formula: str, row: int) -> str:
    return "".join(
        ":".join(corner.text(row) for corner in corners_of(text)) if kind == "area" else text
        for kind, text in tokens(formula)
    )


def _remove(item: etree._Element) -> None:
    parent = item.getparent()
    if parent is not None:
        parent.remove(item)


def _name(local: str) -> str:
    return f"{{{MAIN}}}{local}"
