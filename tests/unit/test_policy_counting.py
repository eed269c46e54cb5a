"""How periods are counted: both ends, never too early, never too late."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.policy.counting import civil_day, due_by, earliest_after
from retention.policy.model import Cutoff, Organisation
from retention.policy.periods import Period
from retention.policy.statutes import catalogue

DAY = timedelta(days=1)
OSLO = Organisation(name="X", country="NO", timezone="Europe/Oslo")
JUNE = Organisation(name="X", country="NO", timezone="Europe/Oslo", accounting_year_ends="06-30")
ODD = Organisation(name="X", country="NO", timezone="Europe/Oslo", accounting_year_ends="12-30")


def period(text: str) -> Period:
    return Period.parse(text)


def day(text: str) -> date:
    return date.fromisoformat(text)


def at(text: str, zone: str = "Europe/Oslo") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("start", "said", "earliest", "due"),
    [
        ("2020-02-29", "5 years", "2025-03-01", "2025-02-28"),
        ("2024-02-29", "1 year", "2025-03-01", "2025-02-28"),
        ("2024-02-29", "4 years", "2028-03-01", "2028-02-29"),
        ("2026-01-31", "1 month", "2026-03-01", "2026-02-28"),
        ("2028-01-31", "1 month", "2028-03-01", "2028-02-29"),
        ("2026-01-15", "1 month", "2026-02-16", "2026-02-15"),
        ("2026-03-31", "90 days", "2026-06-30", "2026-06-29"),
        ("2026-12-31", "1 day", "2027-01-02", "2027-01-01"),
        ("2026-08-31", "6 months", "2027-03-01", "2027-02-28"),
        ("2025-06-30", "3 years 6 months", "2028-12-31", "2028-12-30"),
        ("2026-01-30", "1 month 1 day", "2026-03-02", "2026-03-01"),
    ],
)
def test_the_day_of_the_event_is_not_counted(
    start: str, said: str, earliest: str, due: str
) -> None:
    """Minimum rounds late, maximum rounds early, months and years by the calendar."""
    assert earliest_after(day(start), None, period(said), OSLO) == day(earliest)
    assert due_by(day(start), None, period(said), OSLO) == day(due)


STATUTES = {
    "no/bokforingsloven-13-primary": ("2030-12-31", "2030-06-30"),
    "no/bokforingsloven-13-secondary": ("2029-06-30", "2028-12-31"),
    "se/bokforingslagen-7-2": ("2032-12-31", "2032-12-31"),
    "fi/kirjanpitolaki-2-10-vouchers": ("2031-12-31", "2031-12-31"),
    "fi/kirjanpitolaki-2-10-books": ("2035-12-31", "2035-06-30"),
}


@pytest.mark.parametrize("statute", STATUTES)
@pytest.mark.parametrize(("organisation", "column"), [(OSLO, 0), (JUNE, 1)])
def test_statutes_count_from_the_end_of_the_accounting_year(
    statute: str, organisation: Organisation, column: int
) -> None:
    """Each row of the table in law.md, for a calendar year and for a year ending 30 June."""
    row = catalogue()[statute]
    kept_through = day(STATUTES[statute][column])
    earliest = earliest_after(day("2025-03-14"), row.cutoff, row.period, organisation)
    assert earliest == kept_through + DAY
    assert due_by(day("2025-03-14"), row.cutoff, row.period, organisation) == kept_through


def test_the_closing_day_itself_belongs_to_its_year() -> None:
    """A date on the last day of the year does not slip into the next one."""
    five = period("5 years")
    assert due_by(day("2025-12-31"), Cutoff.ACCOUNTING_YEAR, five, OSLO) == day("2030-12-31")
    assert due_by(day("2026-01-01"), Cutoff.ACCOUNTING_YEAR, five, OSLO) == day("2031-12-31")


@pytest.mark.parametrize(
    ("cutoff", "due"),
    [
        (Cutoff.MONTH, "2027-02-28"),
        (Cutoff.QUARTER, "2027-03-31"),
        (Cutoff.YEAR, "2027-12-31"),
    ],
)
def test_a_cutoff_moves_the_start_to_its_end(cutoff: Cutoff, due: str) -> None:
    """One year from the end of the month, quarter and year of 10 February 2026."""
    year = period("1 year")
    assert due_by(day("2026-02-10"), cutoff, year, OSLO) == day(due)
    assert earliest_after(day("2026-02-10"), cutoff, year, OSLO) == day(due) + DAY


def test_a_cutoff_period_that_starts_on_a_day_the_end_lacks() -> None:
    """From 31 December, two months: the minimum goes on to 1 March, the maximum ends before."""
    two = period("2 months")
    assert earliest_after(day("2026-05-01"), Cutoff.ACCOUNTING_YEAR, two, ODD) == day("2027-03-01")
    assert due_by(day("2026-05-01"), Cutoff.ACCOUNTING_YEAR, two, ODD) == day("2027-02-27")


def test_hours_count_from_the_instant() -> None:
    """24 hours from 14:00: the minimum rounds to the next midnight, the maximum to that day."""
    start = at("2026-05-04T14:00")
    assert earliest_after(start, None, period("24 hours"), OSLO) == day("2026-05-06")
    assert due_by(start, None, period("24 hours"), OSLO) == day("2026-05-05")


def test_hours_that_end_at_midnight_sharp() -> None:
    """The day that begins then is free; the day before it is the last one."""
    start = at("2026-05-04T00:00")
    assert earliest_after(start, None, period("24 hours"), OSLO) == day("2026-05-05")
    assert due_by(start, None, period("24 hours"), OSLO) == day("2026-05-04")


def test_hours_from_a_date_without_time() -> None:
    """The hour is unknown: a minimum counts from the end of that day, a maximum from its start."""
    assert earliest_after(day("2026-05-04"), None, period("24 hours"), OSLO) == day("2026-05-06")
    assert due_by(day("2026-05-04"), None, period("24 hours"), OSLO) == day("2026-05-04")


def test_hours_are_real_hours_when_clocks_change() -> None:
    """24 hours from 23:30 before the short night end at 00:30 of the day after next."""
    start = at("2026-03-28T23:30")
    assert due_by(start, None, period("24 hours"), OSLO) == day("2026-03-30")
    long_night = at("2026-10-24T23:30")
    assert due_by(long_night, None, period("24 hours"), OSLO) == day("2026-10-25")


def test_an_instant_is_counted_in_the_organisations_zone() -> None:
    """23:30 UTC on 31 December is New Year's Day in Oslo."""
    start = datetime(2025, 12, 31, 23, 30, tzinfo=UTC)
    assert civil_day(start, OSLO) == day("2026-01-01")
    assert due_by(start, Cutoff.YEAR, period("1 year"), OSLO) == day("2027-12-31")


