"""What untagged responses say: FETCH, SEARCH, STATUS and LIST, in any order and notation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from retention.connectors.imap.failures import LostError
from retention.connectors.imap.sets import expand

Items = dict[bytes, Any]
"""Upper-case item name → bytes, or a list of bytes for a parenthesised one (FLAGS)."""

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
_LISTED = re.compile(
    rb'\* LIST \(([^()]*)\) (NIL|"(?:[^"\\]|\\.)*") ?("(?:[^"\\]|\\.)*"|[^\s"]*)',
    re.IGNORECASE,
)
_MONTHS = {
    name: number
    for number, name in enumerate(
        (b"JAN", b"FEB", b"MAR", b"APR", b"MAY", b"JUN",
         b"JUL", b"AUG", b"SEP", b"OCT", b"NOV", b"DEC"), 1
    )
}  # fmt: skip


class Response(NamedTuple):
    """One untagged response: its text pieces, and the literals between them."""

    pieces: Sequence[bytes]
    literals: Sequence[bytes]


def fetched(responses: Iterable[Response]) -> Iterator[Items]:
    """Those responses that are FETCH responses with a UID."""
    for response in responses:
        parsed = parse_fetch(response)
        if parsed is not None and b"UID" in parsed:
            yield parsed


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


def found_in(response: Response) -> list[int]:
    """The numbers in a SEARCH or ESEARCH response; none in any other. Raises LostError."""
    words = b" ".join(response.pieces).split()
    kind = words[1].upper() if len(words) > 1 else b""
    if kind == b"ESEARCH":
        # An answer without ALL means that nothing was found (RFC 4731 §3.1).
        at = next((i for i, w in enumerate(words) if w.upper() == b"ALL"), len(words))
        return [uid for told in words[at + 1 : at + 2] for uid in expand(told)]
    # CONDSTORE adds "(MODSEQ n)" at the end.
    return [int(w) for w in words[2:] if w.isdigit()] if kind == b"SEARCH" else []


def status_in(response: Response) -> dict[bytes, int]:
    """What a STATUS response says, by upper-case name; {} for another kind."""
    words = response.pieces[0].split(maxsplit=2)
    if len(words) < 2 or words[1].upper() != b"STATUS":
        return {}
    told = response.pieces[-1].rpartition(b"(")[2].rstrip(b") \r\n").upper().split()
    pairs = zip(told[::2], told[1::2], strict=False)
    return {name: int(number) for name, number in pairs if number.isdigit()}


def listed_in(response: Response) -> tuple[tuple[bytes, ...], bytes, bytes] | None:
    """(flags, delimiter, name as spelt) of a LIST response; None for another kind.

    Raises LostError. The name is never read as a number or NIL: a folder may be called so.
    """
    first = response.pieces[0]
    if first.split(maxsplit=2)[1:2] not in ([b"LIST"], [b"list"]):
        return None
    m = _LISTED.match(first)
    if m is None or (not m[3] and not response.literals):
        raise LostError
    delimiter = b"" if m[2].upper() == b"NIL" else _unquoted(m[2])
    return tuple(m[1].split()), delimiter, _unquoted(m[3]) if m[3] else response.literals[0]


def _unquoted(text: bytes) -> bytes:
    return re.sub(rb"\\(.)", rb"\1", text[1:-1]) if text.startswith(b'"') else text


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
    if not all(map(_well_formed, out.items())):
        raise LostError
    return out


def _well_formed(item: tuple[bytes, Any]) -> bool:
    name, value = item
    if name in (b"UID", b"RFC822.SIZE"):
        return isinstance(value, bytes) and value.isdigit()
    if name == b"FLAGS":
        return isinstance(value, list)
    return name != b"INTERNALDATE" or isinstance(value, bytes)


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
