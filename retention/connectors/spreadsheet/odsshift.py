"""References in OpenDocument spreadsheets when rows of one sheet go: moved, or not at all.

Formulas are OpenFormula (`of:=SUM([.A1:.B2])`), addresses stand bare in attributes
(`$Sheet1.$A$1:.$B$5`). What would become `#REF!`, or cannot be told from the text alone, raises
`Unshiftable`: then the rows are blanked in place, which moves nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from retention.connectors.spreadsheet.odsxml import LAST_ROW
from retention.connectors.spreadsheet.shift import RowMap, Unshiftable

_SHEET = r"\$?(?:'(?:[^']|'')*'|[^\s'.:\[\]$]+)"
_CELL = r"(\$?)([A-Z]{1,3})(\$?)([1-9]\d{0,6})"
_FILE = r"(?:'(?:[^']|'')*'#)"
_REFERENCE = re.compile(
    rf"(?P<file>{_FILE})?(?P<sheet>{_SHEET})?\.(?P<cell>\$?[A-Z]{{1,3}}\$?[1-9]\d{{0,6}})"
    rf"(?::(?P<sheet2>{_SHEET})?\.(?P<cell2>\$?[A-Z]{{1,3}}\$?[1-9]\d{{0,6}}))?"
)
_COLUMNS = re.compile(rf"(?:{_FILE})?(?:{_SHEET})?\.\$?[A-Z]{{1,3}}:(?:{_SHEET})?\.\$?[A-Z]{{1,3}}")
_ROWS = re.compile(
    rf"(?P<file>{_FILE})?(?P<sheet>{_SHEET})?\.(?P<fixed>\$?)(?P<first>[1-9]\d{{0,6}})"
    rf":(?P<sheet2>{_SHEET})?\.(?P<fixed2>\$?)(?P<last>[1-9]\d{{0,6}})"
)
_TOKEN = re.compile(
    r"""(?P<text>"(?:[^"]|"")*")|(?P<label>'(?:[^']|'')*')|\[(?P<inside>(?:'(?:[^']|'')*'|[^\]'])*)\]"""
    r"""|(?P<number>(?<![\w.])\d+(?:\.\d*)?(?:E[+-]?\d+)?)|(?P<function>[^\W\d][\w.]*)(?=\s*\()|(?P<bare>\$?[A-Z]{1,3}\$?[1-9]\d*(?![\w.(]))"""
    r"""|(?P<name>[^\W\d][\w.]*)|(?P<other>.)""",
    re.DOTALL,
)
_CORNER = re.compile(_CELL)
_UNKNOWABLE = frozenset(
    {"INDIRECT", "OFFSET", "ADDRESS", "CELL", "ROW", "ROWS", "FORMULA", "MULTIPLE.OPERATIONS"}
)


class Corner(NamedTuple):
    """One cell of a reference."""

    column: str
    fixed: bool
    row: int

    def text(self, row: int) -> str:
        """The same corner in another row."""
        return f".{self.column}{'$' if self.fixed else ''}{row}"


def _corner(text: str) -> Corner:
    match = _CORNER.fullmatch(text)
    if match is None:
        raise Unshiftable("a reference in an unusual form")
    return Corner(match[1] + match[2], bool(match[3]), int(match[4]))


def sheet_named(said: str | None) -> str | None:
    """`$'It''s'` → `It's`."""
    if said is None:
        return None
    said = said.removeprefix("$")
    return said[1:-1].replace("''", "'") if said.startswith("'") else said


def same_sheet(one: str, other: str) -> bool:
    """Names of sheets are compared without regard to case."""
    return one.casefold() == other.casefold()


