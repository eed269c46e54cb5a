"""The rules of a decision, in their order: one test fails for each rule that is taken away."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from retention.decide.model import Action, Hold, LinkedStart, Moment, SubjectState
from tests.unit.decide_cases import at, bundle, cluster, decide, moment, policy, received

LATE = moment("2030-01-01", "2030-02-01")
OLD = received("2020-03-15")
MONTH = bundle({"rule": policy(delete_at_latest="1 month")})


# 0 fail closed


def test_an_unreadable_hold_register_blocks() -> None:
    """Who may be held is not known: nothing is disposed of."""
    verdict = decide(MONTH, LATE, OLD, holds=None)
    assert (verdict.action, verdict.findings) == (Action.BLOCKED, ("unreadable:hold",))


def test_an_unreadable_subject_register_blocks() -> None:
    """Who may be restricted is not known: nothing is disposed of."""
    verdict = decide(MONTH, LATE, OLD, state=None)
    assert (verdict.action, verdict.findings) == (Action.BLOCKED, ("unreadable:subject",))


def test_a_record_without_a_policy_is_kept_and_said_to_be_unclassified() -> None:
    """No period is itself a breach; deleting without a rule would be a worse one."""
    rules = bundle({"rule": policy(delete_at_latest="1 month", where={"status": "lost"})})
    verdict = decide(rules, LATE, OLD, {"status": "new"})
    assert (verdict.action, verdict.findings) == (Action.KEEP, ("unclassified",))


@pytest.mark.parametrize("when", [date(2030, 1, 2), datetime(2030, 1, 1, 18, tzinfo=UTC)])
def test_a_record_dated_in_the_future_goes_to_review(when: date) -> None:
    """Even by some hours: a wrong date is no ground for any period."""
    verdict = decide(MONTH, LATE, {"created_at": when})
    assert (verdict.action, verdict.findings) == (Action.REVIEW, ("future-date",))


def test_a_date_that_no_applicable_rule_reads_may_lie_in_the_future() -> None:
    """Only dates that periods count from can mislead a decision."""
    verdict = decide(MONTH, LATE, {**OLD, "answered_at": date(2031, 1, 1)})
    assert verdict.action is Action.DELETE


def test_a_clock_that_went_back_sends_everything_to_review() -> None:
    """A ledger that has seen a later instant makes this one unbelievable."""
    verdict = decide(MONTH, Moment(at("2030-01-01"), clock_went_back=True), OLD)
    assert (verdict.action, verdict.findings) == (Action.REVIEW, ("clock-went-back",))


# 1 applicable


def test_every_location_that_covers_a_container_claims_its_records() -> None:
    """A minimum set through another location of the same table protects here too."""
    rules = bundle(
        {
            "a": policy(delete_at_latest="1 month"),
            "b": policy(applies_to="invoices", keep_at_least="20 years", then="keep"),
        },
        {"enquiries": cluster(), "invoices": cluster()},
    )
    assert decide(rules, LATE, OLD).action is Action.KEEP
    apart = {"enquiries/form": frozenset({"form"}), "invoices/form": frozenset({"other"})}
    assert decide(rules, LATE, OLD, claims=apart).action is Action.DELETE


def test_a_location_claims_only_the_records_that_its_filter_lets_in() -> None:
    """`where` of a location cuts its claim, and with it the protection it gives."""
    rules = bundle(
        {
            "a": policy(delete_at_latest="1 month"),
            "b": policy(applies_to="invoices", keep_at_least="20 years", then="keep"),
        },
        {"enquiries": cluster(), "invoices": cluster(where={"paid": True})},
    )
    assert decide(rules, LATE, OLD, {"paid": True}).action is Action.KEEP
    assert decide(rules, LATE, OLD, {"paid": False}).action is Action.DELETE
    assert decide(rules, LATE, OLD, {}).action is Action.KEEP


def test_a_record_outside_its_own_locations_filter_is_left_alone() -> None:
    """A system that pushes down too little must not widen a location."""
    rules = bundle(
        {"rule": policy(delete_at_latest="1 month")}, {"enquiries": cluster(where={"kind": "x"})}
    )
    assert decide(rules, LATE, OLD, {"kind": "y"}).action is Action.KEEP


def test_a_destructive_rule_needs_its_filter_to_match_for_certain() -> None:
    """Unknown is not yes: kept, and said."""
    rules = bundle({"rule": policy(delete_at_latest="1 month", where={"status": "lost"})})
    assert decide(rules, LATE, OLD, {"status": "lost"}).action is Action.DELETE
    verdict = decide(rules, LATE, OLD, {})
    assert (verdict.action, verdict.findings) == (Action.KEEP, ("where-unknown:rule",))


def test_a_protecting_rule_lets_go_only_where_its_filter_certainly_fails() -> None:
    """Unknown is not no."""
    rules = bundle(
        {
            "a": policy(delete_at_latest="1 month"),
            "b": policy(keep_at_least="20 years", then="keep", where={"vip": True}),
        }
    )
    assert decide(rules, LATE, OLD, {"vip": False}).action is Action.DELETE
    assert decide(rules, LATE, OLD, {}).action is Action.KEEP


def test_a_more_specific_rule_that_may_apply_stops_the_general_one() -> None:
    """Who might have the longer period is looked at by a person, not deleted by the shorter."""
    rules = bundle(
        {
            "a": policy(delete_at_latest="1 month"),
            "b": policy(delete_at_latest="20 years", where={"vip": True}),
        }
    )
    assert decide(rules, LATE, OLD, {"vip": False}).action is Action.DELETE
    assert decide(rules, LATE, OLD, {}).action is Action.REVIEW


def test_a_superseded_policy_drops_out_where_the_other_applies() -> None:
    """Its maximum and its minimum, and only there."""
    rules = bundle(
        {
            "a": policy(delete_at_latest="1 month", keep_at_least="20 years", where={"x": 1}),
            "b": policy(delete_at_latest="5 years", supersedes="a", where={"y": 1}),
        }
    )
    assert decide(rules, LATE, OLD, {"x": 1, "y": 1}).action is Action.DELETE
    assert decide(rules, LATE, OLD, {"x": 1, "y": 1}).policy == "b"
    assert decide(rules, LATE, OLD, {"x": 1, "y": 2}).action is Action.KEEP


def test_a_policy_superseded_by_one_that_may_apply_only_protects() -> None:
    """It might be out of force, so it disposes of nothing; it might not, so it protects."""
    rules = bundle(
        {
            "a": policy(delete_at_latest="1 month"),
            "b": policy(delete_at_latest="20 years", supersedes="a", where={"y": 1}),
        }
    )
    assert decide(rules, LATE, OLD, {}).action is Action.KEEP


def test_policies_that_supersede_each_other_dispose_of_nothing() -> None:
    """A circle has no beginning; both go on protecting."""
    rules = bundle(
        {
            "a": policy(delete_at_latest="1 month", supersedes="b"),
            "b": policy(delete_at_latest="1 month", supersedes="a"),
        }
    )
    assert decide(rules, LATE, OLD).action is Action.KEEP


# 2 per purpose


def test_the_latest_minimum_binds() -> None:
    """Of several minimums the longest decides."""
    rules = bundle(
        {
            "a": policy(keep_at_least="2 years"),
            "b": policy(keep_at_least="4 years", then="keep"),
            "c": policy(keep_at_least="3 years", then="keep"),
        }
    )
    assert decide(rules, LATE, OLD).earliest == date(2024, 3, 16)


def test_a_minimum_whose_event_has_not_happened_is_never_reached() -> None:
    """Kept, however old, and told what would change it."""
    rules = bundle(
        {
            "a": policy(delete_at_latest="1 month"),
            "b": policy(starting_point={"event": "left"}, keep_at_least="1 day", then="keep"),
        }
    )
    verdict = decide(rules, LATE, OLD)
    assert (verdict.action, verdict.earliest) == (Action.KEEP, None)
    assert verdict.would_change_if == "the event left happens"
    left = SubjectState(events={"left": at("2029-01-01")})
    assert decide(rules, LATE, OLD, state=left).action is Action.DELETE


def test_a_keep_rule_without_a_period_keeps_for_as_long_as_it_stands() -> None:
    """`then: keep` selects what must stay; a general deletion rule does not override it."""
    rules = bundle(
        {"a": policy(delete_at_latest="1 month"), "b": policy(then="keep", where={"vip": True})}
    )
    assert decide(rules, LATE, OLD, {"vip": True}).action is Action.KEEP


@pytest.mark.parametrize(
    ("where", "general", "named", "due"),
    [
        ("9 years", "1 year", "2 years", date(2029, 3, 15)),
        (None, "1 year", "8 years", date(2028, 3, 15)),
        (None, "1 year", None, date(2021, 3, 15)),
    ],
)
def test_the_most_specific_tier_gives_the_maximum(
    where: str | None, general: str, named: str | None, due: date
) -> None:
    """Selected by `where`, then by cluster or location, then by everything."""
    said = {"a": policy(applies_to="*", delete_at_latest=general)}
    if named:
        said["b"] = policy(delete_at_latest=named)
    if where:
        said["c"] = policy(delete_at_latest=where, where={"x": 1})
    assert decide(bundle(said), LATE, OLD, {"x": 1}).due == due


def test_within_a_tier_the_earliest_maximum_counts() -> None:
    """Two promises about the same records: the shorter one is the stricter."""
    rules = bundle(
        {"a": policy(delete_at_latest="9 years"), "b": policy(delete_at_latest="2 years")}
    )
    verdict = decide(rules, LATE, OLD)
    assert (verdict.due, verdict.policy) == (date(2022, 3, 15), "b")


@pytest.mark.parametrize(
    ("acts", "expected"),
    [
        (["restrict", {"anonymise": {"note": None}}], Action.ANONYMISE),
        (["delete", {"anonymise": {"note": None}}], Action.DELETE),
        (["delete", {"hand_over": {"to": "out"}}], Action.HAND_OVER),
        (["delete", "review"], Action.REVIEW),
        (["restrict", "review"], Action.REVIEW),
        (["restrict"], Action.RESTRICT),
    ],
)
def test_on_the_same_date_review_then_the_strongest(acts: list[object], expected: Action) -> None:
    """Review, then delete, anonymise, restrict; a hand-over deletes and exports first."""
    said = {f"{chr(97 + i)}": policy(delete_at_latest="1 year", then=t) for i, t in enumerate(acts)}
    assert decide(bundle(said), LATE, OLD, {"note_text": "x"}).action is expected


@pytest.mark.parametrize("basis", ["consent", "legitimate_interest"])
@pytest.mark.parametrize("scope", ["enquiries", "answering"])
def test_a_withdrawal_ends_its_purpose_that_day(basis: str, scope: str) -> None:
    """By the purpose's text or the cluster's name."""
    rules = bundle(
        {"rule": policy(delete_at_latest="20 years")},
        {"enquiries": cluster(purpose="answering", basis=basis)},
    )
    assert decide(rules, LATE, OLD).action is Action.KEEP
    gone = SubjectState(withdrawn={scope: at("2029-12-24")})
    verdict = decide(rules, LATE, OLD, state=gone)
    assert (verdict.action, verdict.due, verdict.overdue_days) == (
        Action.DELETE,
        date(2029, 12, 24),
        8,
    )


@pytest.mark.parametrize("basis", ["contract", "legal_obligation", None])
def test_a_withdrawal_ends_no_purpose_on_another_basis(basis: str | None) -> None:
    """Only consent and legitimate interests end by the subject's word."""
    rules = bundle(
        {"rule": policy(delete_at_latest="20 years")}, {"enquiries": cluster(basis=basis)}
    )
    gone = SubjectState(withdrawn={"enquiries": at("2029-12-24")})
    assert decide(rules, LATE, OLD, state=gone).action is Action.KEEP


