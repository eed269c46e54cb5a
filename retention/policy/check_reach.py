"""Which records the policies reach: locations without a rule, rules that never decide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from retention.policy.codes import finding
from retention.policy.digest import copied_clusters, referenced_clusters
from retention.policy.findings import Finding, Path, Positions
from retention.policy.model import Basis, Bundle, Policy, Then
from retention.policy.statutes import covers


def rests_on(bundle: Bundle, policy: Policy) -> tuple[str, ...]:
    """Locations that a policy applies to, and those whose dates, copies or room it uses."""
    applied = bundle.locations_of(policy)
    linked = (
        f"{cluster}/{key}"
        for cluster in (*referenced_clusters(policy), *sorted(copied_clusters(bundle, applied)))
        if cluster in bundle.clusters
        for key in bundle.clusters[cluster].locations
    )
    there = policy.then.copy_to
    into = (there.location,) if there and there.location in bundle.locations() else ()
    return tuple(dict.fromkeys((*applied, *linked, *into)))


def check(bundle: Bundle, positions: Positions) -> Iterator[Finding]:
    """All findings about clusters, purposes and reach."""
    yield from _locations(bundle, positions)
    yield from _purposes(bundle, positions)
    reach = {name: bundle.locations_of(policy) for name, policy in bundle.policies.items()}
    at: dict[str, list[str]] = {}
    for name, locations in reach.items():
        for location in locations:
            at.setdefault(location, []).append(name)
    for name, policy in bundle.policies.items():
        if not reach[name]:
            path: Path = ("policies", name, "applies_to")
            message = f"`{name}` applies to no location"
            yield finding("no-location", positions.value(path), message, path)
        yield from _consent(name, policy, bundle, positions)
        yield from _outranked(name, bundle, {place: at[place] for place in reach[name]}, positions)


def _locations(bundle: Bundle, positions: Positions) -> Iterator[Finding]:
    reached = {
        location
        for policy in bundle.policies.values()
        if policy.then.kind is not Then.KEEP
        for location in bundle.locations_of(policy)
    }
    for name in bundle.locations():
        if name not in reached:
            cluster, _, location = name.partition("/")
            path: Path = ("clusters", cluster, "locations", location)
            message = f"no policy says when records of `{name}` go"
            yield finding("no-policy", positions.key(path), message, path)


def _purposes(bundle: Bundle, positions: Positions) -> Iterator[Finding]:
    first: dict[str, tuple[str, Basis]] = {}
    for name, cluster in bundle.clusters.items():
        path: Path = ("clusters", name, "basis")
        if cluster.basis is None:
            message = f"`{name}` has no legal basis"
            yield finding("no-basis", positions.key(path), message, path)
        elif cluster.purpose is not None:
            other, basis = first.setdefault(cluster.purpose, (name, cluster.basis))
            if basis is not cluster.basis:
                message = (
                    f"the purpose `{cluster.purpose}` rests on {cluster.basis} here "
                    f"and on {basis} in `{other}`"
                )
                yield finding("mixed-bases", positions.value(path), message, path)


def _consent(name: str, policy: Policy, bundle: Bundle, positions: Positions) -> Iterator[Finding]:
    if policy.keep_at_least is None:
        return
    for cluster in dict.fromkeys(n.partition("/")[0] for n in bundle.locations_of(policy)):
        if bundle.clusters[cluster].basis is Basis.CONSENT:
            path = ("policies", name, "keep_at_least")
            message = f"`{cluster}` rests on consent, which can end any day"
            yield finding("consent-with-minimum", positions.value(path), message, path)


def _outranked(
    name: str, bundle: Bundle, at: Mapping[str, Sequence[str]], positions: Positions
) -> Iterator[Finding]:
    """A rule that never decides about any record, because others always come first.

    `at`: each of its locations, with all policies that apply there.
    """
    policy = bundle.policies[name]
    if policy.keep_at_least is not None or policy.then.kind is Then.KEEP:
        return
    others: set[str] = set()
    for location, names in at.items():
        rules = {other: bundle.policies[other] for other in names if other != name}
        above = _above(name, policy, location, rules)
        if above is None:
            return
        others.add(above)
    if others:
        path: Path = ("policies", name)
        message = f"`{name}` never decides: {', '.join(sorted(others))} always comes first"
        yield finding("always-outranked", positions.key(path), message, path)


def _above(name: str, policy: Policy, location: str, rules: Mapping[str, Policy]) -> str | None:
    """A policy that decides about every record of the location before this one can."""
    for other, rule in rules.items():
        if rule.where is not None:
            continue
        if name in rule.supersedes:
            return other
        if rule.fields != policy.fields or rule.then.kind is Then.KEEP:
            continue
        if rule.delete_at_latest is None and rule.keep_at_least is None:
            continue
        if _tier(rule, location) > _tier(policy, location):
            return other
        if _tier(rule, location) == _tier(policy, location) and _sooner(rule, policy):
            return other
    return None


def _tier(policy: Policy, location: str) -> int:
    """Most specific first (design.md §5, rule 2): where-selected, cluster or location, "*"."""
    if policy.where is not None:
        return 2
    return int(bool({location, location.partition("/")[0]} & set(policy.applies_to)))


def _sooner(rule: Policy, policy: Policy) -> bool:
    """Whether the same clock always runs out earlier under `rule`."""
    if (rule.starting_point, rule.cutoff) != (policy.starting_point, policy.cutoff):
        return False
    one, other = rule.delete_at_latest, policy.delete_at_latest
    return one is not None and other is not None and covers(other, one) and not covers(one, other)
