"""From a folder of YAML files to one bundle, or to everything that is wrong with it at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retention.policy import document, references, selectors
from retention.policy.codes import finding
from retention.policy.digest import digest, extract, from_json, to_json
from retention.policy.document import Document
from retention.policy.files import policy_files, text_of
from retention.policy.findings import Finding, Positions, Severity, order
from retention.policy.form import validated
from retention.policy.merge import Merged, merge
from retention.policy.model import Bundle, Cluster, Organisation, Policy, SystemModel
from retention.policy.plain_secrets import secrets_in

__all__ = ["Loaded", "digest", "extract", "from_json", "load", "to_json"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a folder says.

    `bundle` is None where anything at all is wrong: a rule that could not be read may have been
    the one that protects. Its mandates are resolved. `partial` is what could be read all the
    same: a service that runs already goes on with it for what was approved before.
    """

    folder: Path
    files: tuple[Path, ...]
    bundle: Bundle | None
    findings: tuple[Finding, ...]
    positions: Positions
    partial: Bundle | None = None

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that are errors."""
        return tuple(f for f in self.findings if f.severity is Severity.ERROR)


def load(folder: Path) -> Loaded:
    """Read, merge and check every policy file below `folder`. Never raises for what files say."""
    files, findings = policy_files(folder)
    documents: list[tuple[str, Document]] = []
    for path in files:
        text = text_of(path)
        if isinstance(text, Finding):
            findings.append(text)
        else:
            documents.append((str(path), document.read(text)))
    merged = merge(documents)
    findings += merged.findings
    positions = merged.positions(str(folder))
    bundle, wrong = _Builder(merged, positions).bundle()
    findings = sorted(dict.fromkeys([*findings, *wrong]), key=order)
    wrong_at_all = any(f.severity is Severity.ERROR for f in findings)
    return Loaded(
        folder, files, None if wrong_at_all else bundle, tuple(findings), positions, bundle
    )


class _Builder:
    """Checks one part after the other, so that one mistake does not hide the next."""

    def __init__(self, merged: Merged, positions: Positions) -> None:
        self.merged = merged
        self.positions = positions
        self.findings: list[Finding] = []

    def bundle(self) -> tuple[Bundle | None, list[Finding]]:
        organisation = self._organisation()
        self.findings += selectors.names(self.merged.named, self.positions)
        systems = self._systems()
        clusters = self._clusters()
        policies = self._policies()
        if organisation is None:
            return None, self.findings
        bundle = Bundle.model_construct(
            organisation=organisation, systems=systems, clusters=clusters, policies=policies
        )
        return bundle, self.findings

    def _organisation(self) -> Organisation | None:
        path = ("organisation",)
        data = self.merged.organisation
        if path not in self.positions.keys:
            self.findings.append(
                finding("no-organisation", self.positions.nowhere, "no organisation is defined")
            )
            return None
        self._general(data, path)
        self.findings += selectors.limits(data, path, self.positions)
        said, wrong = validated(Organisation, data, path, self.positions)
        self.findings += wrong
        if said is not None:
            self.findings += selectors.organisation(said, self.positions)
        return said

    def _systems(self) -> dict[str, SystemModel]:
        systems: dict[str, SystemModel] = {}
        for name, data in self.merged.named["systems"].items():
            self._general(data, ("systems", name))
            said, wrong = validated(SystemModel, data, ("systems", name), self.positions)
            self.findings += wrong
            if said is not None:
                systems[name] = said
        return systems

    def _clusters(self) -> dict[str, Cluster]:
        clusters: dict[str, Cluster] = {}
        known = frozenset(self.merged.named["systems"])
        for name, data in self.merged.named["clusters"].items():
            path = ("clusters", name)
            self._general(data, path)
            for key, location in _locations(data):
                inside = (*path, "locations", key)
                self.findings += selectors.filters(location, inside, self.positions)
                self.findings += references.system_of(location, inside, known, self.positions)
            said, wrong = validated(Cluster, data, path, self.positions)
            self.findings += wrong
            if said is not None:
                clusters[name] = said
        return clusters

    def _policies(self) -> dict[str, Policy]:
        policies: dict[str, Policy] = {}
        names = frozenset(self.merged.named["policies"])
        # A cluster with a mistake of its own still exists for those who name it.
        locations = {
            name: frozenset(key for key, _ in _locations(data))
            for name, data in self.merged.named["clusters"].items()
        }
        for name, data in self.merged.named["policies"].items():
            path = ("policies", name)
            self._general(data, path)
            self.findings += selectors.filters(data, path, self.positions)
            self.findings += selectors.targets(data, path, self.positions)
            self.findings += references.targets(data, path, locations, self.positions)
            self.findings += selectors.limits(data, path, self.positions)
            said, wrong = validated(Policy, data, path, self.positions)
            self.findings += wrong
            if said is None:
                continue
            self.findings += references.of_policy(name, said, locations, names, self.positions)
            policies[name], problem = references.with_mandate(name, said, self.positions)
            self.findings += [problem] if problem else []
        self.findings += references.circles(policies, self.positions)
        return policies

    def _general(self, data: Any, path: tuple[str | int, ...]) -> None:
        self.findings += secrets_in(data, path, self.positions)
        self.findings += selectors.empties(data, path, self.positions)


def _locations(cluster: Any) -> Iterator[tuple[str, Any]]:
    said = cluster.get("locations") if isinstance(cluster, Mapping) else None
    yield from said.items() if isinstance(said, Mapping) else ()
