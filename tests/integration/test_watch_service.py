"""A process that is watched: scraped over HTTP, pinging, giving signs of life, telling alarms."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Connection, Engine, event, insert, select

from retention.errors import UsageError
from retention.ledger import tables as t
from retention.ledger.store import stamp
from retention.run.home import Home
from retention.run.in_force import approve
from retention.run.orders import freeze
from retention.run.status import status
from retention.settings import Settings, load
from retention.watch import metrics, nodes, reading
from retention.watch.alarms import Channel
from retention.watch.ping import Ping
from retention.watch.watch import Watch
from tests.integration.shop import MONTHLY, NOW, SetClock, Shop
from tests.integration.watched import free_port, raise_alarm, web
from tests.servers.postgres import Postgres

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Thirty old rows and ten young ones; the monthly policy is approved."""
    made = Shop(tmp_path)
    made.write(MONTHLY)
    for key in range(40):
        made.put(key, 100 if key < 30 else 3)
    made.approve("form-monthly")
    return made


def until(done: Callable[[], Any]) -> Any:
    """Whatever `done` gives, once it is something."""
    deadline = time.monotonic() + 20
    while not (found := done()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def fetch(watch: Watch, path: str) -> tuple[int, str]:
    """Status and text of a page of the exporter."""
    assert watch.address is not None
    host, port = watch.address
    try:
        with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def parsed(text: str) -> Samples:
    """Every sample of a scrape, as Prometheus' own parser reads it."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@contextmanager
def served(shop: Shop, **settings: Any) -> Iterator[tuple[Home, Watch]]:
    """A daemon's watch with an exporter on some free port."""
    with (
        shop.open(metrics_address="127.0.0.1:0", tick_seconds=0.05, **settings) as home,
        Watch.of(home) as watch,
    ):
        yield home, watch


def test_a_scrape_tells_how_things_stand(shop: Shop) -> None:
    """After a run, in a freeze, with an alarm: every figure is there."""
    shop.run()
    with shop.open() as home:
        freeze(home.ctx, "an incident at Ola Nordmann's")
        raise_alarm(home.ctx.ledger, shop.clock.now(), "limit", "form-monthly")
    with served(shop) as (_home, watch):
        until(lambda: "retention_ledger_write_seconds 0" in fetch(watch, "/metrics")[1])
        code, text = fetch(watch, "/metrics")
    found = parsed(text)
    policy = (("policy", "form-monthly"),)
    assert code == 200
    assert found["retention_ledger_up", ()] == 1
    assert found["retention_overdue_records", policy] == 0
    assert found["retention_policy_state", (*policy, ("state", "frozen"))] == 1
    assert found["retention_policies", (("state", "frozen"),)] == 1
    assert found["retention_last_success_timestamp_seconds", policy] == pytest.approx(
        shop.clock.now().timestamp(), abs=5
    )
    assert ("retention_last_run_duration_seconds", policy) in found
    assert found["retention_runs", (("state", "done"),)] == 1
    assert found["retention_open_alarms", (("kind", "limit"),)] == 1
    assert found["retention_frozen", ()] == 1
    assert found["retention_log_entries", ()] > 5
    assert found["retention_nodes", (("role", "daemon"),)] == 1
    assert found["retention_waiting_runs", (("system", "web"),)] == 0
    assert found["retention_running_leases", ()] == 0
    names = {name for name, _ in found}
    absent = {g.name for g in metrics.GAUGES} - names
    # Nobody has ticked here, and no channel is set up.
    assert absent <= {
        "retention_last_tick_timestamp_seconds",
        "retention_next_firing_timestamp_seconds",
        "retention_alarm_channel_failures",
        "retention_alarm_channel_told_timestamp_seconds",
    }


def test_a_scrape_holds_no_personal_data(shop: Shop) -> None:
    """No key, no address, no name, no reason that a person wrote."""
    shop.run()
    with shop.open() as home:
        freeze(home.ctx, "an incident at Ola Nordmann's")
        text = metrics.text(home)
    assert not any(word in text for word in ("@", "Nordmann", "incident", "N 1", "p1"))


def test_overdue_and_waiting_work_shows(shop: Shop) -> None:
    """Records past their date; a run that nobody takes, and for how long it has waited."""
    with shop.open() as home:
        freeze(home.ctx, "an incident")
    shop.run()
    with shop.open() as home:
        before = parsed(metrics.text(home))
        assert before["retention_overdue_records", (("policy", "form-monthly"),)] == 30
        assert before["retention_oldest_overdue_days", (("policy", "form-monthly"),)] > 60
    shop.clock.forward(hours=2)
    with shop.open() as home:
        after = parsed(metrics.text(home))
        waiting = {key: value for key, value in after.items() if "waiting" in key[0]}
    assert sum(v for (name, _), v in waiting.items() if name == "retention_waiting_runs") == 1
    oldest = max(v for (n, _), v in waiting.items() if n == "retention_waiting_oldest_seconds")
    assert 3600 < oldest <= 7201


def test_a_ledger_that_does_not_answer_is_one_figure(shop: Shop) -> None:
    """`retention_ledger_up 0`, and nothing that could be mistaken for a good state."""
    with shop.open() as home:
        home.ctx.ledger.close()
        (shop.folder / "home" / "ledger.db").unlink()
        (shop.folder / "home" / "ledger.db").mkdir()
        for leftover in ("ledger.db-wal", "ledger.db-shm"):
            (shop.folder / "home" / leftover).unlink(missing_ok=True)
        assert parsed(metrics.text(home)) == {("retention_ledger_up", ()): 0}


def test_a_ledger_of_many_machines_is_read_alike(shop: Shop, postgres: Postgres) -> None:
    """PostgreSQL: the same figures, the sign of life, and alarms that are told."""
    with (
        web() as server,
        served(shop, database_url=postgres.new_database(), alarm_webhook_url=server.url) as (
            home,
            watch,
        ),
    ):
        approve(home.ctx, home.in_force, "form-monthly", by="user:tester")
        home.reload()
        home.executor().run_now("form-monthly")
        raise_alarm(home.ctx.ledger, shop.clock.now(), policy="form-monthly")
        until(lambda: server.requests)
        until(lambda: _channels(home)["webhook"].last)
        found = parsed(fetch(watch, "/metrics")[1])
    assert found["retention_runs", (("state", "done"),)] == 1
    assert found["retention_nodes", (("role", "daemon"),)] == 1
    assert found["retention_alarm_channel_failures", (("channel", "webhook"),)] == 0


def test_shards_are_no_runs(shop: Shop) -> None:
    """Parts of a run count neither as its policy's newest run nor among the runs; they wait."""
    shop.run()
    with shop.open() as home, home.ctx.ledger.write() as tx:
        whole = tx.execute(select(t.run)).one()
        tx.execute(
            insert(t.run).values(
                policy=whole.policy, digest=whole.digest, due_at=whole.due_at, kind="shard 1",
                state="pending", created_at=stamp(NOW), parent_id=whole.id, shard=1,
                location="enquiries/form", system="web", turn=stamp(NOW), counts={"overdue": 99},
            )
        )  # fmt: skip
    with shop.open() as home:
        (row,) = status(home.ctx.ledger, home.in_force, home.jobs, shop.clock.now())
        assert (row.state, row.overdue, row.last_state) == ("ok", 0, "done")
        found = parsed(metrics.text(home))
    assert found["retention_runs", (("state", "pending"),)] == 0
    assert found["retention_waiting_runs", (("system", "web"),)] == 1


def _many(tx: Connection, policies: int, runs: int) -> None:
    rows = [
        {
            "policy": f"p{number:05}", "digest": "x", "due_at": f"{run:04}-01-01T00:00:00.000Z",
            "kind": "schedule", "state": "done", "created_at": stamp(NOW),
            "started_at": stamp(NOW), "finished_at": f"{run:04}-01-02T00:00:00.000Z",
            "counts": {"overdue": 2, "disposed": 1},
        }
        for number in range(policies)
        for run in range(2000, 2000 + runs)
    ]  # fmt: skip
    tx.execute(insert(t.run), rows)


@contextmanager
def _statements(engine: Engine) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


def test_the_number_of_statements_does_not_grow_with_the_policies(shop: Shop) -> None:
    """Ten thousand policies are read by as many statements as one."""
    with shop.open() as home:
        with _statements(home.ctx.ledger.engine) as few:
            reading.read(home)
        with home.ctx.ledger.write() as tx:
            _many(tx, 3000, 3)
        enlarged = home.in_force
        digests = {**enlarged.digests, **{f"p{n:05}": "x" for n in range(3000)}}
        object.__setattr__(enlarged, "digests", digests)
        with _statements(home.ctx.ledger.engine) as many:
            began = time.perf_counter()
            found = reading.read(home)
            took = time.perf_counter() - began
    assert len(many) == len(few) < 30
    assert len(found.policies) == 3001
    assert {p.overdue for p in found.policies if p.policy != "form-monthly"} == {1}
    assert took < 5


def test_health_is_about_the_last_tick(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 before the first tick, after a failed one and in long silence; else 200."""
    with served(shop) as (home, watch):
        assert fetch(watch, "/health")[0] == 503
        watch.after_tick(home, ok=True)
        code, text = fetch(watch, "/health")
        assert (code, json.loads(text)["status"]) == (200, "ok")
        watch.after_tick(home, ok=False)
        code, text = fetch(watch, "/health")
        assert (code, json.loads(text)["last_tick"]) == (503, "failed")
        watch.after_tick(home, ok=True)
        monkeypatch.setattr("retention.watch.watch.STALE", 0.0)
        assert fetch(watch, "/health")[0] == 503
        assert fetch(watch, "/other")[0] == 404


def test_a_taken_port_is_a_log_line_and_no_end(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    """The work goes on unserved, and is served once the port is free."""
    port = free_port()
    with (
        shop.open(metrics_address=f"127.0.0.1:{port}", tick_seconds=0.05) as home,
        Watch.of(home) as first,
        Watch.of(home) as second,
    ):
        assert (first.address, second.address) == (("127.0.0.1", port), None)
        assert sum("metrics not served" in str(r.msg) for r in caplog.records) == 1
        first.close()
        until(lambda: second.address)
        assert fetch(second, "/metrics")[0] == 200


def test_an_exporter_without_its_package_is_an_error_at_the_start(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said before anything runs, with the command that helps."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with (
        shop.open(metrics_address="127.0.0.1:0") as home,
        pytest.raises(UsageError, match="prometheus") as caught,
    ):
        Watch.of(home)
    assert "retention[watch]" in caught.value.hint


def test_a_process_shows_while_it_lives(shop: Shop) -> None:
    """A row with role, version and how long the last write took; gone when it ends."""
    with shop.open(tick_seconds=0.05) as home:
        with Watch.of(home, role="scheduler") as watch:
            watch.after_tick(home, ok=True)
            (node,) = until(lambda: _nodes(home))
            assert (node.name, node.role) == (home.ctx.owner, "scheduler")
            assert node.live(shop.clock.now())
            until(lambda: _nodes(home)[0].facts.get("tick_ok"))
        assert _nodes(home) == []


def _nodes(home: Home) -> list[nodes.Node]:
    with home.ctx.ledger.read() as tx:
        return nodes.every(tx)


def test_a_process_that_died_is_forgotten_after_a_day(shop: Shop) -> None:
    """Until then it shows as silent."""
    with shop.open() as home:
        with home.ctx.ledger.write() as tx:
            nodes.seen(tx, "dead:1", "worker", NOW, NOW, {})
        shop.clock.forward(hours=23)
        with home.ctx.ledger.write() as tx:
            nodes.forget(tx, shop.clock.now())
        (node,) = _nodes(home)
        assert not node.live(shop.clock.now())
        shop.clock.forward(hours=2)
        with home.ctx.ledger.write() as tx:
            nodes.forget(tx, shop.clock.now())
        assert _nodes(home) == []


def test_a_good_tick_pings_at_most_once_a_minute() -> None:
    """Nothing but a GET; an answer that is no success is a log line."""
    clock = SetClock()
    with web() as server:
        ping = Ping.of(_settings(server.url))
        assert ping is not None
        assert ping.good(clock.now())
        clock.forward(seconds=59)
        assert not ping.good(clock.now())
        clock.forward(seconds=1)
        server.status = 500
        assert not ping.good(clock.now())
    assert [(method, path) for method, path, _, _ in server.requests] == [("GET", "/alive")] * 2


def _settings(url: str) -> Settings:
    return load(ping_url=f"{url}/alive")


def test_a_failed_tick_pings_nothing(shop: Shop) -> None:
    """Silence is the signal."""
    with web() as server, shop.open(ping_url=server.url, tick_seconds=0.05) as home:
        with Watch.of(home) as watch:
            watch.after_tick(home, ok=False)
            until(lambda: _nodes(home) and _nodes(home)[0].facts)
        assert server.requests == []
        with Watch.of(home) as watch:
            watch.after_tick(home, ok=True)
            until(lambda: server.requests)


def test_nothing_outside_can_hold_up_or_end_the_work(shop: Shop) -> None:
    """Everybody outside refuses, and the ledger is away: a tick's end returns at once."""
    gone = f"http://127.0.0.1:{free_port()}"
    with shop.open(ping_url=gone, alarm_webhook_url=gone, tick_seconds=0.05) as home:
        raise_alarm(home.ctx.ledger, shop.clock.now())
        with Watch.of(home) as watch:
            began = time.monotonic()
            for _ in range(100):
                watch.after_tick(home, ok=True)
            assert time.monotonic() - began < 1
            until(lambda: _failures(home))


def _failures(home: Home) -> int:
    channels = _channels(home)
    return channels["webhook"].failures if channels else 0


def _channels(home: Home) -> Mapping[str, Channel]:
    return reading.service(home).channels


def test_an_alarm_reaches_people_from_a_daemon(shop: Shop) -> None:
    """From the row in the ledger to the request, and the metric that says so."""
    with web() as server, served(shop, alarm_webhook_url=server.url) as (home, watch):
        raise_alarm(home.ctx.ledger, shop.clock.now(), policy="form-monthly")
        watch.after_tick(home, ok=True)
        until(lambda: server.requests)
        until(lambda: "told_timestamp" in fetch(watch, "/metrics")[1] and _channels(home))
        found = until(lambda: parsed(fetch(watch, "/metrics")[1]))
        assert found["retention_alarm_channel_failures", (("channel", "webhook"),)] == 0
    body = json.loads(server.bodies[0])
    assert body["alarms"][0]["policy"] == "form-monthly"
    assert body["origin"] == "example.org/shop"
