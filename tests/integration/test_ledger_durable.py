"""What the PostgreSQL ledger promises when its server, or one of its users, dies or stops."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from retention.audit.log import AuditLog
from retention.audit.verify import verify_ledger
from retention.errors import LedgerUnreachable
from retention.ledger import store
from retention.ledger.store import Ledger
from tests.servers.postgres import Postgres

PATIENT = {"wal_writer_delay": "10s"}
"""The server's own background flush comes so late that only ours can have saved anything."""


@pytest.fixture(scope="module")
def durable() -> Iterator[Postgres]:
    """A server that syncs as in production."""
    with Postgres.start(durable=True, settings=PATIENT) as server:
        yield server


def opened(url: str, keys: Path) -> AuditLog:
    return AuditLog(Ledger.open(url), keys, "example.org/power")


def append(log: AuditLog, number: int) -> None:
    with log.ledger.write() as tx:
        log.append(tx, datetime.now(UTC), "freeze", actor="user:tester", freeze=number)


def appended_until_the_end(url: str, keys: Path, worker: int) -> list[int]:
    """Numbers of the entries whose commit came back, until the server was gone."""
    log = opened(url, keys)
    done: list[int] = []
    with suppress(LedgerUnreachable):
        for n in range(100_000):
            append(log, worker * 100_000 + n)
            done.append(worker * 100_000 + n)
    log.ledger.close()
    return done


def power_cut(server: Postgres, keys: Path) -> tuple[list[int], list[dict[str, Any]], bool]:
    """Four processes commit, the server is killed; what was acknowledged and what is there."""
    url = server.new_database()
    log = opened(url, keys)
    append(log, 999_999)
    log.ledger.close()
    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(appended_until_the_end, url, keys, n) for n in range(4)]
        time.sleep(0.7)
        server.kill()
        acknowledged = [number for one in work for number in one.result()]
    server.restart()
    log = opened(url, keys)
    entries = [json.loads(line) for line in log.query(type="freeze")]
    sound = verify_ledger(log).ok
    log.ledger.close()
    return acknowledged, entries, sound


def test_what_a_commit_acknowledged_survives_a_power_cut(durable: Postgres, tmp_path: Path) -> None:
    """The log's lock is not held while the disk works, and still nothing is told too early."""
    for round_ in range(3):
        acknowledged, entries, sound = power_cut(durable, tmp_path / f"keys{round_}")
        there = [entry["freeze"] for entry in entries]
        assert len(acknowledged) > 20
        assert set(acknowledged) <= set(there)
        assert len(there) == len(set(there))
        assert [entry["seq"] for entry in entries] == list(range(1, len(there) + 1))
        assert sound


def test_without_the_flush_a_power_cut_takes_acknowledged_entries(
    durable: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test above can fail: this is what it looks like when nobody waits for the disk."""
    monkeypatch.setattr(store, "_flush", lambda _: None)
    acknowledged, entries, sound = power_cut(durable, tmp_path / "keys")
    assert not set(acknowledged) <= {entry["freeze"] for entry in entries}
    assert sound


def test_a_process_that_stops_inside_a_transaction_keeps_the_log_from_nobody(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds the log's lock and sleeps; the server ends its transaction, the others go on."""
    monkeypatch.setitem(store._POSTGRESQL, "options", "-c idle_in_transaction_session_timeout=1s")
    url = postgres.new_database()
    sleeper, other = opened(url, tmp_path), opened(url, tmp_path)
    append(other, 1)

    def fall_asleep() -> None:
        with sleeper.ledger.write() as tx:
            sleeper.append(tx, datetime.now(UTC), "freeze", actor="user:tester", freeze=2)
            time.sleep(3)

    with ThreadPoolExecutor(1) as pool:
        asleep = pool.submit(fall_asleep)
        time.sleep(0.5)
        append(other, 3)
        with pytest.raises(LedgerUnreachable):
            asleep.result()
    assert [json.loads(line)["freeze"] for line in other.query(type="freeze")] == [1, 3]
    assert verify_ledger(other).ok
    append(sleeper, 4)
    for log in (sleeper, other):
        log.ledger.close()


def test_each_transaction_waits_for_its_own_flush_only_where_the_log_was_written(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other transactions commit synchronously, as PostgreSQL does by itself."""
    flushed: list[str] = []
    real: Callable[[Any], None] = store._flush

    def counted(connection: Any) -> None:
        flushed.append("flush")
        real(connection)

    monkeypatch.setattr(store, "_flush", counted)
    log = opened(postgres.new_database(), tmp_path)
    append(log, 1)
    before = len(flushed)
    with log.ledger.write() as tx:
        assert tx.execute(text("SHOW synchronous_commit")).scalar_one() != "local"
        tx.execute(text("INSERT INTO meta (key, value) VALUES ('k', 'v')"))
    assert len(flushed) == before
    with log.ledger.write() as tx:
        for number in (2, 3):
            log.append(tx, datetime.now(UTC), "freeze", actor="user:tester", freeze=number)
        assert tx.execute(text("SHOW synchronous_commit")).scalar_one() == "off"
    assert len(flushed) == before + 1
    log.ledger.close()
