"""Which alarms are to be told now, to whom. Pure: alarms, memory and time in, tellings out.

An alarm is told once it has lasted a little, again each day while it lasts, and once more when it
ends. Each channel gets at most one message in a while, which gathers all that came up meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

FIRST_RETRY = timedelta(seconds=10)
MOST_OWED = 1_000
"""So many alarms at most are remembered for a channel that fails."""


class What(StrEnum):
    """What there is to say of an alarm."""

    BEGAN = "began"
    LASTS = "lasts"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Alarm:
    """A row of the table `alarm`. `policy` is empty for what concerns the whole service."""

    id: int
    policy: str
    kind: str
    detail: str
    raised_at: datetime
    cleared_at: datetime | None = None
    told_at: datetime | None = None
    end_told_at: datetime | None = None


class Telling(NamedTuple):
    """One alarm in one message. `late`: the other channels were told before."""

    alarm: Alarm
    what: What
    late: bool = False


@dataclass(frozen=True, slots=True)
class Pace:
    """See the settings of these names; `gather` is the least time between two messages."""

    settle: timedelta = timedelta(seconds=60)
    remind: timedelta = timedelta(hours=24)
    gather: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Channel:
    """What is remembered of one channel. `owed`: alarms that others took and this one did not.

    `last`: its last message that was taken; `tried`: the last attempt; `failures`: how many
    attempts in a row failed.
    """

    last: datetime | None = None
    tried: datetime | None = None
    failures: int = 0
    owed: frozenset[int] = field(default_factory=frozenset)


def due(alarm: Alarm, now: datetime, pace: Pace) -> What | None:
    """What is to be said of this alarm now, to whoever was told of it before."""
    if alarm.cleared_at is not None:
        begun = alarm.told_at is not None
        return What.ENDED if begun and alarm.end_told_at is None else None
    if alarm.told_at is None:
        return What.BEGAN if _passed(alarm.raised_at, now, pace.settle) else None
    return What.LASTS if _passed(alarm.told_at, now, pace.remind) else None


def ready(channel: Channel, now: datetime, pace: Pace) -> bool:
    """Whether a channel may get a message now. One that failed is tried again ever less often."""
    if channel.failures:
        wait = min(pace.gather, FIRST_RETRY * 2 ** min(channel.failures - 1, 10))
        return channel.tried is None or _passed(channel.tried, now, wait)
    return channel.last is None or _passed(channel.last, now, pace.gather)


def plan(
    alarms: Iterable[Alarm], channels: Mapping[str, Channel], now: datetime, pace: Pace
) -> dict[str, list[Telling]]:
    """A message for each channel that may have one and has something to be told, by alarm id."""
    known = sorted(alarms, key=lambda alarm: alarm.id)
    fresh = {alarm.id: what for alarm in known if (what := due(alarm, now, pace)) is not None}
    messages = {}
    for name, channel in channels.items():
        if ready(channel, now, pace):
            tellings = [
                Telling(alarm, fresh.get(alarm.id) or _standing(alarm), alarm.id not in fresh)
                for alarm in known
                if alarm.id in fresh or alarm.id in channel.owed
            ]
            if tellings:
                messages[name] = tellings
    return messages


class Outcome(NamedTuple):
    """What to write down after the messages went out."""

    told: frozenset[int]
    ended: frozenset[int]
    channels: dict[str, Channel]


def settle(
    messages: Mapping[str, list[Telling]],
    taken: Collection[str],
    channels: Mapping[str, Channel],
    now: datetime,
) -> Outcome:
    """Alarms that at least one channel took are told; the others are owed to the rest."""
    said = {t.alarm.id: t.what for name in taken for t in messages.get(name, ()) if not t.late}
    told = frozenset(i for i, what in said.items() if what is not What.ENDED)
    after = {}
    for name, channel in channels.items():
        message = {telling.alarm.id for telling in messages.get(name, ())}
        if name in taken:
            after[name] = Channel(last=now, tried=now, owed=channel.owed - message)
        else:
            owed = sorted(channel.owed | said.keys())[-MOST_OWED:]
            after[name] = replace(channel, owed=frozenset(owed))
            if message:
                after[name] = replace(after[name], tried=now, failures=channel.failures + 1)
    return Outcome(told, frozenset(said) - told, after)


def _standing(alarm: Alarm) -> What:
    """How to speak of an alarm to a channel that missed what the others were told."""
    if alarm.cleared_at is not None:
        return What.ENDED
    return What.BEGAN


def _passed(since: datetime, now: datetime, wait: timedelta) -> bool:
    # A moment far ahead of us was written by a clock that was wrong: it must not silence anybody.
    return abs(now - since) >= wait
