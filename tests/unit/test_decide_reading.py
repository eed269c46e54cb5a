"""What a decision needs to read, and what can be left to the system."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from retention.decide.decider import Decider
from retention.decide.model import Action
from retention.policy.model import Bundle
from tests.unit.decide_cases import (
    CLAIMS,
    bundle,
    cluster,
    decide,
    moment,
    planned,
    policy,
    received,
    running,
)

NOW = moment("2026-11-01", "2026-12-01")


def decider(files: Bundle, claims: Any = None) -> Decider:
    return Decider(planned(files), "site", "enquiries/form", claims or CLAIMS)


def test_dates_and_fields_cover_every_claim_and_rule() -> None:
    """Starts, backstops, filters, subjects and masks; nothing else is read."""
    files = bundle(
        {
            "a": policy(delete_at_latest="1 year", where={"kind": "x"}),
            "b": policy(
                applies_to="orders",
                starting_point={"date": "paid", "sliding": True},
                delete_at_latest="1 year",
                backstop="9 years",
                then={"anonymise": {"note": None}},
            ),
        },
        {
            "enquiries": cluster(),
            "orders": cluster(
                dates={"paid": "paid_at", "sent": "sent_at"},
                subject={"customer": ["buyer", "payer"]},
                where={"sent": {"after": "2020-01-01"}},
            ),
        },
    )
    both = {"enquiries/form": frozenset({"form"}), "orders/form": frozenset({"form", "more"})}
    found = decider(files, both)
    assert found.dates == ("created_at", "paid_at", "sent_at")
    assert found.fields == (*("buyer", "email", "kind", "note_text", "payer", "phone", "sent_at"),)
    apart = {"enquiries/form": frozenset({"form"}), "orders/form": frozenset({"more"})}
    assert decider(files, apart).dates == ("created_at",)
    assert decider(files, apart).fields == ("email", "kind", "phone")


def test_subjects_are_named_by_every_claims_mapping() -> None:
    """Each key once; empty ones are nobody."""
    files = bundle(
        {"a": policy(applies_to="*", delete_at_latest="1 year")},
        {"enquiries": cluster(), "orders": cluster(subject={"email": ["from", "to"], "id": "nr"})},
    )
    both = {"enquiries/form": frozenset({"form"}), "orders/form": frozenset({"form"})}
    fields: dict[str, Any] = {
        "email": "a@example.org",
        "phone": "",
        "from": "a@example.org",
        "nr": 7,
    }
    found = decider(files, both).subjects({**fields, "to": ("b@example.org", "c@example.org")})
    assert set(found) == {
        ("email", "a@example.org"),
        ("email", "b@example.org"),
        ("email", "c@example.org"),
        ("id", "7"),
    }
    assert len(found) == 4


@pytest.mark.parametrize(
    ("start", "basis", "needs"),
    [
        ("received", "contract", False),
        ({"event": "left"}, "contract", True),
        ({"date": "customers.ended", "matched_on": "email"}, "contract", True),
        ("received", "consent", True),
        ("received", "legitimate_interest", True),
    ],
)
def test_subject_state_is_needed_where_a_rule_asks_for_it(
    start: Any, basis: str, needs: bool
) -> None:
    """Events, links, and bases that a subject can end."""
    files = bundle(
        {"a": policy(starting_point=start, delete_at_latest="1 year")},
        {"enquiries": cluster(basis=basis)},
    )
    assert decider(files).needs_subjects is needs


def test_links_are_named() -> None:
    """So that the run knows which registers to read."""
    start = {"latest_of": ["received", {"date": "customers.ended", "matched_on": "email"}]}
    files = bundle({"a": policy(starting_point=start, delete_at_latest="1 year")})
    assert decider(files).links == frozenset({("customers.ended", "email")})


# bounds


def test_a_bound_lies_after_every_day_that_can_be_due() -> None:
    """Due before 1 December with one month: received before 31 October, and a day of margin."""
    files = bundle({"rule": policy(delete_at_latest="1 month")})
    ((source, instant),) = decider(files).bounds("rule", NOW, nobody_ended=True)
    # 31 October plus one month is 30 November: the latest start that is due before 1 December.
    assert (source, instant) == ("created_at", datetime(2026, 11, 1, 23, tzinfo=UTC))


def test_a_minimum_alone_bounds_too() -> None:
    """It is its own maximum."""
    files = bundle({"rule": policy(keep_at_least="5 years", cutoff="year")})
    ((_, instant),) = decider(files).bounds("rule", NOW, nobody_ended=True)
    # What started in 2020 is free from 2026 on; what started in 2021 is not before 2027.
    assert instant == datetime(2021, 1, 1, 23, tzinfo=UTC)


@pytest.mark.parametrize(
    "said",
    [
        {"starting_point": {"event": "left"}},
        {"starting_point": {"date": "customers.ended", "matched_on": "email"}},
        {"starting_point": {"earliest_of": ["received", "answered"]}},
        {"starting_point": {"latest_of": ["received", "answered"]}},
        {"backstop": "9 years"},
        {"delete_at_latest": None},
        {"starting_point": None},
        {"starting_point": "unmapped"},
    ],
)
def test_no_bound_where_one_date_cannot_say_it(said: dict[str, Any]) -> None:
    """Then everything is read."""
    files = bundle({"rule": policy(**{"delete_at_latest": "1 month", **said})})
    assert decider(files).bounds("rule", NOW, nobody_ended=True) == ()


@pytest.mark.parametrize(
    ("basis", "known", "bounded"),
    [
        ("consent", False, False),
        ("contract", False, False),
        ("consent", True, True),
        ("legal_obligation", False, True),
        ("legal_claims", False, True),
    ],
)
def test_a_purpose_that_subjects_can_end_is_bounded_only_where_nobody_did(
    basis: str, known: bool, bounded: bool
) -> None:
    """A withdrawal or a verified request makes young records due."""
    files = bundle(
        {"rule": policy(delete_at_latest="1 month")}, {"enquiries": cluster(basis=basis)}
    )
    assert bool(decider(files).bounds("rule", NOW, nobody_ended=known)) is bounded


def test_no_bound_while_a_change_waits_for_approval() -> None:
    """Two versions, perhaps of other dates."""
    before = bundle({"rule": policy(delete_at_latest="1 month")})
    after = bundle({"rule": policy(delete_at_latest="2 months")})
    waiting = Decider(running(after, before), "site", "enquiries/form", CLAIMS)
    assert waiting.bounds("rule", NOW, nobody_ended=True) == ()


def test_an_unknown_policy_has_no_bound() -> None:
    """It is not asked here."""
    files = bundle({"rule": policy(delete_at_latest="1 month")})
    assert decider(files).bounds("other", NOW, nobody_ended=True) == ()


# conditions


def test_filters_become_conditions_in_the_systems_own_names() -> None:
    """The location's, and the policy's where it comes to these records through here only."""
    files = bundle(
        {"rule": policy(delete_at_latest="1 month", where={"note": ["x", "y"]})},
        {"enquiries": cluster(where={"received": {"after": "2020-01-01"}})},
    )
    assert decider(files).conditions("rule") == (
        ("created_at", "after", date(2020, 1, 1)),
        ("note_text", "in", ("x", "y")),
    )


def test_a_policy_that_reaches_records_through_two_locations_pushes_nothing_of_its_own() -> None:
    """The other location may call the field by another name."""
    files = bundle(
        {"rule": policy(applies_to="*", delete_at_latest="1 month", where={"note": "x"})},
        {"enquiries": cluster(where={"kind": "a"}), "orders": cluster()},
    )
    both = {"enquiries/form": frozenset({"form"}), "orders/form": frozenset({"form"})}
    assert decider(files, both).conditions("rule") == (("kind", "in", ("a",)),)


def test_while_a_change_waits_only_what_both_versions_say_is_pushed_down() -> None:
    """Either of them may need the record."""
    before = bundle({"rule": policy(delete_at_latest="1 month", where={"note": "x", "a": 1})})
    after = bundle({"rule": policy(delete_at_latest="1 month", where={"note": "x", "b": 1})})
    waiting = Decider(running(after, before), "site", "enquiries/form", CLAIMS)
    assert waiting.conditions("rule") == (("note_text", "in", ("x",)),)


# fields that go


FIELDS = policy(delete_at_latest="1 year", fields=["note", "phone"])


def test_field_level_disposal_empties_the_sources_and_keeps_the_record() -> None:
    """By the location's own names."""
    verdict = decide(bundle({"rule": FIELDS}), NOW, received("2020-01-01"), {"note_text": "x"})
    assert verdict.action is Action.ANONYMISE
    assert verdict.mask == {"note_text": None, "phone": None}


