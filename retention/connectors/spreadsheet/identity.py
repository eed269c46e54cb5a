"""Which key a row goes by: its own, or one that says why it has none of its own."""

from __future__ import annotations

from array import array
from hashlib import blake2b

from retention.connectors.spreadsheet.columns import Columns, cell_at, records
from retention.connectors.spreadsheet.table import Row, Table, fingerprint, key_of
from retention.errors import PermanentFailure

NO_KEY = "⟨no key⟩ "
NOT_UNIQUE = "⟨key not unique⟩ "
_BUCKETS = 256


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


class Repeated:
    """Keys that stand in more than one row, in eight bytes a row."""

    def __init__(self, table: Table, columns: Columns, place: str) -> None:
        buckets = [array("Q") for _ in range(_BUCKETS)]
        for row in records(table, columns, only=(columns.key,)):
            key = own_key(row, columns, place)
            if key:
                number = _hash(key)
                buckets[number % _BUCKETS].append(number)
        self._hashes: set[int] = set()
        for bucket in buckets:
            seen: set[int] = set()
            for number in bucket:
                if number in seen:
                    self._hashes.add(number)
                seen.add(number)
        self._told: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def __contains__(self, key: str) -> bool:
        return _hash(key) in self._hashes

    def label(self, row: Row, key: str, columns: Columns) -> str:
        """A key for a row that cannot be told from another by its own."""
        text = (NOT_UNIQUE if key else NO_KEY) + fingerprint(row, columns.read)
        count = self._told[text] = self._told.get(text, 0) + 1
        return text if count == 1 else f"{text} {count}"


def untouchable(key: str) -> str:
    """Why a record with this key is never acted upon; "" where it may be."""
    if key.startswith(NO_KEY):
        return "no_key"
    return "key_not_unique" if key.startswith(NOT_UNIQUE) else ""


def _hash(key: str) -> int:
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest())
