"""What a mail location may name: dates, fields and subject keys, and how each is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

from retention.connectors import mail_headers
from retention.connectors.base import Target, Value, When
from retention.errors import PermanentFailure

ADDRESSES: Mapping[str, str] = {
    "from": "from",
    "to": "to",
    "cc": "cc",
    "bcc": "bcc",
    "reply_to": "reply-to",
}
"""Source → header that holds addresses."""
DATES = ("internal_date", "date_header")
OTHERS = ("subject", "folder", "size", "flags", "message_id")
SOURCES = (*DATES, *ADDRESSES, *OTHERS)


class Message(NamedTuple):
    """One message as far as it was read."""

    folder: str
    received: datetime | None
    headers: mail_headers.Headers
    flags: tuple[str, ...] = ()
    size: int | None = None


class Own(frozenset[str]):
    """Addresses that are us; they do not print."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Own({len(self)})"


def own_addresses(own: Iterable[str], username: str = "") -> Own:
    """Addresses that are us: the listed ones, and the username where it is an address."""
    names = (*own, username) if "@" in username else tuple(own)
    return Own(name.strip().lower() for name in names)


class Sources:
    """What a target needs to be read of each message."""

    def __init__(self, target: Target, own: Own) -> None:
        self._own = own
        self._dates = target.dates
        self._fields = target.fields
        conditions = {condition.source for condition in target.where}
        used = {*target.dates, *target.fields, *conditions, *(b.source for b in target.bounds)}
        for source in sorted(used):
            if source not in SOURCES:
                raise PermanentFailure(
                    f"mail has no `{source}`",
                    hint=f"there are {', '.join(SOURCES)}",
                    place=target.name,
                    code="unknown_source",
                )
        self.size = "size" in used
        self.flags = "flags" in used
        self.flags_decide = "flags" in conditions
        """Flags belong to the fingerprint only where a filter rests on them."""
        names = {header for source, header in ADDRESSES.items() if source in used}
        names |= {"date"} if "date_header" in used else set()
        names |= {"subject"} if "subject" in used else set()
        self.headers = tuple(sorted({"message-id", *names}))

    def dates(self, message: Message) -> dict[str, When]:
        """`Record.dates` of a message."""
        return {s: self._date(s, message) for s in self._dates}

    def fields(self, message: Message) -> dict[str, Value]:
        """`Record.fields` of a message; addresses without our own, and never None."""
        return {s: self._field(s, message) for s in self._fields}

    def _date(self, source: str, message: Message) -> datetime | None:
        if source == "internal_date":
            return message.received
        if source == "date_header":
            return mail_headers.date(message.headers.get("date", ()))
        return None

    def _field(self, source: str, message: Message) -> Value:
        header = ADDRESSES.get(source)
        if header is not None:
            values = message.headers.get(header)
            if values is None:
                return ()
            found = mail_headers.addresses(values)
            return tuple(a for a in found if a not in self._own)
        return self._other(source, message)

    def _other(self, source: str, message: Message) -> Value:
        match source:
            case "subject":
                return mail_headers.subject(message.headers.get("subject", ()))
            case "folder":
                return message.folder
            case "size":
                return message.size
            case "flags":
                return message.flags
            case "message_id":
                return trace_of(message.headers) or None
            case _:
                return self._date(source, message)

    def flags_mark(self, flags: Iterable[str]) -> str:
        """The flags' part of a fingerprint; "" where no filter rests on flags."""
        if not self.flags_decide:
            return ""
        told = sorted(f.lower() for f in flags if f.lower() != "\\recent")
        return "." + sha256(" ".join(told).encode()).hexdigest()[:12]


def trace_of(headers: mail_headers.Headers) -> str:
    """What copies of this message share: its Message-ID; "" where it has none."""
    return mail_headers.message_id(headers.get("message-id", ()))


def trace_without_id(size: int, received: datetime | None) -> str:
    """What copies of a message without Message-ID share: a copy keeps size and internal date."""
    return f"#{size}@{int(received.timestamp()) if received else ''}"
