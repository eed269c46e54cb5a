"""Rules over ranges: conditional formats and validations, old and new form, and sparklines."""

from __future__ import annotations

from lxml import etree

from retention.connectors.spreadsheet.edits import remove
from retention.connectors.spreadsheet.shift import (
    RowMap,
    Unshiftable,
    corners_of,
    shift_formula,
    tokens,
)
from retention.connectors.spreadsheet.xmltext import MAIN

X14 = "http://schemas.microsoft.com/office/spreadsheetml/2009/9/main"
XM = "http://schemas.microsoft.com/office/excel/2006/main"
_FORMULAS = (f"{{{MAIN}}}formula", f"{{{MAIN}}}formula1", f"{{{MAIN}}}formula2", f"{{{XM}}}f")


def shift_rules(root: etree._Element, rows: RowMap, sheet: str, *, here: bool) -> bool:
    """Move the rules around a sheet's rows along; gives whether anything changed."""
    changed = False
    main = [f"{{{MAIN}}}conditionalFormatting", f"{{{MAIN}}}dataValidation"]
    for item in list(root.iter(*main)):
        changed |= _rule(item, item.get("sqref", ""), rows, sheet, here=here)
    newer = [f"{{{X14}}}conditionalFormatting", f"{{{X14}}}dataValidation"]
    for item in list(root.iter(*newer)):
        place = item.find(f"{{{XM}}}sqref")
        if place is None:
            raise Unshiftable("a rule without a range")
        changed |= _rule(item, place.text or "", rows, sheet, here=here)
    return changed | _sparklines(root, rows, sheet, here=here)


def _rule(item: etree._Element, old: str, rows: RowMap, sheet: str, *, here: bool) -> bool:
    anchor = None
    new = rows.sqref(old) if here else old
    if here and not new:
        remove(item)
        return True
    before = etree.tostring(item)
    if here:
        anchor = _anchor(old, new, item)
        place = item.find(f"{{{XM}}}sqref")
        if place is not None:
            place.text = new
        else:
            item.set("sqref", new)
    for formula in item.iter(*_FORMULAS):
        formula.text = shift_formula(
            formula.text or "", rows, sheet, here=here, anchor=anchor or (1, 1)
        )
    for limit in item.iter(f"{{{MAIN}}}cfvo"):
        if limit.get("val") is not None and _names_cells(limit.get("val", "")):
            limit.set("val", shift_formula(limit.get("val", ""), rows, sheet, here=here))
    return etree.tostring(item) != before


def _names_cells(text: str) -> bool:
    return any(kind in ("area", "rows") for kind, _ in tokens(text))


def _anchor(old: str, new: str, item: etree._Element) -> tuple[int, int]:
    """From which row to which a rule's first cell goes.

    Programs differ in what they take for the first cell of several ranges (of the first, or of
    all): both must go the same way, or nothing relative may be in the formula.
    """
    was = [corners_of(part)[0] for part in old.split()]
    now = [corners_of(part)[0] for part in new.split()]
    lowest = min(c.row for c in was), min(c.row for c in now)
    first = was[0].row, now[0].row
    same_way = lowest[1] - lowest[0] == first[1] - first[0]
    same_column = was[0].letters == now[0].letters and {c.letters for c in was} == {
        c.letters for c in now
    }
    if not (same_way and same_column):
        for formula in item.iter(*_FORMULAS):
            for kind, text in tokens(formula.text or ""):
                if kind == "area" and not all(
                    c.fixed_row and c.fixed_column for c in corners_of(text)
                ):
                    raise Unshiftable("a rule over several ranges that reads beside itself")
    return lowest


def _sparklines(root: etree._Element, rows: RowMap, sheet: str, *, here: bool) -> bool:
    changed = False
    for group in list(root.iter(f"{{{X14}}}sparklineGroup")):
        for line in list(group.iter(f"{{{X14}}}sparkline")):
            place = line.find(f"{{{XM}}}sqref")
            if here and place is not None:
                moved = rows.sqref(place.text or "")
                if not moved:
                    remove(line)
                    changed = True
                    continue
                changed |= moved != place.text
                place.text = moved
        for source in group.iter(f"{{{XM}}}f"):
            text = shift_formula(source.text or "", rows, sheet, here=here)
            changed |= text != source.text
            source.text = text
        if not list(group.iter(f"{{{X14}}}sparkline")):
            remove(group)
    return changed


def without_empty(root: etree._Element) -> None:
    """Lists that lost their last entry go, counts are put right."""
    names = (
        "mergeCells", "dataValidations", "hyperlinks", "protectedRanges", "ignoredErrors",
        "cellWatches", "scenario", "scenarios",
    )  # fmt: skip
    for name in names:
        for group in list(root.iter(f"{{{MAIN}}}{name}")):
            if len(group) == 0:
                remove(group)
            elif group.get("count") is not None:
                group.set("count", str(len(group)))
    newer = ("conditionalFormattings", "dataValidations", "sparklineGroups")
    for group in list(root.iter(*(f"{{{X14}}}{name}" for name in newer))):
        if len(group) == 0:
            around = group.getparent()
            if around is not None:
                remove(around)
        elif group.get("count") is not None:
            group.set("count", str(len(group)))
    for extensions in list(root.iter(f"{{{MAIN}}}extLst")):
        if len(extensions) == 0:
            remove(extensions)
