"""The few bulk commands of IMAP (RFC 3501, 4315, 4731), read lean.

IMAPClient connects, encrypts and logs in; messages by the thousand are read here, because its
general parser costs more than the server's work. This uses `send`, `readline` and `read` of
imaplib.IMAP4 only, which imaplib documents; tests pin the attribute that leads there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import count
from time import monotonic
from typing import Any

from retention.connectors.imap.answers import (
    Items,
    Response,
    fetched,
    found_in,
    has_body,
    parse_fetch,
)
from retention.connectors.imap.failures import LostError, RefusedError
from retention.connectors.imap.sets import expand
from retention.connectors.mail_headers import LONGEST, TOO_LONG

_LITERAL = re.compile(rb"~?\{(\d+)\+?\}\r?\n$")
_STATUS = frozenset({b"OK ", b"NO ", b"BAD", b"BYE"})
_CODE = re.compile(rb"\[([A-Za-z-]+)")
_MODIFIED = re.compile(rb"\[MODIFIED ([0-9:,]+)\]", re.IGNORECASE)
_AT_ONCE = 64_000
"""Octets of commands sent before their answers are read."""
_MANY = 1_000_000
"""More numbers in one range than any of our windows can hold."""
_LARGEST = 512 * 1024 * 1024
"""A literal beyond this is no message but a broken or hostile server."""
_PIECE = 64 * 1024
_PLENTY = 32 * 1024 * 1024
"""So much of headers at once; beyond it only those count that are no longer than a piece."""
_PATIENCE = 1800.0
"""Seconds for which a server may say that it is still at it: some do so for ever."""


class Ahead:
    """A FETCH (UID INTERNALDATE … BODY[…]) that was sent before its answer was wanted.

    The server works on it meanwhile.
    """

    def __init__(self, wire: Wire, uids: Iterable[int]) -> None:
        self._wire = wire
        self.missing = set(uids)
        """UIDs of which not all was told yet."""
        self.found: list[Items] = []
        self.ended = False
        self.refused: RefusedError | None = None

    def read(self) -> list[Items]:
        """What the server told of these messages. Raises RefusedError, LostError."""
        self._wire.settle(self)
        if self.refused is not None:
            raise self.refused
        return self.found

    def take(self, uid: int, items: Items) -> None:
        """One response of which this FETCH may be the reason."""
        self.found.append(items)
        if b"INTERNALDATE" in items and has_body(items):
            self.missing.discard(uid)


class Wire:
    """Sends commands over the connection of an imaplib.IMAP4 object.

    Where several are under way, a server may finish them in any order and mix their answers
    (Dovecot does): FETCH responses are told apart by their UIDs, never by their place.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._tags = count(1)
        self._owed: dict[bytes, Ahead] = {}
        self._lost = False
        self._ended = b""
        self._asked = monotonic()
        self._held = 0

    def run(self, command: bytes) -> list[Response]:
        """The untagged responses of a short command. Raises RefusedError, LostError."""
        return list(self.stream(command))

    def stream(self, command: bytes) -> Iterator[Response]:
        """The untagged responses as they arrive; read them to the end.

        Raises RefusedError, LostError.
        """
        self.settle()
        (tag,) = self._send(command)
        yield from self._answers({tag})

    def row(self, *commands: bytes) -> None:
        """Several commands in one go, carried out in this order (RFC 3501 §5.5); no answers wanted.

        The server brings its files up to date once instead of once each. All are answered before
        this returns, or raises RefusedError (of the first that was), LostError.
        """
        self.settle()
        refused: RefusedError | None = None
        for group in _groups(commands):
            try:
                for _ in self._answers(set(self._send(*group))):
                    pass
            except RefusedError as error:
                refused = refused or error
        if refused is not None:
            raise refused

    def ahead(self, numbers: bytes, uids: Iterable[int], items: bytes) -> Ahead:
        """Send a FETCH with a BODY and leave its answer for later. Raises LostError."""
        if self._lost:
            raise LostError
        one = Ahead(self, uids)
        (tag,) = self._send(b"UID FETCH %s (%s)" % (numbers, items))
        self._owed[tag] = one
        return one

    def settle(self, wanted: Ahead | None = None) -> None:
        """Read what is owed, until this one has all it asked for, or to the end.

        Raises LostError.
        """
        if self._lost:
            # Somebody else met the end of this connection: what was asked has no answer.
            raise LostError
        try:
            while self._owed if wanted is None else wanted.missing and not wanted.ended:
                line = self._connection.readline()
                if line.startswith(b"* "):
                    if response := self._untagged(line):
                        self._hand_out(response)
                else:
                    self._tagged(line)
        except BaseException:
            # Half an answer was read: what follows it would be misunderstood.
            self._lost = True
            raise

    def _hand_out(self, response: Response) -> None:
        items = parse_fetch(response)
        if items is None or b"UID" not in items:
            return
        uid = int(items[b"UID"])
        for one in self._owed.values():
            if uid in one.missing:
                one.take(uid, items)
                return

    def abandon(self) -> None:
        """This connection is of no more use: nobody shall wait for what it still owes."""
        self._lost = True

    def _send(self, *commands: bytes) -> list[bytes]:
        tags = [b"R%d" % next(self._tags) for _ in commands]
        lines = (b"%s %s\r\n" % pair for pair in zip(tags, commands, strict=True))
        self._asked, self._held = monotonic(), 0
        self._connection.send(b"".join(lines))
        return tags

    def _answers(self, tags: set[bytes]) -> Iterator[Response]:
        """Untagged responses until all of these commands are answered.

        Raises RefusedError, of the first that was, after the last answer.
        """
        readline = self._connection.readline
        refused: RefusedError | None = None
        try:
            while tags:
                line = readline()
                if line.startswith(b"* "):
                    if response := self._untagged(line):
                        yield response
                elif line.partition(b" ")[0] in tags:
                    tag, _, self._ended = line.partition(b" ")
                    tags.discard(tag)
                    try:
                        _check(self._ended)
                    except RefusedError as error:
                        refused = refused or error
                else:
                    self._tagged(line)
        except BaseException:
            # What follows would be taken for the next command's answer.
            self._lost = True
            raise
        if refused is not None:
            raise refused

    def _untagged(self, line: bytes) -> Response | None:
        if line[2:5].upper() in _STATUS:
            # Free text: what looks like a literal in it is none.
            if line[2:5].upper() == b"BYE":
                raise LostError
            if monotonic() - self._asked > _PATIENCE:
                raise TimeoutError
            return None
        if line[-3:-2] == b"}" or line[-2:-1] == b"}":
            return self._with_literals(line)
        return Response((line,), ())

    def _tagged(self, line: bytes) -> None:
        """The end of a command of which the answer was left for later, or noise."""
        tag, _, said = line.partition(b" ")
        one = self._owed.pop(tag, None)
        if one is None:
            # A continuation request or something that nobody asked for.
            if not line.endswith(b"\n"):
                raise LostError
            return
        one.ended = True
        try:
            _check(said)
        except RefusedError as error:
            one.refused = error

    def _with_literals(self, line: bytes) -> Response:
        pieces, literals = [], []
        while m := _LITERAL.search(line):
            size = int(m[1])
            if size > _LARGEST:
                raise LostError
            pieces.append(line[: m.start()])
            if self._is_too_long(size) and b"BODY[]" not in line.upper():
                self._skip(size)
                literals.append(TOO_LONG)
            else:
                self._held += size
                literals.append(self._read(size))
            line = self._connection.readline()
            if not line.endswith(b"\n"):
                raise LostError
        pieces.append(line)
        return Response(pieces, literals)

    def _read(self, size: int) -> bytes:
        data = bytes(self._connection.read(size))
        if len(data) != size:
            raise LostError
        return data

    def _is_too_long(self, size: int) -> bool:
        return size > (LONGEST if self._held + size <= _PLENTY else _PIECE)

    def _skip(self, size: int) -> None:
        """Headers that nobody should hold in memory."""
        while size:
            size -= len(self._read(min(size, _PIECE)))

    def fetch(self, numbers: bytes, items: bytes, *, uid: bool = True) -> Iterator[Items]:
        """FETCH responses that carry a UID; others (flag news of other messages) are left out."""
        command = b"FETCH %s (%s)" % (numbers, items)
        return fetched(self.stream(b"UID " + command if uid else command))

    def store_unchanged(self, numbers: bytes, modseq: int) -> set[int]:
        """Mark these \\Deleted, but none that changed after `modseq` (RFC 7162 §3.1.3).

        Returns the UIDs that changed. Raises RefusedError, LostError.
        """
        try:
            self.run(
                b"UID STORE %s (UNCHANGEDSINCE %d) +FLAGS.SILENT (\\Deleted)" % (numbers, modseq)
            )
        except RefusedError as error:
            if error.code != "MODIFIED":
                raise
        found = _MODIFIED.search(self._ended)
        return set(expand(found[1])) if found else set()

    def search(self, criteria: bytes, *, extended: bool) -> list[int]:
        """UIDs that fulfil the criteria, ascending. `extended`: the server has ESEARCH."""
        command = b"UID SEARCH RETURN (ALL) " if extended else b"UID SEARCH "
        return sorted(uid for one in self.stream(command + criteria) for uid in found_in(one))


def _groups(commands: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Commands that together surely fit into the buffers on the way.

    Else we would wait for the server to read on, and it for us to read its answers.
    """
    group: list[bytes] = []
    length = 0
    for command in commands:
        if group and length + len(command) > _AT_ONCE:
            yield group
            group, length = [], 0
        group.append(command)
        length += len(command)
    if group:
        yield group


def _check(answer: bytes) -> None:
    status = answer[:3].strip().upper()
    if status == b"OK":
        return
    if status not in (b"NO", b"BAD"):
        raise LostError
    m = _CODE.search(answer)
    raise RefusedError(status.decode("ascii"), m[1].decode("ascii").upper() if m else "")
