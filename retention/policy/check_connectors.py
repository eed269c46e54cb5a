"""Systems and locations against what their connectors take and can do.

This room never imports connectors: what it needs to know of them comes in as plain facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Flag
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from retention.policy.codes import finding
from retention.policy.findings import Finding, Path, Positions
from retention.policy.form import as_findings
from retention.policy.model import Bundle, Policy, Then
from retention.policy.plain_secrets import is_reference
from retention.policy.words import did_you_mean

LATER = frozenset({"graph", "http", "manual"})
"""Kinds that are known to come; naming one is no typing mistake."""


@dataclass(frozen=True, slots=True)
class ConnectorFacts:
    """A connector as plain data. `can`: names of capabilities, small letters.

    `broken` says why a registered kind cannot be used; its settings are then not looked at.
    """

    kind: str
    can: frozenset[str] = frozenset()
    system_settings: type[BaseModel] | None = None
    location_settings: type[BaseModel] | None = None
    broken: str = ""


class ManifestLike(Protocol):
    """What is read of a connector's manifest."""

    @property
    def kind(self) -> str: ...
    @property
    def capabilities(self) -> Flag: ...
    @property
    def system_settings(self) -> type[BaseModel]: ...
    @property
    def location_settings(self) -> type[BaseModel]: ...


class RegisteredLike(Protocol):
    """What is read of a registry's entry."""

    @property
    def manifest(self) -> ManifestLike | None: ...
    @property
    def broken(self) -> str: ...


def connector_facts(registered: Mapping[str, RegisteredLike]) -> dict[str, ConnectorFacts]:
    """What a registry knows of its kinds, as plain data."""
    facts: dict[str, ConnectorFacts] = {}
    for kind, entry in registered.items():
        manifest = entry.manifest
        if manifest is None:
            facts[kind] = ConnectorFacts(kind, broken=entry.broken or "it does not load")
        else:
            names: Iterable[str | None] = (c.name for c in manifest.capabilities)
            facts[kind] = ConnectorFacts(
                kind,
                frozenset(name.lower() for name in names if name),
                manifest.system_settings,
                manifest.location_settings,
            )
    return facts


def check(
    bundle: Bundle, positions: Positions, connectors: Mapping[str, ConnectorFacts]
) -> Iterator[Finding]:
    """All findings about systems, locations' own fields, and actions."""
    for name, system in bundle.systems.items():
        path: Path = ("systems", name)
        facts = connectors.get(system.connector)
        if facts is None or facts.broken:
            yield from _unusable(name, bundle, positions, connectors)
        elif facts.system_settings is not None:
            yield from settings(facts.system_settings, system.settings, path, positions)
    for name, location in bundle.locations().items():
        cluster, _, key = name.partition("/")
        facts = connectors.get(bundle.systems[location.system].connector)
        if facts is not None and facts.location_settings is not None:
            path = ("clusters", cluster, "locations", key)
            yield from settings(facts.location_settings, location.settings, path, positions)
    for name, policy in bundle.policies.items():
        yield from _actions(name, policy, bundle, positions, connectors)


def _unusable(
    name: str, bundle: Bundle, positions: Positions, connectors: Mapping[str, ConnectorFacts]
) -> Iterator[Finding]:
    kind = bundle.systems[name].connector
    at: Path = ("systems", name, "connector")
    if kind in connectors:
        message = f"the connector `{kind}` cannot be used: {connectors[kind].broken}"
        yield finding("connector-broken", positions.value(at), message, at)
        return
    if kind not in LATER:
        message = f"there is no connector `{kind}`"
        hint = did_you_mean(kind, connectors)
        yield finding("connector-unknown", positions.value(at), message, at, hint)
        return
    message = f"this version has no connector `{kind}`, which `{name}` needs"
    users = [
        policy
        for policy, said in bundle.policies.items()
        if any(bundle.location(n).system == name for n in bundle.locations_of(said))
    ]
    for policy in users:
        path = ("policies", policy, "applies_to")
        yield finding("connector-not-available", positions.value(path), message, path)
    if not users:
        yield finding("connector-not-available", positions.value(at), message, at)


def settings(
    model: type[BaseModel], values: Mapping[str, Any], path: Path, positions: Positions
) -> Iterator[Finding]:
    """What a connector says about its own fields of a system or location.

    Some connectors take a secret's place, some only its text, which is not known here: what they
    say about the place of a secret is left out, and the rest is asked once more with a stand-in.
    """
    secrets = {name for name, value in values.items() if is_reference(value)}
    for stand_in in (False, True):
        said = {
            name: "x" if stand_in and name in secrets else value for name, value in values.items()
        }
        try:
            model.model_validate(said)
        except ValidationError as error:
            found = [
                f
                for f in as_findings(error, model, said, path, positions, code="connector-setting")
                if len(f.path) <= len(path) or f.path[len(path)] not in secrets
            ]
        else:
            return
        if found or not secrets:
            yield from found
            return


_NEEDS: Mapping[Then, frozenset[str]] = {
    Then.DELETE: frozenset({"delete"}),
    Then.ANONYMISE: frozenset({"mask"}),
    Then.HAND_OVER: frozenset({"read", "delete"}),
    Then.COPY_TO: frozenset({"delete"}),
}
_WORDS = {
    "delete": "delete records",
    "mask": "overwrite fields",
    "read": "read whole records",
    "receive": "take in copies",
}


def _actions(
    name: str,
    policy: Policy,
    bundle: Bundle,
    positions: Positions,
    connectors: Mapping[str, ConnectorFacts],
) -> Iterator[Finding]:
    needs = _NEEDS.get(policy.then.kind, frozenset())
    if policy.fields and policy.then.kind is Then.DELETE:
        needs = frozenset({"mask"})
    yield from _receiver(name, policy, bundle, positions, connectors)
    for location in bundle.locations_of(policy):
        system = bundle.location(location).system
        facts = connectors.get(bundle.systems[system].connector)
        if facts is None or facts.broken:
            continue
        for lacking in sorted(needs - facts.can):
            path: Path = ("policies", name, "then")
            message = f"`{facts.kind}` ({location}) cannot {_WORDS[lacking]}"
            yield finding("cannot-act", positions.value(path), message, path)
        if policy.grace is not None and "bin" not in facts.can:
            path = ("policies", name, "grace")
            message = f"`{facts.kind}` ({location}) has no bin"
            yield finding("no-bin", positions.value(path), message, path)


def _receiver(
    name: str,
    policy: Policy,
    bundle: Bundle,
    positions: Positions,
    connectors: Mapping[str, ConnectorFacts],
) -> Iterator[Finding]:
    """Whether the place that records are copied into takes copies in."""
    there = policy.then.copy_to
    if there is None or there.location not in bundle.locations():
        return
    system = bundle.location(there.location).system
    facts = connectors.get(bundle.systems[system].connector)
    if facts is not None and not facts.broken and "receive" not in facts.can:
        path: Path = ("policies", name, "then", "copy_to", "location")
        message = f"`{facts.kind}` ({there.location}) cannot {_WORDS['receive']}"
        yield finding("cannot-act", positions.value(path), message, path)
