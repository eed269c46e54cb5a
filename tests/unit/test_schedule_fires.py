"""The firings of schedules that count from the last one."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.policy.model import Policy
from retention.schedule.fields import CronError
from retention.schedule.fires import fires_between, moments, next_fire
from retention.schedule.grammar import parse_schedule
from retention.schedule.model import Job, OnEvent, Schedule

OSLO = ZoneInfo("Europe/Oslo")


def schedule(said: Any, name: str = "p") -> Schedule:
    policy = Policy.model_validate({"applies_to": "a", "then": "delete", "schedule": said})
    return parse_schedule(name, policy)


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=OSLO)


def dates(said: Any, last: str | None, after: str, count: int) -> list[str]:
    found = moments(schedule(said), OSLO, local(last) if last else None, local(after))
    return [f"{m.astimezone(OSLO):%Y-%m-%d %H:%M}" for m in islice(found, count)]


QUARTERLY = {"last_of": ["every 3 months", "0 3 1 1,4,7,10 *"]}


def test_last_of_is_the_quarter_when_the_quarter_is_later() -> None:
    """On the grid, three months after a quarter start is the next quarter start."""
    assert dates(QUARTERLY, "2026-01-01T03:00", "2026-01-01T03:00", 4) == [
        "2026-04-01 03:00",
        "2026-07-01 03:00",
        "2026-10-01 03:00",
        "2027-01-01 03:00",
    ]


def test_last_of_waits_for_the_interval_when_that_is_later() -> None:
    """Three months after mid February are over in May; the quarter after that is July."""
    assert dates(QUARTERLY, "2026-02-15T12:00", "2026-02-15T12:00", 2) == [
        "2026-07-01 03:00",
        "2026-10-01 03:00",
    ]


def test_last_of_two_crons_waits_for_both() -> None:
    """The first of the month and a Monday: the later of the two next ones."""
    said = {"last_of": ["0 3 1 * *", "0 4 * * 1"]}
    assert dates(said, "2026-06-01T04:00", "2026-06-01T04:00", 2) == [
        "2026-07-01 03:00",
        "2026-08-01 03:00",
    ]
    assert dates(said, None, "2026-06-29T12:00", 1) == ["2026-07-06 04:00"]


def test_last_of_waits_for_the_later_cron_on_the_day_of_the_interval() -> None:
    """All parts meet on one day: the latest time of that day, not the first that fires."""
    said = {"last_of": ["every month", "0 3 1 * *", "0 5 1 * *"]}
    assert dates(said, "2026-06-01T05:00", "2026-06-01T05:00", 1) == ["2026-07-01 05:00"]


def test_last_of_intervals_alone_is_the_longest() -> None:
    """Without a cron part the quiet hour gives the time of day."""
    first, *_ = dates(
        {"last_of": ["every 4 weeks", "every month"]}, "2026-01-31T03:10", "2026-02-01T00:00", 1
    )
    assert first.startswith("2026-02-28 03:")


def test_a_policy_that_never_fired_starts_with_the_cron_part() -> None:
    """The first firing of all is the first cron moment after the job was seen."""
    assert dates(QUARTERLY, None, "2026-02-15T12:00", 2) == ["2026-04-01 03:00", "2026-07-01 03:00"]


def test_every_counts_local_dates_at_one_time_of_day() -> None:
    """Clock changes do not move an interval: the same local minute in summer and in winter."""
    found = dates("every 2 weeks", None, "2026-03-20T12:00", 3)
    assert {text[11:] for text in found} == {found[0][11:]}
    assert [text[:10] for text in found] == ["2026-03-21", "2026-04-04", "2026-04-18"]


def test_every_month_from_a_31st_is_the_months_last_day() -> None:
    """A day that the month lacks becomes its last; never a day of the next month."""
    found = dates("every 1 month", "2026-01-31T03:20", "2026-01-31T03:20", 2)
    assert [text[:10] for text in found] == ["2026-02-28", "2026-03-28"]


def test_on_event_sweeps_daily_in_the_night() -> None:
    """Records that arrive after the event are found by a sweep between three and four."""
    found = dates("on_event", None, "2026-03-20T12:00", 2)
    assert [text[:14] for text in found] == ["2026-03-21 03:", "2026-03-22 03:"]
    one, other = schedule("on_event", "one"), schedule("on_event", "another")
    assert isinstance(one, OnEvent)
    assert one != other


@pytest.mark.parametrize(
    "said",
    ["every", "every 0 months", "every 3 fortnights", "every -1 days", "everyday", "on event"],
)
def test_what_is_no_schedule_is_refused_with_its_policy(said: str) -> None:
    """An interval that cannot be read names the policy that says it."""
    with pytest.raises(CronError) as caught:
        schedule(said, "contact-form")
    assert caught.value.place == "contact-form"


def test_an_event_is_no_part_of_last_of() -> None:
    """An event has no next time that one could wait for."""
    with pytest.raises(CronError) as caught:
        schedule({"last_of": ["on_event", "@daily"]})
    assert caught.value.code == "bad-schedule"


intervals = st.tuples(st.integers(1, 14), st.sampled_from(["days", "weeks", "months"]))
crons = st.sampled_from(["0 3 1 1,4,7,10 *", "30 2 * * 0", "0 0 L * *", "15 23 * * *", "@monthly"])
instants = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 zone is given beside


@given(intervals, crons, instants)
@settings(deadline=None, max_examples=150)
def test_last_of_never_comes_before_any_part(
    interval: tuple[int, str], cron: str, last: datetime
) -> None:
    """Not before both are reached, always at a moment of the cron part, and the first such."""
    count, unit = interval
    found = next_fire(schedule({"last_of": [f"every {count} {unit}", cron]}), OSLO, last, last)
    assert found is not None
    day = last.astimezone(OSLO).date()
    kind: dict[str, Any] = {unit: count}
    reached: date = day + relativedelta(**kind)
    candidates = moments(schedule(cron), OSLO, None, last)
    assert found == next(m for m in candidates if m.astimezone(OSLO).date() >= reached)


@given(intervals, instants, instants)
@settings(deadline=None, max_examples=100)
def test_chains_go_forward_and_the_answer_is_after(
    interval: tuple[int, str], last: datetime, after: datetime
) -> None:
    """Every firing is later than the one before and than `after`, also when the clock is behind."""
    every = schedule("every {} {}".format(*interval))
    found = list(islice(moments(every, OSLO, last, after), 5))
    assert found[0] > max(last, after)
    assert all(a < b for a, b in pairwise(found))
    assert next_fire(every, OSLO, last, after) == found[0]
    assert next_fire(every, OSLO, last, found[0]) == found[1]


def test_fires_between_includes_its_end_and_stops_at_the_limit() -> None:
    """A forecast window is open at the start and closed at the end."""
    job = Job("p", "d", schedule("0 3 * * *"), "Europe/Oslo")
    start, end = local("2026-06-01T03:00"), local("2026-06-04T03:00")
    assert len(fires_between(job, start, end)) == 3
    assert len(fires_between(job, start, end, limit=2)) == 2
    assert fires_between(job, end, start) == ()
    assert fires_between(job, start, end - timedelta(seconds=1))[-1] == local("2026-06-03T03:00")
