"""The workbook part: names for cells, and the word to compute and list everything anew."""

from __future__ import annotations

from lxml import etree

from retention.connectors.spreadsheet.edits import Edits, remove
from retention.connectors.spreadsheet.shift import (
    RowMap,
    Unshiftable,
    corners_of,
    names_sheet,
    shift_formula,
    tokens,
)
from retention.connectors.spreadsheet.workbook import Sheet
from retention.connectors.spreadsheet.xmltext import MAIN

_OWN = ("_xlnm._filterdatabase", "_xlnm.print_area", "_xlnm.print_titles", "_xlnm.criteria",
        "_xlnm.extract")  # fmt: skip
_AFTER_CALC = (
    "oleSize", "customWorkbookViews", "pivotCaches", "smartTagPr", "smartTagTypes",
    "webPublishing", "fileRecoveryPr", "webPublishObjects", "extLst",
)  # fmt: skip


def shift_names(edits: Edits, sheet: Sheet, rows: RowMap) -> None:
    """Move every name along, those of one sheet and Excel's own too. Raises Unshiftable."""
    part = edits.workbook.part
    for item in list(edits.tree(part).iter(f"{{{MAIN}}}definedName")):
        text = item.text or ""
        try:
            moved = _shift(text, rows, sheet)
        except Unshiftable:
            if item.get("name", "").casefold() not in _OWN or not _reads_only(text, sheet):
                raise
            # What was printed or filtered is no more; Excel drops such a name as well.
            remove(item)
            edits.touch(part)
            continue
        if moved != text:
            item.text = moved
            edits.touch(part)
    for group in list(edits.tree(part).iter(f"{{{MAIN}}}definedNames")):
        if len(group) == 0:
            remove(group)


def _shift(text: str, rows: RowMap, sheet: Sheet) -> str:
    scope = ""
    for kind, piece in tokens(text):
        ours = not scope or names_sheet(scope, sheet.name)
        if kind == "area" and ours and any(not c.fixed_row for c in corners_of(piece)):
            raise Unshiftable("a name for a cell that is not fixed")
        scope = piece if kind == "sheet" else ""
    return shift_formula(text, rows, sheet.name, here=False)


def _reads_only(text: str, sheet: Sheet) -> bool:
    scopes = [piece for kind, piece in tokens(text) if kind == "sheet"]
    return all(names_sheet(scope, sheet.name) for scope in scopes) and "INDIRECT" not in text


def compute_anew(edits: Edits) -> None:
    """Tell programs to compute every formula when they open the file."""
    root = edits.tree(edits.workbook.part)
    properties = root.find(f"{{{MAIN}}}calcPr")
    if properties is None:
        properties = etree.Element(f"{{{MAIN}}}calcPr")
        for at, child in enumerate(root):
            if etree.QName(child).localname in _AFTER_CALC:
                root.insert(at, properties)
                break
        else:
            root.append(properties)
    if properties.get("fullCalcOnLoad") != "1":
        properties.set("fullCalcOnLoad", "1")
        edits.touch(edits.workbook.part)


def drop_calc_chain(edits: Edits) -> None:
    """Leave out the list of formulas in order of computing; programs make a new one."""
    for part in list(edits.related(edits.workbook.part, "calcChain")):
        edits.drop(part)
