"""Accounting years: a list of year ends that may deviate and change."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.policy.accounting import accounting_years, cutoff_end
from retention.policy.model import Cutoff, Organisation, YearEnds


def day(text: str) -> date:
    return date.fromisoformat(text)


def end(said: str | YearEnds, when: str) -> str:
    return accounting_years(said).year_end_on_or_after(day(when)).isoformat()


@pytest.mark.parametrize(
    ("said", "when", "expected"),
    [
        ("12-31", "2025-01-01", "2025-12-31"),
        ("12-31", "2025-12-31", "2025-12-31"),
        ("06-30", "2025-07-01", "2026-06-30"),
        ("06-30", "2025-06-30", "2025-06-30"),
        ("02-28", "2024-02-28", "2024-02-29"),
        ("02-29", "2025-02-28", "2025-02-28"),
        ("02-29", "2025-03-01", "2026-02-28"),
        ("02-28", "2027-03-01", "2028-02-29"),
    ],
)
def test_a_deviating_year_ends_on_its_own_day(said: str, when: str, expected: str) -> None:
    """The day itself belongs to the year it ends; in February both forms mean the last day."""
    assert end(said, when) == expected


CHANGED = YearEnds(ends=("2024-12-31", "2025-06-30"), then="06-30")


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("2022-05-01", "2022-12-31"),
        ("2024-12-31", "2024-12-31"),
        ("2025-01-01", "2025-06-30"),
        ("2025-07-01", "2026-06-30"),
        ("2031-01-01", "2031-06-30"),
    ],
)
def test_an_accounting_year_may_change(when: str, expected: str) -> None:
    """The same day before the first named end, each one between them, the rule after."""
    assert end(CHANGED, when) == expected


def test_a_year_may_be_longer_than_twelve_months() -> None:
    """An extended first year of eighteen months is one year."""
    extended = YearEnds(ends=("2024-12-31", "2026-06-30"), then="06-30")
    assert end(extended, "2025-02-01") == "2026-06-30"


@pytest.mark.parametrize(
    "said",
    [
        "13-31",
        "12-32",
        "02-30",
        "1231",
        "",
        "31-12",
        YearEnds(ends=(), then="12-31"),
        YearEnds(ends=("2025-06-30", "2024-12-31"), then="12-31"),
        YearEnds(ends=("2025-06-31",), then="12-31"),
        YearEnds(ends=("2020-12-31", "2025-12-31"), then="12-31"),
        YearEnds(ends=("2025-12-31",), then="never"),
    ],
)
def test_what_is_no_year_end_is_refused(said: str | YearEnds) -> None:
    """Nothing is guessed about an accounting year."""
    with pytest.raises(ValueError, match=r".+"):
        accounting_years(said)


@pytest.mark.parametrize(
    ("cutoff", "expected"),
    [
        (Cutoff.MONTH, "2025-02-28"),
        (Cutoff.QUARTER, "2025-03-31"),
        (Cutoff.YEAR, "2025-12-31"),
        (Cutoff.ACCOUNTING_YEAR, "2025-06-30"),
        (Cutoff.YEAR_OF_ACCOUNTING_YEAR, "2025-12-31"),
    ],
)
def test_each_cutoff_has_its_closing_point(cutoff: Cutoff, expected: str) -> None:
    """All closing points of 14 February 2025 for a year that ends on 30 June."""
    who = Organisation(
        name="X", country="SE", timezone="Europe/Stockholm", accounting_year_ends="06-30"
    )
    assert cutoff_end(day("2025-02-14"), cutoff, who) == day(expected)


@settings(deadline=None, max_examples=80)
@given(
    st.dates(date(1990, 1, 1), date(9998, 12, 31)),
    st.sampled_from(["12-31", "06-30", "02-29", "01-31", CHANGED]),
    st.sampled_from(Cutoff),
)
def test_a_closing_point_is_never_before_its_day(
    when: date, said: str | YearEnds, cutoff: Cutoff
) -> None:
    """A cutoff only ever moves a start later, and closing points are fixed points."""
    who = Organisation(name="X", country="NO", timezone="UTC", accounting_year_ends=said)
    closing = cutoff_end(when, cutoff, who)
    assert closing >= when
    if cutoff is not Cutoff.YEAR_OF_ACCOUNTING_YEAR:
        assert cutoff_end(closing, cutoff, who) == closing
