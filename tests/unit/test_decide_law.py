"""Dates as the law counts them, all the way to a verdict."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from retention.decide.model import Action, Moment
from tests.unit.decide_cases import bundle, decide, moment, policy, received

FOREVER = "2199-01-01"


def ends(said: dict[str, Any], start: Any, **organisation: Any) -> tuple[date | None, date | None]:
    """(earliest, due) of a record with that starting day."""
    verdict = decide(
        bundle({"rule": policy(**said)}, **organisation), moment("2100-01-01", FOREVER), start
    )
    return verdict.earliest, verdict.due


@pytest.mark.parametrize(
    ("start", "period", "through"),
    [
        ("2026-01-15", "1 month", date(2026, 2, 15)),
        ("2026-01-31", "1 month", date(2026, 2, 28)),
        ("2028-01-31", "1 month", date(2028, 2, 29)),
        ("2026-04-01", "1 month", date(2026, 5, 1)),
        ("2026-11-24", "1 month", date(2026, 12, 24)),
        ("2024-02-29", "1 year", date(2025, 2, 28)),
        ("2024-02-29", "4 years", date(2028, 2, 29)),
        ("2020-02-29", "5 years", date(2025, 2, 28)),
        ("2025-12-31", "2 months", date(2026, 2, 28)),
        ("2025-08-31", "6 months", date(2026, 2, 28)),
        ("2026-03-28", "1 day", date(2026, 3, 29)),
    ],
)
def test_months_and_years_by_the_calendar(start: str, period: str, through: date) -> None:
    """A period runs through the day with the same number, or the month's last.

    Weekends and holidays move nothing: 1 May and 24 December are due dates like others.
    """
    assert ends({"delete_at_latest": period}, received(start)) == (None, through)
    day_after = through + timedelta(1)
    assert ends({"keep_at_least": period}, received(start)) == (day_after, day_after)


@pytest.mark.parametrize(
    ("year_end", "mandate", "through"),
    [
        ("12-31", "no/bokforingsloven-13-primary", date(2030, 12, 31)),
        ("12-31", "no/bokforingsloven-13-secondary", date(2029, 6, 30)),
        ("12-31", "se/bokforingslagen-7-2", date(2032, 12, 31)),
        ("12-31", "fi/kirjanpitolaki-2-10-vouchers", date(2031, 12, 31)),
        ("12-31", "fi/kirjanpitolaki-2-10-books", date(2035, 12, 31)),
        ("06-30", "no/bokforingsloven-13-primary", date(2030, 6, 30)),
        ("06-30", "no/bokforingsloven-13-secondary", date(2028, 12, 31)),
        ("06-30", "se/bokforingslagen-7-2", date(2032, 12, 31)),
        ("06-30", "fi/kirjanpitolaki-2-10-vouchers", date(2031, 12, 31)),
        ("06-30", "fi/kirjanpitolaki-2-10-books", date(2035, 6, 30)),
    ],
)
def test_bookkeeping_is_kept_through_the_day_the_law_says(
    year_end: str, mandate: str, through: date
) -> None:
    """An invoice of March 2025, in a calendar year and in one that ends in June."""
    said = {"mandate": mandate}
    rules = bundle({"rule": policy(**said)}, accounting_year_ends=year_end)
    last = decide(rules, moment(through, FOREVER), received("2025-03-10"))
    assert (last.action, last.earliest) == (Action.KEEP, through + timedelta(1))
    after = decide(rules, moment(through + timedelta(1), FOREVER), received("2025-03-10"))
    assert after.action is Action.DELETE


@pytest.mark.parametrize(
    ("day", "through"),
    [
        ("2024-06-30", date(2029, 6, 30)),
        ("2024-07-01", date(2029, 12, 31)),
        ("2024-12-31", date(2029, 12, 31)),
        ("2025-01-01", date(2030, 12, 31)),
    ],
)
def test_an_accounting_year_that_changes(day: str, through: date) -> None:
    """From June to December, with a short year of six months between."""
    years = {"ends": ["2024-06-30", "2024-12-31"], "then": "12-31"}
    earliest, _ = ends(
        {"mandate": "no/bokforingsloven-13-primary"}, received(day), accounting_year_ends=years
    )
    assert earliest == through + timedelta(1)


@pytest.mark.parametrize(
    ("cutoff", "due"),
    [
        ("month", date(2027, 2, 28)),
        ("quarter", date(2027, 3, 31)),
        ("year", date(2027, 12, 31)),
        (None, date(2027, 2, 10)),
    ],
)
def test_a_cutoff_moves_the_start_to_its_closing_point(cutoff: str | None, due: date) -> None:
    """The period begins at 00:00 of the day after."""
    said = {"delete_at_latest": "1 year", **({"cutoff": cutoff} if cutoff else {})}
    assert ends(said, received("2026-02-10")) == (None, due)


@pytest.mark.parametrize(
    ("instant", "due"),
    [
        (datetime(2026, 1, 31, 22, 59, tzinfo=UTC), date(2026, 2, 28)),
        (datetime(2026, 1, 31, 23, 0, tzinfo=UTC), date(2026, 3, 1)),
        (datetime(2026, 6, 30, 21, 59, tzinfo=UTC), date(2026, 7, 30)),
        (datetime(2026, 6, 30, 22, 0, tzinfo=UTC), date(2026, 8, 1)),
    ],
)
def test_an_instant_belongs_to_the_organisations_civil_day(instant: datetime, due: date) -> None:
    """One minute decides about the day, in winter and in summer time."""
    assert ends({"delete_at_latest": "1 month"}, {"created_at": instant}) == (None, due)


def test_hours_count_from_the_instant() -> None:
    """24 hours from noon end on the next day; 36 from a civil date start with that day."""
    noon = {"created_at": datetime(2026, 5, 4, 10, tzinfo=UTC)}
    assert ends({"delete_at_latest": "24 hours"}, noon) == (None, date(2026, 5, 5))
    assert ends({"keep_at_least": "24 hours", "then": "keep"}, noon)[0] == date(2026, 5, 6)
    assert ends({"delete_at_latest": "36 hours"}, received("2026-05-04")) == (
        None,
        date(2026, 5, 5),
    )


def test_todays_date_is_the_organisations() -> None:
    """At 23:30 UTC on the last kept day it is already tomorrow in Oslo."""
    rules = bundle({"rule": policy(keep_at_least="1 year")})
    before = Moment(datetime(2021, 3, 15, 22, 30, tzinfo=UTC))
    after = Moment(datetime(2021, 3, 15, 23, 30, tzinfo=UTC))
    assert decide(rules, before, received("2020-03-15")).action is Action.KEEP
    assert decide(rules, after, received("2020-03-15")).action is Action.DELETE


@pytest.mark.parametrize(
    "extreme", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
)
def test_dates_at_the_ends_of_the_calendar_are_reviewed_or_counted(extreme: datetime) -> None:
    """A damaged date stops no run and loses no record."""
    rules = bundle({"rule": policy(delete_at_latest="5 years")})
    verdict = decide(rules, moment("2026-01-01"), {"created_at": extreme})
    assert verdict.action is (Action.REVIEW if extreme.year > 2026 else Action.DELETE)


def test_an_instant_without_a_zone_is_no_date() -> None:
    """Nobody knows which day it names."""
    naive = datetime(2020, 1, 1, 12)  # noqa: DTZ001  # the very case
    rules = bundle({"rule": policy(delete_at_latest="5 years")})
    assert decide(rules, moment("2026-01-01"), {"created_at": naive}).action is Action.REVIEW
