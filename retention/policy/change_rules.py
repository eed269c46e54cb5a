"""What a change of one field of a policy means, field by field."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from retention.policy.model import DESTRUCTIVE, Approval, Cutoff, Policy, Then, ThenModel
from retention.policy.periods import Period
from retention.policy.statutes import covers


class Kind(StrEnum):
    """What a change does to the data it is about."""

    PROTECTIVE = "protective"
    WEAKENING = "weakening"
    NEUTRAL = "neutral"


P, W, N = Kind.PROTECTIVE, Kind.WEAKENING, Kind.NEUTRAL


def _minimum(before: Period | None, after: Period | None) -> tuple[Kind, bool]:
    if before is None:
        return P, False
    if after is None or not covers(after, before):
        return W, False
    return (N if covers(before, after) else P), False


def _maximum(before: Period | None, after: Period | None) -> tuple[Kind, bool]:
    """A longer maximum keeps longer: protective as for deletion, but less than was promised."""
    if after is None:
        return P, True
    if before is None or not covers(after, before):
        return W, False
    return (N, False) if covers(before, after) else (P, True)


def _cutoff(before: Cutoff | None, after: Cutoff | None) -> tuple[Kind, bool]:
    return (P, True) if after in _LATER[before] else (W, False)


_LATER: dict[Cutoff | None, frozenset[Cutoff | None]] = {
    None: frozenset(Cutoff) - {Cutoff.ACCOUNTING_YEAR},
    Cutoff.MONTH: frozenset({Cutoff.QUARTER, Cutoff.YEAR}),
    Cutoff.QUARTER: frozenset({Cutoff.YEAR}),
    Cutoff.YEAR: frozenset(),
    Cutoff.ACCOUNTING_YEAR: frozenset({Cutoff.YEAR_OF_ACCOUNTING_YEAR}),
    Cutoff.YEAR_OF_ACCOUNTING_YEAR: frozenset(),
}
"""Closing points that never make an end come sooner, whatever the accounting year."""

_MILD = (Then.KEEP, Then.RESTRICT, Then.REVIEW)


def _then(before: ThenModel, after: ThenModel) -> tuple[Kind, bool]:
    if before.kind in DESTRUCTIVE and after.kind in _MILD:
        return P, True
    if (before.kind, after.kind) == (Then.REVIEW, Then.RESTRICT):
        return P, False
    return W, False


def _grace(before: Period | None, after: Period | None) -> tuple[Kind, bool]:
    return _minimum(before, after)[0], False


def _approval(before: Approval, after: Approval) -> tuple[Kind, bool]:
    rank = (Approval.NONE, Approval.CHANGE, Approval.EACH_RUN)
    return (P if rank.index(after) > rank.index(before) else W), False


def _suppress(before: tuple[str, ...], after: tuple[str, ...]) -> tuple[Kind, bool]:
    if set(before) == set(after):
        return N, False
    return (P if set(before) <= set(after) else W), False


def _same_set(before: tuple[str, ...], after: tuple[str, ...]) -> tuple[Kind, bool]:
    return (N if set(before) == set(after) else W), False


def _review(before: Any, after: Any) -> tuple[Kind, bool]:
    if before is None:
        return P, False
    return (W if after is None or before.within != after.within else N), False


RULES: dict[str, Callable[[Any, Any], tuple[Kind, bool]]] = {
    "keep_at_least": _minimum,
    "delete_at_latest": _maximum,
    "backstop": _maximum,
    "cutoff": _cutoff,
    "then": _then,
    "grace": _grace,
    "approval": _approval,
    "suppress": _suppress,
    "supersedes": _same_set,
    "review": _review,
    "cap": lambda before, after: (W if after else P, bool(before)),
    "mandate": lambda before, _: (P if before is None else W, False),
}


def protects(policy: Policy) -> bool:
    """Whether a policy keeps anything from going."""
    return policy.keep_at_least is not None or policy.then.kind is Then.KEEP


def fields_change(old: Policy, new: Policy) -> Kind:
    if set(old.fields) == set(new.fields):
        return N
    fewer = bool(new.fields) and set(new.fields) < set(old.fields)
    return P if fewer and old.destructive and not protects(old) else W
