"""The ledger of a world on a disk of its own, read on connections of our own."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import psycopg

from tests.chaos.disk import Disk, disk_in
from tests.servers.postgres import Postgres
from tests.servers.process import program, run, wait_until

FINAL = "('done', 'partial', 'stopped', 'failed')"
DISK_MEGABYTES = 256


class Unreadable(Exception):  # not an error: it is what some faults are for
    """The ledger does not answer now."""


class Lease(NamedTuple):
    """A run that somebody holds."""

    run: int
    token: int
    pid: int


class Ledger(Protocol):
    """A ledger that can be looked at, restarted, filled up and cut off."""

    kind: str
    url: str
    home: Path
    disk: Disk

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        """Rows. Raises Unreadable."""
        ...

    def processes(self) -> list[int]:
        """Its processes, which die with the power."""
        ...

    def before_full(self) -> None:
        """Give back reserves, so that a full disk is felt at once."""
        ...

    def revive(self) -> None:
        """Bring it up again after it died or lost power."""
        ...

    def lose_power(self) -> None:
        """Everybody is stopped or dead and the disk is cut: end the rest, and bring it up again."""
        ...

    def close(self) -> None: ...


def leases(ledger: Ledger, now: datetime, seconds: float) -> list[Lease]:
    """Live leases, as long as `seconds` at most. Raises Unreadable.

    A process whose clock was ahead leaves leases that reach far into the future: nobody works
    under them.
    """
    latest = _stamp(now + timedelta(seconds=seconds + 2))
    rows = ledger.ask(
        "SELECT id, token, owner FROM run WHERE owner IS NOT NULL"
        f" AND lease_until > '{_stamp(now)}' AND lease_until < '{latest}'"
    )
    return [Lease(run, token, int(owner.split(":")[1])) for run, token, owner in rows]


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def waiting(ledger: Ledger, now: datetime, seconds: float) -> int:
    """Open runs that nobody may take up for a while: a system is left alone until it recovers, or
    a clock that was ahead has left a lease that reaches far into the future. Raises Unreadable.
    """
    soon, latest = _stamp(now + timedelta(seconds=1)), _stamp(now + timedelta(seconds=seconds + 2))
    rows = ledger.ask(
        f"SELECT count(*) FROM run WHERE state NOT IN {FINAL}"
        f" AND (not_before > '{soon}' OR lease_until > '{latest}')"
    )
    return int(rows[0][0])


def open_runs(ledger: Ledger) -> int:
    """Runs that are not at their end. Raises Unreadable."""
    return int(ledger.ask(f"SELECT count(*) FROM run WHERE state NOT IN {FINAL}")[0][0])


class SqliteLedger:
    """A file in the home."""

    kind = "sqlite"

    def __init__(self, folder: Path) -> None:
        self.disk = disk_in(folder, DISK_MEGABYTES)
        self.home = self.disk.path / "home"
        self.home.mkdir(mode=0o700)
        self._file = self.home / "ledger.db"
        self.url = f"sqlite:///{self._file}"

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        try:
            with closing(self._connect()) as connection:
                return connection.execute(question).fetchall()
        except sqlite3.Error as error:
            raise Unreadable(str(error)) from None

    def processes(self) -> list[int]:
        return []

    def before_full(self) -> None:
        with suppress(sqlite3.Error), closing(self._connect()) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def revive(self) -> None:
        pass

    def lose_power(self) -> None:
        self.disk.restore()

    def close(self) -> None:
        self.disk.close()

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self._file}?mode=rw", uri=True, timeout=5)


class LedgerServer(Postgres):
    """PostgreSQL with fsync, on a disk that can fill up and lose power."""

    name = "ledger"
    disk: Disk

    def prepare(self) -> None:
        self.disk = disk_in(self.folder, DISK_MEGABYTES, self.run_as())
        self.data = self.disk.path / "data"
        super().prepare()
        # Small segments, none kept for later: a full disk is felt within a megabyte of changes.
        resize = [program("pg_resetwal"), "--wal-segsize=1", "-D", str(self.data)]
        run(resize, self.folder, self.run_as())
        self.disk.sync()  # initdb was told not to

    def close(self) -> None:
        self.stop()
        if hasattr(self, "disk"):
            self.disk.close()
        super().close()


class PostgresLedger:
    """A server of its own."""

    kind = "postgresql"

    def __init__(self) -> None:
        small = {"min_wal_size": "2MB", "max_wal_size": "32MB", "wal_recycle": "off"}
        self.server = LedgerServer(durable=True, settings=small).launch()
        self.disk = self.server.disk
        self.home = self.disk.path / "home"
        self.home.mkdir(mode=0o700)
        self.url = self.server.new_database()
        self._admin = self.server.admin_url(self.url).replace("+psycopg", "")

    def ask(self, question: str) -> list[tuple[Any, ...]]:
        try:
            with psycopg.connect(self._admin, connect_timeout=3) as connection:
                return connection.execute(question.encode()).fetchall()
        except psycopg.Error as error:
            raise Unreadable(type(error).__name__) from None

    def processes(self) -> list[int]:
        if not self.server.running:
            return []
        # Each of PostgreSQL's processes is a group of its own.
        return [self.server.pid, *children(self.server.pid)]

    def before_full(self) -> None:
        with suppress(Unreadable):
            self.ask("SELECT pg_switch_wal()")

    def revive(self) -> None:
        if not self.server.running:
            self.server.kill()
            self.server.boot()

    def lose_power(self) -> None:
        self.server.kill()
        self.disk.restore()
        self.server.boot()

    def restart(self, sig: signal.Signals) -> None:
        """SIGINT: fast; SIGQUIT: immediate, as a crash; SIGKILL: worse."""
        server = self.server
        os.kill(server.pid, sig)
        wait_until(lambda: not server.running, 30)
        server.kill()
        server.boot()

    def close(self) -> None:
        self.server.close()


def copy_home(ledger: Ledger, folder: Path) -> None:
    """Keep what is needed to look at a failed world later: the keys, and SQLite's files."""
    shutil.copytree(ledger.home, folder, dirs_exist_ok=True, ignore_dangling_symlinks=True)


def children(pid: int) -> list[int]:
    """Processes that a process has started and that live."""
    with suppress(OSError):
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
        return [child for child in map(int, text.split()) if _lives(child)]
    return []


def _lives(pid: int) -> bool:
    with suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return stat.rpartition(")")[2].split()[0] not in ("Z", "X")
    return False


def send(pids: Sequence[int], sig: signal.Signals) -> None:
    """A signal to each process that is still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, sig)
