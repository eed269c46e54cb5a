"""Which key a row goes by: its own, or one that says why it has none of its own."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from itertools import chain, compress
from operator import eq

from retention.connectors.spreadsheet.blocks import Block
from retention.connectors.spreadsheet.columns import Columns, cell_at, record_pieces
from retention.connectors.spreadsheet.table import Row, Table, key_of
from retention.errors import PermanentFailure

NO_KEY = "⟨no key⟩ "
NOT_UNIQUE = "⟨key not unique⟩ "
_MANY = 1 << 18


def own_key(row: Row, columns: Columns, place: str) -> str:
    """The text in the key column, or "". Raises PermanentFailure where it is computed."""
    cell = cell_at(row, columns.key)
    if cell is not None and cell.formula:
        raise PermanentFailure(
            f"the key in row {row.number} is computed by a formula",
            hint="a key must stay with its row: use a column with fixed values",
            place=place,
            code="key_computed",
        )
    return key_of(cell)


class Keys:
    """What one pass over the keys of a table has shown: how many rows, and which keys repeat.

    Eight bytes a row. The hashes are this process's own and mean nothing to another.
    """

    def __init__(self, table: Table, columns: Columns, place: str) -> None:
        hashes = array("q")
        self.rows = 0
        for piece in record_pieces(table, columns):
            if isinstance(piece, Block):
                self.rows += len(piece)
                hashes.extend(map(hash, filter(None, piece.texts(columns.key))))
            else:
                self.rows += 1
                if key := own_key(piece, columns, place):
                    hashes.append(hash(key))
        self.repeated = _twice(hashes)


def _twice(hashes: array[int]) -> frozenset[int]:
    """The numbers that stand there more than once; a quarter of a million at a time."""
    if len(hashes) <= _MANY:
        return _twice_in(hashes)
    parts = 1 << (len(hashes) // _MANY).bit_length()
    found = (_twice_in(n for n in hashes if n & (parts - 1) == part) for part in range(parts))
    return frozenset(chain.from_iterable(found))


def _twice_in(numbers: Iterable[int]) -> frozenset[int]:
    ordered = sorted(numbers)
    same = map(eq, ordered, ordered[1:])
    return frozenset(compress(ordered, same))


class Repeated:
    """Keys that stand in more than one row, and names for rows that cannot go by their own."""

    def __init__(self, keys: Keys) -> None:
        self._hashes = keys.repeated
        self._told: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def __contains__(self, key: str) -> bool:
        return hash(key) in self._hashes

    def label(self, key: str, print_: str) -> str:
        """A key for a row that cannot be told from another by its own, by its fingerprint."""
        text = (NOT_UNIQUE if key else NO_KEY) + print_
        count = self._told[text] = self._told.get(text, 0) + 1
        return text if count == 1 else f"{text} {count}"


def untouchable(key: str) -> str:
    """Why a record with this key is never acted upon; "" where it may be."""
    if key.startswith(NO_KEY):
        return "no_key"
    return "key_not_unique" if key.startswith(NOT_UNIQUE) else ""
