"""Sets of UIDs as commands and answers spell them: `1:3,7`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from retention.connectors.imap.failures import LostError

LINE = 7_500
"""Longest list of UIDs in a command: servers may refuse lines over 8,192 octets (RFC 7162 §4)."""
_MANY = 1_000_000
"""More numbers in one range than any of our windows can hold."""


def expand(numbers: bytes) -> list[int]:
    """The numbers of a set. Raises LostError where it is none, or absurdly large."""
    out: list[int] = []
    for part in numbers.split(b","):
        low, _, high = part.partition(b":")
        if not low.isdigit() or not (high or low).isdigit():
            raise LostError
        first, last = int(low), int(high or low)
        if abs(last - first) > _MANY:
            raise LostError
        out.extend(range(min(first, last), max(first, last) + 1))
    return out


def uid_sets(uids: Iterable[int], longest: int = LINE) -> Iterator[bytes]:
    """Sets that name exactly these UIDs, each short enough for one command."""
    parts: list[bytes] = []
    length = 0
    for first, last in _ranges(sorted(set(uids))):
        part = b"%d" % first if first == last else b"%d:%d" % (first, last)
        if length + len(part) > longest:
            yield b",".join(parts)
            parts, length = [], 0
        parts.append(part)
        length += len(part) + 1
    if parts:
        yield b",".join(parts)


def _ranges(ordered: Sequence[int]) -> Iterator[tuple[int, int]]:
    first = last = 0
    for uid in ordered:
        if uid == last + 1 and first:
            last = uid
            continue
        if first:
            yield first, last
        first = last = uid
    if first:
        yield first, last
