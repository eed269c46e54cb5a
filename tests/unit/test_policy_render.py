"""Findings for people, for scripts, for code scanners, for pull requests."""

from __future__ import annotations

import json

from retention.policy.codes import finding
from retention.policy.findings import Finding, Place, Severity
from retention.policy.render import FORMATS, as_json, github, sarif, summary, text

FINDINGS = [
    finding("no-period", Place("policies/a b.yaml", 3, 5), "50% of\nnothing", ("policies", "p")),
    finding("no-policy", Place("policies", 0, 0), "a location", ()),
    Finding("x.yaml", 1, 1, Severity.INFO, "worst-case-age", "92 days"),
]


def test_text_is_a_place_a_sentence_and_a_hint() -> None:
    """And a count at the end."""
    lines = text(FINDINGS[:1] + FINDINGS[2:]).splitlines()
    assert lines[0] == "policies/a b.yaml:3:5: error: 50% of"
    assert lines[2] == "    hint: add delete_at_latest"
    assert lines[-1] == "1 error, 1 info"
    assert text([]) == "no findings\n"
    assert summary([FINDINGS[0]] * 2 + [FINDINGS[1]]) == "2 errors, 1 warning"


def test_json_holds_every_field() -> None:
    """One object a finding, in order."""
    said = json.loads(as_json(FINDINGS))
    assert [f["code"] for f in said] == ["no-period", "no-policy", "worst-case-age"]
    assert said[0] == FINDINGS[0].to_json()
    assert set(said[0]) == {
        *("file", "line", "col", "severity", "code", "message", "hint", "path"),
    }


def test_sarif_is_what_scanners_expect() -> None:
    """Each result names a rule that is there; a region only where there is a line."""
    log = json.loads(sarif(FINDINGS))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note")
        (place,) = result["locations"]
        region = place["physicalLocation"].get("region")
        assert region is None or (region["startLine"] >= 1 and region["startColumn"] >= 1)
    uri = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "policies/a%20b.yaml"
    assert json.loads(sarif([]))["runs"][0]["results"] == []


def test_github_annotations_cannot_be_forged() -> None:
    """Line ends and percent signs in a message are escaped: no message starts a command."""
    lines = github(FINDINGS).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("::error file=policies/a b.yaml,line=3,col=5,title=no-period::")
    assert "50%25 of%0Anothing" in lines[0]
    assert lines[1].startswith("::warning file=policies,line=1,col=1,")
    assert lines[2].startswith("::notice ")


def test_every_format_has_a_name() -> None:
    """The values of `--format`."""
    assert list(FORMATS) == ["text", "json", "sarif", "github"]
    assert all(isinstance(render(FINDINGS), str) for render in FORMATS.values())