def test_a_withdrawal_for_another_purpose_changes_nothing() -> None:
    """Consents are given and withdrawn one by one."""
    rules = bundle(
        {"rule": policy(delete_at_latest="20 years")}, {"enquiries": cluster(basis="consent")}
    )
    gone = SubjectState(withdrawn={"newsletter": at("2029-12-24")})
    assert decide(rules, LATE, OLD, state=gone).action is Action.KEEP


def test_one_claim_on_another_basis_keeps_a_shared_purpose_alive() -> None:
    """What a contract still needs does not go with a withdrawn consent."""
    rules = bundle(
        {"rule": policy(applies_to="*", delete_at_latest="20 years")},
        {"enquiries": cluster("sales", "consent"), "orders": cluster("sales", "contract")},
    )
    gone = SubjectState(withdrawn={"sales": at("2029-12-24")})
    assert decide(rules, LATE, OLD, state=gone).action is Action.KEEP


@pytest.mark.parametrize(
    ("basis", "action"),
    [
        ("contract", Action.DELETE),
        ("consent", Action.DELETE),
        ("legal_obligation", Action.KEEP),
        ("legal_claims", Action.KEEP),
    ],
)
def test_a_verified_erasure_request_ends_what_no_law_holds(basis: str, action: Action) -> None:
    """GDPR Art. 17(3)(b) and (e)."""
    rules = bundle(
        {"rule": policy(delete_at_latest="20 years")}, {"enquiries": cluster(basis=basis)}
    )
    asked = SubjectState(erasure_verified=at("2029-12-24"))
    assert decide(rules, LATE, OLD, state=asked).action is action


