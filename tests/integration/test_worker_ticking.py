"""One scheduler in this process, with time that tests set: its rings and its alarm."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import select, update

from retention.ledger import tables as t
from retention.ledger.store import stamp
from retention.run.claim import Waiting
from retention.watch import nodes
from retention.worker.app import application
from retention.worker.names import key_prefix, queue_of, systems_of
from retention.worker.ringing import OUTSTANDING, Ringer
from retention.worker.ticking import NOBODY, Ticker
from tests.integration.worker_room import Room, until
from tests.servers.redis import Redis


class Rung:
    """A doorbell that remembers."""

    def __init__(self) -> None:
        self.runs: list[int] = []

    def __call__(self, waiting: Sequence[Waiting]) -> None:
        self.runs += [w.run_id for w in waiting]


class Hours:
    """Monotonic time that a test sets."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path, None, {"enquiries": ("web",)})


@pytest.fixture
def rung() -> Rung:
    return Rung()


@pytest.fixture
def hours() -> Hours:
    return Hours()


@pytest.fixture
def ticker(room: Room, rung: Rung, hours: Hours) -> Iterator[Ticker]:
    made = Ticker(room.settings(), rung, monotonic=hours)
    made.round()
    yield made
    made.end()


def test_a_run_is_rung_for_once_and_again_after_a_tick(
    room: Room, rung: Rung, hours: Hours, ticker: Ticker
) -> None:
    """A message may be lost; more than one at a time would only fill the queue."""
    room.owe()
    hours.at += 2
    ticker.round()
    assert rung.runs == [1]
    hours.at += 0.4
    ticker.round()
    assert rung.runs == [1]
    hours.at += 1
    ticker.round()
    assert rung.runs == [1, 1]
    room.ledger("UPDATE run SET state = 'done'")
    hours.at += 5
    ticker.round()
    assert rung.runs == [1, 1]


def test_what_a_command_writes_is_seen_at_the_next_look(
    room: Room, rung: Rung, ticker: Ticker
) -> None:
    """Long before the next tick: a run that another process wrote is rung for."""
    room.ledger(
        "INSERT INTO run (policy, digest, due_at, kind, state, late, token, attempts, created_at,"
        " counts, note, shard, turn) VALUES ('enquiries', 'd', '2026-01-01T00:00:00.000Z',"
        " 'manual', 'pending', 0, 0, 0, '2026-01-01T00:00:00.000Z', '{}', '', 0, '')"
    )
    assert ticker.round() <= 1.0
    assert rung.runs == [1]


def test_nobody_works_is_an_alarm_that_ends(room: Room, hours: Hours, ticker: Ticker) -> None:
    """A run that waits for five minutes and no worker in sight; a worker in sight ends it."""
    home = ticker.desk.home

    def alarms() -> set[str]:
        hours.at += 2
        ticker.round()
        return room.alarms() & {NOBODY}

    room.owe()
    assert alarms() == {NOBODY}
    assert alarms() == {NOBODY}
    now = home.ctx.clock.now()
    with home.ctx.ledger.write() as tx:
        nodes.seen(tx, "vm:1:aa", "worker", now, now, {})
    assert alarms() == set()
    with home.ctx.ledger.write() as tx:
        nodes.leave(tx, "vm:1:aa")
        tx.execute(update(t.run).values(due_at=stamp(now)))
    assert alarms() == set(), "a moment ago is not late"
    with home.ctx.ledger.read() as tx:
        kinds = [row.kind for row in tx.execute(select(t.alarm))]
    assert kinds.count(NOBODY) == 1


def test_an_approval_elsewhere_is_noticed(room: Room, ticker: Ticker) -> None:
    """Approved by a command while the scheduler runs: in force at the next look."""
    text = (room.folder / "policies" / "all.yaml").read_text(encoding="utf-8")
    changed = text.replace("1 month", "2 months")
    (room.folder / "policies" / "all.yaml").write_text(changed, encoding="utf-8")
    before = ticker.desk.executor().in_force.approved["enquiries"].digest
    room.run("approve", "enquiries")
    after = ticker.desk.executor().in_force.approved["enquiries"].digest
    assert before != after


def test_a_queue_takes_so_many_wakeups_and_no_more(room: Room, redis_server: Redis) -> None:
    """When nobody reads, Redis does not fill; another installation's keys are others."""
    room.broker = redis_server.new_database()
    app = application(room.settings())
    ringer = Ringer(app)
    for _ in range(3):
        ringer([Waiting(n, "web") for n in range(80)])
        ringer([Waiting(n, None) for n in range(10)])
    with app.connection_for_read() as connection:
        client = connection.default_channel.client
        until(lambda: client.llen(queue_of("web")) >= OUTSTANDING)
        until(lambda: client.llen(queue_of(None)) == 30)
        assert client.llen(queue_of("web")) == OUTSTANDING
        keys = {key.decode() for key in client.keys("*")}
        assert all(key.startswith(key_prefix(room.settings())) for key in keys)
    ringer.close()


def test_a_dead_or_silent_redis_never_delays_the_caller(room: Room) -> None:
    """Ringing returns at once, and closing soon after."""
    room.broker = "redis://127.0.0.1:1/0"
    ringer = Ringer(application(room.settings()))
    begin = time.monotonic()
    for _ in range(100):
        ringer([Waiting(1, None)])
    assert time.monotonic() - begin < 1
    ringer.close()


def test_queues_are_named_after_systems() -> None:
    """Both ways."""
    assert queue_of("crm") == "retention.crm"
    assert systems_of([queue_of("crm"), queue_of(None), "retention.canary.celery@vm"]) == {"crm"}
