"""Starting points: from which day a period counts, for one record.

A starting point is a day, or one of two gaps: `PENDING` (the event has not happened, the
relationship goes on) keeps a record; `MISSING` (a date that should be there is not) sends it to a
person. A gap is never guessed across (design.md §5 rules 2 and 6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from typing import NamedTuple

from retention.decide.facts import Facts
from retention.policy.counting import civil_day
from retention.policy.model import LocationModel, Organisation, Start

WITHDRAWALS = frozenset({"consent_withdrawn", "objection"})
"""Events that belong to one purpose; the consent register is asked before the event register."""


class Gap(Enum):
    """Why there is no date."""

    PENDING = "pending"
    MISSING = "missing"


class Started(NamedTuple):
    """Where a period starts: `words` for the reasons, `until` what would end a gap."""

    point: date | datetime | Gap
    words: str = ""
    finding: str = ""
    until: str = ""


class Kind(Enum):
    """What a single starting point is read from."""

    DATE = "date"
    EVENT = "event"
    LINKED = "linked"
    SHARED = "shared"
    """A date that copies of the record carry too, in other locations of its cluster."""
    LATEST = "latest_of"
    EARLIEST = "earliest_of"


@dataclass(frozen=True, slots=True)
class Node:
    """A starting point whose date names stand for the sources of one location.

    `source` is None where the location maps no such date: it is missing on every record, or, where
    copies of the record are known, told by them alone.
    """

    kind: Kind
    name: str
    source: str | None = None
    link: tuple[str, str] | None = None
    members: tuple[Node, ...] = ()

    def leaves(self) -> tuple[Node, ...]:
        """The single dates and events below this one."""
        return tuple(x for m in self.members for x in m.leaves()) if self.members else (self,)


def compile_start(
    start: Start, location: LocationModel, cluster: str = "", matched_on: str | None = None
) -> Node:
    """The starting point in the sources of that location.

    `matched_on`: the key by which the locations of its cluster hold copies of the same records.
    """
    if members := start.latest_of or start.earliest_of:
        kind = Kind.LATEST if start.latest_of else Kind.EARLIEST
        below = tuple(compile_start(m, location, cluster, matched_on) for m in members)
        return Node(kind, kind.value, members=below)
    if start.event is not None:
        return Node(Kind.EVENT, start.event)
    name = start.date or ""
    if start.matched_on is not None:
        return Node(Kind.LINKED, name, link=(name, start.matched_on))
    if matched_on is not None and matched_on in location.subject:
        link = (f"{cluster}.{name}", matched_on)
        return Node(Kind.SHARED, name, source=location.dates.get(name), link=link)
    return Node(Kind.DATE, name, source=location.dates.get(name))


def resolve(node: Node, facts: Facts, claim: int, organisation: Organisation) -> Started:
    """Where the period starts for the record that `facts` tell of, seen through that claim."""
    match node.kind:
        case Kind.DATE:
            when = None if node.source is None else facts.when(node.source)
            if when is None:
                return Started(
                    Gap.MISSING, finding="date-missing", until=f"the date {node.name} is filled in"
                )
            return Started(when, f"{node.name} {civil_day(when, organisation)}")
        case Kind.EVENT:
            fired = facts.event(node.name)
            if node.name in WITHDRAWALS:
                fired = facts.withdrawn(claim) or fired
            if fired is None:
                return Started(Gap.PENDING, until=f"the event {node.name} happens")
            return Started(fired, f"event {node.name} {civil_day(fired, organisation)}")
        case Kind.LINKED | Kind.SHARED:
            told = _linked if node.kind is Kind.LINKED else _shared
            return told(node, facts, organisation)
        case _:
            members = [resolve(m, facts, claim, organisation) for m in node.members]
            return _combine(members, organisation, latest=node.kind is Kind.LATEST)


def _linked(node: Node, facts: Facts, organisation: Organisation) -> Started:
    found = None if node.link is None else facts.linked(node.link)
    if found is None or not found.matched:
        cluster = node.name.partition(".")[0]
        until = (
            f"a record of {cluster} with the same {node.link[1] if node.link else 'key'} is found"
        )
        return Started(Gap.PENDING, finding="unmatched", until=until)
    if found.active:
        return Started(Gap.PENDING, until=f"{node.name} is reached for every subject")
    if found.latest is None:
        return Started(
            Gap.MISSING, finding="date-missing", until=f"the date {node.name} is filled in"
        )
    return Started(found.latest, f"{node.name} {civil_day(found.latest, organisation)}")


def _shared(node: Node, facts: Facts, organisation: Organisation) -> Started:
    """The latest of the record's own date and its copies'; a copy without one keeps them all."""
    own = None if node.source is None else facts.when(node.source)
    if node.source is not None and own is None:
        return Started(
            Gap.MISSING, finding="date-missing", until=f"the date {node.name} is filled in"
        )
    found = None if node.link is None else facts.linked(node.link)
    if found is None or not found.matched:
        if own is not None:
            return Started(own, f"{node.name} {civil_day(own, organisation)}")
        until = f"a copy of it with a date {node.name} is found"
        return Started(Gap.PENDING, finding="unmatched", until=until)
    if found.active:
        return Started(Gap.PENDING, until=f"{node.name} is reached in every copy of it")
    known = [when for when in (own, found.latest) if when is not None]
    if not known:
        return Started(
            Gap.MISSING, finding="date-missing", until=f"the date {node.name} is filled in"
        )
    members = [Started(when, f"{node.name} {civil_day(when, organisation)}") for when in known]
    return _combine(members, organisation, latest=True)


def _combine(members: Sequence[Started], organisation: Organisation, *, latest: bool) -> Started:
    """The latest (or earliest) of several; a missing member leaves the whole undetermined."""
    for m in members:
        if m.point is Gap.MISSING:
            return m
    pending = [m for m in members if m.point is Gap.PENDING]
    known = [m for m in members if not isinstance(m.point, Gap)]
    if pending and (latest or not known):
        finding = next((m.finding for m in pending if m.finding), "")
        word = " and " if latest else " or "
        return Started(
            Gap.PENDING, finding=finding, until=word.join(sorted({m.until for m in pending}))
        )
    pick = max if latest else min
    day = pick(civil_day(m.point, organisation) for m in known if not isinstance(m.point, Gap))
    same = [
        m for m in known if not isinstance(m.point, Gap) and civil_day(m.point, organisation) == day
    ]
    # A civil date beside an instant of the same day is the cautious choice at both ends: hours
    # count from its end for a minimum and from its start for a maximum.
    plain = sorted((m for m in same if not isinstance(m.point, datetime)), key=lambda m: m.words)
    if plain:
        return plain[0]
    timed = [(m.point, m.words, m) for m in same if isinstance(m.point, datetime)]
    return pick(timed, key=lambda t: (t[0], t[1]))[2]
