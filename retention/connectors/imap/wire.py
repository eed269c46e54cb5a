"""The few bulk commands of IMAP (RFC 3501, 4315, 4731), read lean.

IMAPClient connects, encrypts and logs in; messages by the thousand are read here, because its
general parser costs more than the server's work. This uses `send`, `readline` and `read` of
imaplib.IMAP4 only, which imaplib documents; tests pin the attribute that leads there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import count
from typing import Any, NamedTuple

Items = dict[bytes, Any]
"""Upper-case item name → bytes, or a list of bytes for a parenthesised one (FLAGS)."""

_LITERAL = re.compile(rb"~?\{(\d+)\+?\}\r?\n$")
_TOKEN = re.compile(
    rb'"((?:[^"\\]|\\.)*)"|([()])|([A-Za-z0-9.\-]+\[[^\]]*\](?:<\d+>)?)|([^\s()"]+)'
)
_USUAL = re.compile(
    rb"\* \d+ FETCH \(UID (\d+)"
    rb'(?: INTERNALDATE "([^"\\]+)")?'
    rb"(?: FLAGS \(([^()\"]*)\))?"
    rb"(?: RFC822\.SIZE (\d+))?"
    rb"(?: (BODY\[HEADER\.FIELDS \([^()\"]*\)\]) |\)\r\n)"
)
_STATUS = frozenset({b"OK ", b"NO ", b"BAD", b"BYE"})
_CODE = re.compile(rb"\[([A-Z-]+)")
_MODIFIED = re.compile(rb"\[MODIFIED ([0-9:,]+)\]", re.IGNORECASE)
_MONTHS = {
    name: number
    for number, name in enumerate(
        (b"JAN", b"FEB", b"MAR", b"APR", b"MAY", b"JUN",
         b"JUL", b"AUG", b"SEP", b"OCT", b"NOV", b"DEC"), 1
    )
}  # fmt: skip
LINE = 7_500
"""Longest list of UIDs in a command: servers may refuse lines over 8,192 octets (RFC 7162 §4)."""
_AT_ONCE = 64_000
"""Octets of commands sent before their answers are read."""
_MANY = 1_000_000
"""More numbers in one range than any of our windows can hold."""
_LARGEST = 512 * 1024 * 1024
"""A literal beyond this is no message but a broken or hostile server."""


class LostError(Exception):
    """The connection ended, or what came over it was no IMAP."""


class RefusedError(Exception):
    """The server answered NO or BAD. Holds its response code only, never its words."""

    def __init__(self, status: str, code: str) -> None:
        super().__init__(f"{status} [{code}]")
        self.status = status
        self.code = code


class Response(NamedTuple):
    """One untagged response: its text pieces, and the literals between them."""

    pieces: Sequence[bytes]
    literals: Sequence[bytes]


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
        self._connection.send(b"".join(lines))
        return tags

    def _answers(self, tags: set[bytes]) -> Iterator[Response]:
        """Untagged responses until all of these commands are answered.

        Raises RefusedError, of the first that was, after the last answer.
        """
        readline = self._connection.readline
        refused: RefusedError | None = None
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
        if refused is not None:
            raise refused

    def _untagged(self, line: bytes) -> Response | None:
        if line[2:5].upper() in _STATUS:
            # Free text: what looks like a literal in it is none.
            if line[2:5].upper() == b"BYE":
                raise LostError
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
            data = self._connection.read(size)
            if len(data) != size:
                raise LostError
            literals.append(data)
            line = self._connection.readline()
            if not line.endswith(b"\n"):
                raise LostError
        pieces.append(line)
        return Response(pieces, literals)

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
        found: list[int] = []
        command = b"UID SEARCH RETURN (ALL) " if extended else b"UID SEARCH "
        for response in self.stream(command + criteria):
            words = b" ".join(response.pieces).split()
            if words[1].upper() == b"ESEARCH":
                # An answer without ALL means that nothing was found (RFC 4731 §3.1).
                at = next((i for i, w in enumerate(words) if w.upper() == b"ALL"), None)
                found += expand(words[at + 1]) if at is not None else ()
            elif words[1].upper() == b"SEARCH":
                # CONDSTORE adds "(MODSEQ n)" at the end.
                found += [int(w) for w in words[2:] if w.isdigit()]
        return sorted(found)


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


def fetched(responses: Iterable[Response]) -> Iterator[Items]:
    """Those responses that are FETCH responses with a UID."""
    for response in responses:
        parsed = parse_fetch(response)
        if parsed is not None and b"UID" in parsed:
            yield parsed


def _check(answer: bytes) -> None:
    status = answer[:3].strip().upper()
    if status == b"OK":
        return
    if status not in (b"NO", b"BAD"):
        raise LostError
    m = _CODE.search(answer)
    raise RefusedError(status.decode("ascii"), m[1].decode("ascii") if m else "")


def parse_fetch(response: Response) -> Items | None:
    """The items of a FETCH response in any order; None for another kind of response."""
    pieces = response.pieces
    usual = _USUAL.fullmatch(pieces[0])
    if usual is None:
        return parse_any_fetch(response)
    uid, date, flags, size, body = usual.groups()
    out: Items = {b"UID": uid}
    if body is not None:
        if len(pieces) != 2 or pieces[1] != b")\r\n":
            return parse_any_fetch(response)
        out[body] = response.literals[0]
    if date is not None:
        out[b"INTERNALDATE"] = date
    if flags is not None:
        out[b"FLAGS"] = flags.split()
    if size is not None:
        out[b"RFC822.SIZE"] = size
    return out


def parse_any_fetch(response: Response) -> Items | None:
    """`parse_fetch` for items in any order and notation; three times slower than the usual one."""
    first = response.pieces[0]
    words = first.split(b" ", 3)
    if len(words) < 4 or words[2].upper() != b"FETCH":
        return None
    out: Items = {}
    name: bytes | None = None
    inner: list[bytes] | None = None
    depth = 0
    for value, bracket in _tokens(response, words[3]):
        if bracket:
            depth += 1 if value == b"(" else -1
            if value == b"(" and depth == 2:
                inner = []
            elif value == b")" and depth == 1 and name is not None:
                out[name], name, inner = inner, None, None
        elif inner is not None:
            inner.append(value)
        elif name is None:
            name = value.upper()
        else:
            out[name], name = value, None
    return out


def _tokens(response: Response, start: bytes) -> Iterator[tuple[bytes, bool]]:
    """(token, is it a bracket), literals in their places."""
    pieces = response.pieces
    for number in range(len(pieces)):
        piece = start if number == 0 else pieces[number]
        for m in _TOKEN.finditer(piece):
            kind = m.lastindex
            if kind == 2:
                yield m[2], True
            elif kind == 1:
                quoted = m[1]
                yield (re.sub(rb"\\(.)", rb"\1", quoted) if b"\\" in quoted else quoted), False
            else:
                yield m[0], False
        if number < len(response.literals):
            yield response.literals[number], False


def body_of(items: Items) -> bytes:
    """The value of the BODY[…] item, whatever spelling the server gave its name; b"" for NIL."""
    for name, value in items.items():
        if name.startswith(b"BODY["):
            return b"" if value == b"NIL" else bytes(value)
    return b""


def has_body(items: Items) -> bool:
    """Does this response carry a BODY[…] item?"""
    for name in items:  # noqa: SIM110 -- a generator costs more than the test, twenty thousand times
        if name.startswith(b"BODY["):
            return True
    return False


@lru_cache(maxsize=4096)
def _day(text: bytes) -> datetime:
    day, month, year = text.split(b"-")
    return datetime(int(year), _MONTHS[month.upper()], int(day), tzinfo=UTC)


def instant(text: bytes) -> datetime | None:
    """An INTERNALDATE (`17-Jul-1996 02:44:25 -0700`) in UTC; None where it is none."""
    try:
        day, clock, zone = text.split()
        offset = int(zone[1:3]) * 60 + int(zone[3:5])
        seconds = int(clock[:2]) * 3600 + int(clock[3:5]) * 60 + int(clock[6:8])
        minutes = offset if zone[:1] == b"-" else -offset
        return _day(day) + timedelta(seconds=seconds + minutes * 60)
    except (ValueError, KeyError, OverflowError):
        return None


def quoted(value: bytes) -> bytes:
    """A quoted string. Raises ValueError for what one cannot hold (control characters, 8 bit)."""
    if any(byte < 32 or byte > 126 for byte in value):
        raise ValueError("not for a quoted string")
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def expand(numbers: bytes) -> list[int]:
    """The numbers of a set such as `1:3,7`. Raises LostError where it is absurdly large."""
    out: list[int] = []
    for part in numbers.split(b","):
        low, _, high = part.partition(b":")
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
