"""Instants of cron expressions against a clock that walks through every minute."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.schedule.cron import Cron, fires, next_after, parse
from retention.schedule.wall import instant_of

MINUTE = timedelta(minutes=1)

ODD_NIGHTS = (
    ("Europe/Oslo", date(2026, 3, 29)),
    ("Europe/Oslo", date(2026, 10, 25)),
    ("America/Sao_Paulo", date(2018, 11, 4)),
    ("America/Sao_Paulo", date(2018, 2, 18)),
    ("America/Havana", date(2026, 3, 8)),
    ("Australia/Lord_Howe", date(2026, 4, 5)),
    ("Australia/Lord_Howe", date(2026, 10, 4)),
    ("Pacific/Apia", date(2011, 12, 30)),
    ("Pacific/Kwajalein", date(1993, 8, 21)),
    ("Atlantic/Azores", date(2026, 3, 29)),
    ("Atlantic/Azores", date(2026, 10, 25)),
    ("Antarctica/Troll", date(2026, 3, 29)),
    ("Antarctica/Troll", date(2026, 10, 25)),
    ("Africa/Casablanca", date(2026, 2, 15)),
    ("Africa/Casablanca", date(2026, 3, 22)),
    ("Asia/Kathmandu", date(1986, 1, 1)),
)


@lru_cache
def clock(zone_name: str, night: date) -> tuple[dict[datetime, datetime], list[datetime]]:
    """Wall minute → the first instant that shows it, and all wall minutes of five days."""
    zone = ZoneInfo(zone_name)
    start = datetime.combine(night, time(), UTC) - timedelta(days=3)
    shown: dict[datetime, datetime] = {}
    for n in range(6 * 1440):
        instant = start + n * MINUTE
        shown.setdefault(instant.astimezone(zone).replace(tzinfo=None), instant)
    first = datetime.combine(night, time()) - timedelta(days=2)
    following: datetime = max(shown.values())
    walls = [first + n * MINUTE for n in range(4 * 1440)]
    for wall in reversed(walls):
        following = shown.setdefault(wall, following) if wall not in shown else shown[wall]
    return shown, walls


def expected(cron: Cron, zone_name: str, night: date) -> list[datetime]:
    shown, walls = clock(zone_name, night)
    times = set(cron.times)
    return sorted({shown[wall] for wall in walls if wall.time() in times})


def numbers(low: int, high: int) -> st.SearchStrategy[str]:
    return st.lists(st.integers(low, high), min_size=1, max_size=4).map(
        lambda found: ",".join(map(str, sorted(set(found))))
    )


minutes = st.one_of(numbers(0, 59), st.sampled_from(["*/7", "*/15", "10-50/20"]))
hours = st.one_of(numbers(0, 3), numbers(0, 23), st.sampled_from(["*", "*/2", "22-23,0-3"]))


@given(st.sampled_from(ODD_NIGHTS), minutes, hours)
@settings(deadline=None, max_examples=150)
def test_nothing_is_skipped_and_nothing_fires_twice(
    odd: tuple[str, date], minute: str, hour: str
) -> None:
    """Around each change of clocks the instants are those of a clock watched minute by minute."""
    zone_name, night = odd
    zone = ZoneInfo(zone_name)
    cron = parse(f"{minute} {hour} * * *")
    wanted = expected(cron, zone_name, night)
    start = wanted[0] - MINUTE
    found = list(islice(fires(cron, zone, start), len(wanted)))
    assert found == wanted
    assert all(earlier < later for earlier, later in pairwise(found))
    walls = [moment.astimezone(zone).replace(tzinfo=None) for moment in found]
    assert len(set(walls)) == len(walls)


@given(st.sampled_from(ODD_NIGHTS), minutes, hours, st.integers(0, 3 * 1440), st.integers(0, 59))
@settings(deadline=None, max_examples=150)
def test_next_after_is_the_first_one_after(
    odd: tuple[str, date], minute: str, hour: str, offset: int, second: int
) -> None:
    """From any instant, in a repeated hour too, the answer is strictly later and the nearest."""
    zone_name, night = odd
    cron = parse(f"{minute} {hour} * * *")
    wanted = expected(cron, zone_name, night)
    after = wanted[0] + offset * MINUTE + timedelta(seconds=second)
    later = [moment for moment in wanted if moment > after]
    found = next_after(cron, ZoneInfo(zone_name), after)
    assert found > after
    if later:
        assert found == later[0]


@given(
    st.sampled_from([zone for zone, _ in ODD_NIGHTS]),
    st.datetimes(datetime(1970, 1, 2), datetime(2090, 1, 1)),  # noqa: DTZ001 wall times
    st.integers(0, 2 * 86400),
)
@settings(deadline=None, max_examples=300)
def test_later_walls_are_never_earlier_instants(zone: str, wall: datetime, seconds: int) -> None:
    """The instant of a wall time never decreases, which makes the order of firings safe."""
    early = instant_of(wall, ZoneInfo(zone))
    assert instant_of(wall + timedelta(seconds=seconds), ZoneInfo(zone)) >= early


days = st.one_of(
    st.just(("*", "*")),
    numbers(1, 28).map(lambda d: (d, "*")),
    st.sampled_from(["31", "L", "15,L", "29-31", "*/2", "1-31/10"]).map(lambda d: (d, "*")),
    numbers(0, 6).map(lambda d: ("*", d)),
    st.sampled_from(["1-5", "5-7", "1#1,3#4", "L5", "*/3"]).map(lambda d: ("*", d)),
    st.tuples(numbers(1, 31), numbers(0, 6)),
)
months = st.one_of(st.just("*"), st.sampled_from(["1,4,7,10", "*/5", "1-3", "12"]))


@given(minutes, hours, days, months, st.datetimes(datetime(2000, 1, 1), datetime(2060, 1, 1)))  # noqa: DTZ001 wall times
@settings(deadline=None, max_examples=200)
def test_without_clock_changes_croniter_agrees(
    minute: str, hour: str, day: tuple[str, str], month: str, start: datetime
) -> None:
    """Our own dates and times are those of croniter, for every kind of field."""
    text = f"{minute} {hour} {day[0]} {month} {day[1]}"
    after = start.replace(tzinfo=UTC)
    bare = croniter(text, after).all_next(datetime)
    ours = fires(parse(text, both_day_fields=True), ZoneInfo("UTC"), after)
    for theirs, found in islice(zip(bare, ours, strict=False), 20):
        assert found == theirs
