"""The ratchet: what protects acts at once, what weakens waits, and doubt is weakening."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.policy.changes import Kind, compare
from retention.policy.digest import digest, extract
from retention.policy.model import Bundle
from tests.unit.policy_samples import DESIGN, RICH, bundle

P, W, N = Kind.PROTECTIVE, Kind.WEAKENING, Kind.NEUTRAL

DELETES: dict[str, Any] = {
    "applies_to": "c",
    "starting_point": "d",
    "delete_at_latest": "2 years",
    "then": "delete",
    "limits": {"records": 10, "share": "20%"},
    "grace": "7 days",
}
KEEPS: dict[str, Any] = {
    "applies_to": "c",
    "starting_point": "d",
    "keep_at_least": "2 years",
    "then": "keep",
}


def made(policy: dict[str, Any] | None, **more: Any) -> Bundle:
    """A bundle of one policy over one location; `more` changes what is around it."""
    location = {"system": "s", "table": "t", "dates": {"d": "d"}, **more.get("location", {})}
    data: dict[str, Any] = {
        "organisation": {
            "name": "X",
            "country": "NO",
            "timezone": "UTC",
            **more.get("organisation", {}),
        },
        "systems": {"s": {"connector": "sql", **more.get("system", {})}},
        "clusters": {
            "c": {"basis": "contract", **more.get("cluster", {}), "locations": {"l": location}},
            "other": {"locations": {"m": {"system": "s"}}},
        },
        "policies": {"p": policy} if policy else {},
    }
    return Bundle.model_validate(data)


def kinds(old: Bundle, new: Bundle) -> set[tuple[Kind, str]]:
    return {(c.kind, c.what) for c in compare(old, new)}


FIELDS: list[tuple[dict[str, Any], dict[str, Any], Kind, str]] = [
    (KEEPS, {"keep_at_least": "3 years"}, P, "keep_at_least"),
    (KEEPS, {"keep_at_least": "1 year"}, W, "keep_at_least"),
    (KEEPS, {"keep_at_least": "24 months"}, N, "keep_at_least"),
    (KEEPS, {"keep_at_least": "729 days"}, W, "keep_at_least"),
    (DELETES, {"keep_at_least": "1 year"}, P, "keep_at_least"),
    (DELETES, {"delete_at_latest": "1 year"}, W, "delete_at_latest"),
    (DELETES, {"delete_at_latest": "3 years"}, P, "delete_at_latest, which weakens the promise"),
    (DELETES, {"delete_at_latest": "24 months"}, N, "delete_at_latest"),
    (DELETES, {"cutoff": "month"}, P, "cutoff, which weakens the promise"),
    (DELETES | {"cutoff": "year"}, {"cutoff": "month"}, W, "cutoff"),
    (DELETES | {"cutoff": "month"}, {"cutoff": "year"}, P, "cutoff, which weakens the promise"),
    (DELETES | {"cutoff": "month"}, {"cutoff": "accounting_year"}, W, "cutoff"),
    (DELETES, {"starting_point": {"event": "left"}}, W, "starting_point"),
    (DELETES, {"backstop": "9 years"}, W, "backstop"),
    (DELETES, {"cap": True}, W, "cap"),
    (DELETES | {"cap": True}, {"cap": False}, P, "cap, which weakens the promise"),
    (DELETES, {"then": "review"}, P, "then, which weakens the promise"),
    (DELETES, {"then": {"anonymise": {"a": None}}}, W, "then"),
    (KEEPS, {"then": "delete"}, W, "then"),
    (DELETES | {"then": "review"}, {"then": "delete"}, W, "then"),
    (DELETES | {"fields": ["a", "b"]}, {"fields": ["a"]}, P, "fields"),
    (DELETES | {"fields": ["a"]}, {"fields": ["a", "b"]}, W, "fields"),
    (DELETES | {"fields": ["a"]}, {"fields": []}, W, "fields"),
    (DELETES, {"schedule": "@weekly"}, W, "schedule"),
    (DELETES, {"misfire": "skip"}, W, "misfire"),
    (DELETES, {"limits": {"records": 20, "share": "20%"}}, W, "limit on records"),
    (DELETES, {"limits": {"records": 5, "share": "20%"}}, P, "limit on records"),
    (DELETES, {"limits": {"records": 10, "share": "30%"}}, W, "limit on share"),
    (DELETES, {"limits": {"records": 10, "share": "20%", "growth": "3x"}}, P, "limit on growth"),
    (DELETES, {"limits": None}, W, "limit on records"),
    (DELETES, {"approval": "each_run"}, P, "approval"),
    (DELETES, {"approval": "none"}, W, "approval"),
    (DELETES, {"grace": "3 days"}, W, "grace"),
    (DELETES, {"grace": None}, W, "grace"),
    (DELETES, {"grace": "14 days"}, P, "grace"),
    (DELETES, {"suppress": "email"}, P, "suppress"),
    (DELETES | {"suppress": ["email"]}, {"suppress": []}, W, "suppress"),
    (DELETES, {"supersedes": "q"}, W, "supersedes"),
    (DELETES, {"applies_to": ["c", "other"]}, W, "applies to more"),
    (DELETES | {"applies_to": ["c", "other"]}, {"applies_to": "c"}, P, "applies to less"),
    (KEEPS, {"applies_to": ["c", "other"]}, P, "applies to more"),
    (KEEPS | {"applies_to": ["c", "other"]}, {"applies_to": "c"}, W, "applies to less"),
    (DELETES, {"applies_to": "c/l"}, W, "applies_to"),
    (DELETES, {"where": {"a": "b"}}, W, "where"),
    (KEEPS, {"where": {"a": "b"}}, W, "where"),
    (KEEPS | {"where": {"a": "b"}}, {"where": None}, P, "where"),
    (DELETES, {"mandate": "nl/awr-52"}, P, "mandate"),
    (DELETES, {"title": "x"}, N, "title"),
    (DELETES, {"source": "x", "law": "y"}, N, "law"),
    (KEEPS | {"then": "review"}, {"review": {"by": "x"}}, P, "review"),
    (KEEPS | {"then": "review", "review": {"by": "x"}}, {"review": {"by": "y"}}, N, "review"),
    (KEEPS | {"then": "review", "review": {"by": "x"}}, {"review": None}, W, "review"),
]


@pytest.mark.parametrize(("before", "change", "kind", "what"), FIELDS)
def test_each_field(before: dict[str, Any], change: dict[str, Any], kind: Kind, what: str) -> None:
    """Longer and wider protection is protective, everything looser or doubtful is weakening."""
    found = kinds(made(before), made(before | change))
    assert (kind, what) in found, found


AROUND: list[tuple[dict[str, Any], Kind]] = [
    ({"organisation": {"timezone": "Europe/Oslo"}}, W),
    ({"organisation": {"accounting_year_ends": "06-30"}}, W),
    ({"cluster": {"basis": "legitimate_interest"}}, W),
    ({"cluster": {"purpose": "sales"}}, W),
    ({"cluster": {"special": True}}, P),
    ({"cluster": {"data": ["name"]}}, N),
    ({"location": {"table": "other"}}, W),
    ({"location": {"dates": {"d": "other"}}}, W),
    ({"location": {"role": "working_copy"}}, W),
    ({"location": {"where": {"a": "b"}}}, W),
    ({"system": {"url": {"env": "OTHER"}}}, W),
]


@pytest.mark.parametrize(("more", "kind"), AROUND)
def test_what_a_policy_rests_on_counts(more: dict[str, Any], kind: Kind) -> None:
    """A rule is weakened as well by moving the ground under it."""
    (change,) = compare(made(DELETES), made(DELETES, **more))
    assert (change.kind, change.affects) == (kind, ("c/l",))


def test_new_and_removed_rules() -> None:
    """A new protection acts at once, a new deletion and any removal wait."""
    assert kinds(made(None), made(KEEPS)) == {(P, "new policy, then keep")}
    assert kinds(made(None), made(DELETES)) == {(W, "new policy, then delete")}
    assert kinds(made(KEEPS), made(None)) == {(W, "policy removed, then keep")}
    (gone,) = compare(made(DELETES), made(None))
    assert (gone.kind, gone.weakens_promise) == (W, True)


def test_a_change_is_told_in_words() -> None:
    """Before and after, and whom it touches."""
    (change,) = compare(made(DELETES), made(DELETES | {"delete_at_latest": "1 year"}))
    assert change.to_json() == {
        "policy": "p",
        "kind": "weakening",
        "what": "delete_at_latest",
        "before": "2 years",
        "after": "1 year",
        "affects": ["c/l"],
        "weakens_promise": False,
    }


@pytest.mark.parametrize("text", [DESIGN, RICH])
def test_nothing_changes_in_an_extract(tmp_path: Path, text: str) -> None:
    """What was approved alone is what stands in the whole."""
    whole = bundle(tmp_path, text)
    for name in whole.policies:
        assert [c for c in compare(extract(whole, name), whole) if c.policy == name] == []


POLICIES = st.fixed_dictionaries(
    {"applies_to": st.sampled_from(["c", "*", "c/l"]), "starting_point": st.just("d")},
    optional={
        "keep_at_least": st.sampled_from(["1 month", "30 days", "2 years"]),
        "delete_at_latest": st.sampled_from(["1 month", "31 days", "2 years"]),
        "cutoff": st.sampled_from(["month", "year", "accounting_year"]),
        "schedule": st.sampled_from(["@daily", "@weekly"]),
        "cap": st.booleans(),
        "approval": st.sampled_from(["change", "none"]),
        "limits": st.sampled_from([{"records": 1}, {"share": "1%"}]),
        "where": st.sampled_from([{"a": "b"}, {"a": "c"}]),
        "fields": st.sampled_from([["a"], ["a", "b"]]),
        "both_day_fields": st.booleans(),
        "suppress": st.sampled_from([["email"], ["phone"]]),
        "title": st.sampled_from(["x", "y"]),
    },
).flatmap(lambda p: st.sampled_from(["delete", "review", "keep"]).map(lambda t: {**p, "then": t}))


@settings(deadline=None, max_examples=80)
@given(POLICIES, POLICIES)
def test_no_deciding_change_is_silent(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Another digest always comes with a change that is not mere wording, and the reverse."""
    old, new = made(one), made(other)
    loud = [c for c in compare(old, new) if c.kind is not N]
    if digest(old, "p") == digest(new, "p"):
        assert loud == []
    elif not loud:
        # The same period in other units is another text with the same meaning.
        assert {c.what for c in compare(old, new)} <= {"keep_at_least", "delete_at_latest", "title"}


@settings(deadline=None, max_examples=100)
@given(POLICIES, POLICIES)
def test_going_back_is_never_protective_only_both_ways(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    """A change that only protects cannot be undone by a change that only protects."""
    there, back = compare(made(one), made(other)), compare(made(other), made(one))
    strong = [c.kind for c in there if not c.weakens_promise and c.kind is not N]
    undone = [c.kind for c in back if not c.weakens_promise and c.kind is not N]
    if strong and set(strong) == {P}:
        assert undone == [] or W in undone
