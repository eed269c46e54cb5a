"""Names that files use: each must be defined somewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from retention.policy.codes import finding
from retention.policy.digest import referenced_cluster
from retention.policy.findings import Finding, Path, Positions
from retention.policy.model import Policy, Start
from retention.policy.statutes import MandateError, catalogue, resolve
from retention.policy.words import did_you_mean


def system_of(
    location: Any, at: Path, systems: frozenset[str], positions: Positions
) -> Iterator[Finding]:
    """A location in a system that no file defines."""
    said = location.get("system") if isinstance(location, Mapping) else None
    if isinstance(said, str) and said not in systems:
        at = (*at, "system")
        message = f"there is no system `{said}`"
        hint = did_you_mean(said, systems)
        yield finding("unknown-system", positions.value(at), message, at, hint)


def of_policy(
    name: str,
    policy: Policy,
    clusters: Mapping[str, frozenset[str]],
    policies: frozenset[str],
    positions: Positions,
) -> Iterator[Finding]:
    """What a policy names and nobody defines. `clusters`: cluster → its locations."""
    if policy.starting_point is not None:
        at: Path = ("policies", name, "starting_point")
        yield from _start(policy.starting_point, at, clusters, positions)
    for index, other in enumerate(policy.supersedes):
        if other not in policies or other == name:
            at = ("policies", name, "supersedes", index)
            hint = did_you_mean(other, policies - {name})
            message = f"there is no other policy `{other}`"
            yield finding("unknown-policy", positions.value(at), message, at, hint)


def targets(
    policy: Any, path: Path, clusters: Mapping[str, frozenset[str]], positions: Positions
) -> Iterator[Finding]:
    """Clusters and locations that a policy, as its file says it, applies to and nobody defines."""
    said = policy.get("applies_to") if isinstance(policy, Mapping) else None
    listed = said if isinstance(said, list) else [said]
    for index, target in enumerate(listed):
        if not isinstance(target, str):
            continue
        at = (*path, "applies_to", index)
        cluster, slash, location = target.partition("/")
        if target in ("", "*"):
            continue
        if cluster not in clusters:
            hint = did_you_mean(cluster, clusters)
            message = f"there is no cluster `{cluster}`"
            yield finding("unknown-target", positions.value(at), message, at, hint)
        elif slash and location not in clusters[cluster]:
            hint = did_you_mean(location, clusters[cluster])
            message = f"the cluster `{cluster}` has no location `{location}`"
            yield finding("unknown-target", positions.value(at), message, at, hint)


def _start(
    start: Start, at: Path, clusters: Mapping[str, frozenset[str]], positions: Positions
) -> Iterator[Finding]:
    for field in ("latest_of", "earliest_of"):
        for index, member in enumerate(getattr(start, field) or ()):
            yield from _start(member, (*at, field, index), clusters, positions)
    cluster = referenced_cluster(start)
    if cluster is not None and cluster not in clusters:
        hint = did_you_mean(cluster, clusters)
        message = f"there is no cluster `{cluster}`"
        yield finding("unknown-cluster", positions.value((*at, "date")), message, at, hint)


def circles(policies: Mapping[str, Policy], positions: Positions) -> Iterator[Finding]:
    """Policies that supersede each other, directly or through others."""
    for name in policies:
        seen: set[str] = set()
        todo = [other for other in policies[name].supersedes if other != name]
        while todo:
            other = todo.pop()
            if other not in seen and other in policies:
                seen.add(other)
                todo.extend(policies[other].supersedes)
        if name in seen:
            at = ("policies", name, "supersedes")
            message = f"`{name}` supersedes itself through others"
            yield finding("supersedes-circle", positions.key(at), message, at)


def with_mandate(name: str, policy: Policy, positions: Positions) -> tuple[Policy, Finding | None]:
    """The policy with what its mandate fills in, or why it cannot be filled in."""
    if policy.mandate is None:
        return policy, None
    at: Path = ("policies", name, "mandate")
    statute = catalogue().get(policy.mandate)
    if statute is None:
        hint = did_you_mean(policy.mandate, catalogue()) or "see docs/reference/statutes.md"
        message = f"the catalogue has no `{policy.mandate}`"
        return policy, finding("unknown-mandate", positions.value(at), message, at, hint)
    try:
        return resolve(policy, statute), None
    except MandateError as error:
        at = ("policies", name, error.field)
        return policy, finding(error.code, positions.value(at), str(error), at, error.hint)
