"""How things are asked for: search keys, and quoted strings."""

from __future__ import annotations

from datetime import UTC, timedelta

from retention.connectors.base import Target

_WIDEST_ZONE = timedelta(hours=14)
"""No zone of the tz database is further from UTC."""
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun",
           b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")  # fmt: skip


def criteria_of(target: Target) -> bytes:
    """SEARCH keys for the bounds that the server can apply.

    BEFORE compares calendar days in a zone that the server does not tell, so the bound goes to
    the end of the latest day it can be anywhere. Date headers are not pushed down: servers differ
    in what they do with a message that has none, and it must never be left out.
    """
    keys = []
    for bound in target.bounds:
        if bound.source == "internal_date":
            latest = bound.instant.astimezone(UTC) + _WIDEST_ZONE
            day = (latest + timedelta(days=1)).date()
            keys.append(b"BEFORE %d-%s-%d" % (day.day, _MONTHS[day.month - 1], day.year))
    return b" ".join(keys) or b"ALL"


def quoted(value: bytes) -> bytes:
    """A quoted string. Raises ValueError for what one cannot hold (control characters, 8 bit)."""
    if any(byte < 32 or byte > 126 for byte in value):
        raise ValueError("not for a quoted string")
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
