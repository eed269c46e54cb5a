"""Field-level disposal's verdicts: the record stays, some of its fields go."""

from __future__ import annotations

from datetime import date

from retention.decide.act import disposal
from retention.decide.case import Case, keep, minimum_words, verdict_of
from retention.decide.fields import FieldAct, field_acts
from retention.decide.model import Action, Verdict
from retention.decide.starts import Gap

ACCESS_OPEN = "an access request is open: kept until it is answered"
ACCESS_ANSWERED = "the access request is answered"


def fields_verdict(case: Case) -> Verdict | None:
    """The record stays; do some of its fields go?"""
    acts = field_acts(case.view, case.approved, case.counted, case.facts)
    unknown = [a for a in acts if a.minimum.missing or a.end is Gap.MISSING]
    owed = [a for a in acts if _owed(case, a)]
    if unknown and not owed:
        first = next((a for a in unknown if not a.minimum.keeps(case.at.today)), None)
        if first is not None:
            words = first.counted.maximum_words
            return verdict_of(
                case,
                Action.REVIEW,
                first.counted,
                because=(words,),
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
        "because": (found.counted.maximum_words, *minimum_words(found.minimum)),
    }
    if act.unsayable:
        finding = f"mask-unknown:{found.counted.clause.policy}"
        return verdict_of(case, Action.REVIEW, found.counted, findings=(finding,), **shared)  # type: ignore[arg-type]  # the three shared facts keep their types
    if case.facts.people.access_open:
        return keep(
            case,
            (ACCESS_OPEN,),
            ACCESS_ANSWERED,
        )
    return verdict_of(  # the record stays, so the action is to overwrite
        case,
        Action.ANONYMISE,
        found.counted,
        overdue_days=max(0, (case.at.today - due).days),
        mask=act.values,
        suppress=found.counted.clause.said.suppress,
        **shared,  # type: ignore[arg-type]  # see above
    )
