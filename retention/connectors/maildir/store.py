"""The files of a Maildir: folders, names, headers. Below the root no symbolic link is followed.

Folders are Maildir++ (`.Customers.Anna`) or nested directories; both are shown as
`Customers/Anna`. A message is one file in `cur` or `new`; its name up to `:2,` stays the same
when flags change or it moves from `new` to `cur`.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from retention.connectors.mail_folders import INBOX, MailFolder, decode_utf7
from retention.connectors.mail_headers import LONGEST, TOO_LONG
from retention.errors import ConnectorError, CredentialsRefused, PermanentFailure, TemporaryFailure

PARTS = ("new", "cur")
"""In this order: a message that moves while we list is seen twice rather than never."""
_SPECIAL = {
    "sent": "\\sent",
    "trash": "\\trash",
    "drafts": "\\drafts",
    "junk": "\\junk",
    "archive": "\\archive",
}
_FLAGS = {
    "D": "\\Draft",
    "F": "\\Flagged",
    "P": "$Forwarded",
    "R": "\\Answered",
    "S": "\\Seen",
    "T": "\\Deleted",
}
_BUCKET = 50_000
_FIRST_READ = 16 * 1024
_DEEPEST = 20


class Entry(NamedTuple):
    """One message's file."""

    base: str
    part: str
    name: str

    @property
    def path(self) -> str:
        return f"{self.part}/{self.name}"


