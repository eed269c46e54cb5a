"""Which holds cover a record. A hold that says nothing of its scope covers everything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from retention.decide.model import Hold


def in_force(hold: Hold, now: datetime) -> bool:
    """Until released, and then through its grace."""
    return not hold.released or (hold.grace_until is not None and now <= hold.grace_until)


def covers(
    hold: Hold,
    clusters: frozenset[str],
    locations: frozenset[str],
    hashes: frozenset[str],
    pseudonym: str | Callable[[], str],
) -> bool:
    """Whether a hold's scope has this record in it.

    A record's pseudonym alone settles it, whichever of its locations the hold names.
    """
    if hold.record is not None:
        return hold.record == (pseudonym if isinstance(pseudonym, str) else pseudonym())
    if hold.subject is not None:
        return hold.subject in hashes
    if hold.location is not None:
        return hold.location in locations
    if hold.cluster is not None:
        return hold.cluster in clusters
    return True


def split(holds: Sequence[Hold], now: datetime) -> tuple[Hold, ...]:
    """Those in force, by number."""
    return tuple(sorted((h for h in holds if in_force(h, now)), key=lambda h: h.id))