def test_a_purpose_ended_by_its_subject_without_any_rule_goes_to_a_person() -> None:
    """Nobody said what happens then, and nothing may happen silently."""
    rules = bundle(
        {"rule": policy(keep_at_least="1 year", then="keep")},
        {"enquiries": cluster(basis="consent")},
    )
    gone = SubjectState(withdrawn={"enquiries": at("2029-12-24")})
    verdict = decide(rules, LATE, OLD, state=gone)
    assert (verdict.action, verdict.findings) == (Action.REVIEW, ("no-rule:enquiries",))


def test_a_minimum_alone_is_the_maximum_too() -> None:
    """`keep_at_least` with `then: delete` is due at the first firing on or after it."""
    rules = bundle({"rule": policy(keep_at_least="1 year")})
    assert decide(rules, moment("2021-03-15", "2021-04-15"), OLD).action is Action.KEEP
    verdict = decide(rules, moment("2021-03-16", "2021-04-15"), OLD)
    assert (verdict.action, verdict.due) == (Action.DELETE, date(2021, 3, 16))


def test_a_maximum_below_a_minimum_is_raised_and_said() -> None:
    """Retention wins over deletion, and somebody should mend the policies."""
    rules = bundle(
        {"a": policy(delete_at_latest="1 year"), "b": policy(keep_at_least="5 years", then="keep")}
    )
    verdict = decide(rules, LATE, OLD)
    assert verdict.due == date(2025, 3, 16)
    assert verdict.findings == ("maximum-raised-to-minimum:a",)


