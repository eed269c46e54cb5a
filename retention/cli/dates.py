"""Dates and instants as people type them."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, tzinfo

from retention.errors import UsageError


def instant_of(text: str, zone: tzinfo, *, end_of_day: bool = False) -> datetime:
    """A typed date or instant as an aware instant in UTC.

    A date is its first moment in `zone`, or with `end_of_day` its last second; an instant
    without an offset is local in `zone`. Raises UsageError.
    """
    try:
        if len(text) <= len("2026-01-31"):
            day = date.fromisoformat(text)
            local = datetime.combine(day, time(23, 59, 59) if end_of_day else time(), zone)
        else:
            local = datetime.fromisoformat(text)
            if local.tzinfo is None:
                local = local.replace(tzinfo=zone)
        return local.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"`{text}` is not a date",
            hint="write YYYY-MM-DD, or an ISO 8601 instant such as 2026-01-31T09:00:00+01:00",
            code="date",
        ) from None


def past(text: str, zone: tzinfo, now: datetime) -> datetime:
    """When something happened. Raises UsageError for the future: it has not happened yet."""
    at = instant_of(text, zone)
    if at > now:
        raise UsageError(f"`{text}` lies in the future", code="date-future")
    return at
