"""Looking into a copy of a ledger: is it whole and ours, does its log verify, do the keys fit?"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from retention.errors import AuditUnwritable, UsageError

if TYPE_CHECKING:
    from retention.audit.log import AuditLog
    from retention.ledger.store import Ledger
    from retention.settings import Settings


@dataclass(frozen=True, slots=True)
class Seen:
    """What a ledger holds: entries of its newest log, that log's root, and its last moment."""

    entries: int
    root: str
    until: str


def checked_copy(chosen: Settings, ledger: Path, target: Path) -> Seen:
    """Copy a ledger and look into the copy; a copy that is not good does not stay.

    Raises LedgerUnreachable, UsageError, AuditUnwritable.
    """
    from retention.ledger import backup

    backup.copy(ledger, target)
    try:
        with scratch(target) as trial:
            return look_into(chosen, trial)
    except BaseException:
        target.unlink()
        raise


@contextmanager
def scratch(file: Path) -> Iterator[Path]:
    """A second copy beside the first, to open as the program does: opening one upgrades it."""
    from retention.ledger import backup

    with tempfile.TemporaryDirectory(prefix=".trial-", dir=file.parent) as folder:
        trial = Path(folder, "ledger.db")
        backup.copy(file, trial)
        yield trial


def look_into(chosen: Settings, file: Path) -> Seen:
    """Open a copy that may be changed, bring it to this version, verify every entry of its log."""
    with opened(chosen, file) as (_, log):
        return verified(log)


@contextmanager
def opened(chosen: Settings, file: Path) -> Iterator[tuple[Ledger, AuditLog]]:
    """A file as ledger and log of these settings. Raises UsageError where it is no ledger."""
    import sqlite3
    from contextlib import closing

    from sqlalchemy.exc import SQLAlchemyError

    from retention.audit.log import AuditLog
    from retention.ledger import migrate
    from retention.ledger.store import Ledger, engine_of, unreachable

    with closing(sqlite3.connect(file)) as connection:
        ours = connection.execute(
            "SELECT count(*) FROM sqlite_master WHERE name IN ('alembic_version', 'audit_head')"
        ).fetchone()
    if ours != (2,):
        raise UsageError(
            "the file is a database, but no ledger of this program", code="not-a-ledger"
        )
    engine = engine_of(f"sqlite:///{file}")
    try:
        migrate.raise_to_head(engine, before=lambda _found: None)
    except SQLAlchemyError as error:
        raise unreachable(error) from None
    finally:
        engine.dispose()
    ledger = Ledger.open(f"sqlite:///{file}")
    try:
        yield ledger, AuditLog(ledger, chosen.state / "keys", chosen.origin)
    finally:
        ledger.close()


def verified(log: AuditLog) -> Seen:
    """Verify every entry. Raises AuditUnwritable where anything does not fit."""
    from retention.audit.verify import verify_ledger

    report = verify_ledger(log)
    if not report.ok:
        more = f" (and {len(report.problems) - 1} more)" if len(report.problems) > 1 else ""
        raise AuditUnwritable(
            f"its audit log does not fit its checkpoints: {report.problems[0]}{more}",
            hint="nothing was changed; retention audit verify shows more of the ledger in use",
        )
    return Seen(report.size, report.root, _last_moment(log))


def _last_moment(log: AuditLog) -> str:
    from sqlalchemy import func, select

    from retention.ledger.tables import audit_entry, meta

    with log.ledger.read() as tx:
        written = tx.execute(select(func.max(audit_entry.c.at))).scalar_one_or_none()
        ticked = tx.execute(select(meta.c.value).where(meta.c.key == "last_tick")).scalar()
    return max(written or "", ticked or "") or "a moment before its first entry"


def keys_fit(log: AuditLog) -> None:
    """Raises AuditUnwritable where the keys folder is not the one that the ledger was begun with,
    UsageError where the ledger holds the log of somebody else."""
    from sqlalchemy import func, select

    from retention.ledger.tables import audit_head, meta
    from retention.subjects.keys import KEY_CHECK, SubjectHasher

    found = log.logs()
    with log.ledger.read() as tx:
        others = tx.execute(select(func.count()).select_from(audit_head)).scalar_one()
        wanted = tx.execute(select(meta.c.value).where(meta.c.key == KEY_CHECK)).scalar()
    if others and not found:
        raise UsageError(
            "the ledger is another organisation's: its log has another name",
            hint="check RETENTION_ORIGIN",
            code="origin-differs",
        )
    if found and not found[-1].dropped:
        log.keys.signer(found[-1].vkeys[-1])
        log.keys.pseudonym_key(found[-1].log, found[-1].pseudonym_check)
    if wanted is not None:
        path = log.keys.path / "subjects.key"
        if not path.is_file():
            raise AuditUnwritable(
                "the keys folder does not hold subjects.key",
                hint="restore the keys folder that the ledger was begun with; never make new keys",
                code="keys-differ",
            )
        with log.ledger.write() as tx:
            SubjectHasher.open(log.keys.path, "").fits(tx)