def test_a_minimum_and_a_maximum_of_the_same_length_are_no_contradiction() -> None:
    """They differ by the one day that the two roundings are apart."""
    rules = bundle({"rule": policy(keep_at_least="1 year", delete_at_latest="1 year")})
    verdict = decide(rules, LATE, OLD)
    assert (verdict.due, verdict.findings) == (date(2021, 3, 16), ())


# 3 record


def two_purposes(**second: object) -> dict[str, object]:
    return {
        "a": policy(delete_at_latest="1 year"),
        "b": policy(applies_to="orders", **second),
    }


TWO = {"enquiries": cluster("answering"), "orders": cluster("selling")}


def test_a_record_is_needed_until_its_last_purpose_ends() -> None:
    """The latest maximum over purposes, and the rule that sets it decides."""
    rules = bundle(two_purposes(delete_at_latest="5 years"), TWO)  # type: ignore[arg-type]  # plain data
    verdict = decide(rules, LATE, OLD)
    assert (verdict.due, verdict.policy) == (date(2025, 3, 15), "b")


def test_a_purpose_without_any_maximum_needs_the_record_for_good() -> None:
    """Only a keep rule: nothing says that this purpose ends."""
    rules = bundle(two_purposes(keep_at_least="1 year", then="keep"), TWO)  # type: ignore[arg-type]  # plain data
    verdict = decide(rules, LATE, OLD)
    assert (verdict.action, verdict.due) == (Action.KEEP, None)


def test_a_purpose_without_any_rule_keeps_the_record_and_is_named() -> None:
    """A cluster that nobody gave a period is a finding, not a reason to delete."""
    verdict = decide(bundle({"a": policy(delete_at_latest="1 year")}, TWO), LATE, OLD)
    assert (verdict.action, verdict.findings) == (Action.KEEP, ("unclassified:orders",))


def test_clusters_with_the_same_purpose_are_one() -> None:
    """Then the most specific and earliest of all their rules counts."""
    rules = bundle(
        two_purposes(delete_at_latest="20 years"),  # type: ignore[arg-type]  # plain data
        {"enquiries": cluster("selling"), "orders": cluster("selling")},
    )
    assert decide(rules, LATE, OLD).due == date(2021, 3, 15)


def test_a_cap_cuts_what_purposes_would_still_need() -> None:
    """After the latest over purposes; it works where a purpose has no end at all."""
    rules = bundle(
        {
            "a": policy(starting_point={"event": "left"}, delete_at_latest="1 year"),
            "b": policy(delete_at_latest="3 years", cap=True),
        }
    )
    verdict = decide(rules, LATE, OLD)
    assert (verdict.action, verdict.policy, verdict.due) == (Action.DELETE, "b", date(2023, 3, 15))


