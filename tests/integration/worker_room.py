"""Workers and schedulers as a user starts them: real processes, a real Redis, a real ledger."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import create_engine, text

from retention.run.home import Home
from retention.run.in_force import approve
from retention.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
RETENTION = ("-m", "retention")
CELERY = ("-m", "celery", "-A", "retention.worker.app")
HEAD = """
organisation: {{name: Fjellvik Verksted, country: NO, timezone: Europe/Oslo}}
systems:
  web: {{connector: sql, url: "sqlite:///{folder}/web.db"}}
  crm: {{connector: sql, url: "sqlite:///{folder}/crm.db"}}
clusters:
"""
CLUSTER = """
  {name}:
    purpose: answering {name}
    basis: legitimate_interest
    locations:
"""
LOCATION = """
      {system}: {{system: {system}, table: {name}, key: id, dates: {{received: received}},
              subject: {{email: email}}}}
"""
POLICY = """
  {name}: {{applies_to: {name}, starting_point: received, delete_at_latest: 1 month, then: delete,
          schedule: "0 {hour} * * *"}}
"""
OLD, YOUNG = "2020-01-01 00:00:00", "2999-01-01 00:00:00"


@dataclass
class Room:
    """A folder of one organisation. `clusters`: the systems that each lies in."""

    folder: Path
    broker: str | None
    clusters: Mapping[str, Sequence[str]]
    database: str | None = None
    rows: int = 20
    extra: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "policies").mkdir()
        said = HEAD.format(folder=self.folder)
        for name, systems in self.clusters.items():
            said += CLUSTER.format(name=name)
            said += "".join(LOCATION.format(name=name, system=s) for s in systems)
            for system in systems:
                self.fill(system, name)
        # Its own moment is half a day away: a test makes firings by `owe`.
        hour = (datetime.now(ZoneInfo("Europe/Oslo")).hour + 12) % 24
        policies = "".join(POLICY.format(name=name, hour=hour) for name in self.clusters)
        (self.folder / "policies" / "all.yaml").write_text(
            f"{said}policies:\n{policies}", encoding="utf-8"
        )
        with Home.open(self.settings(), actor="user:tester") as home:
            for name in self.clusters:
                approve(home.ctx, home.in_force, name, by="user:tester")

    # --- systems ---------------------------------------------------------------------------

    def fill(self, system: str, table: str) -> None:
        """Old rows, and as many that nothing may touch."""
        with closing(sqlite3.connect(self.folder / f"{system}.db")) as db:
            db.execute(
                f"CREATE TABLE IF NOT EXISTS {table} (id INTEGER PRIMARY KEY,"
                " received TEXT, email TEXT)"
            )
            db.executemany(
                f"INSERT INTO {table} (received, email) VALUES (?, ?)",
                [
                    (OLD if n < self.rows else YOUNG, f"p{n}@example.org")
                    for n in range(2 * self.rows)
                ],
            )
            db.commit()

    def old(self, system: str, table: str) -> int:
        """Rows that are due."""
        with closing(sqlite3.connect(self.folder / f"{system}.db")) as db:
            return int(
                db.execute(f"SELECT count(*) FROM {table} WHERE received = ?", [OLD]).fetchone()[0]
            )

    def young(self, system: str, table: str) -> int:
        with closing(sqlite3.connect(self.folder / f"{system}.db")) as db:
            return int(
                db.execute(f"SELECT count(*) FROM {table} WHERE received = ?", [YOUNG]).fetchone()[
                    0
                ]
            )

    # --- the ledger ------------------------------------------------------------------------

    @property
    def ledger_url(self) -> str:
        return self.database or f"sqlite:///{self.folder}/.retention/ledger.db"

    def ledger(self, statement: str, **values: Any) -> list[Any]:
        """Look into the ledger, or change it behind the program's back."""
        engine = create_engine(
            self.ledger_url, connect_args={"timeout": 30} if not self.database else {}
        )
        try:
            with engine.begin() as tx:
                done = tx.execute(text(statement), values)
                return list(done.all()) if done.returns_rows else []
        finally:
            engine.dispose()

    def states(self) -> dict[str, str]:
        """Each policy's newest run."""
        rows = self.ledger("SELECT policy, state FROM run WHERE parent_id IS NULL ORDER BY id")
        return {row.policy: row.state for row in rows}

    def owe(self, *policies: str) -> None:
        """Let a firing be owed: a schedule's next moment lies in the past."""
        for policy in policies or self.clusters:
            # What was done for this moment before is made another firing.
            self.ledger("UPDATE run SET kind = kind || id WHERE policy = :p", p=policy)
            self.ledger(
                "UPDATE schedule SET next_fire = '2026-01-01T02:00:00.000Z', last_due = NULL"
                " WHERE policy = :p",
                p=policy,
            )

    def alarms(self) -> set[str]:
        return {r.kind for r in self.ledger("SELECT kind FROM alarm WHERE cleared_at IS NULL")}

    # --- processes -------------------------------------------------------------------------

    def settings(self, **other: Any) -> Settings:
        """As the processes have them."""
        said = {k: v for k, v in self.environment().items() if k.startswith("RETENTION_")}
        given = {k.removeprefix("RETENTION_").lower(): v for k, v in said.items()}
        return Settings(**(given | other))

    def environment(self) -> dict[str, str]:
        settings = {
            "RETENTION_POLICIES": str(self.folder / "policies"),
            "RETENTION_ORIGIN": f"example.org/{self.folder.name}",
            "RETENTION_TICK_SECONDS": "1",
            "RETENTION_BATCH_RECORDS": "10",
            "RETENTION_LEASE_SECONDS": "20",
            "C_FORCE_ROOT": "1",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        if self.broker:
            settings["RETENTION_BROKER_URL"] = self.broker
        if self.database:
            settings["RETENTION_DATABASE_URL"] = self.database
        return {**os.environ, **settings, **self.extra}

    def run(self, *words: str, program: Sequence[str] = RETENTION, code: int | None = 0) -> str:
        """A command to its end; what it printed."""
        done = subprocess.run(
            [sys.executable, *program, *words],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert code in (None, done.returncode), (done.stdout, done.stderr)
        return done.stdout + done.stderr

    @contextmanager
    def process(self, *words: str, program: Sequence[str] = RETENTION) -> Iterator[Process]:
        """A process that is ended, and must end well, at the end of the block."""
        log = self.folder / f"{words[0]}-{len(list(self.folder.glob('*.log')))}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [sys.executable, *program, *words],
                cwd=self.folder,
                env=self.environment(),
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        process = Process(popen, log)
        try:
            yield process
            if popen.poll() is None:
                assert process.end() == 0, process.said()
        finally:
            if popen.poll() is None:
                os.killpg(popen.pid, signal.SIGKILL)
            popen.wait(20)

    def worker(self, *words: str) -> Any:
        """Our own command."""
        return self.process("worker", *(words or ("--concurrency", "2")))

    def scheduler(self) -> Any:
        """Our own command."""
        return self.process("scheduler")


@dataclass
class Process:
    """One that runs, and its output."""

    popen: subprocess.Popen[bytes]
    log: Path

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def end(self, *, seconds: float = 20) -> int:
        """SIGTERM to the main process alone; its exit code."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(seconds)

    def until(self, word: str, seconds: float = 30) -> None:
        """Wait until it printed something."""
        until(lambda: word in self.said(), seconds, self.said)


def until(
    true: Callable[[], bool], seconds: float = 30, told: Callable[[], object] = lambda: ""
) -> None:
    """Poll until something holds. Raises AssertionError with what `told` says."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, told()
        time.sleep(0.05)
