"""The other parts of a workbook that know about a sheet's rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator

from lxml import etree

from retention.connectors.spreadsheet.package import relationships_part
from retention.connectors.spreadsheet.shift import (
    RowMap,
    Unshiftable,
    corners_of,
    names_sheet,
    shift_formula,
    tokens,
)
from retention.connectors.spreadsheet.workbook import Sheet, Workbook
from retention.connectors.spreadsheet.xmltext import (
    MAIN,
    PACKAGE_RELATIONSHIPS,
    parse,
    serialise,
    unescape_text,
)
from retention.errors import PermanentFailure

_CONTENT_TYPES = "[Content_Types].xml"
_DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/spreadsheetDrawing"
_VML_EXCEL = "urn:schemas-microsoft-com:office:excel"
_OPAQUE = (
    ("xl/revisions/", "a log of shared editing, which keeps removed cells", "stop sharing it"),
    ("xl/model/", "a data model, which keeps its own copy", "remove the data model"),
    ("_xmlsignatures/", "a digital signature, which an edit would break", "remove the signature"),
)


def refuse_opaque(workbook: Workbook, sheet: Sheet) -> None:
    """Raise PermanentFailure where a part keeps rows in a way that is not edited here."""
    tables = {name for _, root in _tables(workbook, sheet) for name in _table_names(root)}
    for part in sorted(workbook.package.names):
        for start, what, hint in _OPAQUE:
            if part.startswith(start):
                raise PermanentFailure(
                    f"{part}: the workbook holds {what}", hint=hint, code="opaque"
                )
        if part.startswith("xl/pivotCache/pivotCacheDefinition") and part.endswith(".xml"):
            root = parse(workbook.package.read(part), part)
            for source in root.iter(f"{{{MAIN}}}worksheetSource"):
                names = {source.get("sheet", "").casefold(), source.get("name", "").casefold()}
                if names & {sheet.name.casefold(), *tables} or not source.get("sheet"):
                    raise PermanentFailure(
                        f"{part}: a pivot table keeps its own copy of the sheet's rows",
                        hint="delete the pivot table, or move it to another workbook",
                        code="pivot",
                    )
        if "/chartEx" in part and part.endswith(".xml") and "/_rels/" not in part:
            raise PermanentFailure(
                f"{part}: a chart of a newer kind keeps its own copy of rows",
                hint="delete the chart, or replace it by an ordinary one",
                code="chart",
            )


def row_hazards(workbook: Workbook, sheet: Sheet) -> Callable[[int], str]:
    """Why a row may not be emptied ("" where it may): it carries what cannot be emptied here."""
    spans: list[tuple[int, int, str]] = []
    for kind, part in workbook.relations_of(sheet.part).values():
        if part not in workbook.package.names:
            continue
        if kind.endswith("/threadedComment"):
            root = parse(workbook.package.read(part), part)
            for item in root:
                row = corners_of(item.get("ref", "A1"))[0].row
                spans.append((row, row, "threaded_comment"))
        elif kind.endswith("/drawing"):
            spans += _pictures(parse(workbook.package.read(part), part))
    for _, root in _tables(workbook, sheet):
        corners = corners_of(root.get("ref", ""))
        first, last = corners[0].row, corners[-1].row
        if int(root.get("headerRowCount", "1")):
            spans.append((first, first, "table_header"))
        if int(root.get("totalsRowCount", "0")):
            spans.append((last, last, "table_totals"))
    by_row = {row: why for first, last, why in spans for row in range(first, last + 1)}
    return lambda row: by_row.get(row, "")


def _pictures(root: etree._Element) -> Iterator[tuple[int, int, str]]:
    """A picture that lies within one row is taken to belong to it (a portrait beside a name)."""
    for anchor in root:
        if anchor.find(f".//{{{_DRAWING}}}pic") is None:
            continue
        rows = [int(r.text or 0) + 1 for r in anchor.iter(f"{{{_DRAWING}}}row")]
        if rows and max(rows) - min(rows) <= 1:
            yield rows[0], rows[0], "picture"


def _tables(workbook: Workbook, sheet: Sheet) -> Iterator[tuple[str, etree._Element]]:
    for kind, part in workbook.relations_of(sheet.part).values():
        if kind.endswith("/table") and part in workbook.package.names:
            yield part, parse(workbook.package.read(part), part)


def _table_names(root: etree._Element) -> set[str]:
    return {root.get("name", "").casefold(), root.get("displayName", "").casefold()}


def shift_tables(workbook: Workbook, sheet: Sheet, rows: RowMap) -> dict[str, bytes]:
    """The sheet's tables once rows have gone. Raises Unshiftable."""
    out: dict[str, bytes] = {}
    for part, root in _tables(workbook, sheet):
        for item in root.iter("{*}*"):
            local = etree.QName(item).localname
            if local.endswith("Formula") and any(k == "area" for k, _ in tokens(item.text or "")):
                raise Unshiftable("a table whose formula reads single cells")
            if "ref" in item.attrib:
                moved = rows.area(item.get("ref", ""))
                if moved is None:
                    raise Unshiftable("a table that loses all rows")
                item.set("ref", moved)
        corners = corners_of(root.get("ref", ""))
        around = int(root.get("headerRowCount", "1")) + int(root.get("totalsRowCount", "0"))
        if corners[-1].row - corners[0].row + 1 <= around:
            raise Unshiftable("a table that loses all rows")
        out[part] = serialise(root)
    return out


