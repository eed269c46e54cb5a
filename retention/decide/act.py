"""What is done to a record by the rule that decides; and what two generations agree upon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from retention.decide.ends import Counted
from retention.decide.model import DISPOSALS, Action
from retention.decide.rules import Clause
from retention.policy.model import Scalar, Then

_ACTIONS = {
    Then.DELETE: Action.DELETE,
    Then.ANONYMISE: Action.ANONYMISE,
    Then.HAND_OVER: Action.HAND_OVER,
    Then.COPY_TO: Action.HAND_OVER,
    Then.RESTRICT: Action.RESTRICT,
    Then.REVIEW: Action.REVIEW,
}
_WEIGHT = {
    Action.HAND_OVER: 3,
    Action.DELETE: 3,
    Action.ANONYMISE: 2,
    Action.RESTRICT: 1,
    Action.REVIEW: 0,
}


@dataclass(frozen=True, slots=True, eq=False)
class Act:
    """A rule and what it does."""

    counted: Counted
    action: Action
    values: Mapping[str, Scalar] | None = None
    hand_over_to: str | None = None
    copy_to: str | None = None
    unsayable: tuple[str, ...] = ()


def disposal(counted: Counted) -> Act:
    """What a rule that is due does to the record, or to some of its fields."""
    clause: Clause = counted.clause
    if clause.mask is not None:
        return Act(
            counted,
            Action.ANONYMISE,
            values=dict(clause.mask.values),
            unsayable=clause.mask.unsayable,
        )
    handed, copied = clause.said.then.hand_over, clause.said.then.copy_to
    return Act(
        counted,
        _ACTIONS[clause.then],
        hand_over_to=handed.to if handed is not None else None,
        copy_to=copied.location if copied is not None else None,
        # To anonymise without saying what is no instruction.
        unsayable=("anonymise",) if clause.then is Then.ANONYMISE else (),
    )


def agree(approved: Act, current: Act | None = None) -> Act | None:
    """What both generations let happen; None where the files want less than what is approved.

    The approved act stands where the files would go at least as far. Where they only review or
    restrict, that acts at once: it protects. Anything else waits for approval.
    """
    if current is None:
        return approved
    if Action.REVIEW in (approved.action, current.action):
        return approved if approved.action is Action.REVIEW else current
    if current.action not in DISPOSALS or approved.action not in DISPOSALS:
        return min(approved, current, key=lambda a: _WEIGHT[a.action])
    if approved.action is not current.action:
        return approved if _WEIGHT[approved.action] < _WEIGHT[current.action] else None
    if approved.action is Action.ANONYMISE:
        wanted = set((current.values or {}).items())
        return approved if set((approved.values or {}).items()) <= wanted else None
    where = (approved.hand_over_to, approved.copy_to)
    return approved if where == (current.hand_over_to, current.copy_to) else None
