"""One row of an OpenDocument sheet: its cells read, emptied, or given new values."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import date
from functools import lru_cache
from typing import NamedTuple

from retention.connectors.base import Scalar
from retention.connectors.spreadsheet.odsxml import CONTENT, whole
from retention.connectors.spreadsheet.table import Cell, Row
from retention.connectors.spreadsheet.xmltext import (
    ATTRIBUTES,
    attributes,
    escape,
    odd,
    unescape,
    unescape_text,
    written,
)

LAST_COLUMN = 1 << 16
_OPENING = re.compile(rb"<table:table-row" + ATTRIBUTES + rb"\s*(/?)>")
_CELL = re.compile(
    rb"<table:(table-cell|covered-table-cell)(?=[\s/>])"
    + ATTRIBUTES
    + rb"\s*(?:/>|>(.*?)</table:\1\s*>)",
    re.DOTALL,
)
_PARAGRAPH = re.compile(
    rb"<text:p(?=[\s/>])" + ATTRIBUTES + rb"\s*(?:/>|>(.*?)</text:p\s*>)", re.DOTALL
)
_TAG = re.compile(rb"<(/?[\w:.-]+)" + ATTRIBUTES + rb"\s*/?>")
_ANNOTATION = re.compile(
    rb"<office:annotation(?=[\s/>])" + ATTRIBUTES + rb"\s*(?:/>|>.*?</office:annotation\s*>)",
    re.DOTALL,
)
_PLAIN = re.compile(
    rb"<table:table-cell((?: [\w:.-]+=\"[^\"]*\")*)"
    rb"(?:/>|>(?:<text:p>([^<]*)</text:p>)?</table:table-cell>)"
)
_SPACED = re.compile(rb"^ | $|  |[\t\r\n]|&#")
_SHAPES = re.compile(rb"<(?:draw|dr3d|table):")
_NESTABLE = re.compile(rb"<(/?)((?:draw|dr3d|table):[\w.-]+)" + ATTRIBUTES + rb"\s*(/?)>")
_SPACES = re.compile(r"[ \t\r\n]+")
_SPACE = re.compile(rb'<text:s(?:\s+text:c="(\d{1,3})")?\s*/>')
_INLINE = re.compile(rb"</?text:(?:span|a)(?=[\s/>])" + ATTRIBUTES + rb"\s*/?>")
_KEPT = (
    b"table:style-name",
    b"table:content-validation-name",
    b"table:number-columns-spanned",
    b"table:number-rows-spanned",
    b"table:protected",
)
_KINDS = {
    b"float": (b"office:value", "n"),
    b"percentage": (b"office:value", "n"),
    b"currency": (b"office:value", "n"),
    b"date": (b"office:date-value", "d"),
    # A time of day or a length of time is never a date.
    b"time": (b"office:time-value", "t"),
}


class Part(NamedTuple):
    """One cell element, which may stand for several cells."""

    covered: bool
    said: dict[bytes, bytes]
    inner: bytes
    repeated: int
    raw: bytes


def elements(raw: bytes) -> Iterator[Part]:
    """The cell elements of a row. Raises PermanentFailure on anything else between them."""
    opened = _OPENING.match(raw)
    if opened is None:
        raise odd(CONTENT, "holds a row in an unusual form")
    at, columns = opened.end(), 0
    for match in _CELL.finditer(raw, at):
        if raw[at : match.start()].strip():
            raise odd(CONTENT, "holds something between the cells of a row")
        at = match.end()
        said = attributes(match[2])
        repeated = whole(said.get(b"table:number-columns-repeated", b"1"), CONTENT)
        columns += repeated
        if columns > LAST_COLUMN:
            raise odd(CONTENT, "holds more columns than a sheet can have")
        yield Part(match[1] != b"table-cell", said, match[3] or b"", repeated, match[0])
    if raw[at:].strip() not in (b"", b"</table:table-row>"):
        raise odd(CONTENT, "holds something behind the cells of a row")


def parse_row(number: int, raw: bytes) -> Row:
    """The cells of a row that hold anything."""
    if b"<text:p" not in raw and b"office:" not in raw and b"table:formula" not in raw:
        return Row(number, [], raw)
    cells = _plain_cells(raw)
    if cells is None:
        cells = []
        column = 1
        for part in elements(raw):
            if cell := _cell(column, part):
                cells += [cell._replace(column=column + n) for n in range(part.repeated)]
            column += part.repeated
    return Row(number, cells, raw)


def _plain_cells(raw: bytes) -> list[Cell] | None:
    """The cells of a row as programs mostly write it; None where it must be looked at closely."""
    opened = _OPENING.match(raw)
    if opened is None:
        return None
    cells: list[Cell] = []
    at, column = opened.end(), 1
    for match in _PLAIN.finditer(raw, at):
        if match.start() != at:
            return None
        at = match.end()
        text = match[2]
        said = _usual(match[1])
        if said is None or (text is not None and _SPACED.search(text)):
            return None
        kind, value, repeated = said
        if text and not kind:
            return None
        if kind == "s":
            value = unescape(text) if text else b""
        if kind and (value or kind != "s"):
            cells.append(Cell(column, kind, value))
        column += repeated
    return cells if raw[at:] in (b"", b"</table:table-row>") and column <= LAST_COLUMN else None


@lru_cache(8192)
def _usual(raw: bytes) -> tuple[str, bytes, int] | None:
    """Kind, value and repetition of a cell with these attributes; None where it is unusual."""
    said = attributes(raw)
    if b"table:formula" in said or b"office:string-value" in said:
        return None
    repeated = whole(said.get(b"table:number-columns-repeated", b"1"), CONTENT)
    kind = said.get(b"office:value-type")
    if kind is None:
        return None if b"calcext:value-type" in said else ("", b"", repeated)
    if kind == b"string":
        failed = said.get(b"calcext:value-type") == b"error"
        return None if failed or repeated > 1 else ("s", b"", 1)
    if kind == b"boolean" or kind not in _KINDS or repeated > 1:
        return None
    return (*_dated(*_KINDS[kind], said), repeated)


def _dated(name: bytes, letter: str, said: Mapping[bytes, bytes]) -> tuple[str, bytes]:
    """Kind and value. A date before March 1900 is a time or a zero under a date's format."""
    value = said.get(name, b"").strip()
    return ("t" if letter == "d" and value < b"1900-03-01" else letter), value


