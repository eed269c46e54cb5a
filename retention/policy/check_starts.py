"""Starting points that some location cannot give, and those that can move for ever."""

from __future__ import annotations

from collections.abc import Iterator

from retention.policy.codes import finding
from retention.policy.digest import referenced_cluster
from retention.policy.findings import Finding, Path, Positions
from retention.policy.model import Bundle, Policy, Start
from retention.policy.words import did_you_mean


def check(bundle: Bundle, positions: Positions) -> Iterator[Finding]:
    """All findings about the starting point of each policy."""
    for name, policy in bundle.policies.items():
        if policy.starting_point is None:
            continue
        path = ("policies", name, "starting_point")
        for leaf, at in _leaves(policy.starting_point, path):
            if leaf.event is not None:
                yield from _event(leaf, at, policy, bundle, positions)
            elif cluster := referenced_cluster(leaf):
                yield from _linked(leaf, at, cluster, policy, bundle, positions)
            else:
                yield from _own(leaf, at, policy, bundle, positions)
        if policy.backstop is None and _sliding(policy.starting_point):
            message = "the starting point can move for ever, and so can the end"
            yield finding("moves-for-ever", positions.value(path), message, path)


def _leaves(start: Start, at: Path) -> Iterator[tuple[Start, Path]]:
    for field in ("latest_of", "earliest_of"):
        for index, member in enumerate(getattr(start, field) or ()):
            yield from _leaves(member, (*at, field, index))
    if start.latest_of is None and start.earliest_of is None:
        yield start, at


def _sliding(start: Start) -> bool:
    """Whether the end can move: an earliest-of with one fixed member cannot."""
    if start.sliding:
        return True
    if start.earliest_of is not None:
        return all(_sliding(member) for member in start.earliest_of)
    return any(_sliding(member) for member in start.latest_of or ())


def _own(
    leaf: Start, at: Path, policy: Policy, bundle: Bundle, positions: Positions
) -> Iterator[Finding]:
    for name in bundle.locations_of(policy):
        dates = bundle.location(name).dates
        if leaf.date not in dates and not _copies_tell(leaf, name, bundle):
            hint = did_you_mean(str(leaf.date), dates)
            message = f"`{name}` has no date `{leaf.date}`"
            yield finding("missing-date", positions.value(at), message, at, hint)


def _copies_tell(leaf: Start, name: str, bundle: Bundle) -> bool:
    """Whether another location of the cluster, which holds copies, has the date."""
    own = bundle.location(name)
    cluster = bundle.clusters[name.partition("/")[0]]
    return cluster.matched_on in own.subject and any(
        leaf.date in other.dates and cluster.matched_on in other.subject
        for other in cluster.locations.values()
    )


def _linked(
    leaf: Start, at: Path, cluster: str, policy: Policy, bundle: Bundle, positions: Positions
) -> Iterator[Finding]:
    date, key = str(leaf.date).partition(".")[2], str(leaf.matched_on)
    locations = bundle.clusters[cluster].locations
    giving = {n: location for n, location in locations.items() if date in location.dates}
    if not giving:
        dates = {d for location in locations.values() for d in location.dates}
        message = f"no location of `{cluster}` has a date `{date}`"
        yield finding(
            "missing-date", positions.value((*at, "date")), message, at, did_you_mean(date, dates)
        )
    sides = {f"{cluster}/{n}": location for n, location in giving.items()}
    sides |= {n: bundle.location(n) for n in bundle.locations_of(policy)}
    for name, location in sides.items():
        if key not in location.subject:
            hint = did_you_mean(key, location.subject)
            message = f"`{name}` has no subject key `{key}` to match on"
            yield finding("missing-key", positions.value((*at, "matched_on")), message, at, hint)


def _event(
    leaf: Start, at: Path, policy: Policy, bundle: Bundle, positions: Positions
) -> Iterator[Finding]:
    for name in bundle.locations_of(policy):
        if not bundle.location(name).subject:
            message = f"`{leaf.event}` happens to a person, and `{name}` names none"
            yield finding("missing-subject", positions.value(at), message, at)
