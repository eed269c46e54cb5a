"""The rules of design.md §5 in their order, each a small step with its reason.

0 fail closed · 1 applicable · 2 per purpose · 3 record · 4 hold · 5 restriction · 6 undetermined ·
7 before the minimum · 8 due · 9 otherwise keep. Steps 1 to 3 are in `ends`, `purpose` and
`outlook`; this is the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

from retention.decide.act import Act, agree, disposal
from retention.decide.ends import Counted, applicable
from retention.decide.facts import Facts
from retention.decide.fields import FieldAct, field_acts
from retention.decide.findings import findings_of
from retention.decide.model import DISPOSALS, Action, Hold, Verdict
from retention.decide.outlook import Minimum, Outlook, minimum, outlook
from retention.decide.purpose import STRENGTH
from retention.decide.rules import View, all_of
from retention.decide.starts import Gap
from retention.policy.counting import DAY
from retention.policy.model import Then


class At(NamedTuple):
    """A moment in civil days. `fires`: next firing of each policy that has one."""

    today: date
    fires: Mapping[str, date]
    clock_went_back: bool

    def fire(self, policy: str) -> date:
        """What is due before this day cannot wait; without a next firing, what is due today."""
        return self.fires.get(policy) or self.today + DAY


@dataclass(frozen=True, slots=True, eq=False)
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

    @property
    def counted(self) -> tuple[Counted, ...]:
        """Of both generations."""
        return tuple(dict.fromkeys((*self.approved, *self.current)))

    @property
    def due(self) -> date | None:
        """Last day on which the record may exist: all generations agree, no minimum is broken."""
        days = [self.minimum.raised(o.due) for o in self.outlooks if o.due is not None]
        return max(days) if len(days) == len(self.outlooks) and not self.minimum.never else None


def judge(view: View, facts: Facts, held: tuple[Hold, ...], at: At) -> Verdict:
    """The fate of a record with these facts under these holds. Pure; no other input exists."""
    if view.blocked:
        return _blocked(view)
    approved = applicable(view.approved, facts)
    current = applicable(view.current, facts) if view.two_generations else approved
    both = tuple(dict.fromkeys((*approved, *current)))
    if not both:
        return _unclassified(view, facts)
    if verdict := _impossible_time(both, facts, at):
        return verdict
    outlooks = [outlook(view, approved, facts, standing=not view.two_generations)]
    if view.two_generations:
        outlooks.append(outlook(view, current, facts, standing=True))
    case = Case(view, facts, at, approved, current, minimum(both), tuple(outlooks))
    return (
        _held(case, held)
        or _restricted(case)
        or _undetermined(case)
        or _before_minimum(case)
        or _due(case)
        or _kept(case)
    )


# 0 ------------------------------------------------------------------------------------------


def unreadable(what: str) -> Verdict:
    """A register that says who must be protected cannot be read."""
    return Verdict(
        Action.BLOCKED,
        because=(f"the {what} register cannot be read",),
        findings=(f"unreadable:{what}",),
        would_change_if=f"the {what} register can be read",
    )


def _blocked(view: View) -> Verdict:
    return Verdict(
        Action.BLOCKED,
        because=tuple(
            f"nobody can say what {name} covers, and an approved rule speaks of it"
            for name in view.blocked
        ),
        findings=tuple(f"unknown-location:{name}" for name in view.blocked),
        would_change_if="the removal of the location is approved",
    )


def _unclassified(view: View, facts: Facts) -> Verdict:
    claimed = [c for c in view.claims if all_of(facts.where, c.where) is not False]
    if view.claims and not claimed:
        return Verdict(
            Action.KEEP,
            because=tuple(f"{c.location}: its filter leaves this record out" for c in view.claims),
        )
    return Verdict(
        Action.KEEP,
        because=("no policy matches this record",),
        findings=("unclassified",),
        would_change_if="a policy matches this record",
    )


def _impossible_time(counted: Sequence[Counted], facts: Facts, at: At) -> Verdict | None:
    if at.clock_went_back:
        return Verdict(
            Action.REVIEW,
            because=("the clock went back: no date can be trusted",),
            findings=("clock-went-back",),
            would_change_if="the clock passes the latest instant in the ledger",
        )
    late = sorted(
        {(s, c.clause.label) for c in counted for s in c.clause.date_sources() if s in facts.future}
    )
    if not late:
        return None
    return Verdict(
        Action.REVIEW,
        because=tuple(f"{label}: {source} lies in the future" for source, label in late),
        findings=("future-date",),
        would_change_if="the date is corrected, or reached",
    )


# 4, 5 ---------------------------------------------------------------------------------------


def _held(case: Case, held: tuple[Hold, ...]) -> Verdict | None:
    if not held:
        return None
    graces = [h.grace_until for h in held if h.released and h.grace_until is not None]
    return _verdict(
        case,
        Action.HELD,
        _leading(case),
        because=(*(_hold_words(h) for h in held), *_why(case)),
        changes_on=max(graces).date() + DAY if len(graces) == len(held) else None,
        would_change_if=" and ".join(f"hold {h.id} is released" for h in held if not h.released),
        holds=tuple(h.id for h in held),
    )


def _hold_words(hold: Hold) -> str:
    if hold.released and hold.grace_until is not None:
        return f"hold {hold.id}: released, grace through {hold.grace_until.date()}"
    return f"hold {hold.id}"


def _restricted(case: Case) -> Verdict | None:
    if not case.facts.people.restricted:
        return None
    return _verdict(
        case,
        Action.RESTRICT,
        _leading(case),
        because=("restriction: storage only, disposal is suspended", *_why(case)),
        would_change_if="the restriction is lifted",
    )


# 6, 7 ---------------------------------------------------------------------------------------


def _undetermined(case: Case) -> Verdict | None:
    """Never guessed. A minimum that is known to keep the record answers for now."""
    missing = sorted(
        {*case.minimum.missing, *(c for o in case.outlooks for c in o.missing)},
        key=lambda c: (c.clause.policy, c.clause.digest, c.clause.claim.location),
    )
    if not missing or case.minimum.keeps(case.at.today):
        return None
    return _verdict(
        case,
        Action.REVIEW,
        missing[0],
        because=(
            *(c.maximum_words() if c.due is Gap.MISSING else c.minimum_words() for c in missing),
        ),
        would_change_if=missing[0].start.until,
    )


def _before_minimum(case: Case) -> Verdict | None:
    if not case.minimum.keeps(case.at.today):
        return None
    ended = next((p for o in case.outlooks if (p := o.ended(case.at.today))), None)
    if ended is None:
        return _fields(case) or _keep(case, (), _until_minimum(case))
    act = ended.acts[0][0] if ended.acts else case.minimum.binding
    return _verdict(
        case,
        Action.RESTRICT,
        act,
        because=(f"{_clusters(ended.clusters)}: its subject ended this purpose {ended.ended}", *_why(case)),
        changes_on=case.due,
        would_change_if=_until_minimum(case),
    )


def _until_minimum(case: Case) -> str:
    return " and ".join(sorted({c.start.until for c in case.minimum.never if c.start.until}))


def _clusters(names: Sequence[str]) -> str:
    return ", ".join(names)


# 8 ------------------------------------------------------------------------------------------


def _due(case: Case) -> Verdict | None:
    due = case.due
    if due is None:
        return None
    acts = [_strongest(case, o, due) for o in case.outlooks]
    if any(a is None for a in acts):
        return _nobody_says_how(case, due) or _waits_for_approval(case, acts, due)
    act = agree(*(a for a in acts if a is not None))
    if act is None:
        return _keep(case, ("the change to its rule waits for approval",), "the change is approved")
    return _carry_out(case, act, due)


def _strongest(case: Case, found: Outlook, due: date) -> Act | None:
    """Of the rules that cannot wait for their next firing: review, then the strongest."""
    owed = [
        (c, end)
        for c, end in found.acts
        if isinstance(end, date) and max(end, due) < case.at.fire(c.clause.policy)
    ]
    if not owed:
        return None
    counted, _ = max(
        owed,
        key=lambda a: (STRENGTH[a[0].clause.then], a[1], a[0].clause.policy, a[0].clause.digest,
                       a[0].clause.claim.location),
    )
    return disposal(counted)


def _nobody_says_how(case: Case, due: date) -> Verdict | None:
    """Its subject ended the purpose, and no rule says what then: a person must."""
    open_ended = [
        p
        for o in case.outlooks
        for p in o.purposes
        if not p.acts and isinstance(p.end, date) and due <= case.at.today
    ]
    if not open_ended:
        return None
    names = sorted({name for p in open_ended for name in p.clusters})
    return _verdict(
        case,
        Action.REVIEW,
        None,
        because=(f"{_clusters(names)}: its subject ended this purpose, no rule says what then",),
        findings=tuple(f"no-rule:{name}" for name in names),
        would_change_if="a policy says what happens",
    )


def _waits_for_approval(
    case: Case, acts: Sequence[Act | None], due: date
) -> Verdict | None:
    """Due as approved, not yet due as the files say now: the longer of the two protects."""
    if len(acts) < 2 or acts[0] is None or case.at.today < due:
        return None
    return _keep(case, ("the rule in the files keeps it longer",), "the change is approved")


def _carry_out(case: Case, act: Act, due: date) -> Verdict:
    doubts = sorted({name for o in case.outlooks for name in o.doubtful})
    if act.action in DISPOSALS and (doubts or act.unsayable):
        return _verdict(
            case,
            Action.REVIEW,
            act.counted,
            because=(
                *(f"{name}: nobody can tell whether it applies" for name in doubts),
                *(f"{act.counted.clause.label}: no plain value for {f}" for f in act.unsayable),
                *_why(case),
            ),
            findings=tuple(f"mask-unknown:{act.counted.clause.policy}" for _ in act.unsayable[:1]),
            would_change_if="the fields that its filter reads can be told"
            if doubts
            else "the policy gives plain values",
        )
    if act.action in DISPOSALS and case.facts.people.access_open:
        return _keep(
            case,
            ("an access request is open: kept until it is answered",),
            "the access request is answered",
        )
    late = (case.at.today - due).days if act.action in DISPOSALS else 0
    return _verdict(
        case,
        act.action,
        act.counted,
        because=_why(case),
        overdue_days=max(0, late),
        mask=act.values,
        hand_over_to=act.hand_over_to,
        suppress=act.counted.clause.said.suppress if act.action in DISPOSALS else (),
    )


# 9 ------------------------------------------------------------------------------------------


def _kept(case: Case) -> Verdict:
    if verdict := _fields(case):
        return verdict
    if case.due is None and (always := _always_reviewed(case)):
        return _verdict(
            case,
            Action.REVIEW,
            always,
            because=(f"{always.clause.label}: reviewed at every firing", *_why(case)),
        )
    if all(o.done for o in case.outlooks):
        return _keep(case, ("what its rules demand has been done",), "")
    pending = sorted({c.start.until for o in case.outlooks for c in o.pending() if c.start.until})
    return _keep(case, (), " and ".join(pending) if case.due is None else "")


def _always_reviewed(case: Case) -> Counted | None:
    found = [c for c in case.approved if c.clause.reviews_always and c.certain and c.clause.disposes]
    return min(found, key=lambda c: (c.clause.policy, c.clause.claim.location), default=None)


def _keep(case: Case, because: tuple[str, ...], would_change_if: str) -> Verdict:
    due = case.due
    soon = [d for d in (due, _fields_due(case)) if d is not None and d >= case.at.today]
    return _verdict(
        case,
        Action.KEEP,
        _leading(case),
        because=(*because, *_why(case)),
        changes_on=min(soon, default=None),
        would_change_if=would_change_if,
    )


# fields -------------------------------------------------------------------------------------


def _fields(case: Case) -> Verdict | None:
    """The record stays; do some of its fields go?"""
    acts = field_acts(case.view, case.approved, case.counted, case.facts)
    unknown = [a for a in acts if a.minimum.missing or a.end is Gap.MISSING]
    owed = [a for a in acts if _owed(case, a)]
    if unknown and not owed:
        first = next((a for a in unknown if not a.minimum.keeps(case.at.today)), None)
        if first is not None:
            words = first.counted.maximum_words()
            return _verdict(
                case, Action.REVIEW, first.counted, because=(words,),
                would_change_if=first.counted.start.until,
            )
    act = next((a for a in owed if _agreed(case, a)), None)
    return None if act is None else _empty_fields(case, act)


def _owed(case: Case, act: FieldAct) -> bool:
    if not isinstance(act.end, date) or act.minimum.missing or act.minimum.keeps(case.at.today):
        return False
    return act.minimum.raised(act.end) < case.at.fire(act.counted.clause.policy)


def _agreed(case: Case, act: FieldAct) -> bool:
    """Whether the files as they are now would empty these fields too."""
    if not case.view.two_generations:
        return True
    mask = act.counted.clause.mask
    return mask is not None and any(
        other.counted.clause.policy == act.counted.clause.policy
        and other.counted.clause.mask is not None
        and set(mask.values) <= set(other.counted.clause.mask.values)
        and _owed(case, other)
        for other in field_acts(case.view, case.current, case.counted, case.facts)
    )


def _empty_fields(case: Case, found: FieldAct) -> Verdict:
    act = disposal(found.counted)
    if not isinstance(found.end, date):
        raise TypeError("a rule without an end is never due")
    due = found.minimum.raised(found.end)
    shared = {
        "earliest": found.minimum.earliest,
        "due": due,
        "because": (found.counted.maximum_words(), *_minimum_words(found.minimum)),
    }
    if act.unsayable:
        finding = f"mask-unknown:{found.counted.clause.policy}"
        return _verdict(case, Action.REVIEW, found.counted, findings=(finding,), **shared)  # type: ignore[arg-type]  # the three shared facts keep their types
    if case.facts.people.access_open:
        return _keep(
            case,
            ("an access request is open: kept until it is answered",),
            "the access request is answered",
        )
    return _verdict(  # the record stays, so the action is to overwrite
        case,
        Action.ANONYMISE,
        found.counted,
        overdue_days=max(0, (case.at.today - due).days),
        mask=act.values,
        suppress=found.counted.clause.said.suppress,
        **shared,  # type: ignore[arg-type]  # see above
    )


def _fields_due(case: Case) -> date | None:
    ends = [
        a.minimum.raised(a.end)
        for a in field_acts(case.view, case.approved, case.counted, case.facts)
        if isinstance(a.end, date) and not a.minimum.never
    ]
    return min(ends, default=None)


# words --------------------------------------------------------------------------------------


def _leading(case: Case) -> Counted | None:
    """The rule that speaks last for this record: which policy a verdict is shown under."""
    acts = [(c, end) for c, end in case.outlooks[0].acts if isinstance(end, date)]
    within = [(c, end) for c, end in acts if case.due is None or end <= case.due]
    if within:
        return max(within, key=_rank)[0]
    if acts:
        return min(acts, key=_rank)[0]
    waiting = [c for c, _ in case.outlooks[0].acts]
    return waiting[0] if waiting else case.minimum.binding


def _rank(act: tuple[Counted, object]) -> tuple[object, ...]:
    clause = act[0].clause
    return (act[1], STRENGTH[clause.then], clause.policy, clause.digest, clause.claim.location)


def _minimum_words(found: Minimum) -> tuple[str, ...]:
    never = tuple(c.minimum_words() for c in found.never)
    return (*never, *((found.binding.minimum_words(),) if found.binding else ()))


def _why(case: Case) -> tuple[str, ...]:
    """The minimums that bind, then the rule that ends each purpose, then what cut them short."""
    lines = list(_minimum_words(case.minimum))
    for found in case.outlooks:
        for purpose in found.purposes:
            if purpose.ended is not None:
                lines.append(
                    f"{_clusters(purpose.clusters)}: due {purpose.ended}, its subject ended this purpose"
                )
        lines += [c.maximum_words() for c, end in found.acts if end == c.due]
    return tuple(dict.fromkeys(lines))


def _verdict(
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
    mask: Mapping[str, str | int | float | bool | None] | None = None,
    hand_over_to: str | None = None,
    suppress: tuple[str, ...] = (),
    holds: tuple[int, ...] = (),
) -> Verdict:
    return Verdict(
        action=action,
        policy=counted.clause.policy if counted else "",
        digest=counted.clause.digest if counted else "",
        earliest=earliest or case.minimum.earliest,
        due=due or case.due,
        because=tuple(dict.fromkeys(because)),
        findings=tuple(dict.fromkeys((*findings, *findings_of(case.counted, case.outlooks, case.minimum)))),
        changes_on=changes_on,
        would_change_if=would_change_if,
        overdue_days=overdue_days,
        mask=mask,
        hand_over_to=hand_over_to,
        suppress=suppress,
        holds=holds,
    )


