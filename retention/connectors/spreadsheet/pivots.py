"""Pivot tables: whole copies of a sheet's rows, which are left out and made anew by Excel.

Only Excel can bring a pivot table up to date. What can be done from outside: the range it reads
moves along, its copies of rows are left out, items that no row holds any more lose their text, the
cells it wrote are emptied, and it is told to refresh when the workbook is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from lxml import etree

from retention.connectors.spreadsheet.edits import Edits, remove, without
from retention.connectors.spreadsheet.residue import fold
from retention.connectors.spreadsheet.shift import (
    RowMap,
    Unshiftable,
    corners_of,
    number_in,
    tokens,
)
from retention.connectors.spreadsheet.tables import names_of, tables_of
from retention.connectors.spreadsheet.workbook import Sheet
from retention.connectors.spreadsheet.xmltext import MAIN, RELATIONSHIPS
from retention.errors import PermanentFailure

Item = tuple[str, str | float]
"""A value of a pivot cache: its kind (`s` text, `n` number, date or boolean) and the value."""


@dataclass(frozen=True, slots=True)
class Pivots:
    """What of a workbook's pivot tables rests on one sheet."""

    caches: tuple[str, ...]
    """Parts that define a copy of the sheet's rows."""
    areas: dict[str, tuple[str, ...]]
    """Sheet part → ranges that pivot tables over the sheet wrote there."""


def pivots_over(edits: Edits, sheet: Sheet) -> Pivots:
    """Look through all pivot tables. Raises PermanentFailure where one stands beside the rows."""
    caches = tuple(
        part
        for part in dict.fromkeys(edits.related(edits.workbook.part, "pivotCacheDefinition"))
        if _rests_on(edits, part, sheet)
    )
    areas: dict[str, tuple[str, ...]] = {}
    for other in edits.workbook.sheets:
        for part in edits.related(other.part, "pivotTable"):
            if not set(edits.related(part, "pivotCacheDefinition")) & set(caches):
                continue
            if other.part == sheet.part:
                raise PermanentFailure(
                    f"{part}: a pivot table over the rows stands on their own sheet",
                    hint="move the pivot table to another sheet",
                    code="pivot",
                )
            for place in edits.tree(part).iter(f"{{{MAIN}}}location"):
                found = place.get("ref", "")
                above = _above(found, number_in(place.get("rowPageCount", "0")))
                areas[other.part] = (*areas.get(other.part, ()), found, *above)
    return Pivots(caches, areas)


def _above(text: str, pages: int) -> Iterator[str]:
    """Filters of a pivot table stand above it, with an empty row between."""
    first, last = corners_of(text)[0], corners_of(text)[-1]
    if pages and first.row - pages - 1 >= 1:
        yield f"{first.letters}{first.row - pages - 1}:{last.letters}{first.row - 2}"


def _sources(root: etree._Element) -> Iterator[etree._Element]:
    yield from root.iter(f"{{{MAIN}}}worksheetSource", f"{{{MAIN}}}rangeSet")


def _rests_on(edits: Edits, part: str, sheet: Sheet) -> bool:
    tables = {name for _, root in tables_of(edits.workbook, sheet) for name in names_of(root)}
    for source in _sources(edits.tree(part)):
        if source.get(f"{{{RELATIONSHIPS}}}id"):
            continue  # rows of another workbook
        name = source.get("name", "").casefold()
        if source.get("sheet", "").casefold() == sheet.name.casefold() or name in tables:
            return True
        if not source.get("sheet") and not _is_elsewhere(edits, name, sheet):
            return True
    return False


def _is_elsewhere(edits: Edits, name: str, sheet: Sheet) -> bool:
    """Whether a name surely means cells of another sheet."""
    others = (s for s in edits.workbook.sheets if s.part != sheet.part)
    if any(
        name in names_of(root) for other in others for _, root in tables_of(edits.workbook, other)
    ):
        return True
    for item in edits.tree(edits.workbook.part).iter(f"{{{MAIN}}}definedName"):
        if item.get("name", "").casefold() == name:
            text = item.text or ""
            kinds = [kind for kind, _ in tokens(text)]
            return kinds == ["sheet", "area"] and sheet.name.casefold() not in text.casefold()
    return False


