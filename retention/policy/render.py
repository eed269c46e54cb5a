"""Findings for people and for other programs: text, JSON, SARIF 2.1.0, GitHub annotations."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from retention.policy.codes import CODES
from retention.policy.findings import Finding, Severity

_SARIF_LEVEL = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_GITHUB_LEVEL = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def text(findings: Sequence[Finding]) -> str:
    """One finding a paragraph: place, what, code; the hint on the next line; a count at the end."""
    lines: list[str] = []
    for found in findings:
        where = f"{found.file}:{found.line}:{found.col}"
        lines.append(f"{where}: {found.severity}: {found.message} [{found.code}]")
        if found.hint:
            lines.append(f"    hint: {found.hint}")
    lines.append(summary(findings))
    return "\n".join(lines) + "\n"


def summary(findings: Sequence[Finding]) -> str:
    """`2 errors, 1 warning`, or `no findings`."""
    parts = []
    for severity in Severity:
        count = sum(f.severity is severity for f in findings)
        if count:
            plural = "s" if count != 1 and severity is not Severity.INFO else ""
            parts.append(f"{count} {severity}{plural}")
    return ", ".join(parts) or "no findings"


def as_json(findings: Sequence[Finding]) -> str:
    """A JSON list of findings."""
    return json.dumps([f.to_json() for f in findings], indent=2, ensure_ascii=False) + "\n"


def sarif(findings: Sequence[Finding]) -> str:
    """One SARIF run, with a rule for each code that occurs."""
    codes = sorted({f.code for f in findings})
    run = {
        "tool": {
            "driver": {
                "name": "retention",
                "rules": [_rule(code) for code in codes],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [_result(f, codes.index(f.code)) for f in findings],
    }
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"


def _rule(code: str) -> dict[str, Any]:
    known = CODES[code]
    rule: dict[str, Any] = {
        "id": code,
        "shortDescription": {"text": known.meaning},
        "defaultConfiguration": {"level": _SARIF_LEVEL[known.severity]},
    }
    if known.hint:
        rule["help"] = {"text": known.hint}
    return rule


def _result(found: Finding, rule: int) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": quote(found.file.replace("\\", "/"))}}
    if found.line > 0:
        place["region"] = {"startLine": found.line, "startColumn": max(found.col, 1)}
    said = f"{found.message} ({found.hint})" if found.hint else found.message
    return {
        "ruleId": found.code,
        "ruleIndex": rule,
        "level": _SARIF_LEVEL[found.severity],
        "message": {"text": said},
        "locations": [{"physicalLocation": place}],
    }


def github(findings: Sequence[Finding]) -> str:
    """Workflow commands that GitHub shows beside the line."""
    lines = []
    for found in findings:
        at = f"file={_property(found.file)},line={max(found.line, 1)},col={max(found.col, 1)}"
        said = f"{found.message} ({found.hint})" if found.hint else found.message
        lines.append(
            f"::{_GITHUB_LEVEL[found.severity]} {at},title={_property(found.code)}::{_data(said)}"
        )
    return "\n".join(lines) + ("\n" if lines else "")


def _data(words: str) -> str:
    return words.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(words: str) -> str:
    return _data(words).replace(":", "%3A").replace(",", "%2C")


FORMATS: Mapping[str, Callable[[Sequence[Finding]], str]] = {
    "text": text,
    "json": as_json,
    "sarif": sarif,
    "github": github,
}
"""Values of `validate --format`."""
