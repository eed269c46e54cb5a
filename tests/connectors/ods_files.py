"""OpenDocument spreadsheets made and read for the tests, without the connector's code."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from lxml import etree

OASIS = "urn:oasis:names:tc:opendocument:xmlns:"
NAMES = {
    "office": OASIS + "office:1.0",
    "table": OASIS + "table:1.0",
    "text": OASIS + "text:1.0",
    "draw": OASIS + "drawing:1.0",
    "style": OASIS + "style:1.0",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xlink": "http://www.w3.org/1999/xlink",
    "calcext": "urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0",
    "of": OASIS + "of:1.2",
    "meta": OASIS + "meta:1.0",
}
KIND = "application/vnd.oasis.opendocument.spreadsheet"
_BOUND = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMES.items())


def cell(value: object, more: str = "") -> str:
    """One cell as office programs write it."""
    if value is None or value == "":
        return f"<table:table-cell{more}/>"
    if isinstance(value, date):
        said = f'office:value-type="date" office:date-value="{value.isoformat()}"'
    elif isinstance(value, bool):
        said = f'office:value-type="boolean" office:boolean-value="{str(value).lower()}"'
    elif isinstance(value, int | float):
        said = f'office:value-type="float" office:value="{value}"'
    else:
        said = 'office:value-type="string"'
    lines = "".join(f"<text:p>{_spaced(line)}</text:p>" for line in str(value).split("\n"))
    return f"<table:table-cell{more} {said}>{lines}</table:table-cell>"


def _spaced(line: str) -> str:
    out: list[str] = []
    for n, character in enumerate(line):
        if character == "\t":
            out.append("<text:tab/>")
        elif character == " " and (n == 0 or n == len(line) - 1 or line[n - 1] == " "):
            out.append("<text:s/>")
        else:
            out.append(escape(character))
    return "".join(out)


def row(*values: object) -> str:
    """One row."""
    return f"<table:table-row>{''.join(cell(v) for v in values)}</table:table-row>"


def sheet(name: str, *rows: str, more: str = "") -> str:
    """One sheet of rows, followed by as many empty ones as LibreOffice writes."""
    filler = (
        '<table:table-row table:number-rows-repeated="1048000">'
        '<table:table-cell table:number-columns-repeated="16384"/></table:table-row>'
    )
    return (
        f"<table:table table:name={quoteattr(name)}{more}>"
        f'<table:table-column table:number-columns-repeated="16384"/>'
        f"{''.join(rows)}{filler}</table:table>"
    )


def document(*sheets: str, before: str = "", after: str = "", styles: str = "") -> bytes:
    """`content.xml` of these sheets."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<office:document-content {_BOUND} office:version="1.3">'
        f"<office:automatic-styles>{styles}</office:automatic-styles>"
        f"<office:body><office:spreadsheet>{before}{''.join(sheets)}{after}"
        f"</office:spreadsheet></office:body></office:document-content>"
    ).encode()


def write(path: Path, content: bytes, more: Mapping[str, bytes] | None = None) -> Path:
    """A package with this content, mimetype first and stored."""
    others = {"content.xml": content, **(more or {})}
    entries = "".join(
        f"<manifest:file-entry manifest:full-path={quoteattr(name)} "
        f'manifest:media-type="text/xml"/>'
        for name in others
    )
    manifest = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<manifest:manifest xmlns:manifest="{OASIS}'
        f'manifest:1.0" manifest:version="1.3"><manifest:file-entry manifest:full-path="/" '
        f'manifest:media-type="{KIND}"/>{entries}</manifest:manifest>'
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("mimetype", KIND, zipfile.ZIP_STORED)
        for name, data in others.items():
            package.writestr(name, data)
        package.writestr("META-INF/manifest.xml", manifest)
    return path


def read(path: Path, name: str) -> list[list[object]]:
    """Rows of a sheet that hold anything, cells by position, through a tree of the whole file."""
    with zipfile.ZipFile(path) as package:
        root = etree.fromstring(package.read("content.xml"))
    (table,) = root.iterfind(f".//table:table[@table:name='{name}']", NAMES)
    out: list[list[object]] = []
    for element in table.iterfind("table:table-row", NAMES):
        values: list[object] = []
        for found in element:
            times = int(found.get(f"{{{NAMES['table']}}}number-columns-repeated", "1"))
            values += [_value(found)] * (times if times < 1000 else 1)
        if any(v != "" for v in values):
            out.append(values)
    return out


def _value(element: etree._Element) -> object:
    office = f"{{{NAMES['office']}}}"
    if (day := element.get(f"{office}date-value")) is not None:
        return date.fromisoformat(day[:10])
    if (number := element.get(f"{office}value")) is not None:
        return float(number)
    return "\n".join(_shown(p) for p in element.iterfind("text:p", NAMES))


def _shown(paragraph: etree._Element) -> str:
    marks = {"s": " ", "tab": "\t", "line-break": "\n"}
    text = paragraph.text or ""
    for child in paragraph:
        name = etree.QName(child).localname
        count = int(child.get(f"{{{NAMES['text']}}}c", "1"))
        text += marks[name] * count if name in marks else _shown(child)
        text += child.tail or ""
    return text


def table_of(rows: Sequence[Sequence[object]], name: str = "Sheet1") -> str:
    """One sheet of these rows."""
    return sheet(name, *(row(*values) for values in rows))
