"""Rate limits that processes share: never more than burst + rate x time, whatever happens."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retention.ledger.store import Ledger
from retention.run.rates import SECOND, Booker, Booking, LedgerBucket, LedgerTime, Line, booked
from retention.worker.buckets import RedisBucket, Shelf, connect
from tests.servers.redis import Redis

RATES = ["1/s", "2/s", "4/s", "7/s", "30/min", "100/h", "1/min"]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """One ledger for all examples; each has an account of its own."""
    folder: Path = tmp_path_factory.mktemp("ledger")
    opened = Ledger.open(f"sqlite:///{folder}/ledger.db")
    yield opened
    opened.close()


class World:
    """Time that only moves when it is told to, for a ledger and every process on it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_800_000_000 * SECOND
        monkeypatch.setattr("retention.run.rates.ledger_now", lambda _tx: self.now)

    def monotonic(self) -> float:
        return (self.now - 1_800_000_000 * SECOND) / SECOND


def within(times: Sequence[int], rate: str) -> bool:
    """In no stretch of time more than burst + rate x time."""
    n, _, unit = rate.partition("/")
    burst, per = int(n), {"s": 1, "min": 60, "h": 3600}[unit] * SECOND
    return all(
        j - i + 1 <= burst + math.floor(burst * (times[j] - times[i]) / per)
        for i in range(len(times))
        for j in range(i, len(times))
    )


class Processes:
    """Several that take places and use them after a while; some die, all at any moment."""

    def __init__(
        self, world: World, rate: str, make: Callable[[], LedgerBucket | RedisBucket], number: int
    ) -> None:
        self.world = world
        self.line = Line.at(rate)
        self.make = make
        self.buckets = [make() for _ in range(number)]
        self.holding: list[int | None] = [None] * number
        self.given: list[int] = []
        self.made: list[int] = []

    def step(self, who: int) -> None:
        """One goes on: asks for a place, or makes its request if the time has come."""
        place = self.holding[who]
        if place is None:
            found: Booking = self.buckets[who].reserve()
            self.holding[who] = found.first if found.many else None
            self.given += [found.first] if found.many else []
        elif self.line.usable(place, self.world.now):
            self.made.append(self.world.now)
            self.holding[who] = None
        elif place + self.line.grace < self.world.now:
            self.holding[who] = None

    def apart(self) -> bool:
        """No place was given out twice, and none lies closer to another than a step."""
        places = sorted(self.given)
        return all(b - a >= self.line.step for a, b in pairwise(places))

    def die(self, who: int) -> None:
        """Whatever it had is lost; another starts in its stead."""
        self.buckets[who] = self.make()
        self.holding[who] = None


PROCESSES = 10
STEPS = st.lists(
    st.tuples(
        st.integers(0, PROCESSES - 1),
        st.sampled_from(["all"] * 8 + ["step"] * 4 + ["die", "flush", "flush", "wait"]),
        # Mostly at once: a burst is what may go wrong.
        st.sampled_from([0, 0, 0, 0, 5, 100, 200, 390]),
    ),
    min_size=20,
    max_size=60,
)


def play(world: World, processes: Processes, steps: object, flush: Callable[[], object]) -> None:
    for who, what, pause in steps:  # type: ignore[attr-defined]  # Hypothesis' tuples
        world.now += pause * processes.line.step // 400
        if what == "step":
            processes.step(who)
        elif what == "all":
            for one in range(PROCESSES):
                processes.step(one)
        elif what == "die":
            processes.die(who)
        elif what == "flush":
            flush()
        else:
            world.now += processes.line.step * 10


@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rate=st.sampled_from(RATES), steps=STEPS, account=st.uuids())
def test_processes_on_one_ledger_never_exceed_a_rate(
    monkeypatch: pytest.MonkeyPatch, ledger: Ledger, rate: str, steps: object, account: object
) -> None:
    """Any order, any pauses, any deaths."""
    world = World(monkeypatch)

    def make() -> LedgerBucket:
        return LedgerBucket(
            Booker(ledger, str(account), Line.at(rate), LedgerTime(world.monotonic))
        )

    processes = Processes(world, rate, make, PROCESSES)
    play(world, processes, steps, lambda: None)
    assert processes.apart()
    assert within(processes.made, rate)


