"""The worst-case age of a record, and the readings of `last_of`."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.policy.model import Organisation, Policy
from retention.schedule.compile import compile_job
from retention.schedule.cron import fires, parse
from retention.schedule.model import Job

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
OSLO = ZoneInfo("Europe/Oslo")
ORGANISATION = Organisation(name="Fjordro Coaching", country="NO", timezone="Europe/Oslo")


def job(**said: Any) -> Job:
    policy = Policy.model_validate({"applies_to": "a", "then": "delete"} | said)
    return compile_job("p", policy, ORGANISATION, "d", NOW)


QUARTERLY = {"last_of": ["every 3 months", "0 3 1 1,4,7,10 *"]}


def test_readings_of_every_third_month_or_the_quarter() -> None:
    """The three readings that the statement allows (promises.md): 92, 92 and 183 days."""
    compiled = job(delete_at_latest="6 months", schedule=QUARTERLY)
    assert compiled.readings == {"per record": 92, "per run": 92, "first fire on or after": 183}
    assert list(compiled.readings) == ["per record", "per run", "first fire on or after"]
    assert compiled.worst_case_age_days == 184
    assert compiled.overrun_days == 0


def test_readings_depend_on_the_parts_that_are_there() -> None:
    """Without an interval there is nothing to count per record; a plain cron has no readings."""
    assert job(schedule={"last_of": ["0 3 1 * *", "0 3 * * 1"]}).readings == {"per run": 31}
    assert set(job(schedule={"last_of": ["every 2 weeks", "every month"]}).readings) == {
        "per record",
        "per run",
    }
    assert job(schedule="0 3 1 * *").readings == {}


@pytest.mark.parametrize(
    ("said", "days", "overrun"),
    [
        # A maximum that the cadence meets: at most its longest calendar length.
        ({"delete_at_latest": "1 month", "schedule": "0 3 1 * *"}, 31, 0),
        ({"delete_at_latest": "2 years", "schedule": "@daily"}, 731, 0),
        # … a day less where no firing falls on the end of the longest.
        ({"delete_at_latest": "4 months", "schedule": "0 3 1 1,4,7,10 *"}, 122, 0),
        # A maximum shorter than the gap between two firings: the gap.
        ({"delete_at_latest": "20 days", "schedule": "0 3 1 * *"}, 31, 11),
        ({"delete_at_latest": "1 month", "schedule": "@quarterly"}, 92, 61),
        ({"delete_at_latest": "1 month", "schedule": "0 3 31 * *"}, 61, 31),
        ({"delete_at_latest": "1 month", "schedule": "every 2 months"}, 62, 31),
        ({"delete_at_latest": "3 years", "schedule": "0 3 29 2 *"}, 1461, 366),
        # A minimum: its length, the day after, and the wait for the next firing.
        ({"keep_at_least": "2 years", "schedule": "@daily"}, 732, 0),
        ({"keep_at_least": "1 month", "schedule": "0 3 1 * *"}, 62, 0),
        # The accounting year: from 1 January, through the year, five years, until August.
        (
            {"keep_at_least": "5 years", "cutoff": "accounting_year", "schedule": "0 9 1 8 *"},
            2404,
            0,
        ),
        ({"delete_at_latest": "1 month", "cutoff": "month", "schedule": "@daily"}, 61, 0),
        # Both: taken between the two where a firing falls there, too late where none does.
        (
            {"keep_at_least": "1 month", "delete_at_latest": "3 months", "schedule": "@monthly"},
            92,
            0,
        ),
        (
            {"keep_at_least": "30 days", "delete_at_latest": "35 days", "schedule": "@quarterly"},
            122,
            87,
        ),
        # A maximum below the minimum is raised to it, and that is not the cadence's fault.
        ({"keep_at_least": "30 days", "delete_at_latest": "10 days", "schedule": "@daily"}, 31, 0),
        # Hours.
        ({"delete_at_latest": "24 hours", "schedule": "on_event"}, 1, 0),
        ({"delete_at_latest": "24 hours", "schedule": "@daily"}, 1, 0),
        ({"delete_at_latest": "12 hours", "schedule": "@daily"}, 1, 1),
        ({"delete_at_latest": "12 hours", "schedule": "@hourly"}, 1, 0),
        ({"delete_at_latest": "36 hours", "schedule": "@weekly"}, 7, 6),
        # An event with a minimum waits for the sweep after it.
        ({"keep_at_least": "10 days", "schedule": "on_event"}, 11, 0),
        # No period, no age; nothing disposed of, no age.
        ({"schedule": "@daily"}, None, 0),
        ({"schedule": "on_event"}, None, 0),
        ({"keep_at_least": "5 years", "then": "keep"}, None, 0),
    ],
)
def test_worst_case_age(said: dict[str, Any], days: int | None, overrun: int) -> None:
    """The age at which the unluckiest record goes, and by how much that breaks the promise."""
    compiled = job(**said)
    assert (compiled.worst_case_age_days, compiled.overrun_days) == (days, overrun)


def test_rare_and_endless_schedules_end() -> None:
    """Neither a day that comes every 28 years nor a period of a millennium runs for ever."""
    rare = job(delete_at_latest="1 year", schedule="0 3 * 2 1#5")
    assert rare.worst_case_age_days is not None
    assert rare.worst_case_age_days > 10_000
    assert rare.overrun_days > 9_000
    endless = job(delete_at_latest="9000 years", schedule="@daily")
    assert endless.worst_case_age_days is not None
    assert endless.worst_case_age_days > 2_000_000


@given(
    st.sampled_from(["0 3 1 * *", "0 3 */5 * *", "0 3 * * 1", "@quarterly", "0 3 L * *", "@daily"]),
    st.one_of(st.none(), st.integers(0, 5)),
    st.one_of(st.none(), st.integers(1, 7)),
    st.integers(0, 2500),
)
@settings(deadline=None, max_examples=60)
def test_no_record_gets_older_than_the_worst_case(
    cron: str, minimum: int | None, maximum: int | None, offset: int
) -> None:
    """A record followed firing by firing, by the rule of decisions, never exceeds what was said."""
    said: dict[str, Any] = {"schedule": cron}
    if minimum:
        said["keep_at_least"] = f"{minimum} months"
    if maximum:
        said["delete_at_latest"] = f"{maximum} months"
    compiled = job(**said)
    if compiled.worst_case_age_days is None:
        assert not minimum
        assert not maximum
        return
    start = date(2026, 4, 1) + timedelta(offset)
    earliest = start + relativedelta(months=minimum) + timedelta(1) if minimum else start
    due = max(start + relativedelta(months=maximum), earliest) if maximum else None
    walk = fires(
        parse(cron), OSLO, datetime(start.year, start.month, start.day, 23, 59, tzinfo=OSLO)
    )
    days = (moment.astimezone(OSLO).date() for moment in walk)
    fire = next(days)
    following = next(days)
    while fire < earliest or (due is not None and due >= following):
        fire, following = following, next(days)
    assert (fire - start).days <= compiled.worst_case_age_days
    if due is not None:
        assert (fire - due).days <= compiled.overrun_days
