"""One pass before an act: which rows are meant, which may not be touched, what all others hold."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import NamedTuple

from retention.connectors.base import Outcome, Ref, Result
from retention.connectors.spreadsheet.blocks import Block
from retention.connectors.spreadsheet.columns import Columns, pieces
from retention.connectors.spreadsheet.identity import own_key, untouchable
from retention.connectors.spreadsheet.kept import WRAP, Kept, kept_of
from retention.connectors.spreadsheet.table import Row, Table, fingerprint


class Meant(NamedTuple):
    """A row that an act may concern."""

    number: int
    key: str
    shared: array[int]
    texts: tuple[bytes, ...]
    """What else it holds that could point at somebody."""
    print: int
    """Fingerprint without results of formulas, as a number."""
    blocked: bool = False
    """Whether it stood in a block."""


@dataclass(slots=True)
class Survey:
    """What one pass found."""

    meant: list[Meant] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    used: bytearray = field(default_factory=bytearray)
    """1 for every shared string that a row which stays uses."""
    references: int = 0
    kept: Kept | None = field(default_factory=Kept)
    """What the rows that stay are made of; None where they were not taken in in order."""
    last_row: int = 0
    careful: set[int] = field(default_factory=set)
    """Numbers of the rows that stood in no block."""

    def keep(self, row: Meant) -> None:
        """Count a row as one that stays."""
        for index in row.shared:
            self.used[index] = 1
        self.references += len(row.shared)
        if self.kept is None or row.blocked:
            self.kept = None
        else:
            self.kept.add_print(row.print)

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
    taking = _Taking(survey, columns, {ref.key: ref for ref in refs}, place, look, whole_row)
    for key in taking.wanted:
        if why := untouchable(key):
            survey.outcomes[key] = Outcome(key, Result.FAILED_PERMANENT, why)
    for piece in pieces(table):
        if isinstance(piece, Block):
            taking.block(piece)
        else:
            survey.careful.add(piece.number)
            taking.row(piece)
    survey.meant = list(taking.found.values())
    for key in taking.wanted:
        if key not in taking.found and key not in survey.outcomes:
            survey.outcomes[key] = Outcome(key, Result.ALREADY_ABSENT)
    survey.refuse({number: why for number, why in taking.objections.items() if why})
    return survey


@dataclass(slots=True)
class _Taking:
    """The pass itself."""

    survey: Survey
    columns: Columns
    wanted: dict[str, Ref]
    place: str
    look: Callable[[Row], str]
    whole_row: bool
    found: dict[str, Meant] = field(default_factory=dict)
    objections: dict[int, str] = field(default_factory=dict)

    def row(self, row: Row) -> None:
        """Take in one row."""
        columns, survey = self.columns, self.survey
        objection = self.look(row)
        survey.last_row = row.number
        key = own_key(row, columns, self.place) if row.number > columns.header else ""
        plain = fingerprint(row)
        meant = _meant(row, key, int(plain, 16), wanted=key in self.wanted)
        if key not in self.wanted or key in survey.outcomes:
            survey.keep(meant)
            return
        objection = objection or _objection(row, columns, self.whole_row)
        self._wanted(meant, _version(row, columns, plain), objection)

    def _wanted(self, row: Meant, version: str, objection: str) -> None:
        survey, key = self.survey, row.key
        if key in survey.outcomes:
            survey.keep(row)
        elif key in self.found:
            survey.keep(self.found.pop(key))
            survey.keep(row)
            survey.outcomes[key] = Outcome(key, Result.FAILED_PERMANENT, "key_not_unique")
        elif version != self.wanted[key].version:
            survey.outcomes[key] = Outcome(key, Result.CHANGED)
            survey.keep(row)
        else:
            self.found[key] = row
            self.objections[row.number] = objection

    def block(self, block: Block) -> None:
        """Take in a run of rows; most of them only have to be counted."""
        survey, columns = self.survey, self.columns
        survey.last_row = block.numbers[-1]
        keys = block.texts(columns.key)
        above = bisect_right(block.numbers, columns.header)
        hits = [
            at
            for at in range(above, len(keys))
            if (key := keys[at]) in self.wanted and key not in survey.outcomes
        ]
        chosen = set(hits)
        rest = [at for at in range(len(block)) if at not in chosen]
        _keep_all(survey, block.select(rest) if hits else block)
        if not hits:
            return
        part = block.select(hits)
        beside = self._beside(part)
        prints = part.fingerprints()
        rows = zip(
            part.numbers,
            [keys[at] for at in hits],
            part.shared(),
            part.telling(),
            map(int, prints, repeat(16)),
            repeat(True),  # noqa: FBT003 - see Meant
            strict=False,
        )
        for row, version, raw in zip(map(Meant._make, rows), prints, part.raws, strict=True):
            objection = self.look(Row(row.number, [], raw))
            self._wanted(row, version, objection or beside.get(row.number, ""))

    def _beside(self, block: Block) -> dict[int, str]:
        """Rows with cells outside the table, by number."""
        if not self.whole_row:
            return {}
        first, last = self.columns.block
        outside = [c for c in block.columns() if not first <= c.column <= last]
        return {
            block.numbers[at]: "cells_beside"
            for column in outside
            for at, value in enumerate(column.values)
            if value
        }


def _keep_all(survey: Survey, block: Block) -> None:
    """Count all rows of a block as rows that stay."""
    for used in block.used():
        deque(map(survey.used.__setitem__, used, repeat(1)), maxlen=0)
        survey.references += len(used)
    if survey.kept is not None:
        survey.kept.add(block)


def checksum(table: Table, skip: frozenset[int] | set[int] = frozenset()) -> int:
    """The sum of the fingerprints of all rows: the same rows give the same sum."""
    total = 0
    for piece in pieces(table):
        if isinstance(piece, Block):
            left = [at for at, number in enumerate(piece.numbers) if number not in skip]
            total += sum(map(int, piece.select(left).fingerprints(), repeat(16)))
        elif piece.number not in skip:
            total += int(fingerprint(piece), 16)
    return total % WRAP


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


def same_rows(survey: Survey, before: Table, after: Table, skip: frozenset[int]) -> bool:
    """Whether `after` holds the rows that stay and no other. `skip`: numbers of others in it.

    By what was noted of them on the way; where that does not settle it, every value of both is
    read once more.
    """
    if survey.kept is not None and survey.kept == kept_of(after, skip):
        return True
    gone = frozenset(row.number for row in survey.meant)
    return checksum(before, gone) == checksum(after, skip)