@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rate=st.sampled_from(RATES), steps=STEPS, account=st.uuids())
def test_processes_on_one_redis_never_exceed_a_rate(
    monkeypatch: pytest.MonkeyPatch,
    redis_server: Redis,
    ledger: Ledger,
    rate: str,
    steps: object,
    account: object,
) -> None:
    """The same, with Redis flushed in between, and with processes that do not reach it at all."""
    world = World(monkeypatch)
    client = connect(redis_server.url)
    dead = connect("redis://127.0.0.1:1/0")
    reach = iter([True, True, False] * 100)

    def make() -> RedisBucket:
        booker = Booker(ledger, str(account), Line.at(rate), LedgerTime(world.monotonic))
        shelf = Shelf(client if next(reach) else dead, "test:")
        return RedisBucket(shelf, booker, LedgerBucket(booker))

    processes = Processes(world, rate, make, PROCESSES)
    play(world, processes, steps, client.flushall)
    client.close()
    assert processes.apart()
    assert within(processes.made, rate)


@pytest.mark.parametrize("rate", RATES)
def test_a_rate_is_reached(monkeypatch: pytest.MonkeyPatch, ledger: Ledger, rate: str) -> None:
    """One process that always wants more gets all but a twentieth of it."""
    world = World(monkeypatch)
    line = Line.at(rate)

    def sleep(seconds: float) -> None:
        world.now += math.ceil(seconds * SECOND)

    at = LedgerTime(world.monotonic)
    bucket = LedgerBucket(Booker(ledger, f"reach {rate}", line, at), sleep=sleep)
    begin = world.now
    for _ in range(50):
        bucket.take()
    n, _, unit = rate.partition("/")
    wanted = (world.now - begin) * int(n) / ({"s": 1, "min": 60, "h": 3600}[unit] * SECOND)
    assert 0.95 * wanted <= 50
    assert booked(line, 0, world.now, 1).first <= world.now, "an idle line is open at once"


def test_a_redis_that_remembers_an_older_time_is_not_believed(
    monkeypatch: pytest.MonkeyPatch, ledger: Ledger
) -> None:
    """Restored from what it wrote a while ago, it would hand out places a second time."""
    world = World(monkeypatch)
    with Redis.start() as server:
        line = Line.at("100/h")
        client = connect(server.url)
        booker = Booker(ledger, "remembers", line, LedgerTime(world.monotonic))
        shelf = Shelf(client, "test:")
        bucket = RedisBucket(shelf, booker, LedgerBucket(booker), stretch=3600)
        first = [bucket.reserve().first for _ in range(3)]
        remembered = client.dump("test:bucket:remembers")
        assert remembered is not None
        second = [bucket.reserve().first for _ in range(3)]
        server.kill()
        server.boot()
        client = connect(server.url)
        client.flushall()
        client.restore("test:bucket:remembers", 0, remembered)
        bucket = RedisBucket(Shelf(client, "test:"), booker, LedgerBucket(booker), stretch=3600)
        third = bucket.reserve()
        # Far behind what was given out, so there may be none for a while.
        assert third.many == 0 or third.first > max(first + second)
        client.close()


def test_a_clock_that_was_set_back_does_not_stop_an_account() -> None:
    """Nobody books further ahead than the lead, so more than that is no booking."""
    line = Line.at("4/s")
    now = 1_800_000_000 * SECOND
    assert booked(line, now + 3600 * SECOND, now, 1).first == now + line.step
    assert booked(line, now + line.lead, now, 1).many == 0


def test_redis_errors_are_only_a_reason_to_use_the_ledger(ledger: Ledger) -> None:
    """Nothing is raised, and a request may be made."""
    booker = Booker(ledger, "away", Line.at("100/s"), LedgerTime())
    shelf = Shelf(connect("redis://127.0.0.1:1/0"), "test:")
    with pytest.raises(redis.RedisError):
        shelf.take("away", booker.line, 0)
    RedisBucket(shelf, booker, LedgerBucket(booker)).take()