def test_a_cap_never_cuts_below_a_minimum() -> None:
    """Caps come before the last step, never after it."""
    rules = bundle(
        {
            "a": policy(delete_at_latest="30 years"),
            "b": policy(delete_at_latest="3 years", cap=True),
            "c": policy(keep_at_least="20 years", then="keep"),
        }
    )
    assert decide(rules, LATE, OLD).action is Action.KEEP


def test_a_cap_beside_a_sooner_maximum_changes_nothing() -> None:
    """It is no rule of a purpose, so it does not compete with one."""
    rules = bundle(
        {"a": policy(delete_at_latest="1 year"), "b": policy(delete_at_latest="9 years", cap=True)}
    )
    assert decide(rules, LATE, OLD).due == date(2021, 3, 15)


def test_minimums_bind_the_record_copy_only() -> None:
    """One copy must survive until then; a working copy goes when it is due."""
    said = {
        "a": policy(delete_at_latest="1 year"),
        "b": policy(keep_at_least="20 years", then="keep"),
    }
    assert decide(bundle(said), LATE, OLD).action is Action.KEEP
    copy = bundle(said, {"enquiries": cluster(role="working_copy")})
    assert decide(copy, LATE, OLD).action is Action.DELETE


# 4 hold


@pytest.mark.parametrize(
    "hold",
    [
        Hold(3, "c", cluster="enquiries"),
        Hold(3, "c", location="enquiries/form"),
        Hold(3, "c", location="enquiries/form", record="p1"),
        Hold(3, "c", location="orders/other", record="p1"),
        Hold(3, "c", subject="s1"),
        Hold(3, "c"),
    ],
)
def test_a_hold_on_any_scope_keeps(hold: Hold) -> None:
    """By cluster, location, record or person; one without a scope covers everything."""
    state = SubjectState(hashes=frozenset({"s1"}))
    verdict = decide(MONTH, LATE, OLD, holds=[hold], state=state)
    assert (verdict.action, verdict.holds) == (Action.HELD, (3,))
    assert verdict.because[0] == "hold 3"


@pytest.mark.parametrize(
    "hold",
    [
        Hold(3, "c", cluster="orders"),
        Hold(3, "c", location="orders/form"),
        Hold(3, "c", location="enquiries/form", record="p2"),
        Hold(3, "c", subject="s2"),
    ],
)
def test_a_hold_on_something_else_does_not_keep(hold: Hold) -> None:
    """A hold suspends what it matches, and nothing beside."""
    state = SubjectState(hashes=frozenset({"s1"}))
    assert decide(MONTH, LATE, OLD, holds=[hold], state=state).action is Action.DELETE


def test_a_hold_on_a_cluster_covers_its_records_through_other_locations() -> None:
    """The record is one and the same, whichever location it was read through."""
    rules = bundle(
        {"rule": policy(applies_to="*", delete_at_latest="1 month")},
        {"enquiries": cluster(), "orders": cluster()},
    )
    hold = Hold(3, "c", cluster="orders")
    assert decide(rules, LATE, OLD, holds=[hold]).action is Action.HELD


def test_every_hold_must_be_released_and_its_grace_passed() -> None:
    """Two holds: the first release changes nothing; grace counts to its last instant."""
    free = Hold(1, "c", cluster="enquiries", released=True)
    grace = Hold(
        2, "c", cluster="enquiries", released=True, grace_until=datetime(2030, 1, 5, tzinfo=UTC)
    )
    active = Hold(4, "c", cluster="enquiries")
    assert decide(MONTH, LATE, OLD, holds=[free]).action is Action.DELETE
    assert decide(MONTH, LATE, OLD, holds=[free, active]).holds == (4,)
    verdict = decide(MONTH, LATE, OLD, holds=[free, grace])
    assert (verdict.holds, verdict.changes_on) == ((2,), date(2030, 1, 6))
    assert decide(MONTH, moment("2030-01-06"), OLD, holds=[free, grace]).action is Action.DELETE


def test_a_grace_counts_to_its_very_last_instant() -> None:
    """At that instant it still holds; a second later it does not."""
    now = LATE.now
    for until, action in ((now, Action.HELD), (now - timedelta(seconds=1), Action.DELETE)):
        hold = Hold(2, "c", cluster="enquiries", released=True, grace_until=until)
        assert decide(MONTH, LATE, OLD, holds=[hold]).action is action