def test_what_is_empty_already_is_not_emptied_again() -> None:
    """Once due stays due, until it is done."""
    done = {"note_text": None, "phone": ""}
    assert decide(bundle({"rule": FIELDS}), NOW, received("2020-01-01"), done).action is Action.KEEP
    half = {"note_text": "x", "phone": ""}
    verdict = decide(bundle({"rule": FIELDS}), NOW, received("2020-01-01"), half)
    assert verdict.action is Action.ANONYMISE


def test_an_anonymised_record_is_left_to_the_next_rule() -> None:
    """Anonymised after one year, deleted after five."""
    files = bundle(
        {
            "a": policy(delete_at_latest="1 year", then={"anonymise": {"note": "gone"}}),
            "b": policy(delete_at_latest="5 years"),
        }
    )
    for note, day, action in (
        ("x", "2024-01-01", Action.ANONYMISE),
        ("gone", "2024-01-01", Action.KEEP),
        ("gone", "2020-01-01", Action.DELETE),
        ("x", "2020-01-01", Action.DELETE),
    ):
        verdict = decide(files, NOW, received(day), {"note_text": note})
        assert verdict.action is action, (note, day)


def test_a_general_deletion_does_not_follow_a_more_specific_anonymising() -> None:
    """Who says that these are anonymised has said that they are not deleted."""
    files = bundle(
        {
            "a": policy(applies_to="*", delete_at_latest="5 years"),
            "b": policy(delete_at_latest="1 year", then={"anonymise": {"note": None}}),
        }
    )
    verdict = decide(files, NOW, received("2010-01-01"), {"note_text": None})
    assert (verdict.action, verdict.because) == (
        Action.KEEP,
        ("what its rules demand has been done",),
    )


