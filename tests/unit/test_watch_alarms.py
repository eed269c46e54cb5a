"""When which alarm is told to whom: pure rules, and a simulation of weeks with failing channels."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.watch.alarms import Alarm, Channel, Pace, What, due, plan, ready, settle

NOW = datetime(2026, 6, 15, 12, tzinfo=UTC)
PACE = Pace()
SECOND = timedelta(seconds=1)
TICK = timedelta(seconds=20)


def alarm(
    number: int = 1,
    age: float = 120,
    *,
    cleared: float | None = None,
    told: float | None = None,
    end_told: float | None = None,
) -> Alarm:
    """An alarm by its moments, in seconds before NOW."""

    def at(seconds: float | None) -> datetime | None:
        return None if seconds is None else NOW - seconds * SECOND

    return Alarm(
        number, "form", "limit", "300 records", NOW - age * SECOND, at(cleared), at(told),
        at(end_told),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (alarm(age=59), None),
        (alarm(age=60), What.BEGAN),
        (alarm(age=59, cleared=1), None),
        (alarm(age=900, cleared=1), None),
        (alarm(age=3600, told=3000), None),
        (alarm(age=200_000, told=86_399), None),
        (alarm(age=200_000, told=86_400), What.LASTS),
        (alarm(age=3600, told=3000, cleared=5), What.ENDED),
        (alarm(age=3600, told=3000, cleared=50, end_told=20), None),
        (alarm(age=3600, told=-40_000_000), What.LASTS),
        (alarm(age=-40_000_000), What.BEGAN),
    ],
)
def test_what_there_is_to_say_of_one_alarm(known: Alarm, expected: What | None) -> None:
    """Once after it settled, again each day, once at its end; a wrong clock silences nothing."""
    assert due(known, NOW, PACE) is expected


@pytest.mark.parametrize(
    ("channel", "expected"),
    [
        (Channel(), True),
        (Channel(last=NOW - 299 * SECOND), False),
        (Channel(last=NOW - 300 * SECOND), True),
        (Channel(last=NOW + 400 * SECOND), True),
        (Channel(last=NOW, tried=NOW - 10 * SECOND, failures=1), True),
        (Channel(last=NOW, tried=NOW - 19 * SECOND, failures=2), False),
        (Channel(tried=NOW - 20 * SECOND, failures=2), True),
        (Channel(tried=NOW - 299 * SECOND, failures=10_000), False),
        (Channel(tried=NOW - 300 * SECOND, failures=10_000), True),
    ],
)
def test_a_channel_gets_one_message_in_a_while(channel: Channel, expected: bool) -> None:
    """Five minutes between two messages; one that failed is tried at the next round, then less."""
    assert ready(channel, NOW, PACE) is expected


def test_what_came_up_meanwhile_is_gathered_into_one_message() -> None:
    """A hundred alarms are one message, in the order in which they began."""
    many = [alarm(number) for number in range(100, 0, -1)]
    (tellings,) = plan(many, {"mail": Channel()}, NOW, PACE).values()
    assert [telling.alarm.id for telling in tellings] == list(range(1, 101))
    assert plan(many, {"mail": Channel(last=NOW)}, NOW, PACE) == {}


def test_nothing_is_told_that_no_channel_took() -> None:
    """The alarm stays due; only the failure is remembered."""
    messages = plan([alarm()], {"mail": Channel()}, NOW, PACE)
    outcome = settle(messages, (), {"mail": Channel()}, NOW)
    assert outcome == (frozenset(), frozenset(), {"mail": Channel(tried=NOW, failures=1)})


def test_what_one_channel_took_is_owed_to_the_other() -> None:
    """The one that failed gets it as soon as it answers, though it is told already."""
    channels = {"mail": Channel(), "webhook": Channel()}
    messages = plan([alarm()], channels, NOW, PACE)
    outcome = settle(messages, {"mail"}, channels, NOW)
    assert outcome.told == {1}
    later = NOW + 20 * SECOND
    again = plan([replace(alarm(), told_at=NOW)], outcome.channels, later, PACE)
    assert {name: [t.what for t in said] for name, said in again.items()} == {
        "webhook": [What.BEGAN]
    }
    over = replace(alarm(), told_at=NOW, cleared_at=NOW, end_told_at=NOW)
    late = plan([over], outcome.channels, later, PACE)
    assert [telling.what for telling in late["webhook"]] == [What.ENDED]


STEPS = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 15, 250, 4000]),  # ticks that pass
        st.integers(0, 3),  # which alarm changes
        st.booleans(),  # whether mail answers meanwhile
        st.booleans(),  # whether the webhook does
    ),
    min_size=1,
    max_size=12,
)


class World:
    """Alarms that come and go, two channels, and a round at each tick."""

    def __init__(self) -> None:
        self.now = NOW
        self.alarms: dict[int, Alarm] = {}
        self.channels = {"mail": Channel(), "webhook": Channel()}
        self.open: dict[int, int] = {}
        self.messages: dict[str, list[datetime]] = defaultdict(list)
        self.said: dict[tuple[str, int], list[tuple[datetime, What]]] = defaultdict(list)

    def change(self, place: int) -> None:
        """An alarm begins, or the one at this place ends."""
        if place in self.open:
            number = self.open.pop(place)
            self.alarms[number] = replace(self.alarms[number], cleared_at=self.now)
        else:
            number = len(self.alarms) + 1
            self.alarms[number] = Alarm(number, f"p{place}", "limit", "", self.now)
            self.open[place] = number

    def tick(self, answering: set[str]) -> None:
        """One round."""
        self.now += TICK
        messages = plan(self.alarms.values(), self.channels, self.now, PACE)
        taken = {name for name in messages if name in answering}
        for name in taken:
            self.messages[name].append(self.now)
            for told, what, _ in messages[name]:
                self.said[name, told.id].append((self.now, what))
        outcome = settle(messages, taken, self.channels, self.now)
        self.channels |= outcome.channels
        for number in outcome.told:
            self.alarms[number] = replace(self.alarms[number], told_at=self.now)
        for number in outcome.ended:
            self.alarms[number] = replace(self.alarms[number], end_told_at=self.now)

    def play(self, steps: list[tuple[int, int, bool, bool]]) -> None:
        """Each step: something changes, then so many rounds; at the end both channels answer."""
        for ticks, place, mail, webhook in steps:
            self.change(place)
            answering = {n for n, on in (("mail", mail), ("webhook", webhook)) if on}
            for _ in range(min(ticks, 300)):
                self.tick(answering)
            # Rounds without anything to tell change nothing: a long wait need not be played out.
            self.now += max(0, ticks - 300) * TICK
        for _ in range(40):
            self.tick({"mail", "webhook"})


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_never_more_than_one_message_in_a_while(steps: list[tuple[int, int, bool, bool]]) -> None:
    """Whatever begins, ends and fails: five minutes between two messages of a channel."""
    world = World()
    world.play(steps)
    for times in world.messages.values():
        assert all(b - a >= PACE.gather for a, b in pairwise(times))


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_each_alarm_is_told_once_in_a_day_and_its_end_once(
    steps: list[tuple[int, int, bool, bool]],
) -> None:
    """Once, then a day apart; one end, the last; however often the other channel fails.

    Where the other was told first, this one learns of it within five minutes.
    """
    world = World()
    world.play([(ticks, place, True, webhook) for ticks, place, _, webhook in steps])
    for (name, _), said in world.said.items():
        if name != "mail":
            continue
        words = [what for _, what in said]
        assert words.count(What.ENDED) <= 1
        assert What.ENDED not in words[:-1]
        assert words[0] is not What.LASTS
        lasting = [at for at, what in said if what is not What.ENDED]
        assert all(b - a >= PACE.remind - PACE.gather for a, b in pairwise(lasting))


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_an_alarm_that_lasts_is_always_told_on_every_channel(
    steps: list[tuple[int, int, bool, bool]],
) -> None:
    """However often deliveries failed before: once a channel answers, it learns of it."""
    world = World()
    world.play(steps)
    for number in world.open.values():
        for name in world.channels:
            assert world.said[name, number], (name, number)
    for number, known in world.alarms.items():
        if known.cleared_at and known.cleared_at - known.raised_at < PACE.settle:
            assert not any(world.said[name, number] for name in world.channels)
        if known.told_at is not None and known.cleared_at is not None:
            assert known.end_told_at is not None
