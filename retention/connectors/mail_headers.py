"""Mail headers as they really are: folded, encoded, doubled, broken. Pure functions over bytes.

Shared by the connectors that hold mail. Rules that matter for disposal: a date that cannot be
read for certain is no date (the record is then reported, never due by it), and an address that
might be a correspondent counts as one where the header is malformed (a hold must find it).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from email.errors import HeaderParseError
from email.header import decode_header
from email.utils import parsedate_to_datetime
from functools import lru_cache

Headers = Mapping[str, Sequence[bytes]]
"""Lower-case header name → its values in order, unfolded, as bytes."""

_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
_DATE = re.compile(
    r"\s*(?:[A-Za-z]{3},\s*)?(\d{1,2})\s+([A-Za-z]{3})\s+(\d{4})\s+"
    r"(\d{2}):(\d{2}):(\d{2})\s+([+-])(\d{2})(\d{2})\s*(?:\([^()]*\)\s*)?"
)
_CLOSING = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_COMMENT = re.compile(r"\([^()]*\)")
_DOMAIN = re.compile(r'[^\s<>,;:()"]+')
_NOT_ADDRESS = re.compile(r'[\s<>,;:()"\\]+')
_TRIM = ".'`[]{}|*=?!"
_LONG = 64 * 1024
"""Beyond this, quotes are not paired any more (hostile ones would take for ever): all counts."""
_WORDY = 4 * 1024
"""Beyond this, encoded words are not read any more: the library's pattern takes for ever too."""
_CACHED = 512
LONGEST = 4 * 1024 * 1024
"""Headers beyond this are not held in memory: such a message has no dates, so it is never due."""
TOO_LONG = b"\0too long"
"""Stands for such headers; none can read like this."""


def split(block: bytes) -> dict[str, list[bytes]]:
    """The headers of a message or of an excerpt of it, up to the first empty line."""
    out: dict[str, list[bytes]] = {}
    name, parts = "", []
    for line in block.split(b"\n"):
        if line[:1] in (b" ", b"\t"):
            # After an mbox "From " line or garbage, a continuation belongs to nothing.
            parts.append(line.strip())
            continue
        if name:
            out.setdefault(name, []).append(b" ".join(parts).strip())
        head, colon, value = line.partition(b":")
        # Bare LF and CRLF both occur.
        name = head.strip().lower().decode("ascii", "replace") if colon else ""
        parts = [value.strip()]
        if line in (b"", b"\r"):
            break
    if name:
        out.setdefault(name, []).append(b" ".join(parts).strip())
    return out


def text(value: bytes) -> str:
    """A header value as text: UTF-8 where it is (RFC 6532), else every byte as Latin-1."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def decoded(value: str) -> str:
    """A value with its encoded words (RFC 2047) read; unknown encodings stay as written."""
    if "=?" not in value or len(value) > _WORDY:
        return value
    try:
        return "".join(
            part if isinstance(part, str) else part.decode(charset or "ascii", "replace")
            for part, charset in decode_header(value)
        )
    except (HeaderParseError, LookupError, ValueError):
        return value


def addresses_in(value: bytes) -> tuple[str, ...]:
    """Addresses of one header value, lower-cased, in order, each once.

    A well-formed value gives the addresses only; text in quotes and comments is no address. In a
    malformed one (stray quote) everything that looks like an address counts.
    """
    return _cached(value) if len(value) <= _CACHED else _addresses_in(value)


def _addresses_in(value: bytes) -> tuple[str, ...]:
    plain = text(value)
    if "@" not in plain and "=?" not in plain:
        return ()
    quoted_locals: list[str] = []
    if len(plain) <= _LONG:
        if '"' in plain:
            quoted_locals = [
                f"{plain[start:end]}@{m[0]}".lower()
                for start, end in _quotes(plain, local=True)
                if (m := _DOMAIN.match(plain, end + 1))
            ]
            plain = _without_quoted(plain)
        if "(" in plain:
            plain = _COMMENT.sub(" ", plain)
    found = [*quoted_locals, *_tokens(plain)]
    if "=?" in plain:
        # Some senders encode name and address as one word; a part with an address is fine as is.
        for part in plain.split(","):
            if "=?" in part and "@" not in part:
                found += _tokens(decoded(part.strip()))
    return tuple(dict.fromkeys(found))


_cached = lru_cache(maxsize=8192)(_addresses_in)


def _without_quoted(value: str) -> str:
    """Quoted names removed, unless the quotes do not pair up sensibly."""
    left: list[str] = []
    done = 0
    for start, end in _quotes(value, local=False):
        part = value[start:end]
        if "<" in part and "@" in part:
            return value
        left.append(value[done:start])
        done = end
    rest = " ".join([*left, value[done:]])
    return value if rest.count('"') % 2 else rest


def _quotes(value: str, *, local: bool) -> Iterator[tuple[int, int]]:
    """Where quoted texts begin and end. `local`: those before an `@`, else all others.

    Linear: a quote that is never closed ends the search, since every later one is escaped as seen
    from it; and after one of the wrong kind its end may begin the next.
    """
    at = value.find('"')
    while at >= 0 and (m := _CLOSING.match(value, at + 1)):
        end = m.end()
        if value.startswith("@", end) is local:
            yield at, end
            at = value.find('"', end)
        else:
            at = end - 1


def _tokens(value: str) -> list[str]:
    # Splitting, not searching: linear whatever the sender wrote.
    out = []
    for token in _NOT_ADDRESS.split(value):
        if "@" in token:
            local, _, domain = token.strip(_TRIM).rpartition("@")
            if local and domain:
                out.append(f"{local}@{domain}".lower())
    return out


def addresses(values: Sequence[bytes]) -> tuple[str, ...]:
    """Addresses of all values of a header (it may occur more than once)."""
    if len(values) == 1:
        return addresses_in(values[0])
    return tuple(dict.fromkeys(a for value in values for a in addresses_in(value)))


def message_id(values: Sequence[bytes]) -> str:
    """The Message-ID without folding and brackets' surroundings; "" where there is none."""
    for value in values:
        line = text(value[:4096]).strip()
        start, end = line.find("<"), line.find(">")
        inner = line[start : end + 1] if 0 <= start < end else line
        # A folded id has white space where the fold was.
        inner = "".join(inner.split())
        if inner not in ("", "<>"):
            return inner
    return ""


def date(values: Sequence[bytes]) -> datetime | None:
    """The Date header as an instant in UTC; None where missing, unreadable or contradictory."""
    if not values:
        return None
    if len(values) > 1:
        found = {_instant(text(v[:200])) for v in values}
        return found.pop() if len(found) == 1 else None
    return _instant(text(values[0][:200]))


def _instant(value: str) -> datetime | None:
    try:
        if (m := _DATE.fullmatch(value)) and (month := _MONTHS.get(m[2].lower())):
            zone = timedelta(hours=int(m[8]), minutes=int(m[9]))
            seconds = min(int(m[6]), 59)  # a leap second
            local = datetime(
                int(m[3]), month, int(m[1]), int(m[4]), int(m[5]), seconds,
                tzinfo=timezone(-zone if m[7] == "-" else zone),
            )  # fmt: skip
            return local.astimezone(UTC)
        when = parsedate_to_datetime(value)
        # "-0000" (RFC 5322 §3.3): UTC is meant, the sender's own zone is not told.
        return when.astimezone(UTC) if when.tzinfo else when.replace(tzinfo=UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def subject(values: Sequence[bytes]) -> str | None:
    """The first Subject, decoded; None where there is none."""
    return decoded(text(values[0])) if values else None
