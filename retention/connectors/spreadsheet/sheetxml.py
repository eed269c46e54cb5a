"""A worksheet part as a head, a stream of rows, and a tail."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from retention.connectors.spreadsheet.strings import SharedStrings, inner_text
from retention.connectors.spreadsheet.table import Cell, Row
from retention.connectors.spreadsheet.xmltext import ATTRIBUTES, attributes, odd, unescape

KINDS = {b"": "n", b"n": "n", b"s": "s", b"str": "s", b"inlineStr": "s", b"b": "b", b"e": "e"}
KINDS[b"d"] = "d"
_USUAL = re.compile(rb'<row r="(\d{1,7})"')


@dataclass(frozen=True, slots=True)
class Grammar:
    """The patterns for one namespace prefix (empty, or `x:`)."""

    prefix: bytes
    row: re.Pattern[bytes]
    cell: re.Pattern[bytes]
    formula: re.Pattern[bytes]
    value: re.Pattern[bytes]
    inline: re.Pattern[bytes]
    plain_cell: re.Pattern[bytes]


@lru_cache(maxsize=8)
def grammar(prefix: bytes) -> Grammar:
    """Compiled patterns; exact on text that `guarded` let through."""
    p, a = prefix, ATTRIBUTES
    return Grammar(
        prefix=p,
        row=re.compile(b"<%brow%b\\s*(/?)>" % (p, a)),
        cell=re.compile(b"<%bc%b\\s*(?:/>|>(.*?)</%bc\\s*>)" % (p, a, p), re.DOTALL),
        formula=re.compile(b"<%bf%b\\s*(?:/>|>([^<]*)</%bf\\s*>)" % (p, a, p)),
        value=re.compile(b"<%bv%b\\s*(?:/>|>([^<]*)</%bv\\s*>)" % (p, a, p)),
        inline=re.compile(b"<%bis\\s*>(.*?)</%bis\\s*>" % (p, p), re.DOTALL),
        plain_cell=re.compile(
            b'<%bc r="([A-Z]{1,3})\\d+"(?: s="\\d+")?(?: t="([a-zA-Z]+)")?'
            b"(?:/>|>(<%bf>[^<]*</%bf>)?<%bv>([^<]*)</%bv></%bc>)" % (p, p, p, p, p, p)
        ),
    )


class SheetXml:
    """One pass over a guarded worksheet part. `tail` is known once `raw_rows` has ended."""

    def __init__(self, chunks: Iterable[bytes], part: str) -> None:
        self._chunks = iter(chunks)
        self.part = part
        self.head = b""
        self.tail = b""
        rest = b""
        for chunk in self._chunks:
            rest += chunk
            opened = re.search(rb"<(\w+:)?sheetData\s*(/?)>", rest)
            if opened is not None:
                break
        else:
            raise odd(part, "holds no sheet data")
        self.grammar = grammar(opened[1] or b"")
        self.head = rest[: opened.start()]
        self._rest = rest[opened.end() :]
        self._empty = bool(opened[2])
        self.opened = opened[0]
        self.closed = b""
        """The tags around the rows as they stand there; `closed` is known with `tail`."""

    @property
    def opening(self) -> bytes:
        """The tag before the rows."""
        return b"<%bsheetData>" % self.grammar.prefix

    @property
    def closing(self) -> bytes:
        """The tag after the rows."""
        return b"</%bsheetData>" % self.grammar.prefix

    def raw_rows(self) -> Iterator[tuple[int, bytes]]:
        """Number and bytes of every row, in order. Raises PermanentFailure."""
        last = 0
        for region in self.regions():
            for raw in self.split(region):
                last = self.number(raw, last)
                yield last, raw

    def number(self, raw: bytes, last: int) -> int:
        """The number of the row that follows row `last`. Raises PermanentFailure."""
        usual = _USUAL.match(raw)
        if usual is not None:
            current = int(usual[1])
        else:
            opened = self.grammar.row.match(raw)
            if opened is None:
                raise odd(self.part, f"the row after row {last} is written in an unusual form")
            said = attributes(opened[1]).get(b"r")
            if said is not None and not said.isdigit():
                raise odd(self.part, f"the row after row {last} is written in an unusual form")
            current = int(said) if said is not None else last + 1
        if current <= last:
            raise odd(self.part, f"the row after row {last} is out of order")
        return current

    def regions(self) -> Iterator[bytes]:
        """The rows' bytes in large pieces that each end with a row."""
        rest = self._rest
        if self._empty:
            self.tail = rest + b"".join(self._chunks)
            return
        end_of_row, end_of_data = self._end_of_row, b"</%bsheetData" % self.grammar.prefix
        while True:
            stop = rest.find(end_of_data)
            if stop >= 0:
                break
            cut = rest.rfind(end_of_row) + len(end_of_row)
            if cut >= len(end_of_row):
                yield rest[:cut]
                rest = rest[cut:]
            chunk = next(self._chunks, b"")
            if not chunk:
                raise odd(self.part, "ends in the middle of its rows")
            rest += chunk
        if stop:
            yield rest[:stop]
        tail = rest[stop:] + b"".join(self._chunks)
        end = tail.find(b">") + 1
        if not end:
            raise odd(self.part, "ends in the middle of its rows")
        self.closed, self.tail = tail[:end], tail[end:]

    @property
    def _end_of_row(self) -> bytes:
        return b"</%brow>" % self.grammar.prefix

    def split(self, region: bytes) -> Iterator[bytes]:
        """The rows of a region."""
        start_of_row, end_of_row = b"<%brow" % self.grammar.prefix, self._end_of_row
        *whole, rest = region.split(end_of_row)
        for piece in whole:
            begin = piece.rfind(start_of_row)
            if begin < 0:
                raise odd(self.part, "has rows in an unusual form")
            if piece.count(start_of_row) > 1:
                yield from self._empty_rows(piece[:begin])
            yield piece[begin:] + end_of_row
        yield from self._empty_rows(rest)

    def _empty_rows(self, region: bytes) -> Iterator[bytes]:
        for match in self.grammar.row.finditer(region):
            if not match[2]:
                raise odd(self.part, "has rows in an unusual form")
            yield match[0]


