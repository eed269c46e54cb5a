"""What happens to references when rows go: as Excel does it, or not at all.

A range shrinks, a reference below moves up, one to a row that goes becomes `#REF!` where the row
map allows it. What cannot be told from the text alone raises `Unshiftable`: then the rows are
blanked in place, which moves nothing, or the act is refused.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

LAST_ROW = 1_048_576
LAST_COLUMN = 16_384
BROKEN = "#REF!"

_AREA = r"\$?[A-Za-z]{1,3}\$?[1-9]\d{0,6}"
_TOKEN = re.compile(
    rf"""
      (?P<text>"(?:[^"]|"")*")
    | (?P<error>\#(?:REF!|N/A|NAME\?|DIV/0!|VALUE!|NUM!|NULL!|SPILL!|CALC!|GETTING_DATA))
    | (?P<sheet>(?:'(?:[^']|'')+'|(?:\[\d+\])?[^\W\d][\w.]*(?::[^\W\d][\w.]*)?)!)
    | (?P<bracket>\[(?:[^\[\]]|\[[^\[\]]*\])*\])
    | (?P<area>(?<![\w.$]){_AREA}(?::{_AREA})?(?![\w.(\[!]))
    | (?P<rows>(?<![\w.$])\$?\d{{1,7}}:\$?\d{{1,7}}(?![\w.]))
    | (?P<columns>(?<![\w.$])\$?[A-Za-z]{{1,3}}:\$?[A-Za-z]{{1,3}}(?![\w.(\[]))
    | (?P<number>(?<![\w.])\d+(?:\.\d*)?(?:[Ee][+-]?\d+)?)
    | (?P<name>[^\W\d][\w.\\?]*)
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_CORNER = re.compile(r"(\$?)([A-Za-z]{1,3})(\$?)(\d+)")
_COMPUTED = frozenset({"INDIRECT", "OFFSET"})
_PLACED = _COMPUTED | {"ADDRESS", "CELL", "ROW", "ROWS", "_XLFN.FORMULATEXT"}
"""Functions whose result may change when cells move, though nothing they name does."""


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
    """Where rows stand once some have gone.

    `breaking`: a reference that loses all its rows becomes `#REF!`, as in Excel; else Unshiftable.
    `order`: the workbook's sheets, for references over several of them.
    """

    def __init__(
        self, removed: Iterable[int], *, breaking: bool = False, order: Sequence[str] = ()
    ) -> None:
        self.removed = sorted(removed)
        self.breaking = breaking
        self.order = tuple(name.casefold() for name in order)
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

    def place(self, number: int) -> int:
        """New number of a row; of one that has gone, that of the next row that stays."""
        return number - bisect_left(self.removed, number)

    def touches(self, row: int) -> bool:
        """Whether the row, or one above it, has gone."""
        return bool(self.removed) and row >= self.removed[0]

    def intersects(self, first: int, last: int) -> bool:
        """Whether any row of the range has gone."""
        at = bisect_left(self.removed, first)
        return at < len(self.removed) and self.removed[at] <= last

    def area(self, text: str) -> str | None:
        """A reference of one cell or range without sheet, moved; None where nothing is left."""
        corners = corners_of(text)
        lines = [corner.row for corner in corners]
        moved = self.span(min(lines), max(lines))
        if moved is None:
            return None
        if lines[0] > lines[-1]:
            moved = moved[1], moved[0]
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


def number_in(text: str) -> int:
    """A whole number of an attribute. Raises Unshiftable."""
    try:
        return int(text)
    except ValueError:
        raise Unshiftable("a number in an unusual form") from None


def tokens(formula: str) -> Iterator[tuple[str, str]]:
    """(kind, text) for every piece of a formula; together they are the formula."""
    for match in _TOKEN.finditer(formula):
        kind = match.lastgroup or "other"
        if kind == "area" and any(_too_wide(c) for c in corners_of(match[0])):
            kind = "name"
        yield kind, match[0]


def _too_wide(corner: Corner) -> bool:
    return _number(corner.letters) > LAST_COLUMN or corner.row > LAST_ROW


def _number(letters: str) -> int:
    column = 0
    for letter in letters.upper():
        column = column * 26 + ord(letter) - 64
    return column


def sheets_of(prefix: str) -> tuple[str, str]:
    """First and last sheet of `Sheet1!`, `'It''s'!` or `One:Three!`, in small letters."""
    name = prefix[:-1]
    if name.startswith("'"):
        name = name[1:-1].replace("''", "'")
    first, _, last = name.casefold().partition(":")
    return first, last or first


def names_sheet(prefix: str, sheet: str) -> bool:
    """Whether `Sheet1!` or `'It''s'!` means this sheet and no other."""
    return sheets_of(prefix) == (sheet.casefold(), sheet.casefold())


def shift_formula(
    formula: str,
    rows: RowMap,
    sheet: str,
    *,
    here: bool,
    anchor: tuple[int, int] | None = None,
) -> str:
    """A formula once rows of `sheet` have gone. `here`: it stands on that sheet.

    `anchor`: the formula is a rule's (not a cell's), which is written for the first of these rows
    and will stand for the second: what is not fixed keeps its distance. Raises Unshiftable.
    """
    out: list[str] = []
    pieces = [("", ""), *tokens(formula), ("", "")]
    foreign = False
    for at in range(1, len(pieces) - 1):
        (before, previous), (kind, text), (after, _) = pieces[at - 1 : at + 2]
        moved = text
        if kind == "sheet":
            foreign = before == "bracket"
        elif kind in ("area", "rows") and previous != BROKEN:
            scope = previous if before == "sheet" else None
            if not (scope and foreign) and _reads(scope, kind, text, rows, sheet, here=here):
                moved = _moved(kind, text, rows, anchor if here else None, rule=anchor is not None)
        elif kind == "name" and text.upper() in _COMPUTED:
            _refuse_computed(pieces, at, sheet, here=here)
        elif kind == "other":
            _refuse_odd(text, before, after)
        if moved == BROKEN and ":" in (previous, pieces[at + 1][1]):
            raise Unshiftable("a computed range that begins in a row that goes")
        if moved == BROKEN and before == "sheet" and kind != "error":
            out.pop()  # LibreOffice reads `#REF!` with a sheet before it as a name
        out.append(moved)
    return "".join(out)


def _reads(
    scope: str | None, kind: str, text: str, rows: RowMap, sheet: str, *, here: bool
) -> bool:
    """Whether a reference is one to `sheet`. Raises Unshiftable for one to it and others."""
    if scope is None:
        return here
    first, last = sheets_of(scope)
    if first == last:
        return first == sheet.casefold()
    order = rows.order
    if order and (first not in order or last not in order):
        return False
    if order:
        low, high = sorted((order.index(first), order.index(last)))
        if not low <= order.index(sheet.casefold()) <= high:
            return False
        if not any(rows.touches(row) for row in _lines(kind, text)):
            return False
    raise Unshiftable("a formula over several sheets")


def _lines(kind: str, text: str) -> list[int]:
    if kind == "area":
        return [corner.row for corner in corners_of(text)]
    return [int(part.lstrip("$")) for part in text.split(":")]


def _refuse_computed(pieces: Sequence[tuple[str, str]], at: int, sheet: str, *, here: bool) -> None:
    """Raise unless it is clear that the computed cells do not depend on the sheet's rows."""
    if pieces[at][1].upper() == "INDIRECT":
        said = pieces[at + 1 : at + 4]
        if len(said) == 3 and said[1][0] == "text" and said[2][1] == ")":
            literal = said[1][1][1:-1].casefold()
            if "[" in literal and "!" not in literal:
                return  # a table's column, by name
            if sheet.casefold() not in literal and ("!" in literal or not here):
                return
    elif _starts_at_its_cell(pieces, at) or (
        not here and not any(k == "sheet" and sheet.casefold() in sheets_of(t) for k, t in pieces)
    ):
        return
    raise Unshiftable("a formula that computes which cells it reads")


def _starts_at_its_cell(pieces: Sequence[tuple[str, str]], at: int) -> bool:
    """Whether it is `OFFSET(cell,0,…`: a range from that cell on, as long as it is counted."""
    said = [piece for piece in pieces[at + 1 : at + 7] if piece[0] != "sheet"]
    texts = [text for _, text in said[:4]]
    return (
        len(said) >= 4
        and said[1][0] == "area"
        and texts[0] == "("
        and texts[2] == ","
        and texts[3] in ("0", ",")
    )


def _refuse_odd(text: str, before: str, after: str) -> None:
    """What the lexer does not know must not hide a reference."""
    if text in "![]":
        raise Unshiftable("a formula in an unusual form")
    if text == ":" and (after in ("sheet", "other") or before in ("other", "error")):
        # `)` before it is the one other piece that ends an operand, and is looked at there.
        raise Unshiftable("a computed range")


def _moved(
    kind: str, text: str, rows: RowMap, anchor: tuple[int, int] | None, *, rule: bool
) -> str:
    if rule and any(not fixed for fixed in _fixed(kind, text)):
        if kind == "area" and anchor is not None:
            return _anchored(text, rows, anchor)
        if any(rows.touches(row) for row in _lines(kind, text)):
            raise Unshiftable("a rule that reads rows beside its own")
        return text
    moved = rows.area(text) if kind == "area" else _shift_rows(text, rows)
    if moved is None and not rows.breaking:
        raise Unshiftable("a formula that reads a row that goes")
    return BROKEN if moved is None else moved


def _fixed(kind: str, text: str) -> list[bool]:
    if kind == "area":
        return [bool(corner.fixed_row) for corner in corners_of(text)]
    return [part.startswith("$") for part in text.split(":")]


def _anchored(text: str, rows: RowMap, anchor: tuple[int, int]) -> str:
    """What is not fixed keeps its distance from the rule's first row; what is fixed moves."""
    corners = corners_of(text)
    out: list[str] = []
    for at, corner in enumerate(corners):
        if not corner.fixed_row:
            row = corner.row - anchor[0] + anchor[1]
        elif at == 0:
            row = rows.place(corner.row)
        else:
            span = rows.span(1, corner.row)
            row = span[1] if span else 0
        if not 1 <= row <= LAST_ROW:
            raise Unshiftable("a rule that reads beyond the sheet")
        out.append(corner.text(row))
    return ":".join(out)


def _shift_rows(text: str, rows: RowMap) -> str | None:
    first, last = text.split(":")
    low, high = sorted(_lines("rows", text))
    moved = rows.span(low, high)
    if moved is None:
        return None
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
        if kind == "area":
            out.append(":".join(_translated(c, down, right) for c in corners_of(text)))
        elif kind in ("rows", "columns"):
            steps = down if kind == "rows" else right
            out.append(":".join(_line(part, kind, steps) for part in text.split(":")))
        else:
            out.append(text)
    return "".join(out)


def _line(text: str, kind: str, steps: int) -> str:
    if text.startswith("$") or not steps:
        return text
    number = (int(text) if kind == "rows" else _number(text)) + steps
    if not 1 <= number <= (LAST_ROW if kind == "rows" else LAST_COLUMN):
        raise Unshiftable("a shared formula that leaves the sheet")
    return str(number) if kind == "rows" else _letters(number)


def _letters(number: int) -> str:
    letters = ""
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return letters


def _translated(corner: Corner, down: int, right: int) -> str:
    row = corner.row if corner.fixed_row else corner.row + down
    column = _number(corner.letters) + (0 if corner.fixed_column else right)
    if not 1 <= column <= LAST_COLUMN or not 1 <= row <= LAST_ROW:
        raise Unshiftable("a shared formula that leaves the sheet")
    return f"{corner.fixed_column}{_letters(column)}{corner.fixed_row}{row}"


def only_row(formula: str, row: int) -> bool:
    """Whether a formula reads nothing but cells of its own row, so that its result stays right."""
    for kind, text in tokens(formula):
        if kind == "area" and any(c.row != row for c in corners_of(text)):
            return False
        if kind in ("sheet", "bracket", "rows", "columns"):
            return False
        if kind == "name" and text.upper() in _PLACED:
            return False
    return not _reads_a_name(formula)


def reads_elsewhere(formula: str) -> bool:
    """Whether a formula reads anything beyond the cells of its own sheet."""
    return any(
        k in ("sheet", "bracket") or (k == "name" and t.upper() in _PLACED)
        for k, t in tokens(formula)
    ) or _reads_a_name(formula)


def _reads_a_name(formula: str) -> bool:
    pieces = list(tokens(formula))
    for (kind, text), (_, after) in zip(pieces, [*pieces[1:], ("end", "")], strict=False):
        if kind == "name" and not after.startswith("(") and text.upper() not in ("TRUE", "FALSE"):
            return True
    return False
