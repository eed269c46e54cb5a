"""One record before the bench: its rules counted, and the words of a verdict about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import NamedTuple

from retention.decide.ends import Counted, End
from retention.decide.facts import Facts
from retention.decide.fields import field_acts
from retention.decide.findings import findings_of
from retention.decide.model import Action, Verdict
from retention.decide.outlook import Minimum, Outlook
from retention.decide.rules import View
from retention.policy.counting import DAY
from retention.policy.model import Scalar


class At(NamedTuple):
    """A moment in civil days. `fires`: next firing of each policy that has one."""

    today: date
    fires: Mapping[str, date]
    clock_went_back: bool

    def fire(self, policy: str) -> date:
        """What is due before this day cannot wait; without a next firing, what is due today."""
        return self.fires.get(policy) or self.today + DAY


@dataclass(frozen=True, eq=False)
class Case:
    """One record before the bench: both generations counted, and what they say."""

    view: View
    facts: Facts
    at: At
    approved: Sequence[Counted]
    current: Sequence[Counted]
    minimum: Minimum
    outlooks: tuple[Outlook, ...]
    """Of the approved rules, then of those in the files where they differ."""

    @cached_property
    def counted(self) -> tuple[Counted, ...]:
        """Of both generations."""
        if self.current is self.approved:
            return tuple(self.approved)
        return (*self.approved, *self.current)

    @cached_property
    def due(self) -> date | None:
        """Last day on which the record may exist: all generations agree, no minimum is broken."""
        days = [self.minimum.raised(o.due) for o in self.outlooks if o.due is not None]
        return max(days) if len(days) == len(self.outlooks) and not self.minimum.never else None


def verdict_of(
    case: Case,
    action: Action,
    counted: Counted | None,
    *,
    because: tuple[str, ...] = (),
    findings: tuple[str, ...] = (),
    earliest: date | None = None,
    due: date | None = None,
    changes_on: date | None = None,
    would_change_if: str = "",
    overdue_days: int = 0,
    mask: Mapping[str, Scalar] | None = None,
    hand_over_to: str | None = None,
    copy_to: str | None = None,
    suppress: tuple[str, ...] = (),
    holds: tuple[int, ...] = (),
) -> Verdict:
    return Verdict(
        action=action,
        policy=counted.clause.policy if counted else "",
        digest=counted.clause.digest if counted else "",
        earliest=earliest or (None if case.minimum.never else case.minimum.earliest),
        due=due or case.due,
        because=tuple(dict.fromkeys(because)),
        findings=tuple(
            dict.fromkeys((*findings, *findings_of(case.counted, case.outlooks, case.minimum)))
        ),
        changes_on=changes_on,
        would_change_if=would_change_if,
        overdue_days=overdue_days,
        mask=mask,
        hand_over_to=hand_over_to,
        copy_to=copy_to,
        suppress=suppress,
        holds=holds,
    )


def keep(case: Case, because: tuple[str, ...], would_change_if: str) -> Verdict:
    due = case.due
    soon = [d for d in (due, _fields_due(case)) if d is not None and d >= case.at.today]
    return verdict_of(
        case,
        Action.KEEP,
        leading(case),
        because=(*because, *why(case)),
        changes_on=min(soon, default=None),
        would_change_if=would_change_if,
    )


def leading(case: Case) -> Counted | None:
    """The rule that speaks last for this record: which policy a verdict is shown under."""
    found = case.outlooks[0]
    known = [(c, end) for c, end in found.acts if isinstance(end, date)]
    last = [(c, end) for c, end in known if c in found.deciding]
    if last or known:
        return max(last or known, key=lambda act: (act[1], found.rank(act)))[0]
    return found.acts[0][0] if found.acts else case.minimum.binding


def minimum_words(found: Minimum) -> tuple[str, ...]:
    never = tuple(c.minimum_words for c in found.never)
    return (*never, *((found.binding.minimum_words,) if found.binding else ()))


def why(case: Case) -> tuple[str, ...]:
    """The minimums that bind, then each rule that can dispose of the record, with its end."""
    lines = list(minimum_words(case.minimum))
    for found in case.outlooks:
        lines += [_act_words(c, end) for c, end in found.acts]
    return tuple(dict.fromkeys(lines))


def _act_words(counted: Counted, end: End) -> str:
    if end == counted.due:
        return counted.maximum_words
    clause = counted.clause
    return f"{clause.label}: due {end}, as its subject ended the purpose of {clause.claim.cluster}"


def _fields_due(case: Case) -> date | None:
    ends = [
        a.minimum.raised(a.end)
        for a in field_acts(case.view, case.approved, case.counted, case.facts)
        if isinstance(a.end, date) and not a.minimum.never
    ]
    return min(ends, default=None)
