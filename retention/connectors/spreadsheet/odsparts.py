"""Parts beside the content of an OpenDocument spreadsheet: charts, their pictures, the manifest."""

from __future__ import annotations

import re
from collections.abc import Collection

from retention.connectors.spreadsheet.odsaround import Around
from retention.connectors.spreadsheet.package import Package
from retention.connectors.spreadsheet.xmltext import ATTRIBUTES, attributes, guarded, odd, unescape

_OBJECT = re.compile(r"([^/]+)/content\.xml")
_LOCAL_TABLE = re.compile(rb"<table:table[\s>].*?</table:table>", re.DOTALL)
_VALUED = re.compile(rb"(<table:table-cell)" + ATTRIBUTES + rb"(\s*/?>)")
_SHOWN = re.compile(rb"<text:p(?=[\s>])[^<>]*>.*?</text:p>", re.DOTALL)
_ENTRY = re.compile(
    rb"\s*<manifest:file-entry" + ATTRIBUTES + rb"\s*(?:/>|>\s*</manifest:file-entry>)"
)
_CELL_COUNT = re.compile(rb'(meta:cell-count=")(\d+)(")')


def chart_parts(package: Package, around: Around) -> list[str]:
    """Objects in the document that draw cells of the sheet."""
    found: list[str] = []
    for name in package.zip.namelist():
        if _OBJECT.fullmatch(name):
            text = package.read(name)
            for _ in guarded([text], name):
                pass
            if around.concerns(text):
                if b"<office:chart" not in text:
                    raise odd(name, "is an object over the sheet that is no chart")
                found.append(name)
    return found


def derived_pictures(package: Package, charts: Collection[str]) -> list[str]:
    """Pictures that office programs make anew: of the first page, and of charts over the sheet."""
    drawn = {f"ObjectReplacements/{name.split('/', maxsplit=1)[0]}" for name in charts}
    return [
        name
        for name in package.zip.namelist()
        if name in drawn or (name.startswith("Thumbnails/") and not name.endswith("/"))
    ]


def without_cached(text: bytes) -> bytes:
    """A chart without its own copies of the cells that it draws; ranges stay."""

    def table(match: re.Match[bytes]) -> bytes:
        bare = _VALUED.sub(_unvalued, match[0])
        return _SHOWN.sub(b"<text:p/>", bare)

    return _LOCAL_TABLE.sub(table, text)


def _unvalued(match: re.Match[bytes]) -> bytes:
    said = attributes(match[2])
    if said.get(b"office:value-type") == b"float":
        return b'%b office:value-type="float" office:value="NaN"%b' % (match[1], match[3])
    return b"%b%b%b" % (match[1], b' office:value-type="string"' if said else b"", match[3])


def manifest_without(text: bytes, dropped: Collection[str]) -> bytes:
    """The manifest without the parts that are left out."""

    def entry(match: re.Match[bytes]) -> bytes:
        path = unescape(attributes(match[1]).get(b"manifest:full-path", b"")).decode()
        return b"" if path in dropped else match[0]

    return _ENTRY.sub(entry, text)


def fewer_cells(text: bytes, count: int) -> bytes:
    """The document's statistics with that many cells less."""
    return _CELL_COUNT.sub(lambda m: b"%b%d%b" % (m[1], max(0, int(m[2]) - count), m[3]), text)
