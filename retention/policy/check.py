"""Every static finding about files that load: what would never work, and what promises too little.

`load` says whether files can be read; this says whether what they say can be kept. Nothing that
is accepted here goes unenforced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from retention.policy import (
    check_actions,
    check_connectors,
    check_copies,
    check_law,
    check_periods,
    check_reach,
    check_starts,
)
from retention.policy.check_connectors import ConnectorFacts, connector_facts
from retention.policy.codes import CODES, finding
from retention.policy.digest import copied_clusters, referenced_clusters
from retention.policy.findings import Finding, Path, Positions, Severity, order
from retention.policy.load import Loaded
from retention.policy.model import Bundle, Policy

__all__ = ["ConnectorFacts", "ScheduleFact", "affected", "broken", "check", "connector_facts"]


class ScheduleFact(NamedTuple):
    """What the schedule found about a policy; any tuple of these four will do."""

    policy: str
    code: str
    message: str
    hint: str


def check(
    loaded: Loaded,
    connectors: Mapping[str, ConnectorFacts],
    schedule_facts: Iterable[tuple[str, str, str, str]] = (),
) -> list[Finding]:
    """All findings, those of loading included, in the order in which one reads the files.

    `connectors`: every registered kind, broken ones too (`connector_facts` makes it from the
    registry). `schedule_facts`: policy, code, message, hint.
    """
    found = list(loaded.findings)
    if loaded.bundle is not None:
        parts = (check_periods, check_starts, check_reach, check_actions, check_copies, check_law)
        for part in parts:
            found += part.check(loaded.bundle, loaded.positions)
        found += check_connectors.check(loaded.bundle, loaded.positions, connectors)
    found += _scheduled(schedule_facts, loaded.positions)
    return sorted(dict.fromkeys(found), key=order)


def _scheduled(
    facts: Iterable[tuple[str, str, str, str]], positions: Positions
) -> Iterator[Finding]:
    for policy, code, message, hint in facts:
        path = ("policies", policy, "schedule")
        known = code if code in CODES else "bad-schedule"
        yield finding(known, positions.value(path), message, path, hint)


def affected(bundle: Bundle, found: Finding) -> tuple[str, ...]:
    """The policies that a finding is about, by their own place or by what they rest on."""
    if found.policy is not None:
        return (found.policy,) if found.policy in bundle.policies else ()
    if not found.path or found.path[0] not in ("systems", "clusters"):
        return tuple(sorted(bundle.policies))
    return tuple(sorted(n for n, p in bundle.policies.items() if _about(found.path, bundle, p)))


def _about(path: Path, bundle: Bundle, policy: Policy) -> bool:
    """Whether a system, cluster or location is one that the policy rests on.

    By what the policy says, too: a cluster that did not load is in no bundle.
    """
    if len(path) < 2:
        return True
    if path[0] == "systems":
        names = check_reach.rests_on(bundle, policy)
        return any(bundle.location(name).system == path[1] for name in names)
    applied = bundle.locations_of(policy)
    if str(path[1]) in {*referenced_clusters(policy), *copied_clusters(bundle, applied)}:
        return True
    there = policy.then.copy_to
    if there is not None and there.location.partition("/")[0] == path[1]:
        return True
    location = path[3] if len(path) > 3 and path[2] == "locations" else None
    for target in policy.applies_to:
        cluster, _, key = target.partition("/")
        if target == "*" or (cluster == path[1] and (location is None or key in ("", location))):
            return True
    return False


def broken(bundle: Bundle, findings: Iterable[Finding]) -> dict[str, str]:
    """Policies that must not run: policy → the first error that stops it."""
    stopped: dict[str, str] = {}
    for found in findings:
        if found.severity is Severity.ERROR:
            for policy in affected(bundle, found):
                stopped.setdefault(policy, str(found))
    return stopped
