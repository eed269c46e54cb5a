"""Which messages are one thread: whatever their Message-IDs and references connect.

As RFC 5256 (REFERENCES) does it, without its guessing by subject: a message belongs with what it
refers to, also where that message is not there, so two answers to a lost one are one thread.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable

from retention.connectors import mail_headers

_ID = re.compile(rb"<([^<>]{1,998})>")
_MOST = 100
"""References counted of one message: the first, where the thread began, and the last ones."""
_HEAD, _TAIL = 4 * 1024, 64 * 1024
"""So much of a header is looked at, from either end: a hostile one has no end."""


def references(headers: mail_headers.Headers) -> tuple[str, ...]:
    """Message-IDs that a message refers to, without brackets, each once.

    All of References, at most a hundred, and the first of In-Reply-To, which in old mail may hold
    an address after the id.
    """
    cited = [one for value in headers.get("references", ()) for one in _ids(value)]
    if len(cited) > _MOST:
        cited = [cited[0], *cited[1 - _MOST :]]
    for value in headers.get("in-reply-to", ())[:_MOST]:
        cited += _ids(value)[:1]
    return tuple(dict.fromkeys(mail_headers.text(one) for one in cited))


def _ids(value: bytes) -> list[bytes]:
    if len(value) > _HEAD + _TAIL:
        # An id that a cut goes through has lost a bracket, and counts no more.
        value = value[:_HEAD] + b" " + value[-_TAIL:]
    # A folded id has white space where the fold was, as in `mail_headers.message_id`.
    return [bare for one in _ID.findall(value) if (bare := b"".join(one.split()))]


class Threads:
    """Numbers that belong together (union-find), in eight bytes each."""

    def __init__(self) -> None:
        self._above: array[int] = array("q")

    def __len__(self) -> int:
        return len(self._above)

    def add(self) -> int:
        """A new number, alone so far."""
        self._above.append(len(self._above))
        return len(self._above) - 1

    def connect(self, numbers: Iterable[int]) -> None:
        """All of these are one thread. The lowest number of a thread stands for it."""
        first: int | None = None
        for number in numbers:
            root = self.root(number)
            if first is None or root == first:
                first = root
            else:
                low, high = sorted((first, root))
                self._above[high] = first = low

    def root(self, number: int) -> int:
        """The number that stands for its thread now."""
        above = self._above
        while above[number] != number:
            above[number] = number = above[above[number]]
        return number
