"""What happens to references when rows go: as Excel does it, or not at all.

A range shrinks, a reference below moves up. What would become `#REF!`, or cannot be told from the
text alone, raises `Unshiftable`: then the rows are blanked in place, which moves nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import NamedTuple

LAST_ROW = 1_048_576
LAST_COLUMN = 16_384

_AREA = r"\$?[A-Z]{1,3}\$?[1-9]\d{0,6}"
_TOKEN = re.compile(
    rf"""
      (?P<text>"(?:[^"]|"")*")
    | (?P<error>\#(?:REF!|N/A|NAME\?|DIV/0!|VALUE!|NUM!|NULL!|SPILL!|CALC!|GETTING_DATA))
    | (?P<sheet>(?:'(?:[^']|'')+'|(?:\[\d+\])?[^\W\d][\w.]*(?::[^\W\d][\w.]*)?)!)
    | (?P<bracket>\[(?:[^\[\]]|\[[^\[\]]*\])*\])
    | (?P<area>(?<![\w.$]){_AREA}(?::{_AREA})?(?![\w.(\[!]))
    | (?P<rows>(?<![\w.$])\$?\d{{1,7}}:\$?\d{{1,7}}(?![\w.]))
    | (?P<columns>(?<![\w.$])\$?[A-Z]{{1,3}}:\$?[A-Z]{{1,3}}(?![\w.(\[]))
    | (?P<number>(?<![\w.])\d+(?:\.\d*)?(?:E[+-]?\d+)?)
    | (?P<name>[^\W\d][\w.\\?]*)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_CORNER = re.compile(r"(\$?)([A-Z]{1,3})(\$?)(\d+)")
_UNKNOWABLE = frozenset(
    {"INDIRECT", "OFFSET", "ADDRESS", "CELL", "ROW", "ROWS", "_XLFN.FORMULATEXT"}
)


class Unshiftable(Exception):
    """A reference that cannot be moved safely; carries where, never a value."""


class Corner(NamedTuple):
    """One cell of a reference, with its `$` signs."""

    fixed_column: str
    letters: str
    fixed_row: str
    row: int

    def text(self, row: int) -> str:
        """The same corner in another row."""
        return f"{self.fixed_column}{self.letters}{self.fixed_row}{row}"


class RowMap:
    """Where rows stand once some have gone."""

    def __init__(self, removed: Iterable[int]) -> None:
        self.removed = sorted(removed)
        self._gone = frozenset(self.removed)

    def row(self, number: int) -> int | None:
        """New number of a row, None where it has gone."""
        if number in self._gone:
            return None
        return number - bisect_left(self.removed, number)

    def span(self, first: int, last: int) -> tuple[int, int] | None:
        """New first and last row of a range; None where nothing of it is left."""
        start = first - bisect_left(self.removed, first)
        end = last - bisect_left(self.removed, last + 1)
        return (start, end) if end >= start else None

    def intersects(self, first: int, last: int) -> bool:
        """Whether any row of the range has gone."""
        at = bisect_left(self.removed, first)
        return at < len(self.removed) and self.removed[at] <= last

    def area(self, text: str) -> str | None:
        """A reference of one cell or range without sheet, moved; None where nothing is left."""
        corners = corners_of(text)
        moved = self.span(corners[0].row, corners[-1].row)
        if moved is None:
            return None
        return ":".join(c.text(r) for c, r in zip(corners, moved, strict=False))

    def sqref(self, text: str) -> str:
        """A list of ranges, moved; empty where nothing is left."""
        return " ".join(area for part in text.split() if (area := self.area(part)) is not None)


def corners_of(text: str) -> list[Corner]:
    """The one or two corners of `A1` or `A1:B2`. Raises Unshiftable."""
    corners = [Corner(m[1], m[2], m[3], int(m[4])) for m in _CORNER.finditer(text)]
    if not 1 <= len(corners) <= 2 or ":".join(c.text(c.row) for c in corners) != text:
        raise Unshiftable("a range in an unusual form")
    return corners


def tokens(formula: str) -> Iterator[tuple[str, str]]:
    """(kind, text) for every piece of a formula; together they are the formula."""
    for match in _TOKEN.finditer(formula):
        kind = match.lastgroup or "other"
        if kind == "area" and any(_too_wide(c) for c in corners_of(match[0])):
            kind = "name"
        yield kind, match[0]


def _too_wide(corner: Corner) -> bool:
    column = 0
    for letter in corner.letters:
        column = column * 26 + ord(letter) - 64
    return column > LAST_COLUMN or corner.row > LAST_ROW


def names_sheet(prefix: str, sheet: str) -> bool:
    """Whether `Sheet1!` or `'It''s'!` means this sheet."""
    name = prefix[:-1]
    if name.startswith("'"):
        name = name[1:-1].replace("''", "'")
    return name.casefold() == sheet.casefold()


def shift_formula(formula: str, rows: RowMap, sheet: str, *, here: bool) -> str:
    """A formula once rows of `sheet` have gone. `here`: it stands on that sheet.

    Raises Unshiftable where it names a row that has gone or finds cells by computing.
    """
    out: list[str] = []
    scope: str | None = None
    for kind, text in tokens(formula):
        ours = here if scope is None else names_sheet(scope, sheet)
        moved = text
        if kind == "area" and ours:
            moved = _shift_area(text, rows)
        elif kind == "rows" and ours:
            moved = _shift_rows(text, rows)
        elif kind == "name" and text.upper() in _UNKNOWABLE:
            raise Unshiftable("a formula that computes which cells it reads")
        elif (kind == "sheet" and ":" in text) or (kind == "other" and text == ":"):
            raise Unshiftable("a formula over several sheets or a computed range")
        scope = text if kind == "sheet" else None
        out.append(moved)
    return "".join(out)


def _shift_area(text: str, rows: RowMap) -> str:
    corners = corners_of(text)
    if len(corners) == 2 and corners[0].row > corners[1].row:
        raise Unshiftable("a range that is written upside down")
    moved = rows.area(text)
    if moved is None:
        raise Unshiftable("a formula that reads a row that goes")
    return moved


def _shift_rows(text: str, rows: RowMap) -> str:
    first, last = (part for part in text.split(":"))
    moved = rows.span(int(first.lstrip("$")), int(last.lstrip("$")))
    if moved is None:
        raise Unshiftable("a formula that reads a row that goes")
    return ":".join(
        ("$" if old.startswith("$") else "") + str(new)
        for old, new in zip((first, last), moved, strict=True)
    )


def translate(formula: str, down: int, right: int) -> str:
    """A shared formula as it reads in another cell, `down` rows and `right` columns away.

    Raises Unshiftable where a reference would leave the sheet.
    """
    out: list[str] = []
    for kind, text in tokens(formula):
        if kind in ("rows", "columns") and "$" not in text:
            raise Unshiftable("a shared formula over whole rows or columns")
        moves = kind == "area"
        out.append(":".join(_moved(c, down, right) for c in corners_of(text)) if moves else text)
    return "".join(out)


def _moved(corner: Corner, down: int, right: int) -> str:
    row = corner.row if corner.fixed_row else corner.row + down
    letters = corner.letters
    if not corner.fixed_column and right:
        number = 0
        for letter in letters:
            number = number * 26 + ord(letter) - 64
        number += right
        if not 1 <= number <= LAST_COLUMN:
            raise Unshiftable("a shared formula that leaves the sheet")
        letters = ""
        while number:
            number, rest = divmod(number - 1, 26)
            letters = chr(65 + rest) + letters
    if not 1 <= row <= LAST_ROW:
        raise Unshiftable("a shared formula that leaves the sheet")
    return f"{corner.fixed_column}{letters}{corner.fixed_row}{row}"


def only_row(formula: str, row: int) -> bool:
    """Whether a formula reads nothing but cells of its own row, so that its result stays right."""
    for kind, text in tokens(formula):
        if kind == "area" and any(c.row != row for c in corners_of(text)):
            return False
        if kind in ("sheet", "bracket", "rows", "columns"):
            return False
        if kind == "name" and (text.upper() in _UNKNOWABLE):
            return False
    return not _reads_a_name(formula)


def reads_elsewhere(formula: str) -> bool:
    """Whether a formula reads anything beyond the cells of its own sheet."""
    return any(
        k in ("sheet", "bracket") or (k == "name" and t.upper() in _UNKNOWABLE)
        for k, t in tokens(formula)
    ) or _reads_a_name(formula)


def _reads_a_name(formula: str) -> bool:
    pieces = list(tokens(formula))
    for (kind, text), (_, after) in zip(pieces, [*pieces[1:], ("end", "")], strict=True):
        if kind == "name" and not after.startswith("(") and text.upper() not in ("TRUE", "FALSE"):
            return True
    return False
