"""What stands around a sheet's rows: merges, filters, rules, links. Moved along, or refused."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from lxml import etree

from retention.connectors.spreadsheet.anchors import Heights, shift_anchor
from retention.connectors.spreadsheet.edits import remove, without
from retention.connectors.spreadsheet.rules import X14, XM, shift_rules, without_empty
from retention.connectors.spreadsheet.sheetxml import SheetXml, column_number
from retention.connectors.spreadsheet.shift import (
    RowMap,
    Unshiftable,
    corners_of,
    names_sheet,
    number_in,
    shift_formula,
    tokens,
)
from retention.connectors.spreadsheet.xmltext import MAIN, RELATIONSHIPS, parse, serialise

_ROWS = "@@rows@@"
_KNOWN = frozenset(
    {
        "sheetPr", "dimension", "sheetViews", "sheetFormatPr", "cols", "sheetData", "sheetCalcPr",
        "sheetProtection", "protectedRanges", "scenarios", "autoFilter", "sortState",
        "dataConsolidate", "customSheetViews", "mergeCells", "phoneticPr", "conditionalFormatting",
        "dataValidations", "hyperlinks", "printOptions", "pageMargins", "pageSetup",
        "headerFooter", "rowBreaks", "colBreaks", "customProperties", "cellWatches",
        "ignoredErrors", "smartTags", "drawing", "legacyDrawing", "legacyDrawingHF", "picture",
        "oleObjects", "controls", "webPublishItems", "tableParts", "extLst",
    }
)  # fmt: skip
_KNOWN_EXTENSIONS = frozenset(
    {
        "conditionalFormattings", "dataValidations", "sparklineGroups", "slicerList",
        "timelineRefs", "ignoredErrors", "protectedRanges",
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
                remove(link)
        left = {x.get(f"{{{RELATIONSHIPS}}}id") for x in self.root.iter(_name("hyperlink"))}
        for group in list(self.root.iter(_name("hyperlinks"))):
            if len(group) == 0:
                remove(group)
        return [i for i in gone if i and i not in left]

    def anchored(self) -> bool:
        """Whether a control or object stands on the sheet at a place of its own."""
        return next(self._anchors(), None) is not None

    def _anchors(self) -> Iterator[etree._Element]:
        for kind in ("controls", "oleObjects"):
            for group in self.root.iter(_name(kind)):
                yield from group.iter(_name("anchor"))

    def drop_values(self, removed: Collection[int]) -> None:
        """Values that are kept for cells of rows which go: what-if scenarios."""
        for cell in list(self.root.iter(_name("inputCells"))):
            if corners_of(cell.get("r", ""))[0].row in removed:
                remove(cell)
                self.changed = True
        without_empty(self.root)

    def point(self, rows: RowMap, sheet: str) -> None:
        """What stands around another sheet's rows, once rows of `sheet` have gone."""
        self.changed |= shift_rules(self.root, rows, sheet, here=False)
        self._move_pointers(rows, sheet, here=False)
        for child in self.root:
            local = etree.QName(child).localname
            if local not in _KNOWN and mentions(etree.tostring(child).decode(), sheet):
                raise Unshiftable(f"another sheet's part {local}, which points at rows")
        without_empty(self.root)

    def shift(self, rows: RowMap, sheet: str, heights: Heights | None = None) -> None:
        """Move everything along. Raises Unshiftable where something stands that cannot be moved."""
        self._refuse_unknown()
        for item in list(self.root.iter(_name("dimension"), _name("autoFilter"), _name("mergeCell"),
                                        _name("hyperlink"), _name("sortState"),
                                        _name("sortCondition"))):  # fmt: skip
            _move(item, "ref", rows)
        for item in list(self.root.iter(_name("protectedRange"), _name("ignoredError"),
                                        _name("scenarios"))):  # fmt: skip
            if item.get("sqref") is not None:
                _move(item, "sqref", rows)
        for item in list(self.root.iter(_name("cellWatch"), _name("inputCells"),
                                        _name("cellSmartTags"))):  # fmt: skip
            _move(item, "r", rows)
        self._move_newer(rows)
        shift_rules(self.root, rows, sheet, here=True)
        self._move_pointers(rows, sheet, here=True)
        self._move_views(rows)
        self._move_breaks(rows)
        for anchor in self._anchors():
            shift_anchor(anchor, rows, heights, _edit_as(anchor))
        without_empty(self.root)

    def _refuse_unknown(self) -> None:
        for child in self.root:
            local = etree.QName(child).localname
            if local == "AlternateContent":
                local = next((etree.QName(x).localname for y in child for x in y), local)
            if local not in _KNOWN:
                raise Unshiftable(f"the sheet's part {local}")
        for extension in self.root.iterfind(f"{_name('extLst')}/*/*"):
            local = etree.QName(extension).localname
            if local not in _KNOWN_EXTENSIONS:
                raise Unshiftable(f"the sheet's extension {local}")

    def _move_newer(self, rows: RowMap) -> None:
        for kind in ("ignoredError", "protectedRange"):
            for place in list(self.root.iterfind(f".//{{{X14}}}{kind}/{{{XM}}}sqref")):
                place.text = rows.sqref(place.text or "")
                around = place.getparent()
                if not place.text and around is not None:
                    remove(around)

    def _move_pointers(self, rows: RowMap, sheet: str, *, here: bool) -> None:
        """Links and controls that name cells, and ranges to be summed up."""
        for link in list(self.root.iter(_name("hyperlink"))):
            old = link.get("location")
            if old is None or link.get(f"{{{RELATIONSHIPS}}}id"):
                continue
            new = shift_location(old, rows, sheet, here=here)
            if new is None:
                # The link led to a row that went: there is nothing left to lead to.
                remove(link)
            else:
                link.set("location", new)
            self.changed |= new != old
        for control in self.root.iter(_name("controlPr")):
            for name in ("linkedCell", "listFillRange"):
                self._move_formula(control, name, rows, sheet, here=here)
        for source in self.root.iter(_name("dataRef")):
            ours = source.get("sheet", "").casefold() == sheet.casefold()
            if ours and not source.get(f"{{{RELATIONSHIPS}}}id") and source.get("ref"):
                moved = rows.area(source.get("ref", ""))
                if moved is None:
                    raise Unshiftable("a consolidation that loses all rows")
                self.changed |= moved != source.get("ref")
                source.set("ref", moved)
        for item in self.root.iter(_name("webPublishItem")):
            if here and item.get("sourceRef"):
                self._move_formula(item, "sourceRef", rows, sheet, here=True)

    def _move_formula(
        self, item: etree._Element, name: str, rows: RowMap, sheet: str, *, here: bool
    ) -> None:
        old = item.get(name)
        if old is not None:
            new = shift_formula(old, rows, sheet, here=here)
            item.set(name, new)
            self.changed |= new != old

    def _move_views(self, rows: RowMap) -> None:
        """What is shown and selected: never a reason to refuse."""
        for view in self.root.iter(_name("sheetView"), _name("customSheetView"), _name("pane")):
            if view.get("topLeftCell"):
                view.set("topLeftCell", _place(view.get("topLeftCell", ""), rows))
        for pane in self.root.iter(_name("pane")):
            split = pane.get("ySplit", "")
            if pane.get("state") in ("frozen", "frozenSplit") and split.isdigit():
                left = rows.span(1, int(split)) if int(split) else None
                pane.set("ySplit", str(left[1] if left else split))
        for chosen in self.root.iter(_name("selection")):
            cell = _place(chosen.get("activeCell", "A1"), rows)
            ranges = rows.sqref(chosen.get("sqref", "A1"))
            if chosen.get("activeCell"):
                chosen.set("activeCell", cell)
            if chosen.get("sqref"):
                kept = len(ranges.split()) == len(chosen.get("sqref", "").split())
                chosen.set("sqref", ranges if kept else cell)
                if not kept:
                    without(chosen, "activeCellId")

    def _move_breaks(self, rows: RowMap) -> None:
        for group in list(self.root.iter(_name("rowBreaks"))):
            seen: set[str] = set()
            for item in list(group):
                # A break stands below its row; one below a row that goes stands below the row
                # before.
                moved = rows.span(1, number_in(item.get("id", "0")))
                if moved is None or str(moved[1]) in seen:
                    remove(item)
                    continue
                seen.add(str(moved[1]))
                item.set("id", str(moved[1]))
            if len(group) == 0:
                remove(group)
                continue
            for name, count in (
                ("count", len(group)),
                ("manualBreakCount", sum(x.get("man") in ("1", "true") for x in group)),
            ):
                if group.get(name) is not None:
                    group.set(name, str(count))