def _cell(column: int, part: Part) -> Cell | None:
    said = part.said
    kind = said.get(b"office:value-type") or said.get(b"calcext:value-type", b"")
    formula = b"table:formula" in said
    if kind in _KINDS:
        letter, value = _dated(*_KINDS[kind], said)
        return Cell(column, letter, value, formula)
    if kind == b"boolean":
        return Cell(
            column, "b", b"1" if said.get(b"office:boolean-value") == b"true" else b"0", formula
        )
    text = said.get(b"office:string-value")
    shown = unescape_text(text.decode()) if text is not None else text_in(part.inner)
    failed = said.get(b"calcext:value-type") == b"error"
    if not shown and not formula:
        return None
    value = (text_in(part.inner) if failed else shown).encode()
    return Cell(column, "e" if failed else "s", value, formula)


def without_notes(inner: bytes) -> bytes:
    """A cell's content without its note and without shapes that hang on it."""
    if b"<office:annotation" in inner:
        inner = _ANNOTATION.sub(b"", inner)
    return _without_shapes(inner) if _SHAPES.search(inner) else inner


def _without_shapes(inner: bytes) -> bytes:
    out: list[bytes] = []
    depth, at = 0, 0
    for match in _NESTABLE.finditer(inner):
        if depth == 0:
            out.append(inner[at : match.start()])
        depth += -1 if match[1] else 0 if match[4] else 1
        if depth == 0:
            at = match.end()
        if depth < 0:
            break
    if depth:
        raise odd(CONTENT, "holds a shape in an unusual form")
    return b"".join([*out, inner[at:]])


def text_in(inner: bytes) -> str:
    """What a cell shows: its paragraphs, one a line."""
    inner = without_notes(inner)
    return "\n".join(_paragraph(match[2] or b"") for match in _PARAGRAPH.finditer(inner))


def _paragraph(inner: bytes) -> str:
    if b"<" not in inner:
        return _SPACES.sub(" ", unescape_text(inner.decode())).strip(" ")
    out: list[str] = []
    # Collapsed as OpenDocument 1.3 part 3, 6.1.2 says: spaces that count are elements.
    open_space = True
    at = 0
    for match in _TAG.finditer(inner):
        open_space = _append(out, inner[at : match.start()], open_space)
        at = match.end()
        name = match[1]
        if name in (b"text:s", b"text:tab", b"text:line-break"):
            count = attributes(match[2]).get(b"text:c", b"1")
            times = min(int(count), 1 << 16) if count.isdigit() else 1
            out.append({b"text:s": " " * times, b"text:tab": "\t"}.get(name, "\n"))
            open_space = False
    _append(out, inner[at:], open_space)
    text = "".join(out)
    return text[:-1] if text.endswith(" ") and not inner.endswith(b">") else text


def _append(out: list[str], raw: bytes, after_space: bool) -> bool:
    text = _SPACES.sub(" ", unescape_text(raw.decode()))
    if after_space:
        text = text.removeprefix(" ")
    if text:
        out.append(text)
        return text.endswith(" ")
    return after_space


def unbroken(raw: bytes) -> bytes:
    """The text without the tags that may stand within a word, so that it can be searched."""
    if b"<text:s" not in raw and b"<text:a" not in raw:
        return raw
    spaced = _SPACE.sub(lambda m: b" " * min(int(m[1] or 1), 64), raw)
    return _INLINE.sub(b"", spaced)


def blank(raw: bytes) -> bytes:
    """The row with every cell emptied; styles, height, merged cells and rules stay."""
    opened = _OPENING.match(raw)
    if opened is None or opened[2]:
        return raw
    return opened[0] + b"".join(_emptied(part) for part in elements(raw)) + b"</table:table-row>"


def _emptied(part: Part, repeated: int | None = None) -> bytes:
    return _element(part, {}, b"", repeated)


