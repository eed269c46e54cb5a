"""A small shop on SQLite and in memory, with the whole service around it and a clock tests set."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from retention.run.home import Home
from retention.run.in_force import approve
from retention.run.report import Report
from retention.settings import Settings

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)


COLUMNS = "id INTEGER PRIMARY KEY, received TEXT, name TEXT, email TEXT, status TEXT"


@dataclass
class SetClock:
    """Shows what it was set to."""

    at: datetime = NOW

    def now(self) -> datetime:
        return self.at

    def forward(self, **delta: float) -> None:
        self.at += timedelta(**delta)


HEAD = """
organisation: {{name: Fjellvik Verksted, country: NO, timezone: Europe/Oslo}}
systems:
  web: {{connector: sql, url: "sqlite:///{database}"}}
clusters:
  enquiries:
    purpose: answering enquiries
    basis: legitimate_interest
    locations:
      form: {{system: web, table: form, key: id, dates: {{received: received}},
             subject: {{email: email}}, fields: {{name: name, status: status}}}}
"""

MONTHLY = """
  form-monthly:
    applies_to: enquiries/form
    starting_point: received
    delete_at_latest: 1 month
    then: delete
    schedule: "0 3 * * *"
"""


@dataclass
class Shop:
    """Policy files, a contact form and a clock; each `open` is a new process."""

    folder: Path
    clock: SetClock = field(default_factory=SetClock)
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of every process, besides those named for one."""

    def __post_init__(self) -> None:
        (self.folder / "policies").mkdir()
        with closing(sqlite3.connect(self.database)) as db:
            db.execute(f"CREATE TABLE form ({COLUMNS})")
            db.commit()

    @property
    def database(self) -> Path:
        return self.folder / "web.db"

    def write(
        self, policies: str, *, head: str = HEAD, name: str = "all.yaml", **more: Any
    ) -> None:
        """One policy file, whole."""
        text = f"{head.format(database=self.database, **more)}policies:{policies}"
        (self.folder / "policies" / name).write_text(text, encoding="utf-8")

    def put(self, key: int, age_days: int | None, **values: Any) -> None:
        """A row of the contact form that was received so many days ago."""
        received = (
            None
            if age_days is None
            else (NOW - timedelta(days=age_days)).strftime("%Y-%m-%d %H:%M:%S")
        )
        row = {"name": f"N {key}", "email": f"p{key}@example.org", "status": "new", **values}
        self.sql(
            "INSERT INTO form VALUES (?, ?, ?, ?, ?)",
            key,
            received,
            row["name"],
            row["email"],
            row["status"],
        )

    def sql(self, statement: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self.database)) as db:
            rows = db.execute(statement, values).fetchall()
            db.commit()
            return rows

    def keys(self) -> set[int]:
        """What is in the form, read by other means than the service's."""
        return {row[0] for row in self.sql("SELECT id FROM form")}

    @contextmanager
    def open(self, **settings: Any) -> Iterator[Home]:
        values: Mapping[str, Any] = {
            "policies": self.folder / "policies",
            "home": self.folder / "home",
            "origin": "example.org/shop",
            "batch_records": 10,
            **self.settings,
            **settings,
        }
        with Home.open(Settings(**values), actor="worker", clock=self.clock) as home:
            yield home

    def approve(self, *names: str) -> None:
        with self.open() as home:
            for name in names:
                approve(home.ctx, home.in_force, name, by="user:tester")

    def run(self, name: str = "form-monthly", **settings: Any) -> Report:
        """One firing now; a second later than whatever was before."""
        self.clock.forward(seconds=1)
        with self.open(**settings) as home:
            return home.executor().run_now(name)

    def daemon_once(self, **settings: Any) -> list[Report]:
        with self.open(**settings) as home:
            return home.executor().once()

    def entries(self, kind: str | None = None) -> list[dict[str, Any]]:
        with self.open() as home:
            return [json.loads(line) for line in home.ctx.log.query(type=kind)]

    def alarms(self) -> set[tuple[str, str]]:
        from retention.run.status import alarms

        with self.open() as home:
            return {(policy, kind) for policy, kind, _, _ in alarms(home.ctx.ledger)}


def day(offset: int) -> date:
    return (NOW + timedelta(days=offset)).date()
