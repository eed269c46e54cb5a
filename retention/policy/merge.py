"""The files of a folder as one tree: sections merged, names unique, places remembered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from retention.policy import document
from retention.policy.codes import finding
from retention.policy.document import Document, Node
from retention.policy.findings import Finding, Path, Place, Positions
from retention.policy.words import did_you_mean

NAMED = ("systems", "clusters", "policies")
SECTIONS = ("organisation", *NAMED)


@dataclass(slots=True)
class Merged:
    """Plain data of all sections, with positions; `organisation` is None where none is said."""

    organisation: Any = None
    named: dict[str, dict[str, Any]] = field(default_factory=lambda: {s: {} for s in NAMED})
    keys: dict[Path, Place] = field(default_factory=dict)
    values: dict[Path, Place] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def positions(self, folder: str) -> Positions:
        """Places of everything; `folder` stands for what is in no file."""
        return Positions(self.keys, self.values, Place(folder, 0, 0))


def merge(documents: Iterable[tuple[str, Document]]) -> Merged:
    """Merge what files say. A name that is defined twice is a finding; the first one stays."""
    merged = Merged()
    for file, read in documents:
        for problem in read.problems:
            place = Place(file, problem.line, problem.col)
            merged.findings.append(
                finding(problem.code, place, problem.message, problem.path, problem.hint)
            )
        for root in read.roots:
            _root(merged, file, root)
    return merged


def _root(merged: Merged, file: str, root: Node) -> None:
    if root.value is None:
        return
    if not isinstance(root.value, dict):
        place = Place(file, root.line, root.col)
        merged.findings.append(
            finding("wrong-type", place, f"expected {', '.join(SECTIONS)} at the top")
        )
        return
    for section, ((line, col), node) in root.value.items():
        place = Place(file, line, col)
        if section == "organisation":
            _organisation(merged, place, node)
        elif section in NAMED:
            _named(merged, section, place, node)
        else:
            hint = did_you_mean(section, SECTIONS)
            merged.findings.append(
                finding(
                    "unknown-field", place, f"there is no section `{section}`", (section,), hint
                )
            )


def _organisation(merged: Merged, place: Place, node: Node) -> None:
    path: Path = ("organisation",)
    if path in merged.keys:
        first = merged.keys[path]
        merged.findings.append(
            finding(
                "duplicate-name",
                place,
                f"the organisation is defined twice; first in {first.file}:{first.line}",
                path,
            )
        )
        return
    merged.keys[path] = place
    _remember(merged, path, place.file, node)
    merged.organisation = document.plain(node)


def _named(merged: Merged, section: str, place: Place, node: Node) -> None:
    if node.value is None:
        merged.findings.append(
            finding("empty-value", place, f"`{section}` has no value", (section,))
        )
        return
    if not isinstance(node.value, dict):
        at = Place(place.file, node.line, node.col)
        merged.findings.append(
            finding("wrong-type", at, f"`{section}` holds names, each with its fields", (section,))
        )
        return
    merged.keys.setdefault((section,), place)
    for name, ((line, col), child) in node.value.items():
        path: Path = (section, name)
        at = Place(place.file, line, col)
        if path in merged.keys:
            first = merged.keys[path]
            merged.findings.append(
                finding(
                    "duplicate-name",
                    at,
                    f"`{name}` is defined twice; first in {first.file}:{first.line}",
                    path,
                )
            )
            continue
        merged.keys[path] = at
        _remember(merged, path, place.file, child)
        merged.named[section][name] = document.plain(child)


def _remember(merged: Merged, path: Path, file: str, node: Node) -> None:
    merged.values[path] = Place(file, node.line, node.col)
    if isinstance(node.value, dict):
        for key, ((line, col), child) in node.value.items():
            merged.keys[(*path, key)] = Place(file, line, col)
            _remember(merged, (*path, key), file, child)
    elif isinstance(node.value, list):
        for index, child in enumerate(node.value):
            merged.keys[(*path, index)] = Place(file, child.line, child.col)
            _remember(merged, (*path, index), file, child)