def _element(
    part: Part, more: Mapping[bytes, bytes], inner: bytes, repeated: int | None = None
) -> bytes:
    name = b"table:covered-table-cell" if part.covered else b"table:table-cell"
    said = {k: part.said[k] for k in _KEPT if k in part.said} | dict(more)
    count = part.repeated if repeated is None else repeated
    if count > 1:
        said[b"table:number-columns-repeated"] = b"%d" % count
    if not inner:
        return b"<%b%b/>" % (name, written(said))
    return b"<%b%b>%b</%b>" % (name, written(said), inner, name)


def with_values(raw: bytes, values: Mapping[int, Scalar | date]) -> bytes:
    """The row with these columns overwritten; None empties a cell."""
    opened = _OPENING.match(raw)
    if opened is None or opened[2]:
        raise odd(CONTENT, "holds a row without cells")
    out: list[bytes] = []
    column = 1
    left = dict(values)
    for part in elements(raw):
        last = column + part.repeated - 1
        here = sorted(c for c in left if column <= c <= last)
        if not here:
            out.append(part.raw)
        for at in here:
            out += _again(part, at - column)
            out.append(_valued(part, left.pop(at)))
            column = at + 1
        if here:
            out += _again(part, last - column + 1)
        column = last + 1
    plain = Part(covered=False, said={}, inner=b"", repeated=1, raw=b"")
    for at in sorted(left):
        out += [_emptied(plain, at - column)] if at > column else []
        out.append(_valued(plain, left[at]))
        column = at + 1
    return opened[0] + b"".join(out) + b"</table:table-row>"


def _again(part: Part, count: int) -> list[bytes]:
    """The same cell element for some of the cells it stood for."""
    if count < 1:
        return []
    said = {k: v for k, v in part.said.items() if k != b"table:number-columns-repeated"}
    if count > 1:
        said[b"table:number-columns-repeated"] = b"%d" % count
    name = b"table:covered-table-cell" if part.covered else b"table:table-cell"
    if not part.inner:
        return [b"<%b%b/>" % (name, written(said))]
    return [b"<%b%b>%b</%b>" % (name, written(said), part.inner, name)]


def _valued(part: Part, value: Scalar | date) -> bytes:
    if value is None or value == "":
        return _emptied(part, 1)
    if isinstance(value, bool):
        word = b"true" if value else b"false"
        said = {b"office:value-type": b"boolean", b"office:boolean-value": word}
        return _element(part, said, _paragraphs(word.decode().upper()), 1)
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        said = {b"office:value-type": b"float", b"office:value": repr(value).encode()}
        return _element(part, said, _paragraphs(repr(value)), 1)
    if isinstance(value, date):
        iso = value.isoformat()
        said = {b"office:value-type": b"date", b"office:date-value": iso.encode()}
        return _element(part, said, _paragraphs(iso), 1)
    text = re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "", str(value))
    return _element(part, {b"office:value-type": b"string"}, _paragraphs(text), 1)


def _paragraphs(text: str) -> bytes:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return b"".join(b"<text:p>%b</text:p>" % _escaped(line) for line in lines)


def _escaped(line: str) -> bytes:
    out = escape(line).replace(b"\t", b"<text:tab/>")
    return re.sub(rb"^ +| +$|(?<= ) +", lambda m: b'<text:s text:c="%d"/>' % len(m[0]), out)


def without_result(raw: bytes) -> bytes:
    """The row with the stored results of its formulas left out: programs compute them anew."""
    out: list[bytes] = []
    at = 0
    for match in _CELL.finditer(raw):
        out.append(raw[at : match.start()])
        out.append(_unresolved(match))
        at = match.end()
    return b"".join([*out, raw[at:]])


def _unresolved(match: re.Match[bytes]) -> bytes:
    said = attributes(match[2])
    if b"table:formula" not in said:
        return match[0]
    stale = (
        b"office:value",
        b"office:date-value",
        b"office:time-value",
        b"office:boolean-value",
        b"office:string-value",
        b"office:value-type",
        b"calcext:value-type",
    )
    kept = {k: v for k, v in said.items() if k not in stale}
    name = b"table:" + match[1]
    inner = match[3] or b""
    if not _SHAPES.search(inner):
        # A note has paragraphs of its own, which stay.
        inner = b"".join(m[0] for m in _ANNOTATION.finditer(inner))
    if not inner:
        return b"<%b%b/>" % (name, written(kept))
    return b"<%b%b>%b</%b>" % (name, written(kept), inner, name)


def beside_values(raw: bytes) -> bytes:
    """What hangs on the cells of a row: notes and shapes, to be searched."""
    if b"<office:annotation" not in raw and not _SHAPES.search(
        raw.replace(b"<table:table-", b"").replace(b"<table:covered-", b"")
    ):
        return b""
    out: list[bytes] = []
    for part in elements(raw):
        out += [m[0] for m in _ANNOTATION.finditer(part.inner)]
        bare = _ANNOTATION.sub(b"", part.inner)
        if _SHAPES.search(bare):
            out.append(bare)
    return b" ".join(out)
