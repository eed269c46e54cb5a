"""Charts: what they draw moves along, and the copies of cells that they keep are left out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from lxml import etree

from retention.connectors.spreadsheet.edits import CONTENT_TYPES, Edits, remove
from retention.connectors.spreadsheet.shift import RowMap, sheets_of, shift_formula, tokens

_CHART = "http://schemas.openxmlformats.org/drawingml/2006/chart"
_CHART_2012 = "http://schemas.microsoft.com/office/drawing/2012/chart"
_CHART_2014 = "http://schemas.microsoft.com/office/drawing/2014/chartex"
_TYPES = ("drawingml.chart+xml", "chartex+xml")
_FORMULAS = (
    f"{{{_CHART}}}f",
    f"{{{_CHART_2012}}}f",
    f"{{{_CHART_2012}}}sqref",
    f"{{{_CHART_2014}}}f",
    f"{{{_CHART_2014}}}nf",
)
_CACHES = ("strCache", "numCache", "multiLvlStrCache", "dlblRangeCache", "lvl", "v")


def charts(edits: Edits) -> Iterator[str]:
    """Every chart of the workbook, on sheets and chart sheets, old kinds and new."""
    names = set(edits.names())
    for item in edits.tree(CONTENT_TYPES):
        part = item.get("PartName", "").lstrip("/")
        if item.get("ContentType", "").endswith(_TYPES) and part in names:
            yield part


def shift_charts(edits: Edits, rows: RowMap, sheet: str) -> None:
    """Move the ranges that charts draw. Raises Unshiftable."""
    for part in charts(edits):
        for formula in edits.tree(part).iter(*_FORMULAS):
            old = formula.text or ""
            new = shift_formula(old, rows, sheet, here=False)
            if new != old:
                formula.text = new
                edits.touch(part)


def drop_caches(edits: Edits, sheets: Collection[str]) -> None:
    """Leave out the copies of cells of these sheets; programs read the sheets again."""
    named = {name.casefold() for name in sheets}
    for part in charts(edits):
        for formula in edits.tree(part).iter(*_FORMULAS):
            around = formula.getparent()
            if around is None or not _draws(formula.text or "", named.__contains__):
                continue
            for item in list(around):
                if etree.QName(item).localname in _CACHES and item is not formula:
                    remove(item)
                    edits.touch(part)


def _draws(formula: str, ours: Callable[[str], bool]) -> bool:
    """Whether a chart's formula reads one of the sheets, or what cannot be told."""
    scopes = [sheets_of(text) for kind, text in tokens(formula) if kind == "sheet"]
    return not scopes or any(first != last or ours(first) for first, last in scopes)