@dataclass(frozen=True, slots=True)
class Move:
    """Rows of one sheet that go."""

    target: str
    rows: RowMap

    def formula(self, text: str, sheet: str | None) -> str:
        """A formula on `sheet`, moved. Raises Unshiftable."""
        return "".join(self._token(match, sheet) for match in _formula(text))

    def _token(self, match: re.Match[str], sheet: str | None) -> str:
        inside = match["inside"]
        return match[0] if inside is None else f"[{self.reference(inside, sheet)}]"

    def reference(self, text: str, sheet: str | None) -> str:
        """One reference without its brackets. `sheet`: where it stands; None where unknown."""
        if _COLUMNS.fullmatch(text) or "#REF!" in text:
            return text
        if match := _ROWS.fullmatch(text):
            return self._whole_rows(match, sheet)
        match = _REFERENCE.fullmatch(text)
        if match is None:
            raise Unshiftable("a reference in an unusual form")
        if match["file"] or not self._concerns(match, sheet):
            return text
        first = _corner(match["cell"])
        if match["cell2"] is None:
            moved = self.rows.row(first.row)
            if moved is None:
                raise Unshiftable("a formula that reads a row which goes")
            return (match["sheet"] or "") + first.text(moved)
        last = _corner(match["cell2"])
        start, end = self._span(first.row, last.row)
        second = match["sheet2"] or ""
        return f"{match['sheet'] or ''}{first.text(start)}:{second}{last.text(end)}"

    def _whole_rows(self, match: re.Match[str], sheet: str | None) -> str:
        if match["file"] or not self._concerns(match, sheet):
            return match[0]
        start, end = self._span(int(match["first"]), int(match["last"]))
        return (
            f"{match['sheet'] or ''}.{match['fixed']}{start}"
            f":{match['sheet2'] or ''}.{match['fixed2']}{end}"
        )

    def _span(self, first: int, last: int) -> tuple[int, int]:
        if first > last:
            raise Unshiftable("a range that runs upwards")
        if first == 1 and last >= LAST_ROW:
            return first, last
        moved = self.rows.span(first, last)
        if moved is None:
            raise Unshiftable("a formula that reads a row which goes")
        return moved

    def _concerns(self, match: re.Match[str], sheet: str | None) -> bool:
        first = sheet_named(match["sheet"]) or sheet
        second = sheet_named(match["sheet2"]) or first
        if first is None or second is None:
            raise Unshiftable("a reference that does not say its sheet")
        if not same_sheet(first, second):
            raise Unshiftable("a reference over several sheets")
        return same_sheet(first, self.target)

    def addresses(self, text: str) -> str:
        """A list of cell and range addresses as attributes hold them, moved."""
        out: list[str] = []
        at = 0
        for match in _REFERENCE.finditer(text):
            if text[at : match.start()].strip():
                raise Unshiftable("an address in an unusual form")
            out.append(text[at : match.start()] + self.reference(match[0], None))
            at = match.end()
        if text[at:].strip():
            raise Unshiftable("an address in an unusual form")
        return "".join(out) + text[at:]

    def condition(self, text: str, base_row: int | None, sheet: str | None) -> None:
        """Raise Unshiftable where a rule for many cells would not hold its meaning unchanged.

        A rule says its references as seen from a base cell. Those to the cell's own row go with
        every cell; those above the first row that goes stay where they are. All others might move.
        `sheet`: where the rule applies; None where that is unknown.
        """
        for match in _formula(text.replace("is-true-formula(", "("), grammar=False):
            if match["inside"] is None:
                continue
            found = _REFERENCE.fullmatch(match["inside"])
            if found is None:
                raise Unshiftable("a rule with a reference in an unusual form")
            for said, cell in (
                (found["sheet"], "cell"),
                (found["sheet2"] or found["sheet"], "cell2"),
            ):
                if found[cell] is None or found["file"]:
                    continue
                name = sheet_named(said) or sheet
                corner = _corner(found[cell])
                if name is not None and not same_sheet(name, self.target):
                    continue
                own = not corner.fixed and corner.row == base_row
                if not own and corner.row >= self.rows.removed[0]:
                    raise Unshiftable("a rule that reads other rows")


def _formula(text: str, *, grammar: bool = True) -> list[re.Match[str]]:
    """The tokens of a formula. Raises Unshiftable where it reads what its text does not say."""
    if grammar and not text.startswith("of:"):
        raise Unshiftable("a formula in an older grammar")
    found = list(_TOKEN.finditer(text))
    for match in found:
        if match["function"] and match["function"].upper() in _UNKNOWABLE:
            raise Unshiftable(f"the function {match['function'].upper()}")
        if match["label"] or match["bare"]:
            raise Unshiftable("a formula that names cells in an unusual way")
        if (
            match["inside"] is not None
            and match["inside"].startswith("#")
            and "REF!" not in match["inside"]
        ):
            raise Unshiftable("a formula that names columns of a table")
    return found


def own_row_only(text: str, number: int) -> bool:
    """Whether a formula reads cells of its own row and nothing else: no other row can make its
    stored result stale."""
    try:
        found = _formula(text)
    except Unshiftable:
        return False
    for match in found:
        if match["name"] and match["name"].upper() not in ("OF", "TRUE", "FALSE"):
            return False
        if match["inside"] is None:
            continue
        reference = _REFERENCE.fullmatch(match["inside"])
        if reference is None or reference["file"] or reference["sheet"] or reference["sheet2"]:
            return False
        cells = [reference["cell"], reference["cell2"]]
        if any(_corner(cell).row != number for cell in cells if cell is not None):
            return False
    return True


def named_in(sheet: str) -> re.Pattern[bytes]:
    """Finds addresses on a sheet in an attribute's text (still escaped), whatever the attribute."""
    mark = "(?:'|&apos;|&#39;)"
    quoted = re.escape(_escaped(sheet.replace("'", "''"))).replace("'", mark)
    plain = re.escape(_escaped(sheet)).replace("'", mark)
    return re.compile(
        rf"(?:(?<![\w.]){plain}|(?:'|&apos;){quoted}(?:'|&apos;))\.\$?(?:[A-Z]{{1,3}}|\$?\d)".encode(),
        re.IGNORECASE,
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
