"""What is wrong or remarkable about a record's rules, as short stable codes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from retention.decide.ends import Counted
from retention.decide.outlook import Minimum, Outlook
from retention.decide.purpose import Open
from retention.policy.counting import DAY
from retention.policy.model import DESTRUCTIVE


def findings_of(
    counted: Sequence[Counted], outlooks: Sequence[Outlook], minimum: Minimum
) -> tuple[str, ...]:
    """All of them, sorted."""
    codes: set[str] = set()
    for c in counted:
        codes.update(_of_clause(c))
    for found in outlooks:
        codes.update(_raised(found, minimum))
        codes.update(_without_rule(found, counted))
    return tuple(sorted(codes))


def _of_clause(counted: Counted) -> Iterable[str]:
    clause = counted.clause
    if counted.start.finding and (counted.earliest is not None or counted.due is not None):
        yield f"{counted.start.finding}:{clause.policy}"
    if not counted.certain:
        yield f"where-unknown:{clause.policy}"
    if clause.waits:
        yield f"not-approved:{clause.policy}"
    if clause.then in DESTRUCTIVE and not clause.has_maximum:
        yield f"no-period:{clause.policy}"


def _raised(found: Outlook, minimum: Minimum) -> Iterable[str]:
    """A maximum below the minimum. One day apart is the same end, rounded both ways."""
    if found.due is None or minimum.earliest is None or found.due + DAY >= minimum.earliest:
        return
    for counted, end in found.acts:
        if end == found.due == counted.due and counted.clause.maximum is not None:
            yield f"maximum-raised-to-minimum:{counted.clause.policy}"


def _without_rule(found: Outlook, counted: Sequence[Counted]) -> Iterable[str]:
    ruled = {c.clause.claim.cluster for c in counted}
    for purpose in found.purposes:
        if purpose.end is Open.NEVER:
            yield from (f"unclassified:{name}" for name in purpose.clusters if name not in ruled)
