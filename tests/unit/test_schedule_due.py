"""Which firings a tick owes: each at most once, none lost unsaid."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.policy.model import Misfire, Policy
from retention.schedule.due import MOST_AT_ONCE, MOST_LISTED, Owed, owed
from retention.schedule.fires import fires_between
from retention.schedule.grammar import parse_schedule
from retention.schedule.model import Job

SEEN = datetime(2026, 6, 1, tzinfo=UTC)


def job(said: Any = "0 3 * * *", misfire: Misfire = Misfire.COALESCE, **more: Any) -> Job:
    policy = Policy.model_validate({"applies_to": "a", "then": "delete", "schedule": said})
    return Job("p", "d", parse_schedule("p", policy), "UTC", misfire=misfire, **more)


def at(day: int, hour: int = 0, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2026, 6, day, hour, minute, second, tzinfo=UTC)


def test_nothing_is_owed_before_the_first_due_moment() -> None:
    """A job that was just seen waits for its first moment and knows it."""
    found = owed(job(), None, SEEN, at(1, 2, 59))
    assert found == Owed((), (), at(1, 3), None)


def test_a_due_moment_is_owed_at_its_second_and_not_late() -> None:
    """The moment itself belongs to the tick; within a minute it is on time."""
    for second in (0, 59):
        found = owed(job(), None, SEEN, at(1, 3, 0, second))
        assert [(f.policy, f.due_at, f.late) for f in found.fire] == [("p", at(1, 3), False)]
        assert found.next_fire == at(2, 3)
        assert found.last_due == at(1, 3)


def test_more_than_a_minute_after_is_late() -> None:
    """A late firing says so."""
    assert owed(job(), None, SEEN, at(1, 3, 1, 1)).fire[0].late


def test_coalesce_makes_up_for_the_latest_only_and_names_the_rest() -> None:
    """Three nights down: one late run, two firings recorded as missed."""
    found = owed(job(), at(1, 3), at(1, 3, 1), at(4, 12))
    assert [f.due_at for f in found.fire] == [at(4, 3)]
    assert found.fire[0].late
    assert found.missed == (at(2, 3), at(3, 3))
    assert found.missed_total == 2


def test_all_makes_up_for_each() -> None:
    """`misfire: all` owes every one, oldest first."""
    found = owed(job(misfire=Misfire.ALL), at(1, 3), at(1, 3, 1), at(4, 12))
    assert [f.due_at for f in found.fire] == [at(2, 3), at(3, 3), at(4, 3)]
    assert found.missed == ()


def test_all_is_bounded_and_what_is_left_out_is_missed() -> None:
    """A minute job that was down for two days owes the newest hundred; the rest is counted."""
    found = owed(job("* * * * *", Misfire.ALL), at(1), at(1), at(3))
    assert len(found.fire) == MOST_AT_ONCE
    assert found.fire[-1].due_at == at(3)
    assert found.missed_total == 2 * 1440 - MOST_AT_ONCE
    assert len(found.missed) == MOST_LISTED
    assert found.missed[-1] + timedelta(minutes=1) == found.fire[0].due_at


def test_skip_takes_only_what_is_on_time() -> None:
    """`misfire: skip` starts nothing late, and says what it let go."""
    skip = job(misfire=Misfire.SKIP)
    assert [f.due_at for f in owed(skip, None, SEEN, at(2, 3, 0, 30)).fire] == [at(2, 3)]
    late = owed(skip, None, SEEN, at(2, 3, 2))
    assert late.fire == ()
    assert late.missed == (at(1, 3), at(2, 3))
    assert late.last_due == at(2, 3)


def test_a_start_deadline_lets_late_ones_go() -> None:
    """What is later than the deadline is missed, under every misfire rule."""
    hour = timedelta(hours=1)
    assert owed(job(), None, SEEN, at(1, 5), hour).missed == (at(1, 3),)
    assert owed(job(start_deadline=hour), None, SEEN, at(1, 5)).fire == ()
    assert owed(job(misfire=Misfire.ALL), None, SEEN, at(2, 3, 30), hour).missed == (at(1, 3),)
    assert len(owed(job(misfire=Misfire.SKIP), None, SEEN, at(1, 3, 30), hour).fire) == 1


def test_a_clock_that_steps_back_fires_nothing_and_says_so() -> None:
    """The same night again fires nothing; the next firing is the one after what was dealt with."""
    found = owed(job(), at(2, 3), at(2, 3, 5), at(1, 12))
    assert found.clock_went_back
    assert found.behind == timedelta(hours=15, minutes=5)
    assert (found.fire, found.missed, found.next_fire) == ((), (), at(3, 3))
    assert not owed(job(), at(2, 3), at(2, 3, 5), at(2, 3, 5)).clock_went_back


def test_a_changed_schedule_owes_nothing_of_the_past() -> None:
    """Made daily after months of quarterly firings, it does not owe the days in between."""
    found = owed(job("@daily"), datetime(2026, 4, 1, tzinfo=UTC), at(10, 12), at(11, 12))
    assert [f.due_at for f in found.fire] == [at(11)]
    assert found.missed == ()


schedules = st.sampled_from(
    [
        "0 3 * * *",
        "*/20 * * * *",
        "every 2 days",
        "on_event",
        {"last_of": ["every 1 week", "0 3 * * 1,4"]},
    ]
)
ticks = st.lists(
    st.one_of(
        st.integers(0, 120),
        st.integers(0, 3 * 86400),
        st.just(0),
        st.integers(-7200, -1),
    ),
    min_size=1,
    max_size=40,
)


@pytest.mark.parametrize("misfire", list(Misfire))
@given(said=schedules, steps=ticks, seed=st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=60)
def test_any_sequence_of_ticks(misfire: Misfire, said: Any, steps: list[int], seed: Any) -> None:
    """Lost, doubled and backward ticks: each due moment is fired or missed exactly once.

    Under `all` none is missed unless there were more than a hundred; under `coalesce` each tick
    fires exactly the latest moment that was due.
    """
    work = job(said, misfire)
    last_due: datetime | None = None
    last_tick = now = SEEN
    dealt_with: list[datetime] = []
    for step in steps:
        now += timedelta(seconds=step)
        if seed.random() < 0.2:  # the tick is lost
            continue
        found = owed(work, last_due, last_tick, now)
        if found.clock_went_back:
            assert now < last_tick
            assert not found.fire
            assert not found.missed
            continue
        expected = fires_between(
            work, max(last_tick, last_due or last_tick), now, last_fire=last_due
        )
        fired = [firing.due_at for firing in found.fire]
        if misfire is Misfire.COALESCE:
            assert fired == list(expected[-1:])
        if misfire is Misfire.ALL:
            assert fired == list(expected[-MOST_AT_ONCE:])
        assert found.missed_total + len(fired) == len(expected)
        if found.missed_total == len(found.missed):
            assert sorted([*fired, *found.missed]) == list(expected)
        dealt_with += sorted([*fired, *found.missed])
        assert found.next_fire is not None
        assert found.next_fire > now
        last_due, last_tick = found.last_due, max(last_tick, now)
        assert owed(work, last_due, last_tick, now).fire == ()  # the doubled tick
    assert all(earlier < later for earlier, later in pairwise(dealt_with))
