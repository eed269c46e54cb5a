"""What rows that stay are made of, column by column: the same bytes give the same, however cut.

To prove a new file, its rows need not be understood once more: what stood in the old file must
stand in the new one, in the same order, and the strings it points at must be the same.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from hashlib import blake2b

from retention.connectors.spreadsheet.blocks import Block
from retention.connectors.spreadsheet.columns import pieces
from retention.connectors.spreadsheet.table import SEPARATOR, Table, fingerprint

WRAP = 1 << 128


class Kept:
    """Hashes of rows, in order: of those in blocks by column, of others as a sum."""

    def __init__(self) -> None:
        self.careful = 0
        """Sum of the fingerprints of the rows that stood in no block."""
        self._rows = 0
        self._streams: dict[tuple[int, str], _Stream] = {}

    def add(self, block: Block) -> None:
        """Take in all rows of a block."""
        self._put((0, "row"), block.group(2))
        for place in block.layout.places:
            self._put((place.column, "value"), block.group(place.at))
            if place.kind is None:
                self._put((place.column, "type"), block.group(place.at - 1))
            elif place.kind:
                self._put((place.column, "type"), (place.kind,) * len(block))
            if place.inline:
                self._put((place.column, "text"), block.group(place.at + 1))
        self._rows += len(block)

    def add_print(self, print_: int) -> None:
        """Take in one row by its fingerprint."""
        self.careful = (self.careful + print_) % WRAP

    def _put(self, what: tuple[int, str], entries: Sequence[bytes]) -> None:
        if not any(entries):
            return
        if what not in self._streams:
            self._streams[what] = _Stream()
        self._streams[what].put(self._rows, entries)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Kept):
            return NotImplemented
        return self._told() == other._told()

    __hash__ = None  # type: ignore[assignment]  # it changes with every row

    def _told(self) -> tuple[int, int, dict[tuple[int, str], bytes]]:
        digests = {what: s.digest(self._rows) for what, s in self._streams.items()}
        return self.careful, self._rows, digests


class _Stream:
    """One kind of thing of one column. Rows that have none of it count as empty ones."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=32)
        self._rows = 0

    def put(self, at: int, entries: Sequence[bytes]) -> None:
        """What the rows from row `at` on hold."""
        # XML cannot hold the separator.
        self._hash.update(SEPARATOR * (at - self._rows) + SEPARATOR.join(entries) + SEPARATOR)
        self._rows = at + len(entries)

    def digest(self, rows: int) -> bytes:
        """The hash once there are so many rows in all."""
        ended = self._hash.copy()
        ended.update(SEPARATOR * (rows - self._rows))
        return ended.digest()


def kept_of(table: Table, skip: Collection[int] = ()) -> Kept:
    """What the rows of a table are made of, without those of these numbers."""
    kept = Kept()
    for piece in pieces(table):
        if isinstance(piece, Block):
            left = [at for at, number in enumerate(piece.numbers) if number not in skip]
            kept.add(piece.select(left) if skip else piece)
        elif piece.number not in skip:
            kept.add_print(int(fingerprint(piece), 16))
    return kept