def test_the_pseudonym_is_asked_for_only_when_a_hold_names_a_record() -> None:
    """It costs a keyed hash a record."""

    def never() -> str:
        raise AssertionError("no hold names a record")

    holds = [Hold(3, "c", cluster="orders")]
    assert decide(MONTH, LATE, OLD, holds=holds, pseudonym=never).action is Action.DELETE
    named = [Hold(3, "c", location="enquiries/form", record="p9")]
    assert decide(MONTH, LATE, OLD, holds=named, pseudonym=lambda: "p9").action is Action.HELD


# 5 restriction


def test_a_restriction_suspends_disposal() -> None:
    """GDPR Art. 18: storage only."""
    verdict = decide(MONTH, LATE, OLD, state=SubjectState(restricted=True))
    assert (verdict.action, verdict.because[0][:11]) == (Action.RESTRICT, "restriction")


def test_a_hold_comes_before_a_restriction() -> None:
    """A restriction that is lifted must not free what is held."""
    verdict = decide(
        MONTH,
        LATE,
        OLD,
        state=SubjectState(restricted=True),
        holds=[Hold(3, "c", cluster="enquiries")],
    )
    assert verdict.action is Action.HELD


# 6 undetermined


def test_a_missing_date_goes_to_review() -> None:
    """It is never guessed."""
    verdict = decide(MONTH, LATE, received(None))
    assert (verdict.action, verdict.policy) == (Action.REVIEW, "rule")
    assert verdict.findings == ("date-missing:rule",)


def test_a_missing_date_of_a_minimum_goes_to_review() -> None:
    """The maximum may be due, but nobody knows whether the minimum has passed."""
    rules = bundle(
        {
            "a": policy(delete_at_latest="1 year"),
            "b": policy(starting_point="answered", keep_at_least="1 day", then="keep"),
        }
    )
    verdict = decide(rules, LATE, OLD)
    assert (verdict.action, verdict.findings) == (Action.REVIEW, ("date-missing:b",))


def test_a_missing_date_is_only_a_finding_while_another_minimum_keeps() -> None:
    """There is nothing to decide yet."""
    rules = bundle(
        {
            "a": policy(starting_point="answered", delete_at_latest="1 year"),
            "b": policy(keep_at_least="20 years", then="keep"),
        }
    )
    verdict = decide(rules, LATE, OLD)
    assert (verdict.action, verdict.findings) == (Action.KEEP, ("date-missing:a",))


def test_a_date_that_the_location_does_not_map_is_missing_on_every_record() -> None:
    """A general rule on a place that has no such date."""
    rules = bundle({"rule": policy(starting_point="shipped", delete_at_latest="1 year")})
    assert decide(rules, LATE, OLD).action is Action.REVIEW


def test_a_period_without_a_start_goes_to_review() -> None:
    """Two years, from when?"""
    rules = bundle({"rule": policy(starting_point=None, delete_at_latest="2 years")})
    verdict = decide(rules, LATE, OLD)
    assert (verdict.action, verdict.findings) == (Action.REVIEW, ("start-missing:rule",))


# 7 before the minimum


def test_before_the_minimum_a_record_is_kept_because_of_the_rule() -> None:
    """The reason names the rule, its clause and its inputs; nothing else of the record."""
    rules = bundle({"rule": policy(keep_at_least="1 year", delete_at_latest="2 years")})
    verdict = decide(rules, moment("2021-03-15", "2025-01-01"), OLD)
    assert verdict.action is Action.KEEP
    label = f"rule@{verdict.digest.removeprefix('sha256:')[:12]}"
    assert verdict.because == (
        f"{label}: kept through 2021-03-15 = received 2020-03-15 + 1 year",
        f"{label}: due 2022-03-15 = received 2020-03-15 + 2 years",
    )


def test_a_record_whose_purpose_has_ended_is_restricted_until_its_minimum_passes() -> None:
    """Consent is gone, the law still keeps it: no use meanwhile."""
    rules = bundle(
        {
            "a": policy(delete_at_latest="9 years"),
            "b": policy(keep_at_least="20 years", then="keep"),
        },
        {"enquiries": cluster(basis="consent")},
    )
    gone = SubjectState(withdrawn={"enquiries": at("2029-12-24")})
    verdict = decide(rules, LATE, OLD, state=gone)
    assert (verdict.action, verdict.changes_on) == (Action.RESTRICT, date(2040, 3, 16))


# 8 due


