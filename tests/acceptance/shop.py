"""One small organisation on disk, and the program run as its user runs it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]

POLICIES = """\
organisation: {name: Example Shop, country: "NO", timezone: Europe/Oslo}
systems:
  website: {connector: sql, url: "sqlite:///../website.db"}
clusters:
  enquiries:
    title: Questions
    subjects: enquirers
    purpose: answering enquiries
    basis: legitimate_interest
    locations:
      form:
        system: website
        table: form
        key: id
        timezone: UTC
        dates: {received: received_at}
        subject: {email: email}
  letters:
    title: The newsletter
    subjects: readers
    purpose: sending the newsletter
    basis: consent
    locations:
      list:
        system: website
        table: letters
        key: id
        timezone: UTC
        dates: {joined: joined_at}
        subject: {email: email}
policies:
  form-monthly:
    title: Questions go after a month
    applies_to: enquiries/form
    starting_point: received
    delete_at_latest: 1 month
    then: delete
    schedule: "0 3 * * *"
  letters-consent:
    title: Readers go when consent is withdrawn
    applies_to: letters
    starting_point: {event: consent_withdrawn}
    delete_at_latest: 24 hours
    then: delete
    schedule: on_event
"""


class Ended(NamedTuple):
    """How a call ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout as JSON."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error that `--json` puts on stderr's last line."""
        found: dict[str, Any] = json.loads(self.err.splitlines()[-1])["error"]
        return found


class Zygote:
    """The forking server; see tests/acceptance/zygote.py."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.acceptance.zygote"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, request: Mapping[str, Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


@dataclass
class Shop:
    """A folder with policies and an SQLite system, in which commands are run."""

    folder: Path
    zygote: Zygote
    settings: dict[str, str] = field(
        default_factory=lambda: {"RETENTION_ORIGIN": "example.org/acceptance"}
    )

    def __post_init__(self) -> None:
        (self.folder / "policies").mkdir(parents=True, exist_ok=True)
        self.write(POLICIES)
        self.sql(
            "CREATE TABLE form (id INTEGER PRIMARY KEY, received_at TEXT, email TEXT)",
            "CREATE TABLE letters (id INTEGER PRIMARY KEY, joined_at TEXT, email TEXT)",
        )

    @property
    def policies(self) -> Path:
        return self.folder / "policies" / "shop.yaml"

    def write(self, text: str) -> None:
        """Replace the policy file."""
        self.policies.write_text(text, encoding="utf-8")

    def change(self, old: str, new: str) -> None:
        """Edit the policy file."""
        text = self.policies.read_text(encoding="utf-8")
        assert old in text
        self.write(text.replace(old, new))

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        """Use the system by another route; the last statement's rows."""
        return self._sql(self.folder / "website.db", statements)

    def ledger(self, *statements: str) -> list[tuple[Any, ...]]:
        """Look into the ledger, or change it behind the program's back."""
        return self._sql(self.folder / ".retention" / "ledger.db", statements)

    @staticmethod
    def _sql(path: Path, statements: Sequence[str]) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = []
        with closing(sqlite3.connect(path)) as connection, connection:
            for statement in statements:
                rows = connection.execute(statement).fetchall()
        return rows

    def questions(self, *ages: float, table: str = "form") -> None:
        """Add rows that came in so many days ago; their ids count from 1."""
        column = "received_at" if table == "form" else "joined_at"
        with closing(sqlite3.connect(self.folder / "website.db")) as connection, connection:
            for age in ages:
                at = datetime.now(UTC) - timedelta(days=age)
                cursor = connection.execute(
                    f"INSERT INTO {table} ({column}) VALUES (?)",
                    [at.strftime("%Y-%m-%d %H:%M:%S")],
                )
                connection.execute(
                    f"UPDATE {table} SET email = 'person' || id || '@example.org' WHERE id = ?",
                    [cursor.lastrowid],
                )

    def ids(self, table: str = "form") -> list[int]:
        """The rows that are left."""
        return [row[0] for row in self.sql(f"SELECT id FROM {table} ORDER BY id")]

    def environment(self) -> dict[str, str]:
        """What the program finds around it: nothing of the tests' own settings."""
        kept = {k: os.environ[k] for k in ("PATH", "HOME", "TMPDIR") if k in os.environ}
        return {**kept, "LANG": "C.UTF-8", **self.settings}

    def __call__(self, *arguments: str, code: int | None = 0) -> Ended:
        """Run a command. `code`: the exit code it must end with; None: any."""
        out, err = self.folder / ".out", self.folder / ".err"
        ended = self.zygote.run(
            {
                "argv": arguments,
                "cwd": str(self.folder),
                "env": self.environment(),
                "in": os.devnull,
                "out": str(out),
                "err": str(err),
            }
        )
        found = Ended(ended, out.read_text("utf-8"), err.read_text("utf-8"))
        assert code is None or ended == code, found
        assert "Traceback" not in found.err, found
        return found

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the real command, for signals and pipes."""
        return subprocess.Popen(
            [sys.executable, "-m", "retention", *arguments],
            cwd=self.folder,
            env={**self.environment(), "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
