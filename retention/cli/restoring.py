"""The steps of `restore`: look into the copy, freeze it, and only then let it be the ledger."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from retention.cli.output import count, say

if TYPE_CHECKING:
    from retention.audit.log import AuditLog
    from retention.connectors.base import Connector
    from retention.ledger.store import Ledger
    from retention.settings import Settings

ORDERS = {"hold": "hold", "event": "event"}
"""Tables of what people order, and what a row of each is called."""


def put_back(chosen: Settings, ledger: Path, file: Path, actor: str, moment: str) -> str:
    """Make a backup the ledger. Returns its last moment. Where anything is wrong with the backup,
    the keys, or somebody uses the ledger, this raises and the present ledger is untouched."""
    from retention.cli import copies
    from retention.ledger import backup

    ledger.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _refuse_in_use(ledger)
    with tempfile.TemporaryDirectory(prefix=".restoring-", dir=ledger.parent) as folder:
        fresh = Path(folder, ledger.name)
        backup.copy(file, fresh)
        with copies.opened(chosen, fresh) as (opened, log):
            seen = copies.verified(log)
            copies.keys_fit(log)
            _freeze(chosen, opened, log, actor, seen.until)
        backup.settle(fresh)
        before = _unused_name(ledger, moment)
        backup.settle(ledger, before)
        missing = _missing(ledger, fresh)
        with backup.unused(ledger):
            had = backup.put_in_place(fresh, ledger, before)
    if had:
        say(f"the ledger that was there: {before}")
        for what in missing:
            say(f"only in it, to be entered again: {what}")
    return seen.until


def already_restored(chosen: Settings, actor: str) -> str:
    """The same looks and the same freeze for a ledger that was put back by other means."""
    from retention.audit.log import AuditLog
    from retention.cli import copies
    from retention.ledger.store import Ledger

    ledger = Ledger.open(chosen.ledger_url)
    try:
        log = AuditLog(ledger, chosen.state / "keys", chosen.origin)
        seen = copies.verified(log)
        copies.keys_fit(log)
        _freeze(chosen, ledger, log, actor, seen.until)
    finally:
        ledger.close()
    return seen.until


def _freeze(chosen: Settings, ledger: Ledger, log: AuditLog, actor: str, until: str) -> None:
    from retention.clock import SystemClock
    from retention.policy.model import Bundle
    from retention.run.context import Context
    from retention.run.orders import freeze_restored
    from retention.subjects.keys import SubjectHasher

    def no_system(_bundle: Bundle, _name: str) -> Connector:
        raise AssertionError("a restore reaches no system")

    ctx = Context(
        ledger=ledger,
        log=log,
        hasher=SubjectHasher(b"", ""),
        clock=SystemClock(),
        open=no_system,
        folder=chosen.policies,
        actor=actor,
    )
    freeze_restored(ctx, f"restored from a backup of {until}")


def _refuse_in_use(ledger: Path) -> None:
    from retention.ledger import backup

    with backup.unused(ledger):
        pass


def _unused_name(ledger: Path, moment: str) -> Path:
    path, number = ledger.with_name(f"{ledger.name}.before-{moment}"), 2
    while path.exists():
        path, number = ledger.with_name(f"{ledger.name}.before-{moment}-{number}"), number + 1
    return path


def _missing(present: Path, fresh: Path) -> list[str]:
    """What people ordered since the backup, where the present ledger can still be read."""
    import sqlite3
    from contextlib import closing, suppress

    found: list[str] = []
    if not present.exists():
        return found
    with (
        suppress(sqlite3.Error),
        closing(sqlite3.connect(present)) as old,
        closing(sqlite3.connect(fresh)) as new,
    ):
        for table, what in ORDERS.items():
            last = new.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0]
            asked = f"SELECT count(*) FROM {table} WHERE id > ?"
            if lost := old.execute(asked, (last,)).fetchone()[0]:
                found.append(count(lost, what))
    return found
