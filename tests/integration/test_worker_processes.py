"""Workers, schedulers and beats as real processes over a real Redis."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from retention.ledger.store import instant
from retention.worker.app import application
from retention.worker.names import WAKE
from tests.integration.silent_proxy import silent_proxy
from tests.integration.worker_room import CELERY, Room, until
from tests.servers.postgres import Postgres
from tests.servers.process import HOST
from tests.servers.redis import Redis

NODES = "SELECT facts FROM node WHERE role ="


def test_two_beats_and_a_worker_do_each_firing_once(
    tmp_path: Path, redis_server: Redis, postgres: Postgres
) -> None:
    """Celery's own commands over PostgreSQL: one run a firing, each record disposed of once.

    Wake-ups that are doubled, or name runs that do not exist, change nothing; Celery's own eyes
    see the worker.
    """
    clusters = {"enquiries": ("web",), "quotes": ("web", "crm"), "letters": ("crm",)}
    room = Room(tmp_path, redis_server.new_database(), clusters, postgres.new_database())
    beat = ("beat", "--loglevel", "INFO", "--pidfile=")
    worker = ("worker", "--concurrency", "2", "--loglevel", "INFO")
    with (
        room.process(*beat, program=CELERY),
        room.process(*beat, program=CELERY),
        room.process(*worker, program=CELERY) as celery,
    ):
        until(lambda: len(room.ledger("SELECT * FROM schedule")) == 3)
        app = application(room.settings())
        look = app.control.inspect(limit=1)
        until(lambda: bool(look.ping()))
        assert "1 node online" in room.run("inspect", "registered", program=CELERY)
        assert [WAKE in tasks for tasks in look.registered().values()] == [True]
        assert {f"retention.{name}" for name in ("runs", "web", "crm")} <= {
            queue["name"] for queues in look.active_queues().values() for queue in queues
        }
        room.owe()
        for number in (1, 1, 2, 2, 3, 999):
            app.send_task(WAKE, args=(number,), retry=False)
        until(lambda: list(room.states().values()) == ["done"] * 3, told=celery.said)
        waits = room.ledger("SELECT created_at, started_at FROM run WHERE parent_id IS NULL")
    took = sorted(instant(w.started_at) - instant(w.created_at) for w in waits)
    print("three runs began after", *(f"{t.total_seconds():.3f} s" for t in took))
    for name, systems in clusters.items():
        assert [room.old(s, name) for s in systems] == [0] * len(systems)
        assert [room.young(s, name) for s in systems] == [room.rows] * len(systems)
    entries = [json.loads(line) for line in room.run("audit", "list", "--json").splitlines()]
    finished = Counter(e["policy"] for e in entries if e["type"] == "run.finished")
    assert finished == dict.fromkeys(clusters, 1)
    gone = Counter(r for e in entries if e["type"] == "batch.done" for r in e["records"])
    assert set(gone.values()) == {1}
    assert len(gone) == 4 * room.rows
    assert json.loads(room.run("audit", "verify", "--json"))["ok"]
    # Those that were asked to end left no row behind, and no lease.
    assert room.ledger("SELECT * FROM node WHERE role = 'worker'") == []
    assert room.ledger("SELECT id FROM run WHERE lease_until IS NOT NULL") == []


def test_the_work_is_done_while_redis_is_away(tmp_path: Path) -> None:
    """Dead at the start, then alive, then killed: what is owed is done every time."""
    with Redis.start() as redis:
        redis.stop()
        room = Room(tmp_path, redis.url, {"enquiries": ("web",)})
        with room.scheduler() as scheduler, room.worker() as worker:
            until(lambda: room.ledger("SELECT * FROM schedule") != [], told=scheduler.said)
            room.owe()
            until(lambda: room.old("web", "enquiries") == 0, told=worker.said)
            scheduler.until("no wake-ups")
            redis.boot()
            room.fill("web", "enquiries")
            room.owe()
            until(lambda: room.old("web", "enquiries") == 0, told=worker.said)
            scheduler.until("wake-ups are sent again")
            redis.kill()
            room.fill("web", "enquiries")
            room.owe()
            until(lambda: room.old("web", "enquiries") == 0, told=worker.said)


def test_a_worker_of_some_systems_leaves_the_others_alone(
    tmp_path: Path, redis_server: Redis
) -> None:
    """In messages and when it looks itself; a worker of the other system does the rest."""
    room = Room(tmp_path, redis_server.new_database(), {"quotes": ("web", "crm")})
    with room.scheduler(), room.worker("--queues", "web", "--concurrency", "1") as web:
        until(lambda: room.ledger("SELECT * FROM schedule") != [])
        room.owe()
        # All shards are read before any is acted upon, so this one waits for the other.
        reached = "SELECT state FROM run WHERE system = 'web'"
        until(lambda: [r.state for r in room.ledger(reached)] == ["ready"], told=web.said)
        time.sleep(2.5)
        assert [r.attempts for r in room.ledger("SELECT * FROM run WHERE system = 'crm'")] == [0]
        (facts,) = [json.loads(r.facts) for r in room.ledger(f"{NODES} 'worker'")]
        assert facts["queues"] == ["retention.runs", "retention.web"]
        with room.process("worker", "-Q", "retention.crm", "-P", "solo", program=CELERY) as crm:
            until(lambda: room.states() == {"quotes": "done"}, told=crm.said)
    assert [room.old(system, "quotes") for system in ("web", "crm")] == [0, 0]


def test_a_system_that_hangs_holds_up_nobody_else(tmp_path: Path, redis_server: Redis) -> None:
    """One system answers nothing, the other's work is done meanwhile; then the first one's."""
    clusters = {"aslow": ("web",), "quick": ("crm",)}
    room = Room(tmp_path, redis_server.new_database(), clusters)
    with room.scheduler(), room.worker("--pool", "threads", "--concurrency", "2") as worker:
        until(lambda: len(room.ledger("SELECT * FROM schedule")) == 2)
        with closing(sqlite3.connect(tmp_path / "web.db", isolation_level=None)) as hog:
            hog.execute("BEGIN EXCLUSIVE")
            room.owe("aslow")
            started = "SELECT started_at FROM run WHERE started_at IS NOT NULL"
            until(lambda: room.ledger(started) != [], told=worker.said)
            room.owe("quick")
            until(lambda: room.states().get("quick") == "done", told=worker.said)
            assert room.states()["aslow"] != "done"
            hog.execute("ROLLBACK")


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_sigterm_ends_after_the_batch(tmp_path: Path, redis_server: Redis, pool: str) -> None:
    """In the middle of a run: it ends well and soon, no lease stays, and another goes on."""
    room = Room(tmp_path, redis_server.new_database(), {"enquiries": ("web",)}, rows=4_000)
    with room.scheduler():
        with room.worker("--pool", pool, "--concurrency", "2") as worker:
            until(lambda: room.ledger("SELECT * FROM schedule") != [])
            room.owe()
            until(lambda: room.old("web", "enquiries") < 3_900, told=worker.said)
            began = time.monotonic()
            assert worker.end() == 0
            print(f"{pool}: ended within {time.monotonic() - began:.1f} s")
        assert room.old("web", "enquiries") > 0
        assert room.ledger("SELECT id FROM run WHERE lease_until IS NOT NULL") == []
        assert room.ledger(f"{NODES} 'worker'") == []
        assert room.states() == {"enquiries": "applying"}
        left = room.old("web", "enquiries")
        with room.worker() as worker:
            until(lambda: room.old("web", "enquiries") < left, told=worker.said)


def test_a_worker_that_hears_nothing_connects_anew_and_says_so(
    tmp_path: Path, redis_server: Redis
) -> None:
    """Half-open connections: the alarm is raised, and ends when messages come again."""
    database = redis_server.new_database().rpartition("/")[2]
    with silent_proxy(HOST, redis_server.port) as proxy:
        room = Room(tmp_path, f"redis://{HOST}:{proxy.port}/{database}", {"enquiries": ("web",)})
        code = (
            "from retention.settings import load;"
            "from retention.worker import app, canary, running;"
            "canary.Canary.period = 0.4; app.TRANSPORT['socket_timeout'] = 2;"
            "raise SystemExit(running.run_worker(load(), concurrency=1))"
        )
        # We ask past the proxy, or we should wait for silent connections ourselves.
        straight = f"redis://{HOST}:{redis_server.port}/{database}"
        look = application(room.settings(broker_url=straight)).control.inspect(limit=1)
        with room.process(code, program=("-c",)) as worker:
            until(lambda: bool(look.ping()), told=worker.said)
            assert proxy.silence() > 2
            until(lambda: "queue-silent" in room.alarms(), told=worker.said)
            until(lambda: room.alarms() == set(), told=worker.said)
            until(lambda: bool(look.ping()), told=worker.said)
            assert "connecting anew" in worker.said()
            assert "the queue speaks again" in worker.said()


def test_a_ledger_of_a_newer_version_ends_worker_and_scheduler(
    tmp_path: Path, redis_server: Redis
) -> None:
    """With 10, so that their supervisor starts what is installed now."""
    room = Room(tmp_path, redis_server.new_database(), {"enquiries": ("web",)})
    with room.scheduler() as scheduler, room.worker() as worker:
        until(lambda: room.ledger(f"{NODES} 'worker'") != [], told=worker.said)
        until(lambda: room.ledger("SELECT * FROM schedule") != [], told=scheduler.said)
        room.owe()
        until(lambda: room.states() == {"enquiries": "done"}, told=worker.said)
        room.ledger("UPDATE alembic_version SET version_num = 'r9999'")
        room.ledger("UPDATE run SET state = 'pending', finished_at = NULL, active = NULL")
        assert worker.popen.wait(30) == 10, worker.said()
        assert scheduler.popen.wait(30) == 10, scheduler.said()


def test_ctrl_c_is_as_gentle_as_sigterm(tmp_path: Path, redis_server: Redis) -> None:
    """A terminal sends it to every process of the group; none is cut off."""
    room = Room(tmp_path, redis_server.new_database(), {"enquiries": ("web",)})
    with room.worker() as worker:
        until(lambda: room.ledger(f"{NODES} 'worker'") != [], told=worker.said)
        until(lambda: bool(application(room.settings()).control.inspect(limit=1).ping()))
        os.killpg(worker.popen.pid, signal.SIGINT)
        assert worker.popen.wait(20) == 0, worker.said()
    assert room.ledger(f"{NODES} 'worker'") == []
