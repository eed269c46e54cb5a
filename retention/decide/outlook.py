"""Rule 3: what all rules together say of one record, before anything suspends them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from retention.decide.ends import Counted, End
from retention.decide.facts import Facts
from retention.decide.purpose import STRENGTH, Open, Purpose, purposes, worn
from retention.decide.rules import View
from retention.decide.starts import Gap


@dataclass(frozen=True, slots=True, eq=False)
class Minimum:
    """The latest of all minimums. `never`: those whose period has not begun; `missing`: no date."""

    earliest: date | None
    binding: Counted | None
    never: tuple[Counted, ...]
    missing: tuple[Counted, ...]

    def keeps(self, today: date) -> bool:
        """Whether a minimum that is known forbids disposal today."""
        return bool(self.never) or (self.earliest is not None and today < self.earliest)

    def raised(self, due: date) -> date:
        """Never before the minimum."""
        return due if self.earliest is None else max(due, self.earliest)


def minimum(counted: Iterable[Counted]) -> Minimum:
    """Every minimum among these, uncertain ones too: what may protect does."""
    own = sorted(
        (c for c in counted if c.clause.has_minimum and c.earliest is not None),
        key=lambda c: (c.clause.policy, c.clause.digest, c.clause.claim.location),
    )
    known = [(c.earliest, c) for c in own if isinstance(c.earliest, date)]
    latest = max((e for e, _ in known), default=None)
    return Minimum(
        earliest=latest,
        binding=next((c for e, c in known if e == latest), None),
        never=tuple(c for c in own if c.earliest is Gap.PENDING),
        missing=tuple(c for c in own if c.earliest is Gap.MISSING),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Outlook:
    """What the maximums of one generation of rules say of a record.

    `due`: last day on which it may exist, not yet raised to any minimum; None where no rule says
    so. `acts`: the rules that can dispose of it, with their own ends, weakest claim last.
    """

    purposes: tuple[Purpose, ...]
    acts: tuple[tuple[Counted, End], ...]
    due: date | None
    missing: tuple[Counted, ...]
    deciding: frozenset[Counted]
    """Those of the acts that set the end of their purpose, or the cap."""

    def rank(self, act: tuple[Counted, End]) -> tuple[int, bool, date, str, str, str]:
        """Of rules that are due the strongest; of equals the one that sets the latest end."""
        counted, end = act
        clause = counted.clause
        day = end if isinstance(end, date) else date.max
        names = (clause.policy, clause.digest, clause.claim.location)
        return STRENGTH[clause.then], counted in self.deciding, day, *names

    @property
    def done(self) -> bool:
        """Whether every rule's demand has been met already."""
        return bool(self.purposes) and all(p.end is Open.DONE for p in self.purposes)

    @property
    def doubtful(self) -> tuple[str, ...]:
        """Policies that might say otherwise, if only one could tell whether they apply."""
        return tuple(sorted({name for p in self.purposes for name in p.doubtful}))

    def ended(self, today: date) -> Purpose | None:
        """A purpose that its subject ended, by today."""
        return next((p for p in self.purposes if p.ended is not None and p.ended <= today), None)

    def pending(self) -> tuple[Counted, ...]:
        """Rules that wait for an event."""
        return tuple(c for c, end in self.acts if end is Gap.PENDING)


def outlook(view: View, counted: Sequence[Counted], facts: Facts, *, standing: bool) -> Outlook:
    """Latest maximum over purposes, then caps."""
    found = purposes(view, counted, facts, standing=standing)
    caps = [
        (c, c.due)
        for c in counted
        if c.clause.said.cap and not c.clause.sources and c.disposes and not worn(c, facts)
    ]
    acts: list[tuple[Counted, End]] = [a for p in found for a in p.acts]
    acts += [(c, due) for c, due in caps if due is not None]
    due = _capped(_latest(found), [d for _, d in caps if isinstance(d, date)])
    first = [c for p in found for c, end in p.acts if end == p.end]
    return Outlook(
        purposes=tuple(found),
        acts=tuple(acts),
        due=due,
        deciding=frozenset([*first, *(c for c, end in caps if end == due)]),
        missing=tuple(c for c, end in acts if end is Gap.MISSING),
    )


def _latest(found: Sequence[Purpose]) -> date | None:
    """A record is needed until its last purpose ends; one that never ends needs it for good."""
    ends = [p.end for p in found if p.end is not Open.DONE]
    days = [e for e in ends if isinstance(e, date)]
    return max(days) if days and len(days) == len(ends) else None


def _capped(latest: date | None, caps: Sequence[date]) -> date | None:
    return min(caps if latest is None else (*caps, latest), default=None)