def test_a_record_is_due_when_it_cannot_wait_for_the_next_firing() -> None:
    """Due before the next firing's day: now. On that day: then."""
    assert decide(MONTH, moment("2020-04-01", "2020-04-16"), OLD).action is Action.DELETE
    verdict = decide(MONTH, moment("2020-04-01", "2020-04-15"), OLD)
    assert (verdict.action, verdict.changes_on) == (Action.KEEP, date(2020, 4, 15))


def test_a_policy_that_fires_on_events_only_is_due_at_once_on_its_day() -> None:
    """There is no next firing to compare with."""
    assert decide(MONTH, moment("2020-04-14"), OLD).action is Action.KEEP
    assert decide(MONTH, moment("2020-04-15"), OLD).action is Action.DELETE


def test_the_next_firing_is_counted_in_the_organisations_own_days() -> None:
    """23:30 UTC on the 15th is the 16th in Oslo."""
    late = Moment(at("2020-04-01"), {"rule": datetime(2020, 4, 15, 23, 30, tzinfo=UTC)})
    assert decide(MONTH, late, OLD).action is Action.DELETE


def test_an_open_access_request_keeps_what_would_go() -> None:
    """The copy that was asked for must still be possible."""
    verdict = decide(MONTH, LATE, OLD, state=SubjectState(access_open=True))
    assert (verdict.action, verdict.would_change_if) == (
        Action.KEEP,
        "the access request is answered",
    )


def test_any_rule_that_is_due_and_says_review_wins() -> None:
    """Also one of another purpose that ended long ago."""
    rules = bundle(
        {
            "a": policy(delete_at_latest="1 year", then="review"),
            "b": policy(applies_to="orders", delete_at_latest="5 years"),
        },
        TWO,
    )
    verdict = decide(rules, LATE, OLD)
    assert (verdict.action, verdict.policy) == (Action.REVIEW, "a")


def test_a_weaker_rule_acts_first_and_the_stronger_when_it_is_due() -> None:
    """Restricted after one year, deleted after five."""
    rules = bundle(
        {
            "a": policy(delete_at_latest="1 year", then="restrict"),
            "b": policy(delete_at_latest="5 years"),
        }
    )
    assert decide(rules, moment("2023-01-01", "2023-02-01"), OLD).action is Action.RESTRICT
    assert decide(rules, LATE, OLD).action is Action.DELETE


def test_an_overdue_disposal_says_by_how_many_days() -> None:
    """Promise two: never silently too late."""
    assert decide(MONTH, moment("2020-04-25"), OLD).overdue_days == 10
    assert decide(MONTH, moment("2020-04-01", "2020-05-01"), OLD).overdue_days == 0


def test_a_review_without_a_period_comes_at_every_firing_where_nothing_else_is_known() -> None:
    """Each August, with the accountant."""
    rules = bundle({"rule": policy(starting_point=None, then="review")})
    assert decide(rules, LATE, OLD).action is Action.REVIEW


def test_a_destructive_rule_without_a_period_disposes_of_nothing() -> None:
    """How long is not said; zero is not meant."""
    verdict = decide(bundle({"rule": policy()}), LATE, OLD)
    assert (verdict.action, verdict.findings) == (Action.KEEP, ("no-period:rule",))


def test_suppression_and_hand_over_are_carried_into_the_verdict() -> None:
    """The run does what the verdict says, and looks nothing up again."""
    rules = bundle(
        {
            "rule": policy(
                delete_at_latest="1 year", then={"hand_over": {"to": "out"}}, suppress="email"
            )
        }
    )
    verdict = decide(rules, LATE, OLD)
    assert (verdict.hand_over_to, verdict.suppress) == ("out", ("email",))


# starting points


def test_an_event_starts_a_period() -> None:
    """Until it happens the record is pending."""
    rules = bundle({"rule": policy(starting_point={"event": "left"}, delete_at_latest="1 year")})
    verdict = decide(rules, LATE, OLD)
    assert (verdict.action, verdict.due) == (Action.KEEP, None)
    assert verdict.would_change_if == "the event left happens"
    left = SubjectState(events={"left": at("2028-05-31")})
    verdict = decide(rules, LATE, OLD, state=left)
    assert (verdict.action, verdict.due) == (Action.DELETE, date(2029, 5, 31))


