"""What identifies a policy: its digest, and the self-contained part of a bundle it rests on.

An approval names a digest. So the digest covers everything that decides which records a policy
touches, when, and what then happens; and nothing that is only wording, so that a corrected title
needs no new approval.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

import rfc8785
from pydantic import BaseModel

from retention.policy.model import Bundle, Cluster, LocationModel, Policy, Start, SystemModel

WORDING = frozenset({"title", "owner", "source", "law"})
"""Fields of policies, clusters and the organisation that only explain."""
_NOT_DECIDING = frozenset({"title", "rate"})
"""The same for systems and locations, whose other fields are their connector's."""
_DESCRIBING = WORDING | {"subjects", "data"}
"""The same for clusters, whose data and people stand in the register."""
_UNORDERED = frozenset({"applies_to", "fields", "suppress", "supersedes"})
_FORM = 1
"""Raise when the same files come to mean something else: every policy then asks for approval."""
_URL_PASSWORD = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]+(?=@)")
_SAFE_INTEGER = 2**53 - 1


def digest(bundle: Bundle, policy_name: str) -> str:
    """`sha256:<hex>` over the RFC 8785 form of all that decides. Raises KeyError.

    Values said explicitly and the same values by default give the same digest; so does a password
    that moved to a new value, as only the place of a secret is known here.
    """
    policy = bundle.policies[policy_name]
    part = extract(bundle, policy_name)
    said = _plain(policy)
    if "review" in said:
        said["review"].pop("by", None)
    organisation = _plain(bundle.organisation)
    organisation.pop("name", None)
    body = {
        "form": _FORM,
        "policy": {policy_name: said},
        "organisation": organisation,
        "clusters": {name: _cluster(cluster) for name, cluster in part.clusters.items()},
        "applies_to": sorted(part.locations_of(policy)),
        "systems": {name: _plain(system) for name, system in part.systems.items()},
    }
    return "sha256:" + sha256(rfc8785.dumps(_canonical(body))).hexdigest()


def extract(bundle: Bundle, policy_name: str) -> Bundle:
    """The sub-bundle that decides about one policy, self-contained. Raises KeyError.

    It holds the policy, the locations it applies to in their clusters, the whole of each cluster
    whose dates its starting point uses or whose locations hold copies of the same records, the
    location it copies into, and the systems of all those.
    """
    policy = bundle.policies[policy_name]
    applied = set(bundle.locations_of(policy))
    referenced = set(referenced_clusters(policy)) | copied_clusters(bundle, applied)
    if policy.then.copy_to is not None:
        applied.add(policy.then.copy_to.location)
    clusters: dict[str, Cluster] = {}
    for name in sorted({location.partition("/")[0] for location in applied} | referenced):
        if (cluster := bundle.clusters.get(name)) is None:
            continue
        kept = {
            key: location
            for key, location in cluster.locations.items()
            if name in referenced or f"{name}/{key}" in applied
        }
        if kept:
            clusters[name] = cluster.model_copy(update={"locations": kept})
    systems = {
        location.system for cluster in clusters.values() for location in cluster.locations.values()
    }
    return Bundle(
        organisation=bundle.organisation,
        systems={name: bundle.systems[name] for name in sorted(systems & bundle.systems.keys())},
        clusters=clusters,
        policies={policy_name: policy},
    )


def referenced_clusters(policy: Policy) -> Iterator[str]:
    """Clusters whose dates the policy's starting point uses (`customers` in `customers.ended`)."""
    leaves = policy.starting_point.leaves() if policy.starting_point is not None else ()
    for leaf in leaves:
        if cluster := referenced_cluster(leaf):
            yield cluster


def copied_clusters(bundle: Bundle, locations: Iterable[str]) -> set[str]:
    """Clusters of these locations in which several hold copies of the same records."""
    named = {name.partition("/")[0] for name in locations}
    return {n for n in named if n in bundle.clusters and bundle.clusters[n].matched_on is not None}


def referenced_cluster(leaf: Start) -> str | None:
    """The cluster in a `cluster.date`, or None where the date is the record's own."""
    cluster, dot, _ = (leaf.date or "").partition(".")
    return cluster if dot else None


def to_json(bundle: Bundle) -> dict[str, Any]:
    """The bundle as plain JSON data; only what differs from the defaults."""
    plain: dict[str, Any] = bundle.model_dump(mode="json", exclude_defaults=True)
    return plain


def from_json(data: dict[str, Any]) -> Bundle:
    """The bundle that `to_json` wrote. Raises pydantic.ValidationError."""
    return Bundle.model_validate(data)


def _plain(model: BaseModel) -> dict[str, Any]:
    wording = WORDING
    if isinstance(model, SystemModel | LocationModel):
        wording = _NOT_DECIDING
    elif isinstance(model, Cluster):
        wording = _DESCRIBING
    said: dict[str, Any] = model.model_dump(mode="json", exclude_defaults=True)
    return {
        key: sorted(value) if key in _UNORDERED and isinstance(value, list) else value
        for key, value in said.items()
        if key not in wording
    }


def _cluster(cluster: Cluster) -> dict[str, Any]:
    said = _plain(cluster)
    said["locations"] = {name: _plain(location) for name, location in cluster.locations.items()}
    return said


def _canonical(value: Any) -> Any:
    """RFC 8785 knows no integers beyond 2^53, and a digest must not depend on a URL's password."""
    if isinstance(value, dict):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, str):
        return _URL_PASSWORD.sub(r"\1", value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > _SAFE_INTEGER:
        return f"integer:{value}"
    return value
