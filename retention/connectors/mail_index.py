"""A set of texts seen, in eight bytes each: which Message-IDs a folder holds."""

from __future__ import annotations

from array import array
from bisect import bisect_left

_SEGMENT = 65_536
_MASK = (1 << 64) - 1


class Sightings:
    """Answers "was this text seen?" in bounded memory, without keeping the text.

    Only 64-bit hashes are kept. Two texts may share one, about once in 10^19 pairs; the answer
    is then a false yes, which makes a verification fail safe.
    """

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._sealed: list[array[int]] = []

    def add(self, seen: str) -> None:
        self._open.add(hash(seen) & _MASK)
        if len(self._open) >= _SEGMENT:
            self._sealed.append(array("Q", sorted(self._open)))
            self._open.clear()

    def __contains__(self, wanted: str) -> bool:
        number = hash(wanted) & _MASK
        return number in self._open or any(_holds(part, number) for part in self._sealed)


def _holds(part: array[int], number: int) -> bool:
    at = bisect_left(part, number)
    return at < len(part) and part[at] == number
