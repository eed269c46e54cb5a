"""The text of an OpenDocument spreadsheet, cut into rows and what stands between them.

`content.xml` holds all sheets at once and grows with them, so it is never held in memory whole. It
is cut by its tags after expat has accepted it (see xmltext). That is sound as long as names are
bound to their usual prefixes, which is checked too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from retention.connectors.spreadsheet.xmltext import (
    ATTRIBUTES,
    attributes,
    guarded,
    odd,
    unescape,
)

CONTENT = "content.xml"
LAST_ROW = 1_048_576
_OASIS = b"urn:oasis:names:tc:opendocument:xmlns:"
_BOUND = {
    b"office": _OASIS + b"office:1.0",
    b"table": _OASIS + b"table:1.0",
    b"text": _OASIS + b"text:1.0",
    b"draw": _OASIS + b"drawing:1.0",
    b"chart": _OASIS + b"chart:1.0",
    b"style": _OASIS + b"style:1.0",
    b"form": _OASIS + b"form:1.0",
    b"calcext": b"urn:org:documentfoundation:names:experimental:calc:xmlns:calcext:1.0",
}
_PREFIXES = {uri: prefix for prefix, uri in _BOUND.items()}
_DECLARED = re.compile(rb"""\sxmlns(?::([\w.-]+))?\s*=\s*["']([^"']*)["']""")
_MARK = re.compile(
    rb"<(/?)table:(table-row|table|tracked-changes|dde-links)(?=[\s/>])" + ATTRIBUTES + rb"\s*(/?)>"
)
_ROW_END = b"</table:table-row>"
_NESTED = re.compile(rb"<table:(?:table-row|table)[\s/>]")
_MAX_ROW = 64 << 20
_MAX_ROWS = 1 << 24
TAG = re.compile(rb"<([\w:.-]+)" + ATTRIBUTES + rb"\s*/?>")
ATTRIBUTE = re.compile(rb"(\s[\w:.-]+\s*=\s*)(?:\"([^\"]*)\"|'([^']*)')")


class Piece(NamedTuple):
    """A stretch of the document."""

    kind: str
    """`row`, `table` (its opening tag), `end` (its closing tag) or `between`."""
    raw: bytes
    sheet: str = ""
    """Name of the sheet it stands in; "" outside."""
    number: int = 0
    """Of a row: its number, the first one where it is repeated."""
    repeated: int = 1


def pieces(chunks: Iterable[bytes], part: str) -> Iterator[Piece]:
    """The document in pieces; together they are its bytes. Raises PermanentFailure."""
    cutter = _Cutter(part)
    rest = b""
    for chunk in guarded(chunks, part):
        rest += chunk
        done = 0
        for end, piece in cutter.cut(rest):
            done = end
            yield piece
        rest = rest[done:]
        if len(rest) > _MAX_ROW:
            raise odd(part, "holds a row that is too long")
    if cutter.sheet is not None or cutter.aside:
        raise odd(part, "ends within a sheet")
    yield Piece("between", rest)


class _Cutter:
    def __init__(self, part: str) -> None:
        self.part = part
        self.sheet: str | None = None
        self.number = 1
        self.aside = False
        """Within links to other documents, whose tables are no sheets."""

    def cut(self, text: bytes) -> Iterator[tuple[int, Piece]]:
        """(end, piece) for every piece that is whole in the text."""
        at = 0
        while match := _MARK.search(text, at):
            if match.start() > at:
                yield match.start(), self._between(text[at : match.start()])
            at = match.start()
            closing, name, said, empty = match.groups()
            if name == b"tracked-changes" and not closing:
                raise odd(
                    self.part, "holds recorded changes, which keep what was removed: accept them"
                )
            if name == b"dde-links" or self.aside:
                if name == b"dde-links":
                    self.aside = not closing and not empty
                yield match.end(), self._between(match[0])
            elif name == b"table-row":
                end = self._row_end(text, match, empty)
                if end < 0:
                    return
                yield end, self._row(text[at:end], said)
                at = end
                continue
            else:
                yield match.end(), self._table(match[0], said, closing, empty)
            at = match.end()
        # What follows may be the beginning of a tag that the next chunk ends.
        safe = max(text.rfind(b"<", at), at)
        if safe > at:
            yield safe, self._between(text[at:safe])

    def _between(self, raw: bytes) -> Piece:
        if b"xmlns" in raw:
            refuse_other_names(raw, self.part)
        return Piece("between", raw, self.sheet or "")

    def _row_end(self, text: bytes, match: re.Match[bytes], empty: bytes) -> int:
        if match[1] or self.sheet is None:
            raise odd(self.part, "holds a row outside a sheet")
        if empty:
            return match.end()
        end = text.find(_ROW_END, match.end())
        if end < 0:
            return -1
        if _NESTED.search(text, match.end(), end):
            raise odd(self.part, "holds a table within a cell")
        return end + len(_ROW_END)

    def _row(self, raw: bytes, said: bytes) -> Piece:
        if b"xmlns" in raw:
            refuse_other_names(raw, self.part)
        repeated = whole(attributes(said).get(b"table:number-rows-repeated", b"1"), self.part)
        number, self.number = self.number, self.number + repeated
        if self.number > _MAX_ROWS:
            raise odd(self.part, "holds more rows than a sheet can have")
        return Piece("row", raw, self.sheet or "", number, repeated)

    def _table(self, raw: bytes, said: bytes, closing: bytes, empty: bytes) -> Piece:
        if closing:
            sheet, self.sheet = self.sheet, None
            if sheet is None:
                raise odd(self.part, "ends a sheet that has not begun")
            return Piece("end", raw, sheet)
        if self.sheet is not None:
            raise odd(self.part, "holds a table within a sheet")
        name = unescape(attributes(said).get(b"table:name", b"")).decode()
        if not empty:
            self.sheet, self.number = name, 1
        return Piece("table", raw, name)


def whole(text: bytes, part: str) -> int:
    """A count in an attribute. Raises PermanentFailure."""
    if not text.isdigit() or not 1 <= int(text) <= _MAX_ROWS:
        raise odd(part, "counts in an unusual form")
    return int(text)


def refuse_other_names(raw: bytes, part: str) -> None:
    """Raise where a name is bound to another prefix than the usual one."""
    for prefix, uri in _DECLARED.findall(raw):
        if _BOUND.get(prefix, uri) != uri or _PREFIXES.get(uri, prefix) != prefix:
            raise odd(part, "names its elements in an unusual way")


def with_attributes(raw: bytes, change: Callable[[bytes, bytes, bytes], bytes | None]) -> bytes:
    """The text with attributes changed: `change(element, name, value)` gives the new value, still
    escaped, or None where it stays. Everything else is the same byte for byte.
    """

    def tag(match: re.Match[bytes]) -> bytes:
        if not match[2]:
            return match[0]
        element = match[1]

        def attribute(found: re.Match[bytes]) -> bytes:
            value = found[2] if found[2] is not None else found[3]
            new = change(element, found[1].split(b"=")[0].strip(), value)
            return found[0] if new is None or new == value else b'%b"%b"' % (found[1], new)

        said = ATTRIBUTE.sub(attribute, match[2])
        begin, end = (at - match.start() for at in match.span(2))
        return match[0][:begin] + said + match[0][end:]

    return TAG.sub(tag, raw)
