"""A log on a real SQLite ledger, and folders exported from it, for the tests of the audit room."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from retention.audit.log import AuditLog
from retention.ledger.store import Ledger

ORIGIN = "example.org/retention"
AT = datetime(2026, 3, 1, 9, 30, 0, 250_000, tzinfo=UTC)
NAME = f"{ORIGIN}/2026"


_OPENED: list[Ledger] = []


def open_log(home: Path) -> AuditLog:
    """The log of a home folder, made where there is none; closed when the test ends."""
    ledger = Ledger.open(f"sqlite:///{home / 'ledger.db'}")
    _OPENED.append(ledger)
    return AuditLog(ledger, home / "keys", ORIGIN)


def close_all() -> None:
    """End the connections of every log that a test opened."""
    while _OPENED:
        _OPENED.pop().close()


def batch(log: AuditLog, number: int, at: datetime = AT) -> dict[str, Any]:
    """The facts of a batch of two records."""
    names = log.pseudonymiser("website", "enquiries/form", at)
    return {
        "digest": "sha256:" + "ab" * 32,
        "run": 7,
        "firing": "2026-03-01T02:00:00.000Z",
        "batch": number,
        "system": "website",
        "location": "enquiries/form",
        "action": "delete",
        "outcome": "disposed",
        "because": ["contact-form-monthly@sha256:" + "ab" * 32, "due 2026-02-28"],
        "records": names.of_each([f"row-{number}", f"row-{number}-b"]),
    }


def grow(log: AuditLog, count: int, at: datetime = AT) -> None:
    """Append `count` batch entries, one transaction each."""
    for number in range(count):
        facts = batch(log, number, at)
        with log.ledger.write() as tx:
            log.append(tx, at, "batch.done", actor="worker", policy="contact-form-monthly", **facts)


def exported(home: Path, sizes: tuple[int, ...] = (3, 4, 5)) -> tuple[AuditLog, Path]:
    """A log sealed after each group of so many entries, and its export."""
    log = open_log(home)
    for step, count in enumerate(sizes):
        grow(log, count, AT + timedelta(minutes=step))
        log.checkpoint(AT + timedelta(minutes=step))
    return log, log.export(home / "export", AT + timedelta(hours=1))
