"""Filters have three answers, so that what nobody can tell is never deleted."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.policy.model import LocationModel
from retention.policy.patterns import LONGEST_VALUE, compiled, pattern_problem
from retention.policy.where import Filter, Op, WhereError, for_location, matches, parse


def answer(where: dict[str, Any], **values: Any) -> bool | None:
    return matches(parse(where), values)


@pytest.mark.parametrize(
    ("where", "value", "expected"),
    [
        ({"a": "ended"}, "ended", True),
        ({"a": "ended"}, "active", False),
        ({"a": "ended"}, "Ended ", None),
        ({"a": ["ended", "lost"]}, "lost", True),
        ({"a": {"in": ["ended"]}}, "", False),
        ({"a": {"in": ["ended"]}}, None, False),
        ({"a": {"not_in": ["active"]}}, "ended", True),
        ({"a": {"not_in": ["active"]}}, "active", False),
        ({"a": {"not_in": ["active"]}}, "ACTIVE", None),
        ({"a": {"not_in": ["active"]}}, None, None),
        ({"a": {"not_in": ["active"]}}, "  ", None),
        ({"a": 7}, 7, True),
        ({"a": 7}, "7", True),
        ({"a": 7}, "007", True),
        ({"a": "007"}, "7", False),
        ({"a": "007"}, 7, True),
        ({"a": 7}, 7.0, True),
        ({"a": 7}, Decimal("7.00"), True),
        ({"a": 7}, "seven", False),
        ({"a": 7}, float("nan"), None),
        ({"a": True}, 1, True),
        ({"a": True}, "true", True),
        ({"a": True}, "maybe", None),
        ({"a": False}, 0, True),
        ({"a": 1}, True, True),
        ({"a": "2020-05-01"}, date(2020, 5, 1), True),
        ({"a": "2020-05-01"}, date(2020, 5, 2), False),
        ({"a": "ended"}, date(2020, 5, 2), None),
        ({"a": "ended"}, b"ended", None),
        ({"a": ["x@example.org"]}, ("y@example.org", "x@example.org"), True),
        ({"a": {"not_in": ["x@example.org"]}}, ("y@example.org", "x@example.org"), False),
        ({"a": {"not_in": ["x@example.org"]}}, ("y@example.org",), True),
        ({"a": ["x@example.org"]}, (), False),
        ({"a": {"before": "2020-05-01"}}, date(2020, 4, 30), True),
        ({"a": {"before": "2020-05-01"}}, date(2020, 5, 1), False),
        ({"a": {"after": "2020-05-01"}}, date(2020, 5, 1), False),
        ({"a": {"after": "2020-05-01"}}, "2020-05-02", True),
        ({"a": {"before": "2020-05-01"}}, "last year", None),
        ({"a": {"before": "2020-05-01"}}, None, None),
        ({"a": {"before": "2020-05-01"}}, 20200430, None),
        ({"a": {"matches": r"@example\.org$"}}, "x@example.org", True),
        ({"a": {"matches": r"@example\.org$"}}, "x@example.com", False),
        ({"a": {"matches": r"^\d+$"}}, 42, True),
        ({"a": {"matches": "x"}}, "x" * (LONGEST_VALUE + 1), None),
        ({"a": {"matches": "x"}}, None, False),
        ({"a": {"matches": "x"}}, b"x", None),
        ({"a": {"empty": True}}, None, True),
        ({"a": {"empty": True}}, " ", True),
        ({"a": {"empty": True}}, (), True),
        ({"a": {"empty": True}}, 0, False),
        ({"a": {"empty": False}}, "x", True),
        ({"a": {"empty": False}}, "", False),
    ],
)
def test_each_comparison(where: dict[str, Any], value: Any, expected: bool | None) -> None:
    """The table of the module, cell by cell."""
    assert answer(where, a=value) is expected


@pytest.mark.parametrize("op", ["in", "not_in", "before", "after", "matches", "empty"])
def test_a_missing_field_is_unknown(op: str) -> None:
    """Neither chosen for deletion nor known to be unprotected."""
    value: Any = {"before": "2020-01-01", "after": "2020-01-01", "matches": "x", "empty": True}
    assert answer({"a": {op: value.get(op, ["x"])}}, b=1) is None


def test_one_certain_no_decides() -> None:
    """All filters hold together: a certain no beats an unknown, an unknown beats a yes."""
    where = {"a": "x", "b": "y"}
    assert answer(where, a="x", b="y") is True
    assert answer(where, a="x") is None
    assert answer(where, a="z") is False
    assert answer({"a": {"not_in": ["x"], "matches": "^y"}}, a="y1") is True


def test_instants_are_compared_as_local_days() -> None:
    """23:30 UTC on 30 April is 1 May in Oslo."""
    late = datetime(2020, 4, 30, 23, 30, tzinfo=UTC)
    where = parse({"a": {"before": "2020-05-01"}})
    assert matches(where, {"a": late}) is True
    assert matches(where, {"a": late}, ZoneInfo("Europe/Oslo")) is False


@pytest.mark.parametrize(
    ("where", "empty"),
    [
        ({}, True),
        ({"a": []}, True),
        ({"a": {}}, True),
        ({"a": {"in": []}}, True),
        ({"a": {"not_in": []}}, True),
        ({"a": None}, False),
        ({"a": [None]}, False),
        ({"a": [["x"]]}, False),
        ({"a": {"like": "x"}}, False),
        ({"a": {"before": "soon"}}, False),
        ({"a": {"before": 2020}}, False),
        ({"a": {"matches": 5}}, False),
        ({"a": {"matches": "("}}, False),
        ({"a": {"matches": ""}}, False),
        ({"a": {"empty": "yes"}}, False),
    ],
)
def test_what_selects_nothing_or_nonsense_is_refused(where: dict[str, Any], empty: bool) -> None:
    """An empty filter never comes to mean "everything"."""
    with pytest.raises(WhereError) as caught:
        parse(where)
    assert caught.value.empty is empty


def test_no_where_at_all_is_no_filter() -> None:
    """Only a `where` that is not there selects everything."""
    assert parse(None) == ()
    assert matches((), {}) is True


def test_filters_in_the_words_of_the_location() -> None:
    """Names of dates and fields become the columns that hold them; others stay as they are."""
    location = LocationModel.model_validate(
        {"system": "s", "dates": {"ended": "ended_on"}, "fields": {"status": "state"}}
    )
    where = parse({"status": "x", "ended": {"before": "2020-01-01"}, "other": 1})
    assert [f.field for f in for_location(where, location)] == ["state", "ended_on", "other"]


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+",
        "(a|b)*",
        "(a|aa)+$",
        "((a*)b)*",
        "(?:a?){40}",
        "(a{1,50}){1,50}",
        ".*.*.*x",
        "a?" * 30,
        "(a|a)" * 30,
        r"(a)\1",
        "(?=a)a",
        "(?<!a)b",
        "(?P<n>a)(?P=n)",
        "a" * 201,
        "[a",
        "[[a]",
        "*",
    ],
)
def test_patterns_that_could_run_away_are_refused(pattern: str) -> None:
    """Nested repetition, repeated choices, backreferences and look-arounds are not for policies."""
    assert pattern_problem(pattern) is not None


@pytest.mark.parametrize(
    "pattern",
    [
        r"^INV-\d+$",
        r"@example\.org$",
        "(?i)^re: ",
        "^(ended|lost|closed)$",
        r"\d{4}-\d{2}-\d{2}",
        "[]x]+y",
        r"[^\]]*z",
        "colou?r",
        "a{2,5}",
        "{",
        "x{,}",
        r"\{a\}+",
    ],
)
def test_ordinary_patterns_are_taken(pattern: str) -> None:
    """What people write in filters works."""
    assert pattern_problem(pattern) is None


@settings(deadline=None, max_examples=80)
@given(st.text(alphabet="ab|*+?(){},.1\\[]^", max_size=12))
def test_no_accepted_pattern_takes_long(pattern: str) -> None:
    """Whatever passes the gate answers on the longest value within seconds."""
    if pattern_problem(pattern) is None:
        begun = time.perf_counter()
        compiled(pattern).search("ab" * (LONGEST_VALUE // 20))
        assert time.perf_counter() - begun < 5


VALUES = st.none() | st.text(max_size=5) | st.integers() | st.floats() | st.booleans() | st.dates()
FILTERS = st.sampled_from(
    [
        {"a": "x"},
        {"a": {"not_in": ["x", 1]}},
        {"a": {"before": "2020-01-01"}},
        {"a": {"empty": True}},
        {"b": {"matches": "x"}},
    ]
)


@settings(deadline=None, max_examples=100)
@given(st.lists(FILTERS, min_size=1, max_size=3), st.dictionaries(st.sampled_from("ab"), VALUES))
def test_adding_a_filter_never_selects_more(wheres: list[Any], values: dict[str, Any]) -> None:
    """With every further filter the certain selection only shrinks, whatever the values are."""
    filters: tuple[Filter, ...] = ()
    before: bool | None = True
    for where in wheres:
        filters += parse(where)
        now = matches(filters, values)
        assert not (before is not True and now is True)
        before = now


def test_operators_are_the_connectors_words() -> None:
    """Conditions for connectors are made from filters, so the words must agree."""
    from retention.connectors.base import Op as ConnectorOp

    assert [op.value for op in Op] == [op.value for op in ConnectorOp]