def test_a_withdrawn_consent_is_an_event_of_its_own_purpose() -> None:
    """The consent register answers, by purpose; 24 hours count from the instant."""
    rules = bundle(
        {
            "rule": policy(
                starting_point={"event": "consent_withdrawn"}, delete_at_latest="24 hours"
            )
        },
        {"enquiries": cluster(purpose="newsletter", basis="consent")},
    )
    assert decide(rules, LATE, OLD).action is Action.KEEP
    gone = SubjectState(withdrawn={"newsletter": at("2030-01-01", 9)})
    assert decide(rules, moment("2030-01-01"), OLD, state=gone).action is Action.DELETE
    other = SubjectState(withdrawn={"profiling": at("2030-01-01", 9)})
    assert decide(rules, LATE, OLD, state=other).action is Action.KEEP


LINKED = bundle(
    {
        "rule": policy(
            starting_point={"date": "customers.ended", "matched_on": "email"},
            delete_at_latest="6 months",
        )
    }
)
LINK = ("customers.ended", "email")


@pytest.mark.parametrize(
    ("found", "action", "finding"),
    [
        (None, Action.KEEP, "unmatched:rule"),
        (LinkedStart(matched=False, active=False, latest=None), Action.KEEP, "unmatched:rule"),
        (LinkedStart(matched=True, active=True, latest=date(2020, 1, 1)), Action.KEEP, None),
        (LinkedStart(matched=True, active=False, latest=None), Action.REVIEW, "date-missing:rule"),
        (LinkedStart(matched=True, active=False, latest=date(2029, 1, 1)), Action.DELETE, None),
        (LinkedStart(matched=True, active=False, latest=date(2029, 12, 1)), Action.KEEP, None),
    ],
)
def test_a_date_of_another_cluster(
    found: LinkedStart | None, action: Action, finding: str | None
) -> None:
    """Nobody found, somebody still active: kept. All ended: the latest counts."""
    state = SubjectState(linked={LINK: found} if found else {})
    verdict = decide(LINKED, LATE, OLD, state=state)
    assert (verdict.action, verdict.findings) == (action, (finding,) if finding else ())


@pytest.mark.parametrize(
    ("kind", "answered", "due"),
    [
        ("latest_of", date(2021, 5, 1), date(2022, 5, 1)),
        ("earliest_of", date(2021, 5, 1), date(2021, 3, 15)),
        ("latest_of", None, None),
        ("earliest_of", None, None),
    ],
)
def test_the_latest_or_earliest_of_several_dates(
    kind: str, answered: date | None, due: date | None
) -> None:
    """A missing member leaves the whole undetermined."""
    rules = bundle(
        {"rule": policy(starting_point={kind: ["received", "answered"]}, delete_at_latest="1 year")}
    )
    verdict = decide(rules, LATE, {**OLD, "answered_at": answered})
    assert verdict.due == due
    assert verdict.action is (Action.DELETE if due else Action.REVIEW)


@pytest.mark.parametrize(("kind", "due"), [("latest_of", None), ("earliest_of", date(2021, 3, 15))])
def test_a_pending_member_holds_back_the_latest_but_not_the_earliest(
    kind: str, due: date | None
) -> None:
    """The earliest waits only where all of them do."""
    rules = bundle(
        {
            "rule": policy(
                starting_point={kind: [{"date": "received"}, {"event": "left"}]},
                delete_at_latest="1 year",
            )
        }
    )
    assert decide(rules, LATE, OLD).due == due


def test_a_backstop_ends_a_sliding_start() -> None:
    """Counted from the first known date, also where the start itself is still pending."""
    rules = bundle(
        {
            "rule": policy(
                starting_point={"date": "answered", "sliding": True},
                delete_at_latest="2 years",
                backstop="5 years",
            )
        }
    )
    young = {**OLD, "answered_at": date(2029, 12, 1)}
    assert decide(rules, LATE, young).due == date(2025, 3, 15)
    assert decide(rules, LATE, {**OLD, "answered_at": date(2021, 1, 1)}).due == date(2023, 1, 1)


def test_a_mandate_fills_minimum_and_cutoff() -> None:
    """From the catalogue, where loading has not done so already."""
    rules = bundle({"rule": policy(mandate="no/bokforingsloven-13-primary", then="review")})
    verdict = decide(rules, LATE, OLD)
    assert (verdict.action, verdict.earliest) == (Action.REVIEW, date(2026, 1, 1))


def test_an_unknown_mandate_only_protects() -> None:
    """No figures, no disposal."""
    rules = bundle({"rule": policy(mandate="xx/unknown", delete_at_latest="1 month")})
    assert decide(rules, LATE, OLD).action is Action.KEEP