def parse_row(
    number: int,
    raw: bytes,
    names: Grammar,
    strings: SharedStrings,
    part: str,
    only: frozenset[bytes] = frozenset(),
) -> Row:
    """The cells of one row that hold something. Raises PermanentFailure.

    `only`: letters of the columns that matter; cells of others may be left out.
    """
    found = names.plain_cell.findall(raw)
    cells: list[Cell] = []
    if len(found) == raw.count(b"<%bc" % names.prefix):
        last = len(strings)
        for letters, kind, formula, value in found:
            if only and letters not in only:
                continue
            if formula:
                at = column_number(letters)
                result = _cell(at, kind, value, strings, part) if value else Cell(at, "s", b"")
                cells.append(result._replace(formula=True))
                continue
            if not value:
                continue
            if kind == b"s" and value.isdigit() and (index := int(value)) < last:
                cells.append(
                    Cell(column_number(letters), "s", strings[index], False, index)  # noqa: FBT003
                )
            else:
                cells.append(_cell(column_number(letters), kind, value, strings, part))
        return Row(number, cells, raw)
    column = 0
    for match in names.cell.finditer(raw):
        said = attributes(match[1])
        column = column_number(said[b"r"].rstrip(b"0123456789")) if b"r" in said else column + 1
        inner, kind = match[2] or b"", said.get(b"t", b"")
        formula = names.formula.search(inner) is not None
        if kind == b"inlineStr":
            texts = names.inline.search(inner)
            text = inner_text(texts[1], names.prefix) if texts else b""
            cell = Cell(column, "s", text, formula)
        else:
            stored = names.value.search(inner)
            value = (stored[2] or b"") if stored else b""
            cell = _cell(column, kind, value, strings, part) if value else Cell(column, "s", b"")
            cell = cell._replace(formula=formula)
        if cell.value or formula or cell.shared >= 0:
            cells.append(cell)
    return Row(number, cells, raw)


def _cell(column: int, kind: bytes, value: bytes, strings: SharedStrings, part: str) -> Cell:
    if kind == b"s":
        index = int(value) if value.strip().isdigit() else -1
        if not 0 <= index < len(strings):
            raise odd(part, "points to a text that is not there")
        return Cell(column, "s", strings[index], shared=index)
    known = KINDS.get(kind)
    if known is None:
        raise odd(part, "holds a cell of an unknown type")
    if known == "n":
        return Cell(column, "n", plain_number(value))
    return Cell(column, known, unescape(value))


def plain_number(value: bytes) -> bytes:
    """One spelling per number, so that another program's save is not a change."""
    if value.isdigit() and len(value) < 16 and value[:1] != b"0":
        return value
    try:
        number = float(value)
    except ValueError:
        return value
    return b"%d" % number if number.is_integer() and abs(number) < 1e15 else repr(number).encode()


@lru_cache(maxsize=20_000)
def column_number(letters: bytes) -> int:
    """1 for A, 27 for AA."""
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


@lru_cache(maxsize=20_000)
def column_letters(number: int) -> bytes:
    """A for 1, AA for 27."""
    letters = b""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = bytes((65 + rest,)) + letters
    return letters
