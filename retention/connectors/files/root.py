"""The folder below which everything happens. Below it no link is followed and no border crossed.

Every path is walked name by name over descriptors of the folders (`openat` with `O_NOFOLLOW`), so
that a folder that is swapped for a link meanwhile leads nowhere.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import NamedTuple, Self

from retention.connectors.files.surroundings import mount_points
from retention.errors import ConnectorError, CredentialsRefused, PermanentFailure, TemporaryFailure

FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_ABLE = os.open in os.supports_dir_fd and os.scandir in os.supports_fd
NEVER_ENTERED = frozenset({"lost+found"})
_NOT_A_FOLDER = {errno.ELOOP, errno.ENOTDIR, errno.EMLINK}


class Elsewhere(Exception):
    """A step of a path is a link, no folder, or a border: not ours to look into."""


class Root:
    """One root folder."""

    def __init__(self, system: str, path: Path, policies: Path) -> None:
        self.system = system
        self.path = path
        self._policies = policies
        """The folder of the policy files: never entered from above."""
        self._mounts: frozenset[tuple[str, ...]] = frozenset()
        self._read_at = -1.0

    def __repr__(self) -> str:
        return f"Root({self.system})"

    @cached_property
    def holds_policies(self) -> bool:
        """Whether the root is the folder of the policy files, or lies in it."""
        return self.path.resolve().is_relative_to(self._policies.resolve())

    @contextmanager
    def opened(self) -> Iterator[Folder]:
        """The root itself. Raises PermanentFailure where there is none, or where it is `/`."""
        with self.translated("opening the root"):
            at = self._open()
        folder = Folder((), at, os.fstat(at).st_dev, Borders(frozenset(), None))
        try:
            policies = _status(self._policies)
            folder.borders = Borders(self._mounted(at), policies)
            yield folder
        finally:
            folder.close()

    def _mounted(self, at: int) -> frozenset[tuple[str, ...]]:
        """Read again each second: a table of very many mounts takes milliseconds.

        Another disk is told by its device number at once; this is for folders bound to there.
        """
        now = monotonic()
        if now >= self._read_at + 1:
            self._mounts, self._read_at = frozenset(mount_points(at)), now
        return self._mounts

    def _open(self) -> int:
        if not _ABLE:
            raise PermanentFailure(
                "this operating system cannot open files relative to a folder",
                hint="run it on Linux or macOS",
                code="unsupported",
            )
        try:
            at = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            raise PermanentFailure(
                "there is no folder at the configured path",
                hint="check `path`; relative ones start at the policy files",
                code="missing",
            ) from None
        if os.path.samestat(os.fstat(at), Path("/").stat()):
            os.close(at)
            raise PermanentFailure(
                "the root of a `files` system must not be /",
                hint="name the folder that holds the data",
                code="root-folder",
            )
        return at

    @contextmanager
    def folder(self, steps: Sequence[str]) -> Iterator[Folder]:
        """A folder below the root. Raises Elsewhere, and OSError as it comes."""
        with self.opened() as at:
            for step in steps:
                at.enter(step)
            yield at

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
                hint="let it read every folder, and write to those that it deletes from;"
                " `exclude` what is not meant",
            )
        except (FileNotFoundError, NotADirectoryError, Elsewhere):
            failure = PermanentFailure(f"a folder is gone, {doing}", code="folder_missing")
        except OSError as error:
            number = error.errno or 0
            failure = TemporaryFailure(f"the disk refused ({os.strerror(number)}), {doing}")
        failure.place = self.system
        raise_clean(failure)


class Borders(NamedTuple):
    """What is never entered."""

    mounted: frozenset[tuple[str, ...]]
    """Where other file systems are mounted, or other folders of this one."""
    policies: os.stat_result | None


class Folder:
    """An open folder; `enter` goes one deeper and closes what was open before."""

    def __init__(self, steps: tuple[str, ...], at: int, device: int, borders: Borders) -> None:
        self.steps = steps
        self.at = at
        self.device = device
        self.borders = borders

    def child(self, name: str) -> Folder:
        """The folder of that name in this one, open besides it."""
        steps = (*self.steps, name)
        if steps in self.borders.mounted:
            raise Elsewhere
        try:
            at = os.open(name, FOLDER, dir_fd=self.at)
        except OSError as error:
            if error.errno in _NOT_A_FOLDER:
                raise Elsewhere from None
            raise
        status, policies = os.fstat(at), self.borders.policies
        if status.st_dev != self.device or (policies and os.path.samestat(status, policies)):
            os.close(at)
            raise Elsewhere
        return Folder(steps, at, self.device, self.borders)

    def enter(self, name: str) -> None:
        """Become the folder of that name."""
        inner = self.child(name)
        self.close()
        self.steps, self.at = inner.steps, inner.at

    def status(self, name: str) -> os.stat_result:
        """lstat of a name in this folder. Raises FileNotFoundError."""
        return os.stat(name, dir_fd=self.at, follow_symlinks=False)

    def ours(self, status: os.stat_result) -> bool:
        """Whether it is a plain file of this file system."""
        return stat.S_ISREG(status.st_mode) and status.st_dev == self.device

    def names(self) -> list[str]:
        """Every name in this folder; for small ones."""
        return os.listdir(self.at)  # noqa: PTH208 -- of a descriptor, which Path does not take

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self.at >= 0:
            os.close(self.at)
            self.at = -1


def raise_clean(failure: ConnectorError) -> None:
    """Raise without the original as context."""
    try:
        raise failure
    except ConnectorError as clean:
        clean.__context__ = None
        raise


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def settle(at: int) -> None:
    """What was done in this folder stays done after a power cut."""
    with suppress(OSError):
        # Some file systems cannot flush a folder; they have nothing to lose there either.
        os.fsync(at)
