"""The statute catalogue and what a mandate fills in."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.policy.model import Cutoff, Policy
from retention.policy.periods import Period, last_day
from retention.policy.statutes import MandateError, Mark, catalogue, covers, resolve

ROWS = {
    # id: period, cutoff, mark; law.md, every row
    "no/bokforingsloven-13-primary": ("5 years", "accounting_year", "P"),
    "no/bokforingsloven-13-secondary": ("3 years 6 months", "accounting_year", "P"),
    "no/bokforingsloven-13b": ("3 years 6 months", "accounting_year", "P"),
    "no/bokforingsforskriften-8-projects": ("10 years", "accounting_year", "S"),
    "no/bokforingsforskriften-8-banks": ("10 years", "accounting_year", "S"),
    "no/bokforingsforskriften-8-timesheets": ("3 years 6 months", "accounting_year", "S"),
    "no/regnskapsforerloven-5-3": ("5 years", "accounting_year", "P"),
    "no/regnskapsforerloven-5-3-breaches": ("10 years", "accounting_year", "P"),
    "dk/bogforingsloven-12": ("5 years", "accounting_year", "S"),
    "se/bokforingslagen-7-2": ("7 years", "year_of_accounting_year", "P"),
    "fi/kirjanpitolaki-2-10-vouchers": ("6 years", "year_of_accounting_year", "S"),
    "fi/kirjanpitolaki-2-10-books": ("10 years", "accounting_year", "S"),
    "de/hgb-257-books": ("10 years", "year", "S"),
    "de/hgb-257-vouchers": ("8 years", "year", "S"),
    "de/hgb-257-vouchers-banks": ("10 years", "year", "S"),
    "de/hgb-257-letters": ("6 years", "year", "S"),
    "nl/awr-52": ("7 years", None, "P"),
    "fr/commerce-l123-22": ("10 years", "accounting_year", "S"),
    "fr/lpf-l102b": ("6 years", None, "S"),
    "uk/ca-388-private": ("3 years", None, "S"),
    "uk/ca-388-public": ("6 years", None, "S"),
    "uk/tax": ("6 years", "accounting_year", "S"),
}


@pytest.mark.parametrize("name", ROWS)
def test_every_row_of_the_fact_sheet_is_there(name: str) -> None:
    """Period, closing point and mark as the sources give them."""
    period, cutoff, mark = ROWS[name]
    row = catalogue()[name]
    assert (row.period, row.cutoff, row.mark) == (Period.parse(period), cutoff, mark)


@pytest.mark.parametrize("name", catalogue())
def test_every_row_says_where_it_comes_from(name: str) -> None:
    """Source, section, documents, date checked; general knowledge is never called verified."""
    row = catalogue()[name]
    assert row.id == name
    assert all((row.statute, row.section, row.documents, row.source, row.checked))
    assert row.verified is (row.mark is not Mark.GENERAL)
    assert row.superseded_by is None or row.superseded_by in catalogue()
    assert len(row.country) == 2


def test_a_row_is_out_of_force_after_its_last_day() -> None:
    """What another text replaced is superseded; what ended is, from the day after."""
    assert catalogue()["de/hgb-257-vouchers-before-2025"].superseded()
    ended = catalogue()["de/hgb-257-vouchers"].model_copy(update={"in_force_to": date(2030, 1, 1)})
    assert not ended.superseded(date(2030, 1, 1))
    assert ended.superseded(date(2030, 1, 2))


def policy(**fields: object) -> Policy:
    return Policy.model_validate({"applies_to": "c", "then": "review", **fields})


PRIMARY = "no/bokforingsloven-13-primary"


def test_a_mandate_fills_what_is_not_said() -> None:
    """Cutoff and minimum come from the statute; a longer minimum stays."""
    filled = resolve(policy(), catalogue()[PRIMARY])
    assert (filled.cutoff, filled.keep_at_least) == (Cutoff.ACCOUNTING_YEAR, Period(years=5))
    longer = resolve(policy(keep_at_least="61 months"), catalogue()[PRIMARY])
    assert longer.keep_at_least == Period(months=61)
    assert resolve(filled, catalogue()[PRIMARY]) == filled


def test_a_statute_without_closing_point_leaves_the_policys() -> None:
    """Where the text does not say from when it counts, the policy does."""
    assert resolve(policy(cutoff="year"), catalogue()["nl/awr-52"]).cutoff is Cutoff.YEAR
    assert resolve(policy(), catalogue()["nl/awr-52"]).cutoff is None


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"keep_at_least": "59 months"}, "mandate-shorter"),
        ({"keep_at_least": "1825 days"}, "mandate-shorter"),
        ({"cutoff": "month"}, "mandate-cutoff"),
    ],
)
def test_less_than_the_statute_is_refused(fields: dict[str, str], code: str) -> None:
    """A policy may ask for more than the law, never for less."""
    with pytest.raises(MandateError) as caught:
        resolve(policy(**fields), catalogue()[PRIMARY])
    assert caught.value.code == code


PERIODS = st.builds(
    Period, years=st.integers(0, 6), months=st.integers(0, 13), days=st.integers(0, 800)
).filter(lambda p: p != Period())


@settings(deadline=None, max_examples=60)
@given(PERIODS, PERIODS, st.dates(date(2001, 1, 1), date(2080, 1, 1)))
def test_covers_holds_on_every_day(one: Period, other: Period, start: date) -> None:
    """If a period is called long enough, it is so from any day."""
    if covers(one, other):
        assert last_day(start, one) >= last_day(start, other) - timedelta(0)
