"""Dates as documents write them."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone

from retention.connectors.base import When

_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?"
)
_PDF = re.compile(
    r"(?:D:)?(\d{4})(\d\d)(\d\d)(?:(\d\d)(\d\d)?(\d\d)?)?"
    r"(Z(?:00)?'?(?:00)?'?|[+-]\d\d'?(?:\d\d)?'?)?"
)


def iso(text: str) -> When:
    """`2024-03-01T12:00:00Z`: an instant with a zone, else the civil date."""
    found = _ISO.fullmatch(text.strip())
    return _made(found, found.group(7) or "") if found else None


def of_pdf(text: str) -> When:
    """`D:20240301120000+01'00'`: likewise. Year or month alone is no date."""
    found = _PDF.fullmatch(text.strip())
    return _made(found, (found.group(7) or "").replace("'", "")) if found else None


def _made(found: re.Match[str], zone: str) -> When:
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    try:
        if found.group(4) is None or not zone:
            return date(year, month, day)
        offset = timezone(_offset(zone))
        return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=offset).astimezone(
            UTC
        )
    except (ValueError, OverflowError):
        return None


def _offset(zone: str) -> timedelta:
    if zone[0] == "Z":
        return timedelta(0)
    digits = zone[1:].replace(":", "").ljust(4, "0")
    size = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return -size if zone[0] == "-" else size
