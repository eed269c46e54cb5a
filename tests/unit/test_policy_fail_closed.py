"""Five ways in which tools of this kind fail open, and how policies fail closed instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from retention.policy.limits import effective
from retention.policy.model import Organisation, Policy
from retention.policy.where import matches, parse
from tests.unit.policy_samples import ORGANISATION, codes, loaded

BASE = (
    ORGANISATION
    + """
systems: {web: {connector: sql}}
clusters: {forms: {locations: {inbox: {system: web, dates: {received: at}}}}}
policies:
"""
)
RULE = "applies_to: forms, starting_point: received, delete_at_latest: 1 month, then: delete"


def test_a_limit_of_zero_is_zero(tmp_path: Path) -> None:
    """`records: 0` and `share: 0%` stop every disposal; there is always some limit."""
    text = f"{BASE}  p: {{{RULE}, limits: {{records: 0, share: 0%, growth: 0x}}}}"
    found = loaded(tmp_path, policies=text)
    assert found.bundle is not None
    assert effective(found.bundle.policies["p"], found.bundle.organisation) == (0, 0.0, 0.0)
    unset = Policy.model_validate({"applies_to": "x", "then": "delete"})
    who = Organisation(name="X", country="NO", timezone="UTC")
    assert effective(unset, who) == (10_000, None, None)


@pytest.mark.parametrize("limits", ["limits: {}", "limits: ", "limits: {records: }"])
def test_no_limit_is_never_meant(tmp_path: Path, limits: str) -> None:
    """An emptied `limits` is an error, for a policy and for the organisation."""
    found = loaded(tmp_path / "a", policies=f"{BASE}  p: {{{RULE}, {limits}}}")
    assert found.bundle is None
    organisation = ORGANISATION.replace("}", f", {limits}}}")
    assert loaded(tmp_path / "b", policies=organisation).bundle is None


@pytest.mark.parametrize(
    "selector",
    [
        "where: {}",
        "where: ",
        "where: {status: []}",
        "where: {status: {}}",
        "where: {status: {not_in: []}}",
        "where: {status: }",
    ],
)
def test_no_filter_is_never_everything(tmp_path: Path, selector: str) -> None:
    """A filter that was emptied is an error; a field that is missing selects nothing."""
    found = loaded(tmp_path, policies=f"{BASE}  p: {{{RULE}, {selector}}}")
    assert found.bundle is None
    assert matches(parse({"status": {"not_in": ["active"]}}), {}) is not True


@pytest.mark.parametrize("applies_to", ["[]", "''", "['']", ""])
def test_applying_to_nothing_is_never_everything(tmp_path: Path, applies_to: str) -> None:
    """Everything is said as "*", and in no other way."""
    text = f"{BASE}  p: {{{RULE}}}".replace("applies_to: forms", f"applies_to: {applies_to}")
    found = loaded(tmp_path, policies=text)
    assert "empty-selector" in codes(found)
    assert found.bundle is None


@pytest.mark.parametrize("where", ["  p: {X, then: delete}\n", "  p: {X}\n  p: {X}\n"])
def test_a_key_that_stands_twice_never_wins(tmp_path: Path, where: str) -> None:
    """Neither the first nor the last of two keys is used, on any level."""
    found = loaded(tmp_path, policies=BASE + where.replace("X", RULE))
    assert "duplicate-key" in codes(found)
    assert found.bundle is None


@pytest.mark.parametrize(
    "period",
    ["", "0 days", "days", "30", "-1 days", "1 moon", "P", "PT0H", "1.5 years", "today", "0"],
)
def test_missing_days_are_never_today(tmp_path: Path, period: str) -> None:
    """A period without a number, or of zero, is an error: it never means "at once"."""
    text = f"{BASE}  p: {{{RULE}}}".replace("1 month", period)
    found = loaded(tmp_path, policies=text)
    assert found.bundle is None
    assert {"bad-period", "empty-value"} & set(codes(found))


@pytest.mark.parametrize(
    "field",
    [
        "cap: 2",
        "cap: maybe",
        "title: 5",
        "fields: name",
        "limits: {records: 1.5}",
        "limits: {records: many}",
        "limits: {share: 20}",
        "approval: no",
        "schedule: 5",
        "review: me",
        "grace: [7 days]",
        "where: [status]",
        "starting_point: [received]",
        "unknown: 1",
    ],
)
def test_every_value_has_a_type(tmp_path: Path, field: str) -> None:
    """A value of another type is an error with its place, never taken as something near it."""
    text = f"{BASE}  p: {{applies_to: forms, then: delete, {field}}}"
    found = loaded(tmp_path, policies=text)
    assert found.bundle is None
    assert all(f.line == 6 for f in found.findings)
