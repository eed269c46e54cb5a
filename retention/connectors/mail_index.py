"""Sets of what was seen, in eight bytes each: numbers exactly, texts by their hashes."""

from __future__ import annotations

from array import array
from bisect import bisect_left

_SEGMENT = 65_536
_MASK = (1 << 64) - 1


class Numbers:
    """Numbers of 64 bits that were seen."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._sealed: list[array[int]] = []

    def add(self, number: int) -> None:
        self._open.add(number)
        if len(self._open) >= _SEGMENT:
            self._sealed.append(array("Q", sorted(self._open)))
            self._open.clear()

    def __contains__(self, number: int) -> bool:
        return number in self._open or any(_holds(part, number) for part in self._sealed)


class Sightings:
    """Answers "was this text seen?" in bounded memory, without keeping the text.

    Only 64-bit hashes are kept. Two texts may share one, about once in 10^19 pairs; the answer
    is then a false yes, which makes a verification fail safe.
    """

    def __init__(self) -> None:
        self._hashes = Numbers()

    def add(self, seen: str) -> None:
        self._hashes.add(hash(seen) & _MASK)

    def __contains__(self, wanted: str) -> bool:
        return hash(wanted) & _MASK in self._hashes


def _holds(part: array[int], number: int) -> bool:
    at = bisect_left(part, number)
    return at < len(part) and part[at] == number