def test_a_naive_datetime_is_refused() -> None:
    """Nobody knows which instant it names, so it is never guessed."""
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - the rule is about exactly this
    for count in (earliest_after, due_by):
        with pytest.raises(ValueError, match="naive"):
            count(naive, None, period("1 month"), OSLO)


@pytest.mark.parametrize("said", ["5 years", "24 hours", "90 days", "1 month 3 hours"])
@pytest.mark.parametrize("cutoff", [None, *Cutoff])
def test_the_end_of_the_calendar_is_never_allowed(said: str, cutoff: Cutoff | None) -> None:
    """A date of year 9999, as databases use for "never", fails closed instead of failing."""
    assert earliest_after(date.max, cutoff, period(said), JUNE) == date.max
    assert due_by(date.max, cutoff, period(said), JUNE) >= date(9999, 12, 30)


DATES = st.dates(date(1970, 1, 1), date(2200, 12, 31))
INSTANTS = st.datetimes(
    datetime(1971, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
    datetime(2200, 1, 1),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, ZoneInfo("America/Santiago"), ZoneInfo("Asia/Kathmandu")]),
)
WHOLE = st.builds(
    Period,
    years=st.integers(0, 12),
    months=st.integers(0, 30),
    days=st.integers(0, 400),
).filter(lambda p: p != Period())
HOURS = st.builds(
    Period, months=st.integers(0, 2), days=st.integers(0, 3), hours=st.integers(1, 100)
)
CUTOFFS = st.none() | st.sampled_from(Cutoff)
WHO = st.builds(
    Organisation,
    name=st.just("X"),
    country=st.just("NO"),
    timezone=st.sampled_from(["Europe/Oslo", "America/Santiago", "UTC", "Pacific/Apia"]),
    accounting_year_ends=st.sampled_from(["12-31", "06-30", "02-28", "02-29", "01-31", "12-30"]),
)


@settings(deadline=None, max_examples=80)
@given(DATES, DATES, CUTOFFS, WHOLE | HOURS, WHO)
def test_later_starts_never_end_earlier(
    one: date, other: date, cutoff: Cutoff | None, said: Period, who: Organisation
) -> None:
    """Both ends are monotone in the start."""
    first, second = sorted((one, other))
    for count in (earliest_after, due_by):
        assert count(first, cutoff, said, who) <= count(second, cutoff, said, who)


@settings(deadline=None, max_examples=80)
@given(DATES | INSTANTS, CUTOFFS, WHOLE, WHO)
def test_minimum_and_maximum_of_one_period_meet(
    start: date | datetime, cutoff: Cutoff | None, said: Period, who: Organisation
) -> None:
    """A record may go on the day after its last day: never on it, and never later without cause.

    Only a closing point whose next day the last month lacks (29th to 31st) leaves a gap, where the
    minimum rounds late and the maximum early.
    """
    earliest, due = earliest_after(start, cutoff, said, who), due_by(start, cutoff, said, who)
    gap = 2 if cutoff and who.accounting_year_ends == "12-30" else 1
    assert due < earliest <= due + gap * DAY


@settings(deadline=None, max_examples=80)
@given(INSTANTS, HOURS, WHO)
def test_hours_from_an_instant_never_round_by_more_than_a_day(
    start: datetime, said: Period, who: Organisation
) -> None:
    """Both ends lie within a day of the true end, the minimum after it, the maximum before."""
    earliest, due = earliest_after(start, None, said, who), due_by(start, None, said, who)
    assert due < earliest <= due + 2 * DAY


@settings(deadline=None, max_examples=100)
@given(DATES, st.integers(1, 60), WHO)
def test_a_month_is_never_thirty_days(start: date, months: int, who: Organisation) -> None:
    """N months end on the same day number, or on the last day of a month that lacks it."""
    due = due_by(start, None, Period(months=months), who)
    assert (due.year * 12 + due.month) - (start.year * 12 + start.month) == months
    assert due.day == start.day or (due.day < start.day and (due + DAY).day == 1)


@settings(deadline=None, max_examples=100)
@given(DATES, st.integers(1, 60), st.integers(1, 60), WHO)
def test_months_are_added_to_the_original_date(
    start: date, one: int, other: int, who: Organisation
) -> None:
    """Chaining periods would lose days at month ends; one sum never ends before the chain."""
    chained = due_by(due_by(start, None, Period(months=one), who), None, Period(months=other), who)
    assert chained <= due_by(start, None, Period(months=one + other), who)
