"""Where drawings stand once rows have gone: a place in a row, a size that stays or shrinks."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate

from lxml import etree

from retention.connectors.spreadsheet.sheetxml import SheetXml
from retention.connectors.spreadsheet.shift import RowMap, number_in
from retention.connectors.spreadsheet.xmltext import attributes

_EMU = 12_700
"""A point in the unit of drawings."""
_DEFAULT = 15.0
_FORMAT = re.compile(rb"<(?:\w+:)?sheetFormatPr([^>]*)>")


class Heights:
    """Heights of a sheet's rows, before and after rows have gone."""

    def __init__(self, default: float, own: Mapping[int, float]) -> None:
        self.default = default
        self.own = dict(sorted(own.items()))
        self._rows = list(self.own)
        extra = (height - default for height in self.own.values())
        self._extra = list(accumulate(extra, initial=0.0))

    @classmethod
    def of(cls, xml: SheetXml) -> Heights:
        """Read from a fresh pass over the sheet, which is used up."""
        said = attributes(found[1]) if (found := _FORMAT.search(xml.head)) else {}
        default = float(said.get(b"defaultRowHeight", b"%f" % _DEFAULT))
        if said.get(b"zeroHeight") in (b"1", b"true"):
            default = 0.0
        own: dict[int, float] = {}
        for number, raw in xml.raw_rows():
            opening = raw[: raw.index(b">")]
            if b" ht" in opening or b" hidden" in opening:
                row = attributes(opening)
                if row.get(b"hidden") in (b"1", b"true"):
                    own[number] = 0.0
                elif b"ht" in row:
                    own[number] = float(row[b"ht"])
        return cls(default, own)

    def without(self, rows: RowMap) -> Heights:
        """The heights once rows have gone."""
        moved = ((rows.row(number), height) for number, height in self.own.items())
        return Heights(self.default, {n: height for n, height in moved if n is not None})

    def top(self, index: int) -> float:
        """Points from the top of the sheet to a row, counted from 0."""
        return index * self.default + self._extra[bisect_right(self._rows, index)]

    def at(self, points: float) -> tuple[int, float]:
        """The row (from 0) at a distance from the top, and the points below that row's top."""
        low, high = 0, 1 << 20
        while low + 1 < high:
            middle = (low + high) // 2
            low, high = (middle, high) if self.top(middle) <= points else (low, middle)
        return low, points - self.top(low)


def moved_place(index: int, offset: int, rows: RowMap) -> tuple[int, int]:
    """A place (row from 0, distance below its top) once rows have gone."""
    gone = rows.row(index + 1) is None
    return rows.place(index + 1) - 1, 0 if gone else offset


def shift_anchor(
    anchor: etree._Element, rows: RowMap, heights: Heights | None, edit_as: str
) -> bool:
    """Move an anchor with `from` and perhaps `to`; gives whether it changed.

    `edit_as`: `twoCell` shrinks with its rows, `oneCell` keeps its size, `absolute` its place too.
    """
    ends = [item for item in anchor if etree.QName(item).localname in ("from", "to")]
    old = [_read(item) for item in ends]
    if not any(rows.touches(row + 1) for row, _ in old):
        return False
    new = [moved_place(row, offset, rows) for row, offset in old]
    if edit_as != "twoCell" and heights is not None:
        after = heights.without(rows)
        tops = [heights.top(row) + offset / _EMU for row, offset in old]
        start = tops[0] if edit_as == "absolute" else after.top(new[0][0]) + new[0][1] / _EMU
        places = [after.at(start + top - tops[0]) for top in tops]
        new = [(row, round(points * _EMU)) for row, points in places]
    for item, place in zip(ends, new, strict=True):
        _write(item, place)
    return new != old


def _read(end: etree._Element) -> tuple[int, int]:
    said = {etree.QName(item).localname: number_in(item.text or "0") for item in end}
    return said.get("row", 0), said.get("rowOff", 0)


def _write(end: etree._Element, place: tuple[int, int]) -> None:
    for item in end:
        local = etree.QName(item).localname
        if local in ("row", "rowOff"):
            item.text = str(place[local == "rowOff"])
