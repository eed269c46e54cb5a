"""The daemon as a user runs it, on real servers, killed with SIGKILL again and again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from tests.servers.dovecot import Dovecot
from tests.servers.mailbox import Mailbox, message
from tests.servers.postgres import Postgres

ROWS, MAILS = 3_000, 600
POLICIES = """
organisation: {{name: Fjellvik Verksted, country: NO, timezone: Europe/Oslo}}
systems:
  website: {{connector: sql, url: {{env: WEBSITE_DB}}}}
  mail: {{connector: imap, host: 127.0.0.1, port: {port}, tls: none, username: "{user}",
         password: {{env: MAIL_PASSWORD}}}}
clusters:
  enquiries:
    purpose: answering enquiries
    basis: legitimate_interest
    locations:
      form: {{system: website, table: contact_form, key: id, dates: {{received: created_at}},
             subject: {{email: email}}}}
  correspondence:
    purpose: answering letters
    basis: legitimate_interest
    locations:
      mail: {{system: mail, folders: [INBOX, Sent], dates: {{received: internal_date}},
             subject: {{email: [from, to]}}}}
policies:
  form-monthly: {{applies_to: enquiries, starting_point: received, delete_at_latest: 1 month,
                 then: delete, schedule: "* * * * *"}}
  mail-monthly: {{applies_to: correspondence, starting_point: received, delete_at_latest: 1 month,
                 then: delete, schedule: "* * * * *"}}
"""


@pytest.fixture
def shop(postgres: Postgres) -> Iterator[tuple[str, Engine]]:
    """A contact form with old and new rows."""
    url = postgres.new_database()
    engine = create_engine(url)
    now = datetime.now(UTC)
    with engine.begin() as tx:
        tx.execute(
            text(
                "CREATE TABLE contact_form"
                " (id bigint PRIMARY KEY, created_at timestamptz, email text)"
            )
        )
        tx.execute(
            text("INSERT INTO contact_form VALUES (:id, :at, :email)"),
            [
                {
                    "id": n,
                    "at": now - timedelta(days=90 if n % 2 else 1),
                    "email": f"p{n}@example.org",
                }
                for n in range(ROWS)
            ],
        )
    yield url, engine
    engine.dispose()


@pytest.fixture
def mailbox(dovecot: Dovecot) -> Mailbox:
    """A mailbox with old and new messages, some of them in Sent."""
    box = dovecot.user()
    box.create("Sent")
    now = datetime.now(UTC)
    for folder, numbers in (("INBOX", range(MAILS)), ("Sent", range(MAILS, MAILS + 60))):
        box.write(
            folder,
            [
                (message(subject=f"Note {n}"), now - timedelta(days=80 if n % 2 else 2))
                for n in numbers
            ],
        )
    return box


class Service:
    """`retention` in a folder of its own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = {
            **os.environ,
            **environment,
            "RETENTION_POLICIES": str(folder / "policies"),
            "RETENTION_TICK_SECONDS": "1",
            "RETENTION_BATCH_RECORDS": "10",
            "RETENTION_LEASE_SECONDS": "5",
        }

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "retention", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    @contextmanager
    def daemon(self) -> Iterator[subprocess.Popen[bytes]]:
        with (self.folder / "daemon.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "retention", "daemon"],
                env=self.environment,
                stderr=log,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def entries(self) -> list[dict[str, Any]]:
        return [
            json.loads(line) for line in self.run("audit", "list", "--json").stdout.splitlines()
        ]


def due_left(engine: Engine, box: Mailbox) -> int:
    with engine.connect() as tx:
        rows = tx.execute(text("SELECT count(*) FROM contact_form WHERE id % 2 = 1")).scalar_one()
    return int(rows) + len(box.uids("INBOX")) - MAILS // 2 + len(box.uids("Sent")) - 30


def test_a_daemon_that_is_killed_again_and_again_disposes_of_each_due_record_once(
    tmp_path: Path, shop: tuple[str, Engine], mailbox: Mailbox
) -> None:
    """SIGKILL at random moments; then every due record is gone, none twice, none else."""
    url, engine = shop
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "all.yaml").write_text(
        POLICIES.format(port=mailbox.port, user=mailbox.username), encoding="utf-8"
    )
    service = Service(tmp_path, {"WEBSITE_DB": url, "MAIL_PASSWORD": mailbox.password})
    for policy in ("form-monthly", "mail-monthly"):
        approved = service.run("approve", policy)
        assert approved.returncode == 0, approved.stderr
    chance = random.Random(7)
    deadline = time.monotonic() + 240
    kills = 0
    while due_left(engine, mailbox) and time.monotonic() < deadline:
        with service.daemon() as process:
            before = due_left(engine, mailbox)
            # Wait until the daemon is at work, then let it live for a moment more.
            while due_left(engine, mailbox) == before and time.monotonic() < deadline:
                time.sleep(0.05)
                assert process.poll() is None, (tmp_path / "daemon.log").read_text()
            time.sleep(chance.random() * 0.2)
        kills += 1
    with service.daemon() as process:
        # What the last death left open is closed by the next life: outcome, look, end of the run.
        while time.monotonic() < deadline + 60:
            entries = service.entries()
            ended = {e["policy"] for e in entries if e["type"] == "run.finished"}
            if len(ended) == 2 and not open_work(entries) and not unseen(entries):
                break
            time.sleep(1)
        # It may have found nothing left to do, and be asked to end before it listens.
        while lives_told(tmp_path) <= kills and time.monotonic() < deadline + 60:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0

    assert kills >= 2
    assert due_left(engine, mailbox) == 0
    with engine.connect() as tx:
        assert tx.execute(text("SELECT count(*) FROM contact_form")).scalar_one() == ROWS // 2
    entries = service.entries()
    assert open_work(entries) == []
    gone = Counter(
        record
        for e in entries
        if e["type"] == "batch.done" and e["outcome"] in ("disposed", "already_absent")
        for record in e["records"]
    )
    assert len(gone) == ROWS // 2 + MAILS // 2 + 30
    assert set(gone.values()) == {1}
    assert unseen(entries) == set()
    firings = Counter((e["policy"], e["firing"]) for e in entries if e["type"] == "run.finished")
    assert set(firings.values()) == {1}
    verified = service.run("audit", "verify", "--json")
    assert json.loads(verified.stdout)["ok"] is True


def lives_told(folder: Path) -> int:
    """How many daemons have said that they began."""
    return (folder / "daemon.log").read_text().count(" started:")


def unseen(entries: list[dict[str, Any]]) -> set[str]:
    """Records that are said to be gone, and that nobody looked for afterwards."""
    kinds = {"batch.done": set[str](), "batch.verified": set[str]()}
    for e in entries:
        if e["type"] in kinds and e["outcome"] not in ("failed_temporary", "changed", "held"):
            kinds[e["type"]].update(e["records"])
    return kinds["batch.done"] - kinds["batch.verified"]


def open_work(entries: list[dict[str, Any]]) -> list[Any]:
    """Intents without an outcome, and outcomes that were not looked at."""
    intents: Counter[Any] = Counter()
    for e in entries:
        step = {"batch.intended": 1, "batch.done": -1}.get(e["type"])
        if step:
            intents.update({(e["run"], e["batch"], r): step for r in e["records"]})
    return [i for i, n in intents.items() if n > 0]
