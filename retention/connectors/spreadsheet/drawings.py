"""Pictures, shapes, frames of charts and form controls: their places, and the cells they name."""

from __future__ import annotations

import re

from lxml import etree

from retention.connectors.spreadsheet.anchors import Heights, moved_place, shift_anchor
from retention.connectors.spreadsheet.edits import Edits
from retention.connectors.spreadsheet.package import relationships_part
from retention.connectors.spreadsheet.shift import RowMap, Unshiftable, shift_formula
from retention.connectors.spreadsheet.skeleton import shift_location
from retention.connectors.spreadsheet.workbook import Sheet
from retention.connectors.spreadsheet.xmltext import PACKAGE_RELATIONSHIPS, escape, unescape

DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/spreadsheetDrawing"
_STRETCHED = f"{{{DRAWING}}}twoCellAnchor"
_PINNED = f"{{{DRAWING}}}oneCellAnchor"
_CONTROL = ("fmlaLink", "fmlaRange", "fmlaTxbx", "fmlaGroup", "fmlaPict")
SHAPE = re.compile(rb"<v:shape\b(?!type).*?</v:shape\s*>", re.DOTALL)
_FORMULA = re.compile(rb"(<x:Fmla(?:Link|Range|Txbx|Group|Pict)>)([^<]*)(?=</x:Fmla)")
_ANCHOR = re.compile(rb"(<x:Anchor>)([^<]*)(?=</x:Anchor>)")
_ROW = re.compile(rb"(<x:Row>)\s*(\d+)\s*(?=</x:Row>)")


def has_places(edits: Edits, sheet: Sheet) -> bool:
    """Whether something drawn on the sheet does not simply stretch with its cells."""
    for part in edits.related(sheet.part, "drawing"):
        for anchor in edits.tree(part).iter(_STRETCHED):
            if anchor.get("editAs") in ("oneCell", "absolute"):
                return True
    return False


def shift_drawings(edits: Edits, sheet: Sheet, rows: RowMap, heights: Heights | None) -> None:
    """Move what is drawn on the sheet along with its rows."""
    for part in edits.related(sheet.part, "drawing"):
        # Newer charts, slicers and controls stand inside a choice between two forms.
        for anchor in edits.tree(part).iter(_STRETCHED, _PINNED):
            if shift_anchor(anchor, rows, heights, anchor.get("editAs", "twoCell")):
                edits.touch(part)
    for part in edits.related(sheet.part, "vmlDrawing"):
        data = edits.text(part)
        moved = SHAPE.sub(lambda m: _shape(m[0], rows), data)
        if moved != data:
            edits.put(part, moved)


def point_drawings(edits: Edits, sheet: Sheet, rows: RowMap) -> None:
    """Move the cells that shapes, controls and links on shapes name, on every sheet."""
    for other in edits.workbook.sheets:
        here = other.part == sheet.part
        for part in edits.related(other.part, "drawing"):
            _point_shapes(edits, part, rows, sheet.name, here=here)
        for part in edits.related(other.part, "ctrlProp"):
            for name in _CONTROL:
                _point(edits, part, edits.tree(part), name, rows, sheet.name, here=here)
        for part in edits.related(other.part, "vmlDrawing"):
            data = edits.text(part)
            moved = _controls(data, rows, sheet.name, here=here)
            if moved != data:
                edits.put(part, moved)
            if b"<x:Fmla" in re.sub(_FORMULA, b"", moved).replace(b"<x:FmlaMacro>", b""):
                raise Unshiftable(f"{part}, a control in an unusual form")


def _point_shapes(edits: Edits, part: str, rows: RowMap, sheet: str, *, here: bool) -> None:
    root = edits.tree(part)
    for item in root.iter("{*}*"):
        for name in ("textlink", "cellRange"):
            _point(edits, part, item, name, rows, sheet, here=here)
    where = relationships_part(part)
    if where not in edits.workbook.package.names:
        return
    for item in edits.tree(where).iter(f"{{{PACKAGE_RELATIONSHIPS}}}Relationship"):
        target = item.get("Target", "")
        if target.startswith("#"):
            moved = shift_location(target, rows, sheet, here=here)
            if moved is None:
                raise Unshiftable(f"{part}, a shape that leads to a row that goes")
            if moved != target:
                item.set("Target", moved)
                edits.touch(where)


def _point(
    edits: Edits,
    part: str,
    item: etree._Element,
    name: str,
    rows: RowMap,
    sheet: str,
    *,
    here: bool,
) -> None:
    old = item.get(name)
    if old:
        new = shift_formula(old, rows, sheet, here=here)
        if new != old:
            item.set(name, new)
            edits.touch(part)


def _controls(data: bytes, rows: RowMap, sheet: str, *, here: bool) -> bytes:
    return _FORMULA.sub(lambda m: m[1] + _formula(m[2], rows, sheet, here=here), data)


def _formula(text: bytes, rows: RowMap, sheet: str, *, here: bool) -> bytes:
    old = unescape(text).decode()
    new = shift_formula(old, rows, sheet, here=here)
    return text if new == old else escape(new)


def _shape(shape: bytes, rows: RowMap) -> bytes:
    """A note's yellow box goes with its note; a control with the rows it covers."""
    row = _ROW.search(shape)
    note = b'ObjectType="Note"' in shape and row is not None
    found = _ANCHOR.search(shape)
    if row is not None and note:
        was = int(row[2])
        steps = was - (rows.place(was + 1) - 1)
        shape = _ROW.sub(b"\\g<1>%d" % (was - steps), shape, count=1)
        places = _numbers(found)
        if places:
            places[2], places[6] = max(0, places[2] - steps), max(1, places[6] - steps)
            shape = _ANCHOR.sub(lambda m: m[1] + _said(places), shape, count=1)
    elif found is not None and (places := _numbers(found)):
        places[2:4] = moved_place(places[2], places[3], rows)
        places[6:8] = moved_place(places[6], places[7], rows)
        shape = _ANCHOR.sub(lambda m: m[1] + _said(places), shape, count=1)
    return shape


def _numbers(found: re.Match[bytes] | None) -> list[int]:
    if found is None:
        return []
    places = [int(piece) for piece in found[2].split(b",")]
    if len(places) != 8:
        raise Unshiftable("a note or control in an unusual form")
    return places


def _said(places: list[int]) -> bytes:
    return b", ".join(b"%d" % place for place in places)