def test_the_participants_part_goes_and_the_invoices_part_stays() -> None:
    """A minimum on other fields protects the record, not these fields."""
    files = bundle(
        {
            "a": FIELDS,
            "b": policy(keep_at_least="20 years", then="keep", fields=["amount"]),
            "c": policy(delete_at_latest="2 years"),
        }
    )
    verdict = decide(files, NOW, received("2020-01-01"), {"note_text": "x"})
    assert (verdict.action, verdict.policy) == (Action.ANONYMISE, "a")
    assert (
        decide(files, NOW, received("2020-01-01"), {"note_text": None, "phone": None}).action
        is Action.KEEP
    )


@pytest.mark.parametrize("fields", [["note"], []])
def test_a_minimum_on_the_same_field_or_the_whole_record_keeps_it(fields: list[str]) -> None:
    """Never before any minimum that applies."""
    files = bundle({"a": FIELDS, "b": policy(keep_at_least="20 years", then="keep", fields=fields)})
    verdict = decide(files, NOW, received("2020-01-01"), {"note_text": "x"})
    assert verdict.action is Action.KEEP


def test_an_unclear_replacement_is_reviewed_never_written() -> None:
    """Only plain values can be written into a record."""
    said = {"anonymise": {"note": {"generalise": "year"}}}
    files = bundle({"rule": policy(delete_at_latest="1 year", then=said)})
    verdict = decide(files, NOW, received("2020-01-01"), {"note_text": "x"})
    assert (verdict.action, verdict.findings) == (Action.REVIEW, ("mask-unknown:rule",))


def test_the_more_specific_rule_about_a_field_counts() -> None:
    """As it does for whole records."""
    files = bundle(
        {
            "a": policy(applies_to="*", delete_at_latest="1 year", fields=["note"]),
            "b": policy(delete_at_latest="20 years", fields=["note"]),
        }
    )
    verdict = decide(files, NOW, received("2020-01-01"), {"note_text": "x"})
    assert verdict.action is Action.KEEP


def test_a_field_is_needed_until_its_last_purpose_ends() -> None:
    """Two purposes name the same field."""
    files = bundle(
        {
            "a": policy(delete_at_latest="1 year", fields=["note"]),
            "b": policy(applies_to="orders", delete_at_latest="20 years", fields=["note"]),
        },
        {"enquiries": cluster("one"), "orders": cluster("two")},
    )
    verdict = decide(files, NOW, received("2020-01-01"), {"note_text": "x"})
    assert verdict.action is Action.KEEP


def test_a_record_is_done_with_only_when_every_purpose_is() -> None:
    """One purpose has what it demanded, the other has a rule still to come."""
    anonymise = {"anonymise": {"note": None}}
    files = bundle(
        {
            "a": policy(delete_at_latest="1 year", then=anonymise),
            "b": policy(applies_to="orders", delete_at_latest="20 years"),
        },
        {"enquiries": cluster("one"), "orders": cluster("two")},
    )
    verdict = decide(files, NOW, received("2020-01-01"), {"note_text": None})
    assert (verdict.action, verdict.due) == (Action.KEEP, date(2040, 1, 1))
    assert "what its rules demand has been done" not in verdict.because
    assert decide(
        files, moment("2041-01-01"), received("2020-01-01"), {"note_text": None}
    ).action is (Action.DELETE)
