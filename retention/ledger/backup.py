"""Copies of a SQLite ledger: taken while others write, looked at before they are trusted, and put
in the ledger's place so that a crash at any moment leaves one whole ledger there."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from retention.errors import Busy, LedgerUnreachable, UsageError

FOLDER = "backups"
"""Beside the ledger; where copies go unless the user names another place."""
_MARK = b"SQLite format 3\x00"
_LOCK_AT, _LOCK_LENGTH = 0x40000002, 510
"""Bytes of a database file that SQLite locks for as long as a connection uses it in WAL mode."""


def folder_of(ledger: Path) -> Path:
    """The folder of a ledger's copies, made if need be, for its owner only. Raises
    LedgerUnreachable."""
    folder = ledger.parent / FOLDER
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None
    return folder


def free_name(folder: Path, name: str, ending: str = "db") -> Path:
    """`name.db`, or `name-2.db` and so on: no copy ever takes the place of another."""
    path, number = folder / f"{name}.{ending}", 2
    while path.exists():
        path, number = folder / f"{name}-{number}.{ending}", number + 1
    return path


def copy(source: Path, target: Path) -> None:
    """Copy a ledger as it is at one moment; `target` is there whole, checked and on disk, or not
    at all. Writers of the source go on meanwhile.

    Raises UsageError where the target exists or the source is no database, LedgerUnreachable where
    the source is damaged or the disk is full.
    """
    if target.exists():
        raise UsageError(
            f"{target} is there already, and nothing is overwritten", code="file-exists"
        )
    looks_like_one(source)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with closing(_open(source)) as old, closing(sqlite3.connect(part)) as new:
            old.backup(new)
            # One file without companions, whoever opens it later and wherever.
            new.execute("PRAGMA journal_mode=DELETE")
            _intact(new, source)
        _sync(part)
        os.link(part, target)
        _sync(target.parent)
    except sqlite3.Error as error:
        raise _damaged(source, error) from None
    except OSError as error:
        raise _unwritable(target, error) from None
    finally:
        for leftover in (part, part.with_name(f"{part.name}-journal")):
            leftover.unlink(missing_ok=True)


def looks_like_one(path: Path) -> None:
    """Raises UsageError where a file is not there or is not a SQLite database."""
    try:
        with path.open("rb") as file:
            start = file.read(len(_MARK))
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({type(error).__name__})", code="file-missing"
        ) from None
    if start != _MARK:
        raise UsageError(f"{path} is not a SQLite database", code="not-a-ledger")


def _open(path: Path) -> sqlite3.Connection:
    """For reading. A file on a medium that nobody can write to has no writers either."""
    address = f"file:{quote(str(path.resolve()))}?mode=ro"
    connection = sqlite3.connect(address, uri=True, timeout=30)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        if os.access(path.parent, os.W_OK) or path.with_name(f"{path.name}-wal").exists():
            raise
        return sqlite3.connect(f"{address}&immutable=1", uri=True)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _intact(connection: sqlite3.Connection, path: Path) -> None:
    rows = connection.execute("PRAGMA integrity_check(3)").fetchall()
    if rows != [("ok",)]:
        raise _damaged(path, None)


def _unwritable(path: Path, error: OSError) -> LedgerUnreachable:
    return LedgerUnreachable(
        f"{path} cannot be written ({type(error).__name__})",
        hint="check the folder, its owner and the space on its disk; nothing was changed",
        code="backup",
    )


def _damaged(path: Path, error: sqlite3.Error | None) -> LedgerUnreachable:
    name = getattr(error, "sqlite_errorname", "")
    kind = f" ({name})" if name else ""
    return LedgerUnreachable(
        f"{path} cannot be read to its end: it is damaged{kind}",
        hint="take an older copy; nothing was changed",
        code="ledger-damaged",
    )


@contextmanager
def unused(ledger: Path) -> Iterator[None]:
    """While nobody else has this ledger open. Raises Busy where somebody has.

    Works on a damaged file too: it asks for SQLite's own lock without asking SQLite. No
    connection of this process may be open: closing one would give the lock away.
    """
    if not ledger.exists():
        yield
        return
    import fcntl

    with ledger.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _LOCK_LENGTH, _LOCK_AT)
        except OSError:
            raise Busy(
                "another process has the ledger open",
                hint="stop the daemon and every other command first, e.g. systemctl stop "
                "'retention*'",
                code="ledger-in-use",
            ) from None
        yield


def settle(ledger: Path, before: Path | None = None) -> None:
    """Bring the write-ahead log of a ledger that nobody uses into its file: the file alone is then
    the whole ledger, and can be moved. Where the file is damaged, SQLite would throw that log away:
    it is kept as the companion of `before`.
    """
    log = ledger.with_name(f"{ledger.name}-wal")
    if not ledger.exists():
        return
    kept = before.with_name(f"{before.name}-wal") if before is not None else None
    if kept is not None and log.exists():
        shutil.copy2(log, kept)
    try:
        with closing(sqlite3.connect(ledger, timeout=5)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error:
        return
    if kept is not None:
        kept.unlink(missing_ok=True)


def put_in_place(fresh: Path, ledger: Path, before: Path) -> bool:
    """Make `fresh` the ledger and keep the present one as `before`, with its companions. Returns
    whether there was one. To be called within `unused`.

    At every moment there is a whole ledger under its name: an empty one would hold nothing back.
    """
    _sync(fresh)
    had = ledger.exists()
    if had:
        os.link(ledger, before)
        # A write-ahead log that stayed would be replayed into the ledger that it is not of.
        for ending in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                ledger.with_name(ledger.name + ending).rename(
                    before.with_name(before.name + ending)
                )
        _sync(ledger.parent)
    fresh.replace(ledger)
    _sync(ledger.parent)
    return had


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