def shift_pivots(edits: Edits, sheet: Sheet, rows: RowMap) -> None:
    """Move the ranges that pivot tables read, and those that stand on the sheet. Or Unshiftable."""
    for part in edits.related(edits.workbook.part, "pivotCacheDefinition"):
        for source in _sources(edits.tree(part)):
            if source.get("sheet", "").casefold() != sheet.name.casefold() or not source.get("ref"):
                continue
            if source.get(f"{{{RELATIONSHIPS}}}id"):
                continue
            moved = rows.area(source.get("ref", ""))
            if moved is None:
                raise Unshiftable("a pivot table that loses all rows")
            source.set("ref", moved)
            edits.touch(part)
    for part in edits.related(sheet.part, "pivotTable"):
        for place in edits.tree(part).iter(f"{{{MAIN}}}location"):
            corners = corners_of(place.get("ref", ""))
            if rows.intersects(corners[0].row - 20, corners[-1].row):
                raise Unshiftable("a pivot table beside the rows")
            place.set("ref", rows.area(place.get("ref", "")) or "")
            edits.touch(part)


def empty_caches(
    edits: Edits, found: Pivots, held: Callable[[set[Item]], set[Item]], epoch: datetime
) -> None:
    """Leave out what the caches keep of rows that went.

    `held`: which of some items a cell still holds. Items keep their numbers, which pivot tables,
    their filters and slicers go by.
    """
    for part in found.caches:
        for records in list(edits.related(part, "pivotCacheRecords")):
            edits.drop(records)
        root = edits.tree(part)
        without(root, f"{{{RELATIONSHIPS}}}id")
        without(root, "recordCount")
        root.set("saveData", "0")
        root.set("refreshOnLoad", "1")
        # Else Excel would keep the emptied items in its lists for ever.
        root.set("missingItemsLimit", "0")
        items = [x for field in root.iter(f"{{{MAIN}}}cacheField") for x in _items(field)]
        known = {item for x in items if (item := _value(x, epoch)) is not None}
        still = held(known)
        for field in root.iter(f"{{{MAIN}}}cacheField"):
            _empty_field(field, still, epoch)
        edits.touch(part)


def _items(field: etree._Element) -> Iterator[etree._Element]:
    for group in field.iter(f"{{{MAIN}}}sharedItems", f"{{{MAIN}}}groupItems"):
        yield from group


def _value(item: etree._Element, epoch: datetime) -> Item | None:
    kind, said = etree.QName(item).localname, item.get("v", "")
    if kind == "s":
        return ("s", fold(said).strip())
    if kind in ("n", "b"):
        try:
            return ("n", float(said))
        except ValueError:
            return ("s", said)
    if kind == "d":
        try:
            when = datetime.fromisoformat(said.rstrip("Z"))
        except ValueError:
            return ("s", said)
        return ("n", round((when - epoch).total_seconds() / 86_400, 5))
    return None


def _empty_field(field: etree._Element, still: set[Item], epoch: datetime) -> None:
    for shared in field.iter(f"{{{MAIN}}}sharedItems"):
        for limit in ("minValue", "maxValue", "minDate", "maxDate"):
            without(shared, limit)
        for number, item in enumerate(shared, 1):
            value = _value(item, epoch)
            if value is not None and value not in still:
                _replace(item, number)
    grouped = field.find(f"{{{MAIN}}}fieldGroup/{{{MAIN}}}rangePr")
    for groups in field.iter(f"{{{MAIN}}}groupItems"):
        for number, item in enumerate(groups, 1):
            value = _value(item, epoch)
            # Steps of a range (months, tens) are words of Excel's own, not of a row.
            if grouped is None and value is not None and value not in still:
                _replace(item, number)


def _replace(item: etree._Element, number: int) -> None:
    """Another value of the same kind, which no other item has."""
    kind = etree.QName(item).localname
    fresh = {
        "s": f"({number})",
        "n": str(-1_000_000 - number),
        "d": f"1900-01-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}",
    }
    if kind in fresh:
        item.set("v", fresh[kind])
    for attribute in ("c", "u", "f"):
        without(item, attribute)
    for below in list(item):
        remove(below)
