"""Copies of one record in several locations of its cluster: one decision, the most careful one."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.decide.model import Action, LinkedStart, SubjectState, Verdict
from tests.unit.decide_cases import FORM, bundle, decide, moment, policy

LINK = ("enquiries.received", "email")
NOW = date(2026, 6, 15)
TWO = {
    "enquiries": {
        "purpose": "answering",
        "basis": "contract",
        "matched_on": "email",
        "locations": {
            "form": FORM,
            "sheet": {**FORM, "table": "sheet", "dates": {}},
        },
    }
}


def verdict(own: date | None, others: LinkedStart | None, *, dated: bool = True) -> Verdict:
    clusters = TWO if dated else {"enquiries": {**TWO["enquiries"], "locations": _undated()}}
    state = SubjectState(linked={LINK: others} if others else {})
    files = bundle({"rule": policy(delete_at_latest="1 month")}, clusters)
    dates = {"created_at": own} if dated else {}
    claims = {"enquiries/form": frozenset({"form"})}
    return decide(files, moment(NOW, NOW + timedelta(days=1)), dates, state=state, claims=claims)


def _undated() -> dict[str, object]:
    return {"form": {**FORM, "dates": {}}, "sheet": {**FORM, "table": "sheet"}}


def known(latest: date | None, *, active: bool = False) -> LinkedStart:
    return LinkedStart(matched=True, active=active, latest=latest)


OLD, YOUNG = date(2026, 1, 1), date(2026, 6, 1)


def test_the_latest_of_all_copies_counts() -> None:
    """A younger copy keeps the older one, and an older copy does not hurry the younger one."""
    assert verdict(OLD, known(OLD)).action is Action.DELETE
    assert verdict(OLD, known(YOUNG)).action is Action.KEEP
    assert verdict(YOUNG, known(OLD)).action is Action.KEEP


def test_a_copy_without_a_date_of_its_own_takes_it_from_the_others() -> None:
    """And is kept where no copy with a date is found: nobody knows what it belongs to."""
    assert verdict(None, known(OLD), dated=False).action is Action.DELETE
    assert verdict(None, known(YOUNG), dated=False).action is Action.KEEP
    alone = verdict(None, None, dated=False)
    assert alone.action is Action.KEEP
    assert "unmatched" in {f.partition(":")[0] for f in alone.findings}


def test_a_copy_that_goes_on_keeps_all() -> None:
    """One copy whose date is not reached yet: the others are kept, whatever their dates."""
    assert verdict(OLD, known(OLD, active=True)).action is Action.KEEP


def test_a_record_without_its_own_date_is_reviewed() -> None:
    """Where the location has that date and the record lacks it, a person looks; never guessed."""
    assert verdict(None, known(OLD)).action is Action.REVIEW


def test_a_record_that_matches_nobody_stands_for_itself() -> None:
    """Without a key in common there are no copies, and its own date decides."""
    none = LinkedStart(matched=False, active=False, latest=None)
    assert verdict(OLD, none).action is Action.DELETE
    assert verdict(YOUNG, none).action is Action.KEEP


@pytest.mark.parametrize("nested", ["latest_of", "earliest_of"])
def test_copies_count_within_combined_starting_points(nested: str) -> None:
    """A date inside latest_of or earliest_of is the latest of the copies, too."""
    files = bundle(
        {"rule": policy(starting_point={nested: ["received"]}, delete_at_latest="1 month")}, TWO
    )
    state = SubjectState(linked={LINK: known(YOUNG)})
    said = decide(
        files,
        moment(NOW, NOW + timedelta(days=1)),
        {"created_at": OLD},
        state=state,
        claims={"enquiries/form": frozenset({"form"})},
    )
    assert said.action is Action.KEEP


DAYS = st.dates(date(2026, 1, 1), date(2026, 6, 14))


@settings(deadline=None)
@given(own=DAYS, latest=st.none() | DAYS, active=st.booleans())
def test_never_before_every_copy_is_due(own: date, latest: date | None, active: bool) -> None:
    """Whatever the copies say, nothing goes before the period of each of them has run."""
    said = verdict(own, known(latest, active=active))
    if said.action is Action.DELETE:
        assert not active
        assert max(d for d in (own, latest) if d is not None) < date(2026, 5, 17)
    elif not active:
        assert max(d for d in (own, latest) if d is not None) >= date(2026, 5, 14)
