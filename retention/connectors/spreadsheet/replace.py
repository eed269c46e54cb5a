"""Opening the file, and putting a new one in its place so that it is always whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from retention.connectors.spreadsheet.attributes import keep_attributes, refuse_lost_owner
from retention.connectors.spreadsheet.exchange import exchange
from retention.errors import CredentialsRefused, PermanentFailure, TemporaryFailure

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a file was when it was read: nothing else may be overwritten."""

    device: int
    inode: int
    size: int
    modified: int
    digest: bytes


def open_file(path: Path) -> BinaryIO:
    """The file for reading. Raises PermanentFailure or CredentialsRefused, without its content."""
    try:
        file = path.open("rb")
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise IsADirectoryError
    except FileNotFoundError:
        raise PermanentFailure(
            "the file does not exist", hint="check `path:`", place=path.name, code="no_file"
        ) from None
    except PermissionError:
        raise CredentialsRefused(
            "the file may not be read by this account",
            hint="give the account that runs retention read and write rights to it",
            place=path.name,
            code="no_right",
        ) from None
    except (IsADirectoryError, NotADirectoryError):
        raise PermanentFailure(
            "the path is not a file", hint="check `path:`", place=path.name, code="no_file"
        ) from None
    except OSError as error:
        raise TemporaryFailure(
            "the file cannot be opened now", place=path.name, code="unreadable"
        ) from error
    return file


def snapshot(file: BinaryIO) -> Snapshot:
    """Identity, size, time and SHA-256 of an open file."""
    status = os.fstat(file.fileno())
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    file.seek(0)
    return Snapshot(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, digest.digest()
    )


def open_elsewhere(path: Path) -> Path | None:
    """The lock file of a program that has this file open, if there is one."""
    for name in (f"~${path.name}", f".~lock.{path.name}#"):
        lock = path.with_name(name)
        if os.path.lexists(lock):
            return lock
    return None


def refuse_unsafe(path: Path, file: BinaryIO) -> None:
    """Raise where replacing the file would lose somebody's work or leave a copy behind."""
    lock = open_elsewhere(path)
    if lock is not None:
        raise TemporaryFailure(
            "the file is open in another program",
            hint=f"close it there; if nobody has it open, remove the stale {lock.name}",
            place=path.name,
            code="open_elsewhere",
        )
    status = os.fstat(file.fileno())
    if status.st_nlink > 1:
        raise PermanentFailure(
            "the file has a second name (hard link), under which its rows would stay",
            hint="remove the other name",
            place=path.name,
            code="hard_link",
        )
    if not os.access(path.parent, os.W_OK | os.X_OK) or not os.access(path, os.W_OK):
        raise CredentialsRefused(
            "the file may not be replaced by this account",
            hint="give the account write rights to the file and its folder",
            place=path.name,
            code="no_right",
        )
    refuse_lost_owner(path, status)


def leftovers(path: Path) -> list[Path]:
    """What runs that died left beside the file."""
    pattern = re.compile(re.escape(f".{path.name}.retention-") + r"[0-9a-f]{16}\.tmp")
    try:
        return [other for other in path.parent.iterdir() if pattern.fullmatch(other.name)]
    except OSError:
        return []  # a folder that may not be listed may not be written to either


def remove_leftovers(path: Path) -> int:
    """Remove what a run that died left beside the file: it holds personal data. Gives the count."""
    count = 0
    for other in leftovers(path):
        with contextlib.suppress(OSError):
            other.unlink()
            count += 1
    return count


def replace(path: Path, before: Snapshot, write: Callable[[BinaryIO], None]) -> None:
    """Write a new file beside `path` and put it in its place in one step.

    `write` fills the new file and checks it; whatever it raises leaves the original whole. Raises
    TemporaryFailure where the original is no longer what was read, or the disk is full.
    """
    temporary = path.with_name(f".{path.name}.retention-{secrets.token_hex(8)}.tmp")
    try:
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w+b") as out:
            write(out)
            out.flush()
            os.fsync(out.fileno())
            _refuse_changed(path, before)
            # Only now may others read it: a process that dies before leaves a file for no one.
            keep_attributes(path, out.fileno())
            os.fsync(out.fileno())
            _put_in_place(temporary, path, before)
    except OSError as error:
        raise TemporaryFailure(
            "the new file could not be written; the old one is whole",
            hint="look for a full disk or missing rights to the folder",
            place=path.name,
            code="not_written",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _refuse_changed(path: Path, before: Snapshot) -> None:
    lock = open_elsewhere(path)
    with path.open("rb") as file:
        if lock is not None or snapshot(file) != before:
            raise _changed(path)


def _put_in_place(temporary: Path, path: Path, before: Snapshot) -> None:
    """Replace the file, and take it back where it was saved in the very moment.

    Where the system can exchange two files in one step, the old one can still be looked at once it
    is out of everybody's reach.
    """
    if _unlike(path.stat(), before):
        raise _changed(path)
    ours = temporary.stat().st_ino
    if not exchange(temporary, path):
        temporary.replace(path)
        return
    if _unlike(temporary.stat(), before):
        if path.stat().st_ino == ours:
            exchange(temporary, path)
        else:
            # Saved twice within a moment: the later version stands, the earlier one was theirs too.
            temporary.rename(path.with_name(f"{path.stem} (saved meanwhile){path.suffix}"))
        raise _changed(path)


def _unlike(status: os.stat_result, before: Snapshot) -> bool:
    known = (before.device, before.inode, before.size, before.modified)
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns) != known


def _changed(path: Path) -> TemporaryFailure:
    return TemporaryFailure(
        "somebody changed or opened the file meanwhile; theirs was kept",
        hint="it is tried again later",
        place=path.name,
        code="changed_meanwhile",
    )


def _sync_folder(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise TemporaryFailure(
            "the new file is in place, but the disk did not confirm it",
            hint="look for disk errors; it is looked at again",
            code="not_confirmed",
        ) from error
