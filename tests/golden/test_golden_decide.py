"""Golden decisions: policies, a record and a day in; the whole verdict with its reasons out.

`pytest tests/golden/test_golden_decide.py --update-golden` rewrites the verdicts in place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, time
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from ruamel.yaml import YAML

from retention.decide.decider import Decider
from retention.decide.model import Hold, LinkedStart, Moment, Rules, SubjectState, Verdict
from retention.policy.model import Bundle

FOLDER = Path(__file__).parent / "decide"
FILES = sorted(FOLDER.glob("*.yaml"))
HOME = {"name": "Fjordro", "country": "NO", "timezone": "Europe/Oslo"}


def _yaml() -> YAML:
    yaml = YAML()
    yaml.width = 110
    yaml.preserve_quotes = True
    return yaml


def _plain(node: Any) -> Any:
    """Without the round-trip wrappers."""
    if isinstance(node, Mapping):
        return {str(k): _plain(v) for k, v in node.items()}
    if isinstance(node, list):
        return [_plain(v) for v in node]
    return str(node) if isinstance(node, str) else node


def _bundle(said: dict[str, Any]) -> Bundle:
    systems = {loc["system"] for c in said["clusters"].values() for loc in c["locations"].values()}
    return Bundle.model_validate(
        {
            "organisation": {**HOME, **said.get("organisation", {})},
            "systems": {name: {"connector": "memory"} for name in sorted(systems)},
            "clusters": said["clusters"],
            "policies": said.get("policies", {}),
        }
    )


def _digest(name: str, said: Mapping[str, Any]) -> str:
    return "sha256:" + sha256(repr((name, sorted(said.items(), key=str))).encode()).hexdigest()


def _rules(said: dict[str, Any]) -> Rules:
    files = _bundle(said)
    digests = {name: _digest(name, p) for name, p in said.get("policies", {}).items()}
    if "approved" not in said:
        return Rules(files, digests, frozenset(digests))
    before = _bundle({**said, "policies": said["approved"]})
    old = {name: (_digest(name, p), before) for name, p in said["approved"].items()}
    same = frozenset(n for n, d in digests.items() if n in old and old[n][0] == d)
    return Rules(files, digests, same, {n: v for n, v in old.items() if n not in same})


def _instant(day: Any) -> datetime:
    when = date.fromisoformat(day) if isinstance(day, str) else day
    return datetime.combine(when, time(12), ZoneInfo("Europe/Oslo")).astimezone(UTC)


def _people(said: dict[str, Any]) -> SubjectState:
    return SubjectState(
        events={k: _instant(v) for k, v in said.get("events", {}).items()},
        withdrawn={k: _instant(v) for k, v in said.get("withdrawn", {}).items()},
        linked={
            (k, v["on"]): LinkedStart(
                v.get("matched", True),
                v.get("active", False),
                _instant(v["latest"]) if "latest" in v else None,
            )
            for k, v in said.get("linked", {}).items()
        },
        restricted=said.get("restricted", False),
        erasure_verified=_instant(said["erasure"]) if "erasure" in said else None,
        access_open=said.get("access_open", False),
    )


def _decide(said: dict[str, Any], case: dict[str, Any]) -> Verdict:
    rules = _rules(said)
    location = said["read"]
    system = _bundle(said).location(location).system
    claims = {
        name: frozenset({"container"})
        for name, model in _bundle(said).locations().items()
        if model.system == system
    }
    fires = {name: _instant(day) for name, day in case.get("next_fire", {}).items()}
    return Decider(rules, system, location, claims).decide(
        "container",
        case.get("dates", {}),
        case.get("fields", {}),
        _people(case.get("people", {})),
        [Hold(**hold) for hold in case.get("holds", [])],
        "pseudonym",
        Moment(_instant(case["at"]), fires),
    )


def _said(verdict: Verdict) -> dict[str, Any]:
    """A verdict as plain data, without what says nothing; the digest stands in the reasons."""
    out: dict[str, Any] = {}
    for name in Verdict.__slots__:
        value = getattr(verdict, name)
        if name == "digest" or value in (None, "", (), 0):
            continue
        plain = value.value if isinstance(value, Enum) else value
        if isinstance(plain, date):
            plain = plain.replace()  # another object, so that YAML writes no reference to the first
        out[name] = list(plain) if isinstance(plain, tuple) else plain
    return out


def _cases() -> Iterator[Any]:
    for path in FILES:
        for case in _plain(_yaml().load(path.read_text("utf-8")))["cases"]:
            yield pytest.param(path, case["name"], id=f"{path.stem}: {case['name']}")


@pytest.mark.parametrize(("path", "name"), list(_cases()))
def test_the_verdict_is_the_one_a_reviewer_has_read(
    path: Path, name: str, request: pytest.FixtureRequest
) -> None:
    """Action, dates, reasons and findings, all of them."""
    document = _yaml().load(path.read_text("utf-8"))
    said = _plain(document)
    index = next(i for i, c in enumerate(said["cases"]) if c["name"] == name)
    found = _said(_decide(said, said["cases"][index]))
    if request.config.getoption("--update-golden"):
        document["cases"][index]["verdict"] = found
        with path.open("w", encoding="utf-8") as out:
            _yaml().dump(document, out)
    assert found == (
        found if request.config.getoption("--update-golden") else said["cases"][index]["verdict"]
    )


def test_there_are_golden_decisions() -> None:
    """An empty folder proves nothing."""
    assert FILES
