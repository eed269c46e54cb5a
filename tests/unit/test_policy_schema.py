"""The JSON Schema that editors use: it takes what users write and refuses what never loads."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from retention.errors import UsageError
from retention.policy.document import plain, read
from retention.policy.model import Policy
from retention.policy.schema import DESCRIPTIONS, PARTS, schema
from tests.unit.policy_samples import DESIGN, RICH
from tests.unit.test_policy_check import BASE
from tests.unit.test_policy_check import CASES as CHECKED
from tests.unit.test_policy_load import CASES as LOADING


def problems(text: str, name: str | None = None) -> list[str]:
    validator = Draft202012Validator(schema(name))
    roots = read(text).roots
    assert roots
    return [f"{e.json_path}: {e.message}" for r in roots for e in validator.iter_errors(plain(r))]


@pytest.mark.parametrize("name", [None, *PARTS])
def test_every_schema_is_a_schema(name: str | None) -> None:
    """The whole file and each named part are valid JSON Schema themselves."""
    Draft202012Validator.check_schema(schema(name))


@pytest.mark.parametrize("text", [DESIGN, RICH, BASE])
def test_the_examples_validate(text: str) -> None:
    """Everything that loads in the examples, short forms too, passes in the editor."""
    assert problems(text) == []


@pytest.mark.parametrize("case", CHECKED)
def test_what_loads_passes_in_the_editor(case: str) -> None:
    """The schema never refuses a file that loads; only an empty mask is told in both places."""
    found = problems(CHECKED[case][1].replace("¦", ""))
    assert found == [] or case == "mask of nothing" or case == "mask by more"


SEEN_BY_EDITORS = {
    "unknown section", "section without value", "section as list", "list at the top",
    "unknown field", "missing field", "wrong type", "wrong type inside", "wrong word",
    "two starts", "not fields", "nothing", "empty key", "empty entry", "bad name",
    "bad location name", "applies to nothing", "applies to empty", "empty where",
    "where without value", "empty list", "empty in", "empty where there", "bad where",
    "null in where", "vague", "number as period", "no limit", "password", "number as password",
    "in url", "two places",
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(SEEN_BY_EDITORS))
def test_an_editor_sees_mistakes_while_one_types(case: str) -> None:
    """Mistakes of form are red in the editor already."""
    assert problems(LOADING[case][1].replace("¦", ""))


PARTS_TAKE: list[tuple[str, str, bool]] = [
    ("period", "1 month", True),
    ("period", "3 Years, 6 months and 2 days", True),
    ("period", "P1Y2M", True),
    ("period", "PT24H", True),
    ("period", "P", False),
    ("period", "a while", False),
    ("secret", "{env: X}", True),
    ("secret", "{env: X, file: y}", False),
    ("secret", "x", False),
    ("then", "delete", True),
    ("then", "anonymise", False),
    ("then", "{anonymise: {a: null, b: x}}", True),
    ("then", "{hand_over: {to: x}}", True),
    ("then", "{hand_over: {}}", False),
    ("starting_point", "received", True),
    ("starting_point", "{latest_of: [a, {event: b}, {earliest_of: [c, d]}]}", True),
    ("starting_point", "{latest_of: []}", False),
    ("starting_point", "{date: a, event: b}", False),
    ("schedule", "{last_of: [a, b]}", True),
    ("schedule", "5", False),
    ("where", "{a: [x, 1], b: true, c: {before: 2020-01-01}}", True),
    ("where", "{a: {nearly: x}}", False),
]


@pytest.mark.parametrize(("part", "text", "right"), PARTS_TAKE)
def test_short_forms(part: str, text: str, right: bool) -> None:
    """Each part takes its short and its long form and nothing else."""
    assert (problems(text, part) == []) is right


def test_every_field_of_a_policy_is_described() -> None:
    """The editor shows a line of help for each field of a policy, and for no other."""
    assert set(DESCRIPTIONS) == set(Policy.model_fields)
    properties: dict[str, Any] = schema()["$defs"]["Policy"]["properties"]
    assert all(properties[name]["description"] for name in Policy.model_fields)


def test_an_unknown_part_is_an_error() -> None:
    """With a suggestion."""
    with pytest.raises(UsageError, match=r"did you mean `policy`"):
        schema("polcy")
