"""Names, selectors, filters and limits of files: what must not be empty, and what must parse."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from retention.policy import where
from retention.policy.accounting import accounting_years
from retention.policy.codes import finding
from retention.policy.findings import Finding, Path, Positions
from retention.policy.merge import NAMED
from retention.policy.model import Organisation

_NAME = re.compile(r"\w[\w-]*")
_MAY_HOLD_NULL = frozenset({"anonymise", "match"})
"""Here null is a value: the one a field gets, or the one a column has."""
_OTHERWISE = frozenset({"where", "applies_to"})
"""Looked at as selectors."""


def names(named: Mapping[str, Mapping[str, Any]], positions: Positions) -> Iterator[Finding]:
    """Names that would be mistaken for something else: `/`, `.`, `@` and `*` have meanings."""
    for section in NAMED:
        for name, body in named[section].items():
            yield from _name(name, (section, name), positions)
            if section == "clusters" and isinstance(body, Mapping):
                locations = body.get("locations")
                for location in locations if isinstance(locations, Mapping) else ():
                    at = (section, name, "locations", location)
                    yield from _name(location, at, positions)


def _name(name: str, path: Path, positions: Positions) -> Iterator[Finding]:
    if not _NAME.fullmatch(name):
        yield finding("bad-name", positions.key(path), f"`{name}` cannot be a name", path)


def empties(data: Any, path: Path, positions: Positions) -> Iterator[Finding]:
    """Keys without a value, which YAML reads as null: never "no filter", never "no limit"."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            at = (*path, key)
            if key in _OTHERWISE or (key in _MAY_HOLD_NULL and value is not None):
                continue
            if value is None:
                yield finding("empty-value", positions.key(at), f"`{key}` has no value", at)
            else:
                yield from empties(value, at, positions)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            at = (*path, index)
            if value is None:
                yield finding("empty-value", positions.key(at), "an entry has no value", at)
            else:
                yield from empties(value, at, positions)


def filters(data: Any, path: Path, positions: Positions) -> Iterator[Finding]:
    """A `where` of a policy or location that is empty or cannot be understood."""
    if not isinstance(data, Mapping) or "where" not in data:
        return
    at = (*path, "where")
    said = data["where"]
    if said is not None and not isinstance(said, Mapping):
        yield finding("wrong-type", positions.value(at), "expected fields with values", at)
        return
    try:
        where.parse(said or {})
    except where.WhereError as error:
        code = "empty-selector" if error.empty else "bad-where"
        inside = (*at, *error.path)
        yield finding(code, positions.key(inside), str(error), inside, error.hint)


def targets(data: Any, path: Path, positions: Positions) -> Iterator[Finding]:
    """An `applies_to` that selects nothing."""
    if not isinstance(data, Mapping) or "applies_to" not in data:
        return
    said, at = data["applies_to"], (*path, "applies_to")
    if said is None or said in ("", []):
        yield finding("empty-selector", positions.value(at), "applies to nothing", at)
    elif isinstance(said, list):
        for index, target in enumerate(said):
            if target == "":
                inside = (*at, index)
                yield finding("empty-selector", positions.value(inside), "names nothing", inside)


def limits(data: Any, path: Path, positions: Positions) -> Iterator[Finding]:
    """A `limits` that stops nothing."""
    said = data.get("limits") if isinstance(data, Mapping) else None
    at = (*path, "limits")
    if said == {}:
        yield finding("bad-limit", positions.value(at), "no limit is given", at)
    if isinstance(said, Mapping) and isinstance(said.get("share"), str):
        number = re.match(r"\d+(\.\d+)?", said["share"])
        if number and float(number[0]) > 100:
            inside = (*at, "share")
            yield finding(
                "bad-limit", positions.value(inside), "no run takes more than 100%", inside
            )


def organisation(said: Organisation, positions: Positions) -> Iterator[Finding]:
    """A time zone or accounting year that does not exist."""
    try:
        ZoneInfo(said.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        at: Path = ("organisation", "timezone")
        message = f"there is no time zone `{said.timezone}`"
        yield finding("unknown-timezone", positions.value(at), message, at)
    try:
        accounting_years(said.accounting_year_ends)
    except ValueError as error:
        at = ("organisation", "accounting_year_ends")
        yield finding("bad-accounting-year", positions.value(at), str(error), at)
