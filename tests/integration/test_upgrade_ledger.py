"""Upgrading the ledger while others use it: who may, when, and what a running process then does."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from retention.errors import Busy, LedgerMoved, LedgerUnreachable
from retention.ledger import migrate
from retention.ledger.store import Ledger, engine_of
from retention.run.claim import claim
from retention.run.executor import Executor
from retention.run.in_force import approve
from retention.run.tick import tick
from tests.integration.shop import MONTHLY, Shop
from tests.servers.postgres import Postgres

OLDER = "0002"
AT = "2026-01-01T00:00:00.000Z"


def older(url: str, revision: str = OLDER) -> None:
    """A ledger as an older version of the program left it, with a row."""
    engine = create_engine(url)
    with engine.begin() as connection:
        settings = migrate.config()
        settings.attributes["connection"] = connection
        command.upgrade(settings, revision)
        connection.execute(text("INSERT INTO meta (key, value) VALUES ('mark', 'kept')"))
    engine.dispose()


def revision(url: str) -> str | None:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = migrate.current(connection)
    engine.dispose()
    return found


def test_an_older_sqlite_ledger_is_copied_and_then_upgraded_by_whoever_opens_it(
    tmp_path: Path,
) -> None:
    """One machine, one user: nothing to decide. The copy is the ledger as it was."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    older(url)
    Ledger.open(url).close()
    assert revision(url) == migrate.HEAD
    (copy,) = (tmp_path / "backups").iterdir()
    assert copy.name == f"before-upgrade-{OLDER}-to-{migrate.HEAD}.db"
    assert copy.stat().st_mode & 0o077 == 0
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT * FROM alembic_version").fetchall() == [(OLDER,)]
        assert connection.execute("SELECT value FROM meta").fetchall() == [("kept",)]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    Ledger.open(url).close()
    assert len(list((tmp_path / "backups").iterdir())) == 1


def test_without_a_copy_there_is_no_upgrade(tmp_path: Path) -> None:
    """No room, no right: the ledger stays as it is, and the reason is said."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    older(url)
    (tmp_path / "backups").write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises(LedgerUnreachable, match="cannot be written"):
        Ledger.open(url)
    assert revision(url) == OLDER


def test_an_older_server_ledger_is_refused_until_a_person_upgrades_it(postgres: Postgres) -> None:
    """Several machines share it: none of them changes it for the others by being opened."""
    url = postgres.new_database()
    older(url)
    with pytest.raises(LedgerUnreachable) as caught:
        Ledger.open(url)
    assert "retention upgrade" in caught.value.hint
    assert revision(url) == OLDER
    engine = engine_of(url)
    assert migrate.raise_to_head(engine).found == OLDER
    assert migrate.raise_to_head(engine).found == migrate.HEAD
    engine.dispose()
    Ledger.open(url).close()


def _upgrade_when(gate: str, url: str, done: multiprocessing.Queue[str | None]) -> None:
    while not Path(gate).exists():
        time.sleep(0.001)
    engine = engine_of(url)
    done.put(migrate.raise_to_head(engine).found)
    engine.dispose()


def test_two_upgrades_at_once_are_one(postgres: Postgres, tmp_path: Path) -> None:
    """Two processes: one upgrades, the other waits and finds it done."""
    for number in range(3):
        url = postgres.new_database()
        older(url)
        gate = tmp_path / f"gate{number}"
        spawn = multiprocessing.get_context("spawn")
        done: multiprocessing.Queue[str | None] = spawn.Queue()
        both = [spawn.Process(target=_upgrade_when, args=(str(gate), url, done)) for _ in range(2)]
        for process in both:
            process.start()
        time.sleep(2 if number == 0 else 1)
        gate.touch()
        found = sorted(str(done.get(timeout=60)) for _ in both)
        for process in both:
            process.join(60)
            assert process.exitcode == 0
        assert found == [OLDER, migrate.HEAD]
        assert revision(url) == migrate.HEAD


# What a process of revision 0002 writes: only columns that it knows.
_RUN = text(
    "INSERT INTO run (policy, digest, due_at, kind, state, late, token, attempts, created_at,"
    " counts, note) VALUES (:policy, 'd', :due, 'schedule', 'done', false, 1, 1, :due, '{}', '')"
)
_ALARM = text(
    "INSERT INTO alarm (policy, kind, detail, raised_at) VALUES (:policy, 'load', '', :at)"
)


class OldProcesses:
    """Six processes of the older version at work without a pause. Those of `backwards` take the
    tables in the other order, as a tick does."""

    def __init__(self, url: str, *, backwards: int) -> None:
        self.engine = create_engine(url, pool_size=6)
        self.written = 0
        self.failures: list[str] = []
        self._backwards = backwards
        self._stop = threading.Event()
        self._lock = threading.Lock()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        with ThreadPoolExecutor(6) as pool:
            loops = [pool.submit(self._loop, number) for number in range(6)]
            try:
                time.sleep(0.3)
                yield
                time.sleep(0.3)
            finally:
                self._stop.set()
            for loop in loops:
                loop.result()
        self.engine.dispose()

    def _loop(self, number: int) -> None:
        count = 0
        backwards = number < self._backwards
        while not self._stop.is_set():
            count += 1
            run = (_RUN, {"policy": f"p{number}", "due": f"{AT}{count}"})
            alarm = (_ALARM, {"policy": f"p{number}", "at": AT})
            try:
                with self.engine.begin() as tx:
                    for statement, values in (alarm, run) if backwards else (run, alarm):
                        tx.execute(statement, values)
                        time.sleep(0.005)
            except DBAPIError as error:
                self.failures.append(type(error.orig).__name__)
            else:
                with self._lock:
                    self.written += 1
            if backwards:
                time.sleep(0.05)


def _upgraded_under_load(old: OldProcesses, url: str) -> None:
    older(url)
    with old.at_work():
        engine = engine_of(url)
        assert migrate.raise_to_head(engine).found == OLDER
    with engine.connect() as tx:
        for table in ("run", "alarm"):
            rows = tx.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
            assert rows == old.written, table
        assert migrate.current(tx) == migrate.HEAD
    engine.dispose()
    assert old.written > 50


def test_an_upgrade_under_load_loses_nothing_and_breaks_no_transaction(postgres: Postgres) -> None:
    """0002 to the newest while older processes write: each commit stays, none of them fails."""
    url = postgres.new_database()
    old = OldProcesses(url, backwards=1)
    _upgraded_under_load(old, url)
    assert old.failures == []


def test_an_upgrade_that_finds_no_gap_insists_in_the_end(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load that it would wait for for ever: some transactions are rolled back, none half."""
    monkeypatch.setattr(migrate, "GENTLE_SECONDS", 0.0)
    url = postgres.new_database()
    old = OldProcesses(url, backwards=3)
    _upgraded_under_load(old, url)
    assert set(old.failures) <= {"DeadlockDetected"}


