"""What the formulas of a sheet's rows read: their own row, other rows, or all those above."""

from __future__ import annotations

from retention.connectors.spreadsheet.ending import Computes
from retention.connectors.spreadsheet.rowxml import Formulas
from retention.connectors.spreadsheet.sheetxml import Grammar
from retention.connectors.spreadsheet.shift import Unshiftable, corners_of, only_row, tokens
from retention.connectors.spreadsheet.xmltext import attributes

_TOTALS = frozenset({"SUBTOTAL", "AGGREGATE"})


class Look:
    """One pass over the rows that hold formulas, from the top."""

    def __init__(self, sheet: str, names: Grammar, header: int) -> None:
        self._formulas = Formulas(sheet, None, names)
        self._names, self._header = names, header
        self._arrays: list[tuple[int, int]] = []

    def computes(self, number: int, raw: bytes) -> Computes:
        """What the formulas of this row read."""
        try:
            texts = self._formulas.texts(number, raw)
            arrays = self._find_arrays(raw)
        except Unshiftable:
            return Computes.OTHER_ROWS
        if any(_totals(text, number, self._header) for text in texts):
            return Computes.TOTAL
        local = not arrays and all(only_row(text, number) for text in texts)
        return Computes.OWN_ROW if local else Computes.OTHER_ROWS

    def _find_arrays(self, raw: bytes) -> bool:
        """Whether the row begins a formula of several cells."""
        found = False
        for match in self._names.formula.finditer(raw):
            said = attributes(match[1])
            if b"ref" in said and said.get(b"t") != b"shared":
                corners = corners_of(said[b"ref"].decode())
                self._arrays.append((corners[0].row, corners[-1].row))
                found = True
        return found

    def results_in(self, rows: range) -> bool:
        """Whether a formula of several cells, seen so far, fills any of these rows."""
        return any(first <= rows[-1] and last >= rows[0] for first, last in self._arrays)


def _totals(text: str, number: int, header: int) -> bool:
    """Whether a formula adds up rows above its own on the same sheet."""
    before = ""
    for kind, piece in tokens(text):
        if kind == "area" and before != "sheet":
            lines = [corner.row for corner in corners_of(piece)]
            if header < min(lines) < max(lines) < number:
                return True
        if kind == "name" and piece.upper() in _TOTALS:
            return True
        before = kind
    return False
