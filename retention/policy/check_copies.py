"""Copies of the same records in several locations, and records that are copied before they go."""

from __future__ import annotations

from collections.abc import Iterator

from retention.policy.codes import finding
from retention.policy.findings import Finding, Path, Positions
from retention.policy.model import Bundle, LocationModel, Policy
from retention.policy.words import did_you_mean


def check(bundle: Bundle, positions: Positions) -> Iterator[Finding]:
    """All findings about `matched_on` of clusters and about `copy_to`."""
    for name, cluster in bundle.clusters.items():
        if cluster.matched_on is not None:
            yield from _matched(name, cluster.matched_on, bundle, positions)
    for name, policy in bundle.policies.items():
        if policy.then.copy_to is not None:
            yield from _copied(name, policy, bundle, positions)


def _matched(name: str, kind: str, bundle: Bundle, positions: Positions) -> Iterator[Finding]:
    locations = bundle.clusters[name].locations
    path: Path = ("clusters", name, "matched_on")
    known = {k for location in locations.values() for k in location.subject}
    if kind not in known:
        message = f"no location of `{name}` has a subject key `{kind}`"
        yield finding(
            "missing-key", positions.value(path), message, path, did_you_mean(kind, known)
        )
        return
    for short, location in locations.items():
        if kind not in location.subject:
            message = f"`{name}/{short}` has no `{kind}`: its records stand for themselves"
            yield finding("copies-unmatched", positions.value(path), message, path)


def _copied(name: str, policy: Policy, bundle: Bundle, positions: Positions) -> Iterator[Finding]:
    there = policy.then.copy_to
    if there is None:
        return
    at: Path = ("policies", name, "then", "copy_to")
    place = positions.value((*at, "location"))
    if there.location not in bundle.locations():
        hint = did_you_mean(there.location, bundle.locations())
        message = f"there is no location `{there.location}`"
        yield finding("unknown-copy-target", place, message, (*at, "location"), hint)
    from_here = bundle.locations_of(policy)
    if there.location in from_here:
        message = f"`{name}` would delete what it has just copied into `{there.location}`"
        yield finding("copy-into-itself", place, message, (*at, "location"))
    for column, value in there.values.items():
        for location in from_here:
            if _maps(bundle, location) and value not in _names(bundle.location(location)):
                message = f"`{location}` has no date, field or subject key `{value}`"
                hint = did_you_mean(value, _names(bundle.location(location)))
                path = (*at, "values", column)
                yield finding("unknown-copy-value", positions.value(path), message, path, hint)


def _names(location: LocationModel) -> frozenset[str]:
    mapped = {*location.dates, *location.fields, *location.subject}
    people = {s for several in location.subject_sources().values() for s in several}
    return frozenset({*mapped, *location.dates.values(), *location.fields.values(), *people})


def _maps(bundle: Bundle, location: str) -> bool:
    """A location that maps fields has said which there are; else names are the system's own."""
    return bool(bundle.location(location).fields)
