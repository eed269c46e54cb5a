"""One pass before an act: which rows are meant, which may not be touched, what all others hold."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from retention.connectors.base import Outcome, Ref, Result
from retention.connectors.spreadsheet.columns import Columns
from retention.connectors.spreadsheet.identity import own_key, untouchable
from retention.connectors.spreadsheet.table import Row, Table, fingerprint

_WRAP = 1 << 128


class Meant(NamedTuple):
    """A row that an act may concern."""

    number: int
    key: str
    shared: array[int]
    texts: tuple[bytes, ...]
    """What else it holds that could point at somebody."""
    print: int
    """Fingerprint without results of formulas, as a number."""


@dataclass(slots=True)
class Survey:
    """What one pass found."""

    meant: list[Meant] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    used: bytearray = field(default_factory=bytearray)
    """1 for every shared string that a row which stays uses."""
    references: int = 0
    kept: int = 0
    """Sum of the fingerprints of all rows that stay: the same rows give the same sum."""
    last_row: int = 0

    def keep(self, row: Meant) -> None:
        """Count a row as one that stays."""
        for index in row.shared:
            self.used[index] = 1
        self.references += len(row.shared)
        self.kept = (self.kept + row.print) % _WRAP

    def refuse(self, codes: Mapping[int, str]) -> None:
        """Leave the rows with these numbers alone, for these reasons."""
        for row in self.meant:
            if row.number in codes:
                self.outcomes[row.key] = Outcome(
                    row.key, Result.FAILED_PERMANENT, codes[row.number]
                )
                self.keep(row)
        self.meant = [row for row in self.meant if row.number not in codes]


def take(
    table: Table,
    columns: Columns,
    refs: Sequence[Ref],
    strings: int,
    place: str,
    look: Callable[[Row], str],
    *,
    whole_row: bool,
) -> Survey:
    """Survey a table. `strings`: number of shared strings. `look` sees every row and may object.

    `whole_row`: the act takes everything in the row, so cells beside the table forbid it.
    """
    survey = Survey(used=bytearray(strings))
    wanted = {ref.key: ref for ref in refs}
    for key in wanted:
        if why := untouchable(key):
            survey.outcomes[key] = Outcome(key, Result.FAILED_PERMANENT, why)
    found: dict[str, Meant] = {}
    objections: dict[int, str] = {}
    for row in table.rows():
        objection = look(row)
        survey.last_row = row.number
        if not row.cells:
            continue
        key = own_key(row, columns, place) if row.number > columns.header else ""
        plain = fingerprint(row)
        meant = _meant(row, key, int(plain, 16), wanted=key in wanted)
        if key not in wanted or key in survey.outcomes:
            survey.keep(meant)
        elif key in found:
            survey.keep(found.pop(key))
            survey.keep(meant)
            survey.outcomes[key] = Outcome(key, Result.FAILED_PERMANENT, "key_not_unique")
        elif _version(row, columns, plain) != wanted[key].version:
            survey.outcomes[key] = Outcome(key, Result.CHANGED)
            survey.keep(meant)
        else:
            found[key] = meant
            objections[row.number] = objection or _objection(row, columns, whole_row)
    survey.meant = list(found.values())
    for key in wanted:
        if key not in found and key not in survey.outcomes:
            survey.outcomes[key] = Outcome(key, Result.ALREADY_ABSENT)
    survey.refuse({number: why for number, why in objections.items() if why})
    return survey


def checksum(table: Table, skip: frozenset[int] | set[int] = frozenset()) -> int:
    """The sum that `Survey.kept` holds, over a table as it is now."""
    total = 0
    for row in table.rows():
        if row.cells and row.number not in skip:
            total += int(fingerprint(row), 16)
    return total % _WRAP


def _meant(row: Row, key: str, plain_print: int, *, wanted: bool) -> Meant:
    shared = array("I", [cell.shared for cell in row.cells if cell.shared >= 0])
    texts = [c.value for c in row.cells if c.shared < 0 and (c.kind == "s" or len(c.value) > 7)]
    return Meant(row.number, key, shared, tuple(texts) if wanted else (), plain_print)


def _version(row: Row, columns: Columns, plain: str) -> str:
    computed = any(cell.formula for cell in row.cells)
    return fingerprint(row, columns.read) if computed else plain


def _objection(row: Row, columns: Columns, whole_row: bool) -> str:
    first, last = columns.block
    if row.ragged:
        return "ragged"
    beside = whole_row and any(not first <= cell.column <= last for cell in row.cells)
    return "cells_beside" if beside else ""
