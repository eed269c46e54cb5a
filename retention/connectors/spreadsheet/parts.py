"""The other parts of a workbook that know about a sheet's rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import unquote

from lxml import etree

from retention.connectors.spreadsheet.anchors import Heights
from retention.connectors.spreadsheet.charts import charts, shift_charts
from retention.connectors.spreadsheet.comments import shift_notes
from retention.connectors.spreadsheet.drawings import (
    DRAWING,
    has_places,
    point_drawings,
    shift_drawings,
)
from retention.connectors.spreadsheet.edits import CONTENT_TYPES, Edits, source_of
from retention.connectors.spreadsheet.names import shift_names
from retention.connectors.spreadsheet.package import relationships_part, resolve
from retention.connectors.spreadsheet.pivots import pivots_over, shift_pivots
from retention.connectors.spreadsheet.shift import RowMap, Unshiftable, corners_of, number_in
from retention.connectors.spreadsheet.skeleton import Skeleton, mentions
from retention.connectors.spreadsheet.tables import shift_tables, tables_of
from retention.connectors.spreadsheet.workbook import Sheet, Workbook
from retention.connectors.spreadsheet.xmltext import PACKAGE_RELATIONSHIPS, parse
from retention.errors import PermanentFailure

_OPAQUE = (
    ("xl/revisions/", "a log of shared editing, which keeps removed cells", "stop sharing it"),
    ("xl/model/", "a data model, which keeps its own copy", "remove the data model"),
    ("_xmlsignatures/", "a digital signature, which an edit would break", "remove the signature"),
)
_FOLLOWED = (
    "table", "tableSingleCells", "drawing", "vmlDrawing", "ctrlProp", "comments",
    "threadedComment", "pivotTable",
)  # fmt: skip
_CALM = (
    "xl/styles.xml", "xl/theme/", "docProps/", "xl/media/", "xl/externalLinks/", "xl/persons/",
    "_rels/", "[Content_Types].xml", "xl/pivotCache/",
)  # fmt: skip


def refuse_opaque(workbook: Workbook, sheet: Sheet) -> None:
    """Raise PermanentFailure where a part keeps rows in a way that is not edited here."""
    _refuse_misspelt(workbook)
    _refuse_other_sheets(workbook)
    for part in sorted(workbook.package.names):
        for start, what, hint in _OPAQUE:
            if part.startswith(start):
                raise PermanentFailure(
                    f"{part}: the workbook holds {what}", hint=hint, code="opaque"
                )
    pivots_over(Edits(workbook), sheet)


def _refuse_other_sheets(workbook: Workbook) -> None:
    """A sheet that is not looked at would lose its texts: they lie in the common table."""
    for sheet in workbook.sheets:
        if not (sheet.worksheet or sheet.without_cells):
            raise PermanentFailure(
                "the workbook holds a sheet that is not edited here, for macros of an old kind, "
                "or one whose part is missing",
                hint="remove that sheet, or keep the rows in a workbook of their own",
                code="opaque",
            )


def _refuse_misspelt(workbook: Workbook) -> None:
    """Raise where a part is named in other letters than it is called: it would not be followed."""
    names = workbook.package.names
    alike = {unquote(name).casefold() for name in names}
    for part in sorted(names):
        if not part.casefold().endswith(".rels"):
            continue
        source = source_of(part)
        root = parse(workbook.package.read(part), part)
        targets = [
            resolve(source, item.get("Target", "").partition("#")[0])
            for item in root.iter(f"{{{PACKAGE_RELATIONSHIPS}}}Relationship")
            if item.get("TargetMode") != "External"
        ]
        named = [*targets, *([source] if source else ()), relationships_part(source)]
        if any(n not in names and unquote(n).casefold() in alike for n in named) or (
            CONTENT_TYPES not in names
        ):
            raise PermanentFailure(
                f"{part}: parts of the workbook are named in other letters than they are called",
                hint="open it in Excel or LibreOffice, save it there as xlsx, and try again",
                code="workbook_form",
            )


def row_hazards(workbook: Workbook, sheet: Sheet) -> Callable[[int], str]:
    """Why a row may not be emptied ("" where it may): it carries what cannot be emptied here."""
    spans: list[tuple[int, int, str]] = []
    for kind, part in workbook.relations_of(sheet.part).values():
        if kind.endswith("/drawing") and part in workbook.package.names:
            spans += _pictures(parse(workbook.package.read(part), part))
    for _, root in tables_of(workbook, sheet):
        corners = corners_of(root.get("ref", ""))
        first, last = corners[0].row, corners[-1].row
        if number_in(root.get("headerRowCount", "1")):
            spans.append((first, first, "table_header"))
        if number_in(root.get("totalsRowCount", "0")):
            spans.append((last, last, "table_totals"))
    by_row = {row: why for first, last, why in spans for row in range(first, last + 1)}
    return lambda row: by_row.get(row, "")


def _pictures(root: etree._Element) -> Iterator[tuple[int, int, str]]:
    """A picture that lies within one row is taken to belong to it (a portrait beside a name)."""
    for anchor in root.iter(f"{{{DRAWING}}}twoCellAnchor", f"{{{DRAWING}}}oneCellAnchor"):
        if anchor.find(f".//{{{DRAWING}}}pic") is None:
            continue
        rows = [number_in(r.text or "0") + 1 for r in anchor.iter(f"{{{DRAWING}}}row")]
        if rows and max(rows) - min(rows) <= 1:
            yield rows[0], rows[0], "picture"


def shift_parts(edits: Edits, sheet: Sheet, skeleton: Skeleton, rows: RowMap) -> None:
    """Everything but the rows themselves and other sheets, once rows have gone. Or Unshiftable."""
    _refuse_watchers(edits, sheet)
    heights = None
    if skeleton.anchored() or has_places(edits, sheet):
        heights = Heights.of(edits.workbook.xml(sheet))
    skeleton.shift(rows, sheet.name, heights)
    shift_tables(edits, sheet, rows)
    shift_names(edits, sheet, rows)
    shift_drawings(edits, sheet, rows, heights)
    point_drawings(edits, sheet, rows)
    shift_charts(edits, rows, sheet.name)
    shift_pivots(edits, sheet, rows)
    shift_notes(edits, sheet, rows)


def _refuse_watchers(edits: Edits, sheet: Sheet) -> None:
    """Raise Unshiftable where a part that is not followed here names the sheet's cells."""
    workbook = edits.workbook
    followed = {workbook.part, workbook.strings_part, *charts(edits)}
    for other in workbook.sheets:
        if other.worksheet:
            followed.add(other.part)
        for kind in _FOLLOWED:
            followed |= set(edits.related(other.part, kind))
    attribute = f'sheet="{sheet.name.casefold()}"'
    for part in edits.names():
        if part in followed or not part.endswith((".xml", ".vml")) or part.startswith(_CALM):
            continue
        if "/_rels/" in part:
            continue
        text = edits.text(part).decode("utf-8", "replace")
        if mentions(text, sheet.name) or attribute in text.casefold():
            raise Unshiftable(f"{part}, which points at rows of the sheet")
