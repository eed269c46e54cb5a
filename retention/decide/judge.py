"""The rules of design.md §5 in their order, each a small step with its reason.

0 fail closed · 1 applicable · 2 per purpose · 3 record · 4 hold · 5 restriction · 6 undetermined ·
7 before the minimum · 8 due · 9 otherwise keep. Steps 1 to 3 are in `ends`, `purpose` and
`outlook`; this is the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from retention.decide.act import Act, agree, disposal
from retention.decide.case import At, Case, keep, leading, verdict_of, why
from retention.decide.emptying import ACCESS_ANSWERED, ACCESS_OPEN, fields_verdict
from retention.decide.ends import Counted, applicable
from retention.decide.facts import Facts
from retention.decide.model import DISPOSALS, Action, Hold, Verdict
from retention.decide.outlook import Outlook, minimum, outlook
from retention.decide.rules import View, all_of
from retention.decide.starts import Gap
from retention.policy.counting import DAY, civil_day


def judge(view: View, facts: Facts, held: tuple[Hold, ...], at: At) -> Verdict:
    """The fate of a record with these facts under these holds. Pure; no other input exists."""
    if view.blocked:
        return _blocked(view)
    approved = applicable(view.approved, facts)
    current = applicable(view.current, facts) if view.two_generations else approved
    both = (*approved, *current) if view.two_generations else tuple(approved)
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
    if not facts.future:
        return None
    late = sorted(
        {(s, c.clause.label) for c in counted for s in c.clause.date_sources if s in facts.future}
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
    return verdict_of(
        case,
        Action.HELD,
        leading(case),
        because=(*(_hold_words(case, h) for h in held), *why(case)),
        changes_on=_day(case, max(graces)) + DAY if len(graces) == len(held) else None,
        would_change_if=" and ".join(f"hold {h.id} is released" for h in held if not h.released),
        holds=tuple(h.id for h in held),
    )


def _hold_words(case: Case, hold: Hold) -> str:
    if hold.released and hold.grace_until is not None:
        return f"hold {hold.id}: released, grace through {_day(case, hold.grace_until)}"
    return f"hold {hold.id}"


def _day(case: Case, instant: datetime) -> date:
    return civil_day(instant, case.view.organisation)


def _restricted(case: Case) -> Verdict | None:
    if not case.facts.people.restricted:
        return None
    return verdict_of(
        case,
        Action.RESTRICT,
        leading(case),
        because=("restriction: storage only, disposal is suspended", *why(case)),
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
    return verdict_of(
        case,
        Action.REVIEW,
        missing[0],
        because=(*(c.maximum_words if c.due is Gap.MISSING else c.minimum_words for c in missing),),
        would_change_if=missing[0].start.until,
    )


def _before_minimum(case: Case) -> Verdict | None:
    if not case.minimum.keeps(case.at.today):
        return None
    ended = next((p for o in case.outlooks if (p := o.ended(case.at.today))), None)
    if ended is None:
        return fields_verdict(case) or keep(case, (), _until_minimum(case))
    act = ended.acts[0][0] if ended.acts else case.minimum.binding
    return verdict_of(
        case,
        Action.RESTRICT,
        act,
        because=(
            f"{', '.join(ended.clusters)}: its subject ended this purpose on {ended.ended}",
            *why(case),
        ),
        changes_on=case.due,
        would_change_if=_until_minimum(case),
    )


def _until_minimum(case: Case) -> str:
    return " and ".join(sorted({c.start.until for c in case.minimum.never if c.start.until}))


# 8 ------------------------------------------------------------------------------------------


def _due(case: Case) -> Verdict | None:
    due = case.due
    if due is None:
        return None
    acts = [_strongest(case, o, due) for o in case.outlooks]
    if any(a is None for a in acts):
        return _nobody_says_how(case, due)
    act = agree(*(a for a in acts if a is not None))
    if act is None:
        return keep(case, ("the change to its rule waits for approval",), "the change is approved")
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
    counted, _ = max(owed, key=found.rank)
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
    return verdict_of(
        case,
        Action.REVIEW,
        None,
        because=(f"{', '.join(names)}: its subject ended the purpose, and no rule says what then",),
        findings=tuple(f"no-rule:{name}" for name in names),
        would_change_if="a policy says what happens",
    )


def _carry_out(case: Case, act: Act, due: date) -> Verdict:
    doubts = sorted({name for o in case.outlooks for name in o.doubtful})
    if act.action in DISPOSALS and (doubts or act.unsayable):
        return verdict_of(
            case,
            Action.REVIEW,
            act.counted,
            because=(
                *(f"{name}: nobody can tell whether it applies" for name in doubts),
                *(f"{act.counted.clause.label}: no plain value for {f}" for f in act.unsayable),
                *why(case),
            ),
            findings=tuple(f"mask-unknown:{act.counted.clause.policy}" for _ in act.unsayable[:1]),
            would_change_if="the fields that its filter reads can be told"
            if doubts
            else "the policy gives plain values",
        )
    if act.action in DISPOSALS and case.facts.people.access_open:
        return keep(
            case,
            (ACCESS_OPEN,),
            ACCESS_ANSWERED,
        )
    late = (case.at.today - due).days if act.action in DISPOSALS else 0
    return verdict_of(
        case,
        act.action,
        act.counted,
        because=why(case),
        overdue_days=max(0, late),
        mask=act.values,
        hand_over_to=act.hand_over_to,
        copy_to=act.copy_to,
        suppress=act.counted.clause.said.suppress if act.action in DISPOSALS else (),
    )


# 9 ------------------------------------------------------------------------------------------


def _kept(case: Case) -> Verdict:
    if verdict := fields_verdict(case):
        return verdict
    if case.due is None and (always := _always_reviewed(case)):
        return verdict_of(
            case,
            Action.REVIEW,
            always,
            because=(f"{always.clause.label}: reviewed at every firing", *why(case)),
        )
    if all(o.done for o in case.outlooks):
        return keep(case, ("what its rules demand has been done",), "")
    pending = sorted({c.start.until for o in case.outlooks for c in o.pending() if c.start.until})
    return keep(case, (), " and ".join(pending) if case.due is None else "")


def _always_reviewed(case: Case) -> Counted | None:
    found = [
        c for c in case.approved if c.clause.reviews_always and c.certain and c.clause.disposes
    ]
    return min(found, key=lambda c: (c.clause.policy, c.clause.claim.location), default=None)
