"""Both ends of one clause for one record: from when it may go, until when it must be gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import cast

from retention.decide.facts import Facts
from retention.decide.rules import Clause, all_of
from retention.decide.starts import Gap, Started, resolve
from retention.policy.accounting import cutoff_end
from retention.policy.counting import DAY, civil_day, due_by, earliest_after
from retention.policy.model import Cutoff
from retention.policy.periods import Period

End = date | Gap
"""A civil date, or why there is none."""
_NO_START = Started(Gap.MISSING, finding="start-missing", until="a starting point is given")


COUNTS_REMEMBERED = 4_000
"""Starting days kept per clause: eleven years of them."""


@dataclass(frozen=True, eq=False)
class Counted:
    """One clause that applies to a record, counted.

    `certain`: False where nobody can tell whether it applies: it protects, but disposes of
    nothing. `earliest`: first day on which its minimum allows disposal; `due`: last day on which
    its maximum lets the record exist; None where it has no such end.
    """

    clause: Clause
    certain: bool
    start: Started
    earliest: End | None
    due: End | None

    @cached_property
    def disposes(self) -> bool:
        """Whether its maximum counts."""
        return self.certain and self.clause.disposes and self.due is not None

    @cached_property
    def minimum_words(self) -> str:
        """`policy@digest: kept through D = start + period`."""
        label = self.clause.label
        if isinstance(self.earliest, date):
            last = self.earliest - DAY if self.earliest > date.min else self.earliest
            return f"{label}: kept through {last} = {self._sum(self.clause.minimum)}"
        if self.clause.keeps_forever:
            return f"{label}: kept while this rule stands"
        if self.earliest is Gap.MISSING:
            return f"{label}: minimum unknown until {self.start.until}"
        return f"{label}: kept until {self.start.until}"

    @cached_property
    def maximum_words(self) -> str:
        """`policy@digest: due D = start + period`."""
        label = self.clause.label
        if isinstance(self.due, date):
            period = self.clause.maximum or self.clause.minimum
            return f"{label}: due {self.due} = {self._sum(period)}"
        if self.due is Gap.MISSING:
            return f"{label}: due date unknown until {self.start.until}"
        return f"{label}: not due until {self.start.until}"

    def _sum(self, period: Period | None) -> str:
        if isinstance(self.start.point, Gap):
            return f"{self.clause.said.backstop} after the first known date"
        closed = ""
        if cutoff := self.clause.cutoff:
            organisation = self.clause.organisation
            end = cutoff_end(civil_day(self.start.point, organisation), cutoff, organisation)
            closed = f", {_CUTOFF_WORDS[cutoff]} to {end},"
        return f"{self.start.words}{closed} + {period}"


_CUTOFF_WORDS = {
    Cutoff.MONTH: "month",
    Cutoff.QUARTER: "quarter",
    Cutoff.YEAR: "year",
    Cutoff.ACCOUNTING_YEAR: "accounting year",
    Cutoff.YEAR_OF_ACCOUNTING_YEAR: "year in which the accounting year closed",
}


def count(clause: Clause, facts: Facts, *, certain: bool) -> Counted:
    """Count one clause for the record that `facts` tell of."""
    start = clause.start
    known = clause.counts
    if known is None or start is None or start.source is None or clause.backstop_dates:
        return _count(clause, facts, certain=certain)
    # Only the one date counts, so what was counted for it before still holds.
    key = (facts.when(start.source), certain)
    counted = known.get(key)
    if counted is None:
        if len(known) >= COUNTS_REMEMBERED:
            known.clear()
        counted = known[key] = _count(clause, facts, certain=certain)
    return cast(Counted, counted)


def _count(clause: Clause, facts: Facts, *, certain: bool) -> Counted:
    start = (
        resolve(clause.start, facts, clause.claim.index, clause.organisation)
        if clause.start
        else _NO_START
    )
    if clause.keeps_forever:
        return Counted(clause, certain, start, Gap.PENDING, None)
    earliest = _earliest(clause, start) if clause.minimum else None
    due: End | None = None
    if clause.has_maximum:
        due = _due(clause, start) if clause.maximum else earliest
        if clause.said.backstop is not None and due is not Gap.MISSING:
            due = _backstop(clause, facts, due)
    return Counted(clause, certain, start, earliest, due)


def _earliest(clause: Clause, start: Started) -> End:
    if isinstance(start.point, Gap) or clause.minimum is None:
        return Gap.MISSING if start.point is Gap.MISSING else Gap.PENDING
    return earliest_after(start.point, clause.cutoff, clause.minimum, clause.organisation)


def _due(clause: Clause, start: Started) -> End:
    if isinstance(start.point, Gap) or clause.maximum is None:
        return Gap.MISSING if start.point is Gap.MISSING else Gap.PENDING
    return due_by(start.point, clause.cutoff, clause.maximum, clause.organisation)


def _backstop(clause: Clause, facts: Facts, due: End | None) -> End | None:
    """A sliding start cannot move for ever: the backstop counts from the first known date."""
    backstop = clause.said.backstop
    known = facts.known_dates(clause.backstop_dates)
    if backstop is None or not known:
        return due
    ends = [due_by(when, None, backstop, clause.organisation) for when in known]
    return min([*ends, due] if isinstance(due, date) else ends)


def applicable(clauses: tuple[Clause, ...], facts: Facts) -> list[Counted]:
    """Rule 1: the clauses whose selector matches, less those superseded, each counted.

    Where a filter cannot be told, the clause stays, but uncertain. A policy is superseded only
    by one that is in force and certainly applies. By an uncertain one, or in a circle, it becomes
    uncertain: it goes on protecting and disposes of nothing.
    """
    found = [
        (clause, answer is True)
        for clause in clauses
        if (answer := all_of(facts.where, clause.claim.where, clause.where)) is not False
    ]
    beats = {c.policy: c.said.supersedes for c, _ in found if c.disposes and c.said.supersedes}
    if not beats:
        return [count(clause, facts, certain=certain) for clause, certain in found]
    over: dict[str, bool] = {}
    for clause, certain in found:
        for name in beats.get(clause.policy, ()) if clause.disposes else ():
            really = certain and not _leads_to(beats, name, clause.policy)
            over[name] = over.get(name, False) or really
    return [
        count(clause, facts, certain=certain and clause.policy not in over)
        for clause, certain in found
        if over.get(clause.policy) is not True
    ]


def _leads_to(beats: dict[str, tuple[str, ...]], name: str, target: str) -> bool:
    """Whether `name` supersedes `target`, itself or through others."""
    seen: set[str] = set()
    todo = [name]
    while todo:
        at = todo.pop()
        if at == target:
            return True
        if at not in seen:
            seen.add(at)
            todo.extend(beats.get(at, ()))
    return False
