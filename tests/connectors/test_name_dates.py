"""Dates that names tell: exact, in the organisation's zone, and none where there is a doubt."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.connectors.name_dates import NamePattern

OSLO = ZoneInfo("Europe/Oslo")


@settings(deadline=None)
@given(st.dates(min_value=date(1000, 1, 1)), st.text(max_size=8))
def test_a_name_made_by_the_pattern_tells_its_day(day: date, rest: str) -> None:
    """Whatever stands behind it."""
    assert NamePattern("scan-{YYYY}{MM}{DD}*").date(f"scan-{day:%Y%m%d}{rest}", OSLO) == day


@settings(deadline=None)
@given(st.text())
def test_any_other_name_tells_nothing(name: str) -> None:
    """No date rather than a guess: such a file is reported, never due."""
    if not name.startswith("scan-"):
        assert NamePattern("scan-{YYYY}{MM}{DD}*").date(name, OSLO) is None


def test_hours_are_of_the_organisations_zone() -> None:
    """A name has no zone of its own."""
    pattern = NamePattern("{YYYY}-{MM}-{DD}T{hh}{mm}*")
    assert pattern.date("2024-07-01T0130.log", OSLO) == datetime(2024, 6, 30, 23, 30, tzinfo=UTC)
    assert pattern.date("2024-02-30T0130.log", OSLO) is None
    assert pattern.date("2024-07-01T2530.log", OSLO) is None


@pytest.mark.parametrize("text", ["*", "{YYYY}-{MM}", "{YYYY}{MM}{DD}{DD}", "{year}", "a/{YYYY}"])
def test_a_pattern_that_tells_no_day_is_refused(text: str) -> None:
    """In the policy file already."""
    with pytest.raises(ValueError):
        NamePattern(text)
