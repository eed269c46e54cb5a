"""Rule 2: until when each purpose needs a record, and what ends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum

from retention.decide.ends import Counted, End
from retention.decide.facts import Facts
from retention.decide.rules import OUTLIVES_ERASURE, WITHDRAWABLE, Claim, View, all_of
from retention.decide.starts import Gap
from retention.policy.counting import civil_day
from retention.policy.model import Organisation, Then

STRENGTH = {
    Then.REVIEW: 4,
    Then.HAND_OVER: 3,
    Then.COPY_TO: 3,
    Then.DELETE: 2,
    Then.ANONYMISE: 1,
    Then.RESTRICT: 0,
}
"""Ties between rules that are due: review, then delete > anonymise > restrict > keep.

A hand-over deletes too, and exports first: beside a plain deletion it does what both demand.
"""


class Open(Enum):
    """Ends of a purpose that are no date."""

    NEVER = "never"
    """No rule says when it ends: the record is needed."""
    DONE = "done"
    """What its rule demands has been done already (anonymised)."""


PurposeEnd = End | Open


@dataclass(frozen=True, slots=True, eq=False)
class Purpose:
    """One purpose that a record serves.

    `end`: last day on which it may have the record. `acts`: the rules of its most specific tier
    with their own ends, the one that ends it first. `ended`: the day on which its subject ended
    it. `doubtful`: a more specific rule may apply, but nobody can tell.
    """

    name: str
    end: PurposeEnd
    acts: tuple[tuple[Counted, End], ...]
    ended: date | None = None
    doubtful: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()


def purposes(
    view: View, counted: Sequence[Counted], facts: Facts, *, standing: bool
) -> list[Purpose]:
    """Every purpose of the record, by name. `counted`: what applies, of one generation.

    `standing`: count the claims that the files make now even where no rule applies.
    """
    claims = _claims(view, counted, facts, standing=standing)
    decided = {c.clause.claim.location for c in counted if c.disposes}
    out = []
    for name in sorted({c.purpose for c in claims}):
        own = [c for c in counted if c.clause.claim.purpose == name]
        there = [c for c in claims if c.purpose == name]
        if not own and all(c.location in decided for c in there):
            # An approved rule works under the purpose's former name, through the same location.
            continue
        out.append(_purpose(name, there, own, facts, view.organisation))
    return out


def _claims(view: View, counted: Sequence[Counted], facts: Facts, *, standing: bool) -> list[Claim]:
    claims = {c.clause.claim.index: c.clause.claim for c in counted}
    if standing:
        for claim in view.claims:
            if claim.standing and all_of(facts.where, claim.where) is not False:
                claims[claim.index] = claim
    return [claims[i] for i in sorted(claims)]


def _purpose(
    name: str,
    claims: Sequence[Claim],
    counted: Sequence[Counted],
    facts: Facts,
    organisation: Organisation,
) -> Purpose:
    clusters = tuple(sorted({c.cluster for c in claims}))
    whole = [c for c in counted if not c.clause.sources and not c.clause.said.cap]
    ruling = [c for c in whole if c.disposes]
    ended = ended_on(claims, facts, organisation)
    if not ruling:
        only_fields = any(c.clause.sources and c.disposes for c in counted)
        end: PurposeEnd = Open.NEVER if ended is None or only_fields else ended
        return Purpose(name, end, (), ended, (), clusters)
    tier = max(c.clause.tier for c in ruling)
    doubtful = tuple(sorted({c.clause.policy for c in whole if _may_outrank(c, tier)}))
    acts = sorted(
        (
            (c, brought_forward(c, ended))
            for c in ruling
            if c.clause.tier == tier and not worn(c, facts)
        ),
        key=_first_end,
    )
    return Purpose(name, _end([e for _, e in acts]), tuple(acts), ended, doubtful, clusters)


def _may_outrank(counted: Counted, tier: int) -> bool:
    clause = counted.clause
    return (
        not counted.certain and clause.disposes and counted.due is not None and clause.tier > tier
    )


def worn(counted: Counted, facts: Facts) -> bool:
    """Whether what this rule demands is done already."""
    return counted.clause.masked is not None and facts.masked[counted.clause.masked]


def _end(ends: Sequence[End]) -> PurposeEnd:
    """The earliest; not known as soon as one of them is not."""
    if not ends:
        return Open.DONE
    if Gap.MISSING in ends:
        return Gap.MISSING
    known = [e for e in ends if isinstance(e, date)]
    return min(known) if known else Gap.PENDING


def _first_end(act: tuple[Counted, End]) -> tuple[date, int, str, str, str]:
    counted, end = act
    clause = counted.clause
    day = end if isinstance(end, date) else date.max
    return day, -STRENGTH[clause.then], clause.policy, clause.digest, clause.claim.location


def brought_forward(counted: Counted, ended: date | None) -> End:
    """A rule's own end, or the day on which the subject ended the purpose, if that is sooner."""
    due = counted.due
    if due is None:
        return Gap.PENDING
    if ended is None:
        return due
    return min(due, ended) if isinstance(due, date) else ended


def ended_on(claims: Sequence[Claim], facts: Facts, organisation: Organisation) -> date | None:
    """The day on which the record's subjects ended this purpose, through every claim of it.

    Consent withdrawn, an objection to a legitimate interest, or a verified erasure request where
    no legal duty or claim stands against it (GDPR 7(3), 21, 17(3)). One claim that goes on on
    another basis keeps the purpose alive.
    """
    days: list[date] = []
    for claim in claims:
        found = [
            civil_day(at, organisation)
            for at in (
                facts.withdrawn(claim.index) if claim.basis in WITHDRAWABLE else None,
                facts.people.erased if claim.basis not in OUTLIVES_ERASURE else None,
            )
            if at is not None
        ]
        if not found:
            return None
        days.append(min(found))
    return max(days, default=None)
