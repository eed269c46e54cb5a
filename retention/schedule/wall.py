"""From a local wall time to the instant at which a job fires."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

_SECOND = timedelta(seconds=1)


def instant_of(wall: datetime, zone: ZoneInfo) -> datetime:
    """The instant (UTC) of a naive local wall time.

    A time that occurs twice is its first occurrence; a time that does not exist is the first
    instant after the gap (design.md §6.1). Never decreasing in `wall`.
    """
    first = wall.replace(tzinfo=zone, fold=0)
    before, after = first.utcoffset(), wall.replace(tzinfo=zone, fold=1).utcoffset()
    if before is None or after is None or before >= after:
        return first.astimezone(UTC)
    return _end_of_gap(wall, zone, before, after)


def _end_of_gap(wall: datetime, zone: ZoneInfo, before: timedelta, after: timedelta) -> datetime:
    """The second at which the offset changes. zoneinfo does not tell it, so halve the interval."""
    low = (wall - after).replace(microsecond=0, tzinfo=UTC)
    high = (wall - before).replace(microsecond=0, tzinfo=UTC)
    while high - low > _SECOND:
        middle = low + timedelta(seconds=(high - low) // _SECOND // 2)
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high
