"""The ratchet: what protects acts at once, what weakens waits for an approved plan."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from retention.decide.decider import Decider
from retention.decide.model import NOBODY, Action, Rules
from tests.unit.decide_cases import (
    FORM,
    at,
    bundle,
    cluster,
    decide,
    digest_of,
    moment,
    policy,
    received,
    running,
)

NOW = moment("2022-01-01", "2022-02-01")
OLD = received("2020-03-15")
ONE_YEAR = {"rule": policy(delete_at_latest="1 year")}


def run(files: dict[str, Any], approved: dict[str, Any] | None, **extra: Any) -> Any:
    before = bundle(approved) if approved is not None else None
    return decide(running(bundle(files), before), NOW, OLD, {"note_text": "x"}, **extra)


def test_an_unchanged_approved_policy_disposes() -> None:
    """Nothing waits."""
    verdict = run(ONE_YEAR, ONE_YEAR)
    assert (verdict.action, verdict.findings) == (Action.DELETE, ())


def test_a_policy_that_nobody_approved_disposes_of_nothing() -> None:
    """It is named, and its records are kept."""
    verdict = run(ONE_YEAR, None)
    assert (verdict.action, verdict.findings) == (Action.KEEP, ("not-approved:rule",))


def test_a_new_minimum_protects_at_once() -> None:
    """Nobody has to approve caution."""
    more = {**ONE_YEAR, "b": policy(keep_at_least="9 years", then="keep")}
    verdict = run(more, ONE_YEAR)
    assert (verdict.action, verdict.earliest) == (Action.KEEP, date(2029, 3, 16))


def test_a_longer_maximum_protects_at_once() -> None:
    """Due under the approved version, not under the one in the files."""
    verdict = run({"rule": policy(delete_at_latest="3 years")}, ONE_YEAR)
    assert (verdict.action, verdict.due) == (Action.KEEP, date(2023, 3, 15))
    assert verdict.findings == ("not-approved:rule",)


def test_a_shorter_maximum_waits() -> None:
    """Due as the files say, not yet due as approved."""
    verdict = run(
        {"rule": policy(delete_at_latest="1 month")}, {"rule": policy(delete_at_latest="3 years")}
    )
    assert (verdict.action, verdict.due) == (Action.KEEP, date(2023, 3, 15))


def test_a_shorter_minimum_waits() -> None:
    """The longer one that was approved goes on protecting."""
    before = {**ONE_YEAR, "b": policy(keep_at_least="9 years", then="keep")}
    after = {**ONE_YEAR, "b": policy(keep_at_least="1 day", then="keep")}
    assert run(after, before).action is Action.KEEP


def test_a_minimum_removed_from_the_files_goes_on_protecting() -> None:
    """Removing a rule weakens."""
    before = {**ONE_YEAR, "b": policy(keep_at_least="9 years", then="keep")}
    verdict = run(ONE_YEAR, before)
    assert (verdict.action, verdict.findings[-1]) == (Action.KEEP, "not-approved:b")


def test_a_deletion_rule_removed_from_the_files_goes_on_deleting() -> None:
    """A promise is not broken by an edit that nobody approved."""
    verdict = run({}, ONE_YEAR)
    assert (verdict.action, verdict.policy) == (Action.DELETE, "rule")
    assert verdict.digest == digest_of("rule", bundle(ONE_YEAR))


def test_a_removed_cluster_is_enforced_by_the_approved_bundle() -> None:
    """Its own locations and dates, as they were approved."""
    approved = bundle(ONE_YEAR)
    files = bundle({}, {"orders": cluster()})
    verdict = decide(running(files, approved), NOW, OLD)
    assert verdict.action is Action.KEEP  # `orders` has no rule: it may need the record
    files = bundle({}, {"orders": {"locations": {"other": {**FORM, "system": "site"}}}})
    claims = {"enquiries/form": frozenset({"form"}), "orders/other": frozenset({"other"})}
    assert decide(running(files, approved), NOW, OLD, claims=claims).action is Action.DELETE


def test_a_location_of_an_approved_rule_that_nobody_can_find_blocks() -> None:
    """It may protect the very records that are read through another one."""
    before = bundle(
        {**ONE_YEAR, "b": policy(applies_to="orders", keep_at_least="9 years", then="keep")},
        {"enquiries": cluster(), "orders": cluster()},
    )
    rules = running(bundle(ONE_YEAR), before)
    verdict = decide(rules, NOW, OLD, claims={"enquiries/form": frozenset({"form"})})
    assert verdict.action is Action.BLOCKED
    assert verdict.findings == ("unknown-location:orders/form",)


def test_a_narrower_rule_lets_go_of_what_it_no_longer_selects() -> None:
    """The files no longer want these records gone."""
    after = {"rule": policy(delete_at_latest="1 year", where={"note": "y"})}
    assert run(after, ONE_YEAR).action is Action.KEEP


def test_a_wider_rule_waits() -> None:
    """Records that the approved version did not select stay."""
    before = {"rule": policy(delete_at_latest="1 year", where={"note": "y"})}
    assert run(ONE_YEAR, before).action is Action.KEEP


def test_a_new_rule_supersedes_nothing_before_it_is_approved() -> None:
    """Supersession can weaken."""
    before = {**ONE_YEAR, "b": policy(keep_at_least="9 years", then="keep")}
    after = {**before, "c": policy(delete_at_latest="1 month", supersedes="b")}
    assert run(after, before).action is Action.KEEP
    assert run(after, after).action is Action.DELETE


def test_a_cluster_without_a_rule_that_was_added_protects_at_once() -> None:
    """Somebody says that the records serve another purpose, too."""
    files = bundle(ONE_YEAR, {"enquiries": cluster("one"), "orders": cluster("two")})
    approved = bundle(ONE_YEAR, {"enquiries": cluster("one")})
    assert decide(running(files, approved), NOW, OLD).action is Action.KEEP


def test_a_renamed_purpose_does_not_stop_an_approved_rule() -> None:
    """It is the same location under another name."""
    files = bundle(ONE_YEAR, {"enquiries": cluster("answering people")})
    approved = bundle(ONE_YEAR, {"enquiries": cluster("answering")})
    assert decide(running(files, approved), NOW, OLD).action is Action.DELETE


ANONYMISE = {"anonymise": {"note": None}}
WIDER = {"anonymise": {"note": None, "phone": None}}


@pytest.mark.parametrize(
    ("approved", "files", "action"),
    [
        ("delete", "review", Action.REVIEW),
        ("review", "delete", Action.REVIEW),
        ("delete", "restrict", Action.RESTRICT),
        ("restrict", "delete", Action.RESTRICT),
        ("delete", ANONYMISE, Action.KEEP),
        (ANONYMISE, "delete", Action.ANONYMISE),
        (ANONYMISE, WIDER, Action.ANONYMISE),
        (WIDER, ANONYMISE, Action.KEEP),
        ("delete", {"hand_over": {"to": "out"}}, Action.KEEP),
        ({"hand_over": {"to": "a"}}, {"hand_over": {"to": "b"}}, Action.KEEP),
        ({"hand_over": {"to": "a"}}, {"hand_over": {"to": "a"}}, Action.HAND_OVER),
        ("delete", "keep", Action.KEEP),
        ("keep", "delete", Action.KEEP),
    ],
)
def test_what_is_done_is_what_both_versions_allow(
    approved: Any, files: Any, action: Action
) -> None:
    """Never more than was approved, never more than the files still want."""
    before = {"rule": policy(delete_at_latest="1 year", then=approved)}
    after = {"rule": policy(delete_at_latest="1 year", then=files, title="new")}
    assert run(after, before).action is action


NOTE = ["note"]
BOTH = ["note", "phone"]


@pytest.mark.parametrize(
    ("approved", "files", "action"),
    [
        ({"fields": NOTE}, {"fields": NOTE, "title": "new"}, Action.ANONYMISE),
        ({"fields": NOTE}, {"fields": BOTH}, Action.ANONYMISE),
        ({"fields": BOTH}, {"fields": NOTE}, Action.KEEP),
        ({"fields": NOTE}, {"fields": NOTE, "delete_at_latest": "9 years"}, Action.KEEP),
        ({"fields": NOTE, "delete_at_latest": "9 years"}, {"fields": NOTE}, Action.KEEP),
        ({"fields": NOTE}, {}, Action.KEEP),
        ({}, {"fields": NOTE}, Action.KEEP),
    ],
)
def test_fields_go_where_both_versions_empty_them(
    approved: dict[str, Any], files: dict[str, Any], action: Action
) -> None:
    """Only what was approved, and only what the files still want emptied now."""
    before = {"rule": policy(**{"delete_at_latest": "1 year", **approved})}
    after = {"rule": policy(**{"delete_at_latest": "1 year", **files, "owner": "x"})}
    verdict = run(after, before)
    assert verdict.action is action
    assert verdict.mask == ({"note_text": None} if action is Action.ANONYMISE else None)


def test_a_field_rule_removed_from_the_files_goes_on() -> None:
    """As whole-record rules do."""
    before = {"rule": policy(delete_at_latest="1 year", fields=NOTE)}
    assert run({}, before).action is Action.ANONYMISE


def test_an_accounting_year_that_moves_protects_by_the_later_end() -> None:
    """Both organisations' settings count while the change waits."""
    said = {"rule": policy(keep_at_least="1 year", cutoff="accounting_year")}
    approved, files = bundle(said), bundle(said, accounting_year_ends="06-30")
    both = Rules(files, {"rule": "sha256:b"}, frozenset(), {"rule": ("sha256:a", approved)})
    assert decide(both, NOW, OLD).earliest == date(2022, 1, 1)


def test_a_time_zone_that_moves_never_makes_a_day_come_sooner() -> None:
    """In doubt about today, it is still yesterday."""
    said = {"rule": policy(keep_at_least="1 year")}
    approved, files = bundle(said), bundle(said, timezone="Pacific/Auckland")
    rules = Rules(files, {"rule": "sha256:b"}, frozenset(), {"rule": ("sha256:a", approved)})
    decider = Decider(rules, "site", "enquiries/form", {"enquiries/form": frozenset({"form"})})
    for day, action in (("2021-03-15", Action.KEEP), ("2021-03-16", Action.DELETE)):
        now = moment(day, "2021-05-01")
        verdict = decider.decide(
            "form", {"created_at": at("2020-03-14", 20)}, {}, NOBODY, (), "", now
        )
        assert verdict.action is action, day
