"""LibreOffice's own view of a workbook, as plain data that two workbooks can be compared by."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lxml import etree

from tests.servers.libreoffice import Book

_NAMES = {
    "office": "urn:oasis:names:tc:opendocument:xmlns:office:1.0",
    "table": "urn:oasis:names:tc:opendocument:xmlns:table:1.0",
    "text": "urn:oasis:names:tc:opendocument:xmlns:text:1.0",
    "draw": "urn:oasis:names:tc:opendocument:xmlns:drawing:1.0",
    "chart": "urn:oasis:names:tc:opendocument:xmlns:chart:1.0",
    "calcext": "urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0",
    "xlink": "http://www.w3.org/1999/xlink",
}
_BROKEN = re.compile(r"\$?[A-Z]{1,3}\$?#REF!(?::\.?\$?[A-Z]{1,3}\$?#REF!)?")


def _name(said: str) -> str:
    prefix, local = said.split(":")
    return f"{{{_NAMES[prefix]}}}{local}"


def view(book: Book, folder: Path, name: str) -> dict[str, Any]:
    """Everything that LibreOffice knows of a workbook and that rows can move."""
    path = folder / f"{name}.fods"
    book.save(path, "OpenDocument Spreadsheet Flat XML")
    root = etree.parse(str(path), etree.XMLParser(huge_tree=True)).getroot()
    found = root.findall(f".//{_name('office:spreadsheet')}/{_name('table:table')}")
    sheets = [s for s in found if not _said(s, "table:name").startswith("'file:")]
    return {
        "cells": {_said(s, "table:name"): dict(_cells(s)) for s in sheets},
        "validations": _validations(root, sheets),
        "rules": sorted(_rules(root)),
        "names": sorted(_attributes(root, "table:named-range", "table:named-expression")),
        "ranges": sorted(_attributes(root, "table:database-range")),
        "prints": [_said(s, "table:print-ranges") for s in sheets],
        "sparklines": sorted(_attributes(root, "calcext:sparkline")),
        "charts": sorted(_charts(root)),
        "pivots": sorted(_attributes(root, "table:source-cell-range")),
        "places": sorted(_places(sheets)),
    }


def agreed(view: dict[str, Any], *apart: str) -> dict[str, Any]:
    """What LibreOffice itself moves as Excel does.

    It leaves links inside the workbook, sparklines, and validations by cells of their own sheet
    where they were; it refreshes pivot tables when it opens a file and not before. `apart`: sheets
    left out.
    """
    cells = {
        sheet: {
            place: {k: v for k, v in told.items() if k != "link" or not v.startswith("#")}
            for place, told in found.items()
        }
        for sheet, found in view["cells"].items()
        if sheet not in apart
    }
    checks = [(place, rule) for place, rule, _ in view["validations"] if "[$" in rule]
    return {k: v for k, v in view.items() if k != "sparklines"} | {
        "cells": cells,
        "validations": checks,
    }


def _said(item: etree._Element, name: str) -> str:
    return str(item.get(_name(name), ""))


def _clean(text: str) -> str:
    return _BROKEN.sub("#REF!", text).replace(".#REF!", "#REF!").replace("[#REF!]", "#REF!")


def _attributes(root: etree._Element, *names: str) -> Iterator[tuple[str, ...]]:
    for item in root.iter(*(_name(n) for n in names)):
        yield tuple(
            f"{etree.QName(k).localname}={_clean(str(v))}"
            for k, v in sorted(item.attrib.items())
            if etree.QName(k).localname != "base-cell-address"
        )


def _rows(sheet: etree._Element) -> Iterator[tuple[int, etree._Element]]:
    number = 1
    for row in _own_rows(sheet):
        times = int(_said(row, "table:number-rows-repeated") or 1)
        for step in range(times if times < 1000 else 1):
            yield number + step, row
        number += times


def _own_rows(around: etree._Element) -> Iterator[etree._Element]:
    """Rows of the sheet; charts on it have rows of their own."""
    for item in around:
        if item.tag == _name("table:table-row"):
            yield item
        elif item.tag in (_name("table:table-row-group"), _name("table:table-header-rows")):
            yield from _own_rows(item)


def _cells(sheet: etree._Element) -> Iterator[tuple[tuple[int, int], dict[str, str]]]:
    for number, row in _rows(sheet):
        column = 1
        for cell in row:
            times = int(_said(cell, "table:number-columns-repeated") or 1)
            told = _cell(cell)
            for step in range(times if told else 0):
                yield (number, column + step), told
            column += times


def _cell(cell: etree._Element) -> dict[str, str]:
    note = cell.find(_name("office:annotation"))
    told = {
        "formula": _clean(_said(cell, "table:formula")),
        "value": _said(cell, "office:value") or _said(cell, "office:date-value"),
        "text": "\n".join("".join(map(str, p.itertext())) for p in cell.findall(_name("text:p"))),
        "merged": _said(cell, "table:number-rows-spanned")
        + _said(cell, "table:number-columns-spanned"),
        "link": " ".join(_said(a, "xlink:href") for a in cell.iter(_name("text:a"))),
        "note": "".join(map(str, note.itertext())).strip() if note is not None else "",
    }
    return {k: v for k, v in told.items() if v and v != "11"}


def _validations(root: etree._Element, sheets: list[etree._Element]) -> list[tuple[str, str, str]]:
    """Condition by cell, read as in the cell itself."""
    known = {
        _said(v, "table:name"): (_said(v, "table:condition"), _said(v, "table:base-cell-address"))
        for v in root.iter(_name("table:content-validation"))
    }
    found = []
    for sheet in sheets:
        for number, row in _rows(sheet):
            column = 1
            for cell in row:
                times = int(_said(cell, "table:number-columns-repeated") or 1)
                name = _said(cell, "table:content-validation-name")
                if name in known and number < 1000:
                    condition, base = known[name]
                    found.append(
                        (f"{_said(sheet, 'table:name')} {number} {column}+{times}", condition, base)
                    )
                column += times
    return sorted(found)


def _rules(root: etree._Element) -> Iterator[tuple[str, ...]]:
    for item in root.iter(_name("calcext:conditional-format")):
        place = _said(item, "calcext:target-range-address")
        for rule in item.iter():
            said = [
                f"{etree.QName(k).localname}={_clean(str(v))}"
                for k, v in sorted(rule.attrib.items())
                if etree.QName(k).localname in ("value", "formula", "type")
            ]
            if said and rule is not item:
                yield (place, etree.QName(rule).localname, *said)


def _charts(root: etree._Element) -> Iterator[tuple[str, ...]]:
    names = ("values-cell-range-address", "label-cell-address", "cell-range-address")
    for chart in root.iter(_name("chart:chart")):
        found = [
            f"{etree.QName(k).localname}={_clean(str(v))}"
            for item in chart.iter()
            for k, v in sorted(item.attrib.items())
            if etree.QName(k).localname in names and not str(v).startswith("local-table")
        ]
        yield tuple(found)


def _places(sheets: list[etree._Element]) -> Iterator[tuple[str, int, str]]:
    """In which row of which sheet something drawn begins, and where it ends."""
    for sheet in sheets:
        for number, row in _rows(sheet):
            for shape in row.iterfind(f".//*[@{_name('table:end-cell-address')}]"):
                if etree.QName(shape).localname != "annotation":
                    yield (
                        _said(sheet, "table:name"), number,
                        _said(shape, "table:end-cell-address"),
                    )  # fmt: skip
