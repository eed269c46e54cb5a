"""A proxy before Redis that loses some wake-ups, doubles others, and can fall silent."""

from __future__ import annotations

from random import Random
from threading import Lock

from tests.chaos.proxy import Link, Proxy

DROPPED, DOUBLED = 0.10, 0.20
_BUFFER = "buffer"


class WakeUps(Proxy):
    """Knows enough of Redis's protocol to find the messages that are put into a work queue.

    A lost one becomes a question for the queue's length, which is answered with a number as well;
    a doubled one is put twice by one command. So answers stay in step with requests.
    """

    def __init__(self, target: int, chance: Random) -> None:
        self._chance = chance
        self._counting = Lock()
        self.passed = self.dropped = self.doubled = 0
        super().__init__(target)

    def on_request(self, link: Link, data: bytes) -> None:
        rest = link.facts.get(_BUFFER, b"") + data
        out = b""
        while (command := _command(rest)) is not None:
            words, rest = command
            out += self._changed(words)
        link.facts[_BUFFER] = rest
        if out:
            link.server.sendall(out)

    def _changed(self, words: list[bytes]) -> bytes:
        if words[0].upper() == b"LPUSH" and b"retention." in words[1] and b"canary" not in words[1]:
            with self._counting:
                drawn = self._chance.random()
                if drawn < DROPPED:
                    self.dropped += 1
                    words = [b"LLEN", words[1]]
                elif drawn < DROPPED + DOUBLED:
                    self.doubled += 1
                    words = [*words, *words[2:]]
                else:
                    self.passed += 1
        return _encoded(words)


def _command(data: bytes) -> tuple[list[bytes], bytes] | None:
    """The first whole command and what follows it; None until more has come."""
    if not data:
        return None
    assert data.startswith(b"*"), "a client that speaks Redis's inline form"
    head, found, rest = data.partition(b"\r\n")
    if not found:
        return None
    words = []
    for _ in range(int(head[1:])):
        size, found, rest = rest.partition(b"\r\n")
        length = int(size[1:]) if found else 0
        if not found or len(rest) < length + 2:
            return None
        words.append(rest[:length])
        rest = rest[length + 2 :]
    return words, rest


def _encoded(words: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)