def edit_workbook(
    workbook: Workbook, sheet: Sheet, rows: RowMap | None, *, recompute: bool
) -> dict[str, bytes | None]:
    """The workbook part with its names moved, told to compute anew. Raises Unshiftable.

    The list of formulas in order of computing (`calcChain`) is left out then; programs make a new
    one.
    """
    root = parse(workbook.package.read(workbook.part), workbook.part)
    changed = False
    if rows is not None:
        for item in root.iter(f"{{{MAIN}}}definedName"):
            text = item.text or ""
            moved = _shift_name(text, rows, sheet)
            changed = changed or moved != text
            item.text = moved
    edits: dict[str, bytes | None] = {}
    if recompute:
        properties = root.find(f"{{{MAIN}}}calcPr")
        if properties is None:
            properties = etree.Element(f"{{{MAIN}}}calcPr")
            _insert_calc(root, properties)
        properties.set("fullCalcOnLoad", "1")
        changed = True
        edits |= _without_calc_chain(workbook)
    if changed:
        edits[workbook.part] = serialise(root)
    return edits


_AFTER_CALC = (
    "oleSize", "customWorkbookViews", "pivotCaches", "smartTagPr", "smartTagTypes",
    "webPublishing", "fileRecoveryPr", "webPublishObjects", "extLst",
)  # fmt: skip


def _insert_calc(root: etree._Element, properties: etree._Element) -> None:
    for at, child in enumerate(root):
        if etree.QName(child).localname in _AFTER_CALC:
            root.insert(at, properties)
            return
    root.append(properties)


def _shift_name(text: str, rows: RowMap, sheet: Sheet) -> str:
    scope = ""
    for kind, piece in tokens(text):
        ours = not scope or names_sheet(scope, sheet.name)
        if kind == "area" and ours and not all(c.fixed_row for c in corners_of(piece)):
            raise Unshiftable("a name for a cell that is not fixed")
        scope = piece if kind == "sheet" else ""
    return shift_formula(text, rows, sheet.name, here=False)


def _without_calc_chain(workbook: Workbook) -> dict[str, bytes | None]:
    chain = next((p for k, p in workbook.relations.values() if k.endswith("/calcChain")), None)
    if chain is None or chain not in workbook.package.names:
        return {}
    edits: dict[str, bytes | None] = {chain: None}
    where = relationships_part(workbook.part)
    root = parse(workbook.package.read(where), where)
    for item in list(root):
        if item.get("Type", "").endswith("/calcChain"):
            root.remove(item)
    edits[where] = serialise(root)
    root = parse(workbook.package.read(_CONTENT_TYPES), _CONTENT_TYPES)
    for item in list(root):
        if item.get("PartName", "").lstrip("/") == chain:
            root.remove(item)
    edits[_CONTENT_TYPES] = serialise(root)
    return edits


