"""The Merkle tree of RFC 6962: roots, inclusion proofs and consistency proofs.

Leaves are given as leaf hashes (32 bytes); sizes and indexes count leaves from zero. Nothing
here holds more than one hash per level, so logs of any size are handled in flat memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

HASH_SIZE = 32
EMPTY_ROOT = sha256(b"").digest()

Range = tuple[int, int]
"""Leaves `first` up to, not including, `last`; its root is a node of the tree."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of one leaf: SHA-256(00 ‖ data)."""
    return sha256(b"\0" + data).digest()


def leaf_hashes(lines: Iterable[bytes]) -> list[bytes]:
    """`leaf_hash` of each."""
    return [sha256(b"\0" + line).digest() for line in lines]


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node: SHA-256(01 ‖ left ‖ right)."""
    return sha256(b"\1" + left + right).digest()


class Frontier:
    """The right edge of a growing tree: the roots of its perfect subtrees, the largest first.

    There is one for each one-bit of `size`; that is all that appending and the root need.
    """

    __slots__ = ("_peaks", "size")

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self._peaks = list(peaks)
        if size < 0 or len(self._peaks) != size.bit_count():
            raise ValueError("a frontier has one hash for each one-bit of its size")

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> Frontier:
        """What `to_bytes` wrote. Raises ValueError where data and size do not fit."""
        if len(data) % HASH_SIZE:
            raise ValueError("a frontier is a whole number of hashes")
        return cls(size, (data[i : i + HASH_SIZE] for i in range(0, len(data), HASH_SIZE)))

    def to_bytes(self) -> bytes:
        """The hashes, the largest subtree's first."""
        return b"".join(self._peaks)

    def copy(self) -> Frontier:
        """An independent frontier of the same tree."""
        return Frontier(self.size, self._peaks)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        self._push(leaf, 1)

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add leaf hashes, whole subtrees at a time (several times faster than one by one)."""
        done, total = 0, len(leaves)
        while done < total:
            width = 1 << ((total - done).bit_length() - 1)
            if self.size:
                width = min(width, self.size & -self.size)
            self._push(_perfect_root(leaves[done : done + width]), width)
            done += width

    def root(self) -> bytes:
        """The root of the tree as it is now."""
        if not self._peaks:
            return EMPTY_ROOT
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = node_hash(peak, root)
        return root

    def _push(self, subtree: bytes, width: int) -> None:
        carry = width
        while self.size & carry:
            subtree = node_hash(self._peaks.pop(), subtree)
            carry <<= 1
        self._peaks.append(subtree)
        self.size += width


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes."""
    frontier = Frontier()
    frontier.extend(leaves)
    return frontier.root()


def _perfect_root(level: Sequence[bytes]) -> bytes:
    while len(level) > 1:
        level = [
            sha256(b"\1" + left + right).digest()
            for left, right in zip(level[::2], level[1::2], strict=True)
        ]
    return level[0]


def _split(size: int) -> int:
    """The largest power of two below `size`, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The subtrees whose roots prove that leaf `index` is in the tree, the sibling first."""
    if not 0 <= index < size:
        raise ValueError("the index must lie inside the tree")
    found: list[Range] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            found.append((middle, high))
            high = middle
        else:
            found.append((low, middle))
            low = middle
    return found[::-1]


def consistency_ranges(old: int, new: int) -> list[Range]:
    """The subtrees whose roots prove that the tree of `old` leaves is a prefix of that of `new`."""
    if not 0 <= old <= new:
        raise ValueError("the old tree cannot be larger than the new one")
    if old in (0, new):
        return []
    found: list[Range] = []
    low, high, whole = 0, new, True
    while old != high:
        middle = low + _split(high - low)
        if old <= middle:
            found.append((middle, high))
            high = middle
        else:
            found.append((low, middle))
            low, whole = middle, False
    if not whole:
        found.append((low, high))
    return found[::-1]


def range_roots(chunks: Iterable[Sequence[bytes]], ranges: Iterable[Range]) -> dict[Range, bytes]:
    """The roots of subtrees, in one pass over all leaf hashes in order, given in chunks.

    Raises ValueError when the leaves end before the last range does.
    """
    frontiers = {wanted: Frontier() for wanted in ranges}
    position = 0
    for chunk in chunks:
        end = position + len(chunk)
        for (low, high), frontier in frontiers.items():
            if low < end and high > position:
                frontier.extend(chunk[max(low - position, 0) : high - position])
        position = end
    if any(f.size != high - low for (low, high), f in frontiers.items()):
        raise ValueError("the tree is smaller than the proof needs")
    return {wanted: frontier.root() for wanted, frontier in frontiers.items()}


def inclusion_proof(leaves: Sequence[bytes], index: int, size: int | None = None) -> list[bytes]:
    """The proof for one leaf of a list of leaf hashes, in the tree of the first `size` leaves."""
    ranges = inclusion_ranges(index, len(leaves) if size is None else size)
    roots = range_roots([leaves], ranges)
    return [roots[wanted] for wanted in ranges]


def consistency_proof(leaves: Sequence[bytes], old: int, new: int | None = None) -> list[bytes]:
    """The proof that the first `old` leaves are a prefix of the first `new`."""
    ranges = consistency_ranges(old, len(leaves) if new is None else new)
    roots = range_roots([leaves], ranges)
    return [roots[wanted] for wanted in ranges]


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """True where the proof leads from the leaf hash to the root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    node, last, result = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            result = node_hash(sibling, result)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            result = node_hash(result, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and result == root


def verify_consistency(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """True where the tree of `old` leaves is shown to be a prefix of that of `new` (2.1.4.2)."""
    if not 0 <= old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        return False
    node, last = old - 1, new - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if node & 1 or node == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root