def mentions(text: str, sheet: str) -> bool:
    """Whether a text (of XML) holds the sheet's name as references do."""
    name = etree.tostring(_text_of(sheet), encoding="unicode")[3:-4].casefold()
    folded = text.casefold().replace("&apos;", "'").replace("&#39;", "'").replace("&quot;", '"')
    return any(
        f"{n}!" in folded or f"{n.replace(chr(39), chr(39) * 2)}'!" in folded
        for n in (name, sheet.casefold())
    )


def _text_of(text: str) -> etree._Element:
    made = etree.Element("t")
    made.text = text
    return made


def shift_location(text: str, rows: RowMap, sheet: str, *, here: bool) -> str | None:
    """The place inside the workbook that a link leads to, moved; None where it has gone."""
    pieces = list(tokens(text.lstrip("#")))
    kinds = [kind for kind, _ in pieces]
    if kinds not in (["area"], ["sheet", "area"], ["rows"], ["sheet", "rows"]):
        return text
    if not (names_sheet(pieces[0][1], sheet) if kinds[0] == "sheet" else here):
        return text
    try:
        moved = shift_formula(pieces[-1][1], RowMap(rows.removed), sheet, here=True)
    except Unshiftable:
        return None
    sign = "#" if text.startswith("#") else ""
    return sign + (pieces[0][1] if kinds[0] == "sheet" else "") + moved


def _edit_as(anchor: etree._Element) -> str:
    if anchor.get("moveWithCells") not in ("1", "true"):
        return "absolute"
    return "twoCell" if anchor.get("sizeWithCells") in ("1", "true") else "oneCell"


def _place(text: str, rows: RowMap) -> str:
    corner = corners_of(text)[0]
    return corner.text(max(1, rows.place(corner.row)))


def _move(item: etree._Element, attribute: str, rows: RowMap) -> None:
    moved = rows.sqref(item.get(attribute, ""))
    if moved:
        item.set(attribute, moved)
    elif etree.QName(item).localname == "autoFilter":
        raise Unshiftable("a filter whose rows all go")
    else:
        remove(item)


def _name(local: str) -> str:
    return f"{{{MAIN}}}{local}"
