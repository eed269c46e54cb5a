"""Answer deadlines: one month, rolled to a working day; two more with reasons."""

from __future__ import annotations

from datetime import date

import pytest

from retention.policy.deadlines import answer_deadline, is_working_day


def day(text: str) -> date:
    return date.fromisoformat(text)


@pytest.mark.parametrize(
    ("received", "nominal", "norway", "sweden", "extended"),
    [
        ("2026-01-15", "2026-02-15", "2026-02-16", "2026-02-16", "2026-04-15"),
        ("2026-01-31", "2026-02-28", "2026-03-02", "2026-03-02", "2026-04-28"),
        ("2028-01-31", "2028-02-29", "2028-02-29", "2028-02-29", "2028-04-29"),
        ("2026-04-01", "2026-05-01", "2026-05-04", "2026-05-04", "2026-07-01"),
        ("2026-11-24", "2026-12-24", "2026-12-24", "2026-12-28", "2027-02-24"),
    ],
)
def test_each_row_of_the_table(
    received: str, nominal: str, norway: str, sweden: str, extended: str
) -> None:
    """The table of law.md: by the calendar, in Norway, in Sweden, and with the extension."""
    assert answer_deadline(day(received), "NO") == (day(nominal), day(norway))
    assert answer_deadline(day(received), "SE") == (day(nominal), day(sweden))
    assert answer_deadline(day(received), "NO", extended=True)[0] == day(extended)


def test_an_unknown_country_has_weekends_only() -> None:
    """Without a list of holidays only Saturday and Sunday move a deadline."""
    assert answer_deadline(day("2026-04-01"), "ZZ") == (day("2026-05-01"), day("2026-05-01"))
    assert answer_deadline(day("2026-01-15"), "ZZ")[1] == day("2026-02-16")


def test_eves_are_working_days_in_norway_only() -> None:
    """24 and 31 December are no public holidays in Norway; in Sweden offices are closed."""
    for eve in (day("2026-12-24"), day("2026-12-31")):
        assert is_working_day(eve, "NO")
        assert not is_working_day(eve, "SE")