class Store:
    """One Maildir."""

    def __init__(self, system: str, root: Path) -> None:
        self.system = system
        self.root = root

    def __repr__(self) -> str:
        return f"Store({self.system})"

    # --- folders ------------------------------------------------------------------------------

    def folders(self) -> tuple[MailFolder, ...]:
        """INBOX and every folder below the root, whichever layout. Raises when there is none."""
        with self.translated("listing folders"):
            if not _is_directory(self.root / "cur"):
                if not _is_directory(self.root):
                    raise PermanentFailure(
                        "there is no folder at the configured path",
                        hint="check `path`; relative ones start at the policy files",
                        code="missing",
                    )
                raise PermanentFailure(
                    "the configured path is no Maildir (it has no `cur`)",
                    hint="point `path` at the folder that holds cur, new and tmp",
                    code="missing",
                )
            found = {INBOX: MailFolder(INBOX, b"", special=frozenset({"\\inbox"}))}
            for folder in self._below("", 0):
                if folder.name in found:
                    raise PermanentFailure(
                        "two folders on disk have one name (Maildir++ and nested)",
                        hint="one of the layouts is a leftover: remove it",
                        code="ambiguous",
                    )
                found[folder.name] = folder
            return tuple(found.values())

    def _below(self, relative: str, depth: int) -> Iterator[MailFolder]:
        with os.scandir(self.root / relative) as entries:
            names = sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
        for name in names:
            if name in ("cur", "new", "tmp"):
                continue
            path = f"{relative}/{name}" if relative else name
            dotted = name.startswith(".")
            if dotted and relative:
                continue
            if _is_directory(self.root / path / "cur"):
                yield _folder(path, dotted)
            if not dotted and depth < _DEEPEST:
                yield from self._below(path, depth + 1)

    @contextmanager
    def opened(self, folder: MailFolder) -> Iterator[int]:
        """A descriptor of the folder's directory, reached without following links."""
        with self.translated("reading a folder"):
            at = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
            try:
                for step in os.fsdecode(folder.raw).split("/") if folder.raw else ():
                    inner = os.open(step, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
                    os.close(at)
                    at = inner
                yield at
            finally:
                os.close(at)

    # --- messages -----------------------------------------------------------------------------

    def entries(
        self, folder: MailFolder, wanted: Callable[[str], bool] | None = None
    ) -> Iterator[Entry]:
        """Files of a folder in no order; a message whose flags change meanwhile may be missed."""
        with self.opened(folder) as at:
            for part in PARTS:
                try:
                    inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
                except FileNotFoundError:
                    continue
                try:
                    with os.scandir(inner) as listing:
                        for entry in listing:
                            name = entry.name
                            if name.startswith("."):
                                continue
                            base = name.partition(":2,")[0]
                            if wanted is None or wanted(base):
                                yield Entry(base, part, name)
                finally:
                    os.close(inner)

    def size(self, folder: MailFolder) -> int:
        """Messages in a folder."""
        return sum(1 for _ in self.entries(folder))

    def sorted_parts(
        self, folder: MailFolder, first: int = 0, parts: int = 0
    ) -> Iterator[tuple[int, int, list[Entry]]]:
        """(number, of how many, entries sorted by base): flat memory however large the folder.

        The directory is read once a part; which part a name belongs to depends on the name only.
        """
        parts = parts or self.size(folder) // _BUCKET + 1
        for number in range(first, parts):
            found = {e.base: e for e in self.entries(folder, _in_part(number, parts))}
            yield number, parts, [found[base] for base in sorted(found)]

    def locate(self, folder: MailFolder, bases: set[str]) -> dict[str, Entry]:
        """Where these messages' files are now. Absent only if two listings in a row miss them."""
        found = {e.base: e for e in self.entries(folder, bases.__contains__)}
        if len(found) < len(bases):
            missing = bases - found.keys()
            found |= {e.base: e for e in self.entries(folder, missing.__contains__)}
        return found

    # --- errors -------------------------------------------------------------------------------

    @contextmanager
    def translated(self, doing: str) -> Iterator[None]:
        """Operating system errors leave as ours: their texts hold paths, and paths hold names."""
        failure: ConnectorError
        try:
            yield
            return
        except ConnectorError as error:
            error.place = error.place or self.system
            raise
        except PermissionError:
            failure = CredentialsRefused(
                f"this account may not do what is needed, {doing}",
                hint="let it read and write the Maildir, or run as the mail account",
            )
        except (FileNotFoundError, NotADirectoryError):
            failure = PermanentFailure(f"a folder is gone, {doing}", code="folder_missing")
        except OSError as error:
            number = error.errno or 0
            failure = TemporaryFailure(f"the disk refused ({os.strerror(number)}), {doing}")
        failure.place = self.system
        raise_clean(failure)


def raise_clean(failure: ConnectorError) -> None:
    """Raise without the original as context."""
    try:
        raise failure
    except ConnectorError as clean:
        clean.__context__ = None
        raise


def _is_directory(path: Path) -> bool:
    """Unlike Path.is_dir, a missing permission is an error and not a no."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _folder(path: str, dotted: bool) -> MailFolder:
    steps = path[1:].split(".") if dotted else path.split("/")
    name = "/".join(decode_utf7(os.fsencode(step)) for step in steps)
    special = _SPECIAL.get(name.lower())
    return MailFolder(name, os.fsencode(path), special=frozenset({special} if special else ()))


def _in_part(number: int, parts: int) -> Callable[[str], bool] | None:
    if parts == 1:
        return None
    return lambda base: zlib.crc32(os.fsencode(base)) % parts == number


def flags_of(name: str) -> tuple[str, ...]:
    """The flags in a file's name, as IMAP calls them."""
    return tuple(_FLAGS[c] for c in name.partition(":2,")[2] if c in _FLAGS)


def header_block(at: int, entry: Entry) -> tuple[bytes, os.stat_result] | None:
    """Headers and status of one message; None when the file is not (or no longer) there.

    `TOO_LONG` instead of headers that nobody should hold in memory.
    `at`: descriptor of the folder. Symbolic links and anything but plain files are no messages.
    """
    try:
        file = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
    except FileNotFoundError:
        return None
    except OSError:
        if stat.S_ISREG(status_of(at, entry).st_mode):
            raise
        return None
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            return None
        block = os.read(file, _FIRST_READ)
        while _end(block) < 0 and len(block) <= LONGEST:
            more = os.read(file, len(block))
            if not more:
                break
            block += more
        end = _end(block)
        headers = block[: end if end >= 0 else len(block)]
        return headers if len(headers) <= LONGEST else TOO_LONG, status
    finally:
        os.close(file)


def status_of(at: int, entry: Entry) -> os.stat_result:
    """lstat. Raises FileNotFoundError."""
    return os.stat(entry.path, dir_fd=at, follow_symlinks=False)


def received_of(status: os.stat_result) -> datetime:
    """The internal date as Dovecot takes it: the file's modification time."""
    return datetime.fromtimestamp(int(status.st_mtime), UTC)


def _end(block: bytes) -> int:
    """Where the first empty line begins; -1 where there is none yet."""
    ends = [i for i in (block.find(b"\n\r\n"), block.find(b"\n\n")) if i >= 0]
    return min(ends) + 1 if ends else -1
