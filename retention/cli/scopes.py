"""What people name on the command line, checked against the policies: unknown means exit 2.

A hold on a misspelt cluster would protect nothing, and nobody would notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from retention.connectors.base import keys_of
from retention.connectors.registry import manifest
from retention.errors import PermanentFailure, UsageError
from retention.policy.words import did_you_mean
from retention.subjects.holds import Scope
from retention.subjects.keys import parse

if TYPE_CHECKING:
    from retention.policy.model import Bundle
    from retention.run.home import Home


def bundles(home: Home) -> Iterator[Bundle]:
    """What the files say, and what was approved and is still enforced."""
    yield home.in_force.bundle
    for approved in home.in_force.approved.values():
        yield approved.bundle


def reference(option: str, text: str) -> str:
    """A case's reference, fit for the audit log. Raises UsageError."""
    said = text.strip()
    if not said or len(said) > 200 or not said.isprintable() or "@" in said:
        raise UsageError(
            f"{option} takes a reference of 1 to 200 printable characters without `@`",
            hint="it stands in the audit log for good: a number, never a name or an address",
            code="reference",
        )
    return said


def person(home: Home, key: str) -> str:
    """The keyed hash of a person's key. Raises UsageError for a kind that no location maps."""
    kind, value = parse(key)
    kinds = {k for b in bundles(home) for model in b.locations().values() for k in model.subject}
    _known("subject kind", kind, kinds, "subject-kind")
    return home.ctx.hasher.subject(kind, value)


def hold_scope(
    home: Home,
    subject: str | None,
    cluster: str | None,
    location: str | None,
    record: str | None,
) -> tuple[Scope, str | None]:
    """What a hold covers, and the record's pseudonym in the log where it covers one.

    Raises UsageError unless exactly one of subject, cluster and location is given and known.
    """
    if record is not None and location is None:
        raise UsageError("--record needs the --location that it lies in", code="hold-scope")
    if sum(x is not None for x in (subject, cluster, location)) != 1:
        raise UsageError(
            "a hold covers exactly one of --subject, --cluster, --location", code="hold-scope"
        )
    if subject is not None:
        return Scope(subject=person(home, subject)), None
    if cluster is not None:
        _known(
            "cluster", cluster, {c for b in bundles(home) for c in b.clusters}, "cluster-unknown"
        )
        return Scope(cluster=cluster), None
    return _location_scope(home, location or "", record)


def _location_scope(home: Home, location: str, record: str | None) -> tuple[Scope, str | None]:
    known = {name: model for b in bundles(home) for name, model in b.locations().items()}
    _known("location", location, known, "location-unknown")
    if record is None:
        return Scope(location=location), None
    ctx, system = home.ctx, known[location].system
    # Of a record in several places the first one is held, and with it whatever lies there too.
    place = _first_place(home, location, record)
    mark = ctx.hasher.record(system, location, place)
    name = ctx.log.pseudonymiser(system, location, ctx.clock.now()).of(record)
    return Scope(location=location, record=mark), name


def _first_place(home: Home, location: str, record: str) -> str:
    bundle = next(b for b in bundles(home) if location in b.locations())
    kind = manifest(bundle.systems[bundle.location(location).system].connector)
    try:
        return keys_of(kind, record)[0]
    except PermanentFailure as error:
        raise UsageError(
            error.message, hint="keys stand in `retention plan --all`", code="record-unknown"
        ) from None


def known_event(home: Home, name: str) -> None:
    """Raises UsageError for an event that no policy's starting point names."""
    _known("event", name, set(_events(home)), "event-unknown")


def _events(home: Home) -> Iterator[str]:
    for bundle in bundles(home):
        for policy in bundle.policies.values():
            for leaf in policy.starting_point.leaves() if policy.starting_point else ():
                if leaf.event:
                    yield leaf.event


def known_purpose(home: Home, text: str) -> str:
    """A purpose's text or a cluster's name, as withdrawals are recorded. Raises UsageError."""
    purposes = {c.purpose for b in bundles(home) for c in b.clusters.values() if c.purpose}
    clusters = {name for b in bundles(home) for name in b.clusters}
    if text not in purposes | clusters:
        raise UsageError(
            f"no policy speaks of the purpose `{text}`",
            hint="there are " + "; ".join(f"`{p}`" for p in sorted(purposes | clusters)),
            code="purpose-unknown",
        )
    if "@" in text:
        raise UsageError(
            "a purpose with `@` in it cannot stand in the audit log",
            hint="name the cluster instead",
            code="purpose-unknown",
        )
    return text


def sole_consent(home: Home) -> str:
    """The one cluster that rests on consent. Raises UsageError where there are several, or none.

    Consent belongs to a purpose: ending another one as well would delete too much.
    """
    from retention.policy.model import Basis

    found = {
        name
        for bundle in bundles(home)
        for name, cluster in bundle.clusters.items()
        if cluster.basis is Basis.CONSENT
    }
    if len(found) != 1:
        raise UsageError(
            "consent is withdrawn for one purpose",
            hint="retention consent withdraw --subject KEY --purpose P",
            code="purpose-needed",
        )
    return found.pop()


def _known(what: str, name: str, names: Iterable[str], code: str) -> None:
    if name not in names:
        raise UsageError(
            f"no policy speaks of the {what} `{name}`", hint=did_you_mean(name, names), code=code
        )