def test_an_upgrade_gives_up_where_somebody_keeps_the_tables(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dump that reads for hours: the upgrade says so and has changed nothing; work goes on."""
    url = postgres.new_database()
    older(url)
    monkeypatch.setattr(migrate, "PATIENCE_SECONDS", 1.0)
    engine, reader = engine_of(url), create_engine(url)
    with reader.connect() as dump:
        dump.execute(text("SELECT count(*) FROM event"))
        with pytest.raises(Busy, match="keep the ledger's tables in use"):
            migrate.raise_to_head(engine)
        with reader.begin() as tx:
            tx.execute(_ALARM, {"policy": "p", "at": AT})
    assert revision(url) == OLDER
    reader.dispose()
    engine.dispose()


def test_a_failing_upgrade_leaves_the_ledger_as_it_was(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is one transaction, on both kinds."""

    def fail(_connection: Connection) -> None:
        _connection.execute(text("ALTER TABLE run ADD COLUMN half text"))
        raise RuntimeError("in the middle")

    monkeypatch.setattr(migrate, "_upgrade", fail)
    for url in (postgres.new_database(), f"sqlite:///{tmp_path / 'ledger.db'}"):
        older(url)
        engine = engine_of(url)
        with pytest.raises(RuntimeError, match="in the middle"):
            migrate.raise_to_head(engine)
        assert "half" not in _columns(engine)
        engine.dispose()
        assert revision(url) == OLDER


def _columns(engine: Engine) -> set[str]:
    from sqlalchemy import inspect

    return {str(column["name"]) for column in inspect(engine).get_columns("run")}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Twenty due rows, the policy approved."""
    made = Shop(tmp_path)
    made.write(MONTHLY)
    for key in range(25):
        made.put(key, 100 if key < 20 else 3)
    return made


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_process_of_the_older_version_finishes_its_batch_and_takes_nothing_new(
    shop: Shop, kind: str, request: pytest.FixtureRequest
) -> None:
    """The ledger moves on while a run is under way: what is intended is finished and looked at,
    and then neither tick nor claim does anything more."""
    settings = {}
    if kind == "postgresql":
        settings["database_url"] = request.getfixturevalue("postgres").new_database()
    with shop.open(**settings) as home:
        approve(home.ctx, home.in_force, "form-monthly", by="user:tester")
    with shop.open(**settings) as home:
        home.executor().once()
        shop.clock.forward(days=1)

        def moved() -> bool:
            """Asked between batches: after the first one somebody upgrades the ledger."""
            if len(shop.keys()) < 25:
                with home.ctx.ledger.write() as tx:
                    tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
            return False

        def until_refused(executor: Executor) -> None:
            for _ in range(20):
                executor.once()
                shop.clock.forward(minutes=2)

        with pytest.raises(LedgerMoved):
            until_refused(home.executor(stop=moved))
        left = len(shop.keys())
        with pytest.raises(LedgerMoved):
            claim(home.ctx)
        with pytest.raises(LedgerMoved):
            tick(home.ctx, home.in_force, home.jobs)
        assert len(shop.keys()) == left
        with home.ctx.ledger.read() as tx:
            intended = text("SELECT count(*) FROM batch WHERE state = 'intended'")
            assert tx.execute(intended).scalar_one() == 0
