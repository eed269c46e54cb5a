"""What policies do with records: replacements, single fields, suppression, reviewers."""

from __future__ import annotations

from collections.abc import Iterator

from retention.policy.codes import finding
from retention.policy.findings import Finding, Path, Positions
from retention.policy.model import Approval, Bundle, LocationModel, Policy, Then
from retention.policy.words import did_you_mean


def check(bundle: Bundle, positions: Positions) -> Iterator[Finding]:
    """All findings about what is done then."""
    for name, policy in bundle.policies.items():
        yield from _masks(name, policy, positions)
        yield from _fields(name, policy, bundle, positions)
        yield from _suppress(name, policy, bundle, positions)
        yield from _people(name, policy, positions)


def _masks(name: str, policy: Policy, positions: Positions) -> Iterator[Finding]:
    path: Path = ("policies", name, "then")
    if policy.then.kind is Then.ANONYMISE:
        said = policy.then.anonymise or {}
        if not said:
            yield finding("bad-mask", positions.value(path), "no field is named", path)
        for field, value in said.items():
            if value is not None and not isinstance(value, str | int | float | bool):
                at = (*path, "anonymise", field)
                message = f"`{field}` cannot be replaced by this"
                yield finding("bad-mask", positions.value(at), message, at)
        for field in policy.fields:
            if field not in said:
                at = ("policies", name, "fields")
                message = f"`{field}` gets no value under `anonymise`"
                yield finding("bad-mask", positions.value(at), message, at)
    if policy.then.kind in (Then.HAND_OVER, Then.COPY_TO) and policy.fields:
        at = ("policies", name, "fields")
        message = "a record is handed over, or copied and deleted, whole"
        yield finding("cannot-hand-over-fields", positions.key(at), message, at)


def _fields(name: str, policy: Policy, bundle: Bundle, positions: Positions) -> Iterator[Finding]:
    named: dict[str, Path] = {
        field: ("policies", name, "then", "anonymise", field)
        for field in policy.then.anonymise or {}
    }
    for index, field in enumerate(policy.fields):
        named.setdefault(field, ("policies", name, "fields", index))
    for location_name in bundle.locations_of(policy):
        location = bundle.location(location_name)
        for field, path in named.items():
            if field in _known(location):
                continue
            if location.fields:
                hint = did_you_mean(field, location.fields)
                message = f"`{location_name}` maps no field `{field}`"
                yield finding("unknown-record-field", positions.value(path), message, path, hint)
            else:
                message = f"`{field}` is taken as a name of `{location_name}` itself"
                yield finding("unmapped-record-field", positions.value(path), message, path)


def _known(location: LocationModel) -> frozenset[str]:
    """Names that stand in the location: mapped fields, and the sources of fields and subjects."""
    sources = {s for several in location.subject_sources().values() for s in several}
    return frozenset({*location.fields, *location.fields.values(), *sources})


def _suppress(name: str, policy: Policy, bundle: Bundle, positions: Positions) -> Iterator[Finding]:
    kinds = {k for n in bundle.locations_of(policy) for k in bundle.location(n).subject}
    for index, kind in enumerate(policy.suppress):
        if kind not in kinds:
            path = ("policies", name, "suppress", index)
            message = f"no location of `{name}` has a subject key `{kind}`"
            yield finding(
                "unused-suppress", positions.value(path), message, path, did_you_mean(kind, kinds)
            )


def _people(name: str, policy: Policy, positions: Positions) -> Iterator[Finding]:
    if policy.then.kind is Then.REVIEW and policy.review is None:
        path: Path = ("policies", name, "then")
        message = f"`{name}` asks for a review, but of whom?"
        yield finding("review-without-reviewer", positions.value(path), message, path)
    if policy.approval is Approval.NONE and policy.destructive:
        path = ("policies", name, "approval")
        message = f"`{name}` disposes without anyone having looked"
        yield finding("approval-none", positions.value(path), message, path)
