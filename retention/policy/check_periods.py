"""Periods that contradict each other, that are missing, or that nothing would ever enforce."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from retention.policy.codes import finding
from retention.policy.counting import DAY, due_by, earliest_after
from retention.policy.findings import Finding, Positions
from retention.policy.model import Bundle, Organisation, Policy, Then
from retention.policy.periods import Period
from retention.policy.statutes import catalogue

_EVERY_DAY = tuple(date(2023, 1, 1) + timedelta(n) for n in range(4 * 365 + 1))


def check(bundle: Bundle, positions: Positions) -> Iterator[Finding]:
    """All findings about the periods of each policy."""
    for name, policy in bundle.policies.items():
        yield from _contradiction(name, policy, bundle.organisation, positions)
        yield from _missing(name, policy, positions)
        yield from _keep(name, policy, positions)
        yield from _unenforced(name, policy, positions)


def _contradiction(
    name: str, policy: Policy, organisation: Organisation, positions: Positions
) -> Iterator[Finding]:
    minimum, maximum = policy.keep_at_least, policy.delete_at_latest
    if minimum is None or maximum is None:
        return
    if minimum == maximum and policy.mandate:
        path = ("policies", name, "delete_at_latest")
        message = f"{policy.mandate} says at least {minimum}, the policy at latest {maximum}"
        yield finding("minimum-is-maximum", positions.value(path), message, path)
        return
    always, sometimes = above(minimum, maximum, policy, organisation)
    path = ("policies", name, "delete_at_latest")
    why = f" (from {policy.mandate})" if policy.mandate else ""
    if always:
        message = f"the minimum {minimum}{why} is above the maximum {maximum}"
        yield finding("minimum-above-maximum", positions.value(path), message, path)
    elif sometimes:
        message = f"the minimum {minimum}{why} ends after the maximum {maximum} on some days"
        yield finding("minimum-may-pass-maximum", positions.value(path), message, path)


def above(
    minimum: Period, maximum: Period, policy: Policy, organisation: Organisation
) -> tuple[bool, bool]:
    """Whether a minimum ends after a maximum of the same start: on every day, on some day.

    A record may go on the day after the minimum ended; a maximum that ends with that same last
    day of the minimum is the exact promise, not a contradiction.
    """
    if minimum == maximum:
        return False, False
    late = [
        earliest_after(day, policy.cutoff, minimum, organisation)
        > due_by(day, policy.cutoff, maximum, organisation) + DAY
        for day in _days(minimum, maximum)
    ]
    return all(late), any(late)


def _days(one: Period, other: Period) -> tuple[date, ...]:
    """Enough days to compare two periods: a few where both count in the same unit."""
    months = one.years or one.months, other.years or other.months
    if one.days == other.days and one.hours == other.hours:
        return _EVERY_DAY[:31]
    return _EVERY_DAY if any(months) else _EVERY_DAY[:1]


def _missing(name: str, policy: Policy, positions: Positions) -> Iterator[Finding]:
    path = ("policies", name)
    periods = (policy.keep_at_least, policy.delete_at_latest)
    if not any(periods) and (policy.destructive or policy.then.kind is Then.RESTRICT):
        message = f"`{name}` says {policy.then.kind}, but not when"
        if policy.starting_point is None:
            message += ", and not since when"
        yield finding("no-period", positions.key(path), message, path)
    if any(periods) and policy.starting_point is None:
        period = policy.delete_at_latest or policy.keep_at_least
        message = f"{period} since when? `{name}` has no starting point"
        yield finding("no-start", positions.key(path), message, path)
    open_end = policy.keep_at_least and not policy.delete_at_latest and policy.mandate is None
    if open_end and policy.then.kind not in (Then.KEEP, Then.REVIEW):
        at = (*path, "keep_at_least")
        message = f"at least {policy.keep_at_least}, but at latest when?"
        yield finding("no-maximum", positions.value(at), message, at)


def _keep(name: str, policy: Policy, positions: Positions) -> Iterator[Finding]:
    if policy.then.kind is not Then.KEEP:
        return
    path = ("policies", name, "then")
    if policy.delete_at_latest is not None:
        at = ("policies", name, "delete_at_latest")
        message = f"`{name}` keeps, so nothing goes after {policy.delete_at_latest}"
        yield finding("keep-with-maximum", positions.value(at), message, at)
    if policy.keep_at_least is None:
        message = f"`{name}` keeps without an end"
        yield finding("keep-without-minimum", positions.value(path), message, path)


def _unenforced(name: str, policy: Policy, positions: Positions) -> Iterator[Finding]:
    """Fields that are accepted by the grammar but would have no effect on this policy."""
    periods = policy.keep_at_least or policy.delete_at_latest
    mandate = policy.mandate is not None and catalogue().get(policy.mandate) is not None
    idle = {
        "cutoff": policy.cutoff is not None and periods is None and not mandate,
        "backstop": policy.backstop is not None and policy.then.kind is Then.KEEP,
        "cap": policy.cap and policy.delete_at_latest is None,
        "grace": policy.grace is not None and not policy.destructive,
        "suppress": bool(policy.suppress) and not policy.destructive,
        "fields": bool(policy.fields) and policy.then.kind in (Then.REVIEW, Then.RESTRICT),
        "review": policy.review is not None and policy.then.kind is not Then.REVIEW,
        "limits": policy.limits is not None and not policy.destructive,
    }
    for field, is_idle in idle.items():
        if is_idle:
            path = ("policies", name, field)
            message = f"`{field}` has no effect with `then: {policy.then.kind}` as it stands here"
            yield finding("unenforced", positions.key(path), message, path)