def drop_relationships(workbook: Workbook, sheet: Sheet, ids: Collection[str]) -> dict[str, bytes]:
    """The sheet's relationships without these."""
    where = relationships_part(sheet.part)
    if not ids or where not in workbook.package.names:
        return {}
    root = parse(workbook.package.read(where), where)
    for item in list(root.iter(f"{{{PACKAGE_RELATIONSHIPS}}}Relationship")):
        if item.get("Id") in ids:
            root.remove(item)
    return {where: serialise(root)}


def drop_notes(workbook: Workbook, sheet: Sheet, removed: Collection[int]) -> dict[str, bytes]:
    """Notes on cells of rows that go, and their yellow boxes, taken out."""
    edits: dict[str, bytes] = {}
    for kind, part in workbook.relations_of(sheet.part).values():
        if part not in workbook.package.names:
            continue
        if kind.endswith("/comments"):
            root = parse(workbook.package.read(part), part)
            _drop(root, f"{{{MAIN}}}comment", removed, _note_row, edits, part)
        elif kind.endswith("/vmlDrawing"):
            root = parse(workbook.package.read(part), part)
            _drop(root, "{urn:schemas-microsoft-com:vml}shape", removed, _shape_row, edits, part)
    return edits


def _drop(
    root: etree._Element,
    tag: str,
    removed: Collection[int],
    row_of: Callable[[etree._Element], int],
    edits: dict[str, bytes],
    part: str,
) -> None:
    gone = [item for item in root.iter(tag) if row_of(item) in removed]
    for item in gone:
        parent = item.getparent()
        if parent is not None:
            parent.remove(item)
    if gone:
        edits[part] = serialise(root)


def _note_row(item: etree._Element) -> int:
    return corners_of(item.get("ref", ""))[0].row


def _shape_row(item: etree._Element) -> int:
    data = item.find(f"{{{_VML_EXCEL}}}ClientData")
    if data is None or data.get("ObjectType") != "Note":
        return 0
    return int(data.findtext(f"{{{_VML_EXCEL}}}Row", "-1")) + 1


_REFERENCE = re.compile(
    rb"<c:f>([^<]*)</c:f>\s*<c:(strCache|numCache|multiLvlStrCache)>.*?</c:\2>", re.DOTALL
)


def drop_chart_caches(workbook: Workbook, sheet: Sheet) -> dict[str, bytes]:
    """Charts over the sheet without their copies of its cells; programs read the sheet again."""
    edits: dict[str, bytes] = {}
    for part in workbook.package.names:
        if not re.fullmatch(r"xl/charts/chart\d+\.xml", part):
            continue
        data = workbook.package.read(part)
        fresh = _REFERENCE.sub(lambda m: _uncached(m, sheet), data)
        if fresh != data:
            edits[part] = fresh
    return edits


def _uncached(match: re.Match[bytes], sheet: Sheet) -> bytes:
    formula = unescape_text(match[1].decode())
    scopes = [text for kind, text in tokens(formula) if kind == "sheet"]
    if not scopes or any(names_sheet(scope, sheet.name) for scope in scopes):
        return b"<c:f>%b</c:f>" % match[1]
    return match[0]


def refuse_watchers(workbook: Workbook, sheet: Sheet) -> None:
    """Raise Unshiftable where another part points at rows of the sheet by number."""
    name = sheet.name.casefold()
    quoted = name.replace("'", "''")
    calm = ("xl/styles.xml", "xl/theme/", "docProps/", "xl/media/")
    looked_at = {workbook.part, workbook.strings_part}
    looked_at |= {other.part for other in workbook.sheets if other.worksheet}
    looked_at |= {part for part, _ in _tables(workbook, sheet)}
    for part in workbook.package.names:
        if not part.endswith((".xml", ".vml")) or part.startswith(calm):
            continue
        if part in looked_at:
            continue
        text = unescape_text(workbook.package.read(part).decode("utf-8", "replace")).casefold()
        if f"{name}!" in text or f"{quoted}'!" in text or f'sheet="{name}"' in text:
            raise Unshiftable(f"{part}, which points at rows of the sheet")
