"""Metrics, their page, the dashboard and the alert rules name the same things."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from retention.watch.metrics import GAUGES, UP

ROOT = Path(__file__).resolve().parents[2]
EXPORTED = {gauge.name: gauge for gauge in (UP, *GAUGES)}
NAME = re.compile(r"\bretention_[a-z_]+")
GROUPED = re.compile(r"by \(([a-z, ]+)\) \((retention_[a-z_]+)")
MATCHED = re.compile(r"(retention_[a-z_]+)\{([^}]*)\}")
FROM_PROMETHEUS = {"job", "instance"}


def _dashboard() -> dict[str, Any]:
    text = (ROOT / "deploy" / "grafana" / "retention.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def _rules() -> list[dict[str, Any]]:
    file = ROOT / "deploy" / "prometheus" / "alerts.yml"
    loaded = YAML(typ="safe").load(file)
    return [rule for group in loaded["groups"] for rule in group["rules"]]


def _panels() -> list[dict[str, Any]]:
    return [panel for panel in _dashboard()["panels"] if panel["type"] != "row"]


def _expressions() -> list[str]:
    shown = [target["expr"] for panel in _panels() for target in panel["targets"]]
    return [*shown, *(rule["expr"] for rule in _rules())]


@pytest.mark.parametrize("expression", _expressions())
def test_an_expression_names_only_what_is_exported(expression: str) -> None:
    """A misspelt metric or label would be an empty panel, or an alert that never fires."""
    for name in NAME.findall(expression):
        assert name in EXPORTED, name
    for labels, name in GROUPED.findall(expression):
        assert set(labels.split(", ")) <= set(EXPORTED[name].labels)
    for name, matchers in MATCHED.findall(expression):
        used = set(re.findall(r"(\w+)=", matchers))
        assert used <= {*EXPORTED[name].labels, *FROM_PROMETHEUS}
    assert expression.count("(") == expression.count(")")


def test_an_expression_counts_nothing_twice() -> None:
    """Several processes tell the same of one ledger: none is summed before it is made one."""
    for expression in _expressions():
        assert not re.search(r"\bsum( by \([^)]*\))? ?\((?!max by)", expression), expression


def test_the_dashboard_shows_every_metric() -> None:
    """What is worth exporting is worth a panel."""
    shown = {name for panel in _panels() for name in NAME.findall(json.dumps(panel["targets"]))}
    assert EXPORTED.keys() - shown == set()


def test_the_dashboard_is_one() -> None:
    """Unique ids, a data source that is chosen, titles and descriptions, nothing overlapping."""
    dashboard = _dashboard()
    assert dashboard["schemaVersion"] >= 36
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert {"datasource", "job", "policy"} == variables
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in _panels():
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"]


def test_every_alert_rule_says_what_to_do() -> None:
    """A name, how bad it is, a sentence, and where to look."""
    rules = _rules()
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "description"}


def test_the_page_lists_every_metric_with_its_labels() -> None:
    """docs/reference/metrics.md is what the exporter says of itself."""
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(retention_\w+)` \| (.*?) \| (.*) \|$", page, re.MULTILINE)
    listed = {name: (tuple(re.findall(r"`(\w+)`", labels)), text) for name, labels, text in rows}
    assert listed == {name: (gauge.labels, gauge.help) for name, gauge in EXPORTED.items()}


def test_names_follow_the_conventions_of_prometheus() -> None:
    """Our prefix, base units at the end, no suffix that a gauge may not have."""
    for name in EXPORTED:
        assert re.fullmatch(r"retention_[a-z]+(_[a-z]+)*", name)
        assert not name.endswith(("_total", "_count", "_sum", "_bucket", "_ms"))
