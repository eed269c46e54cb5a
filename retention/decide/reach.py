"""What can be left to a system: records that a policy cannot touch yet need not be read.

Every answer here errs on the side of reading too much.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from retention.decide.ends import End, count
from retention.decide.facts import Asked, Facts, People
from retention.decide.rules import OUTLIVES_ERASURE, Clause
from retention.decide.starts import Gap, Kind
from retention.policy.counting import DAY, zone_of
from retention.policy.model import LocationModel
from retention.policy.where import WhereError, for_location, parse

Bound = tuple[str, datetime]
Condition = tuple[str, str, Any]
_LONG_AGO = date(1900, 1, 1)
_MARGIN = timedelta(days=1)
"""Systems that compare civil dates in their own zone may be a day off."""


def bound(clauses: Sequence[Clause], before: date, *, nobody_ended: bool) -> tuple[Bound, ...]:
    """For one policy's clauses: records dated at or after the instant cannot be due `before` a day.

    None where the start is no single date of the record, where a backstop or the subject can end
    the period sooner, and where the clauses read different dates.
    """
    sources = {s for c in clauses for s in c.date_sources}
    if len(sources) != 1 or not all(_by_date_alone(c, nobody_ended) for c in clauses):
        return ()
    days = [_last_start(c, before) for c in clauses]
    if any(day is None for day in days):
        return ()
    zones = {c.organisation.timezone for c in clauses}
    latest = max(day for day in days if day is not None)
    instants = [
        datetime.combine(latest + DAY + _MARGIN, time(), zone_of(z)).astimezone(UTC) for z in zones
    ]
    return ((sources.pop(), max(instants)),)


def _by_date_alone(clause: Clause, nobody_ended: bool) -> bool:  # one private caller
    return (
        clause.start is not None
        and clause.start.kind is Kind.DATE
        and clause.has_maximum
        and clause.said.backstop is None
        and clause.disposes
        and (nobody_ended or clause.claim.basis in OUTLIVES_ERASURE)
    )


def _last_start(clause: Clause, before: date) -> date | None:
    """The latest starting day whose end lies before that day; ends grow with their starts.

    None where it is not between then and now: then nothing is left out.
    """
    low, high = _LONG_AGO.toordinal(), before.toordinal()
    if not _ends_before(clause, low, before) or _ends_before(clause, high, before):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if _ends_before(clause, middle, before):
            low = middle
        else:
            high = middle
    return date.fromordinal(low)


def _ends_before(clause: Clause, ordinal: int, before: date) -> bool:
    source = clause.date_sources[0]
    facts = Facts(Asked({source: 0}, {}, {}), (date.fromordinal(ordinal),), (), (), (), People())
    end: End | None = count(clause, facts, certain=True).due
    return not isinstance(end, Gap) and end is not None and end < before


def conditions(location: LocationModel, said: Sequence[dict[str, Any] | None]) -> set[Condition]:
    """Filters as a connector's conditions, in its own names; an unreadable one is left out."""
    out: set[Condition] = set()
    for where in said:
        try:
            found = for_location(parse(where), location)
        except WhereError:
            continue
        out.update((f.field, str(f.op), f.value) for f in found)
    return out
