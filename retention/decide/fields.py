"""Field-level disposal: some fields of a record go, the record stays.

A field is bound by every minimum on the whole record or on that field. Rules about the same
field compete as rules about records do: in one purpose the most specific, then the earliest;
over purposes the latest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from retention.decide.ends import Counted, End
from retention.decide.facts import Facts
from retention.decide.outlook import Minimum, minimum
from retention.decide.purpose import brought_forward, ended_on, worn
from retention.decide.rules import View
from retention.decide.starts import Gap


@dataclass(frozen=True, slots=True, eq=False)
class FieldAct:
    """A rule that would empty some fields, its own end, and the minimums on those fields."""

    counted: Counted
    end: End
    minimum: Minimum


def field_acts(
    view: View, generation: Sequence[Counted], protecting: Sequence[Counted], facts: Facts
) -> list[FieldAct]:
    """Every field-level rule of a generation that still has something to do, soonest first.

    `protecting`: the counted clauses of all generations, for their minimums.
    """
    own = [
        (c, brought_forward(c, _ended(view, c, generation, facts)))
        for c in generation
        if c.clause.sources and c.clause.mask is not None and c.disposes
    ]
    acts = [
        FieldAct(c, _agreed(c, end, own), minimum(p for p in protecting if _concerns(p, c)))
        for c, end in own
        if not worn(c, facts) and not _outranked(c, generation)
    ]
    return sorted(acts, key=_soonest)


def _ended(
    view: View, counted: Counted, generation: Sequence[Counted], facts: Facts
) -> date | None:
    purpose = counted.clause.claim.purpose
    claims = {c.clause.claim.index: c.clause.claim for c in generation}
    claims |= {c.index: c for c in view.claims if c.standing}
    return ended_on([c for c in claims.values() if c.purpose == purpose], facts, view.organisation)


def _overlap(one: Counted, other: Counted) -> bool:
    return bool(one.clause.sources & other.clause.sources)


def _concerns(protector: Counted, act: Counted) -> bool:
    return not protector.clause.sources or _overlap(protector, act)


def _outranked(act: Counted, generation: Sequence[Counted]) -> bool:
    """Whether a more specific rule of the same purpose speaks of these fields, or may do so."""
    return any(
        other.clause.tier > act.clause.tier
        and other.clause.claim.purpose == act.clause.claim.purpose
        and other.clause.disposes
        and other.due is not None
        and _overlap(other, act)
        for other in generation
    )


def _agreed(act: Counted, end: End, own: Sequence[tuple[Counted, End]]) -> End:
    """Its end, or the latest that other purposes' rules give the same fields."""
    mine = act.clause.claim.purpose
    others: dict[str, End] = {}
    for counted, other in own:
        purpose = counted.clause.claim.purpose
        if purpose != mine and _overlap(counted, act):
            others[purpose] = _sooner(others.get(purpose, other), other)
    ends = (end, *others.values())
    for gap in (Gap.MISSING, Gap.PENDING):
        if gap in ends:
            return gap
    return max(e for e in ends if isinstance(e, date))


def _sooner(one: End, other: End) -> End:
    if Gap.MISSING in (one, other):
        return Gap.MISSING
    days = [e for e in (one, other) if isinstance(e, date)]
    return min(days) if days else Gap.PENDING


def _soonest(act: FieldAct) -> tuple[date, str, str, str]:
    clause = act.counted.clause
    day = act.end if isinstance(act.end, date) else date.max
    return day, clause.policy, clause.digest, clause.claim.location
