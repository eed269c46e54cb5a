"""Files that go with a row. No path leads out of the root, and no link is followed.

Order within one act: rows are locked and deleted, then files removed, then committed. A process
that dies in between leaves the row in place, so the next run finds it and removes what is left;
the other order would leave files that nothing names any more.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from retention.errors import PermanentFailure

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LARGEST = 64 * 1024 * 1024


class UnsafePath(Exception):
    """The path leads out of the root, through a link, or to something that is no file."""


class Root:
    """The folder that uploaded files lie in."""

    def __init__(self, folder: str, base: str, place: str) -> None:
        self.path = Path(base, folder)
        self._place = place

    def check(self) -> None:
        """Raise PermanentFailure where the folder is not there: then no file could be found."""
        if not self.path.is_dir():
            raise PermanentFailure(
                "the folder of uploaded files does not exist",
                hint="check `uploads.root`; relative paths start in the policy folder",
                place=self._place,
                code="missing",
            )

    def exists(self, path: str) -> bool:
        """Whether the file is there. Raises UnsafePath."""
        with self._folder_of(path) as (folder, name):
            return folder is not None and _is_file(folder, name)

    def remove(self, path: str) -> None:
        """Remove the file; nothing there is fine. Raises UnsafePath, OSError."""
        with self._folder_of(path) as (folder, name):
            if folder is not None and _is_file(folder, name):
                os.unlink(name, dir_fd=folder)

    def read(self, path: str) -> bytes | None:
        """The file's bytes, None where there is none. Raises UnsafePath, PermanentFailure."""
        with self._folder_of(path) as (folder, name):
            if folder is None or not _is_file(folder, name):
                return None
            opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            with os.fdopen(opened, "rb") as file:
                data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise PermanentFailure(
                "an uploaded file is too large for a hand-over (64 MiB)",
                place=self._place,
                code="too-large",
            )
        return data

    def beside(self, path: str, form: re.Pattern[str]) -> list[str]:
        """Plain files in the same folder whose names match, as paths. Raises UnsafePath."""
        with self._folder_of(path) as (folder, name):
            if folder is None:
                return []
            listed = os.listdir(folder)  # noqa: PTH208 -- an opened folder, not a path
            found = [n for n in listed if n != name and form.fullmatch(n)]
            head = path[: len(path) - len(name)]
            return [f"{head}{n}" for n in sorted(found) if _is_plain(folder, n)]

    @contextmanager
    def _folder_of(self, path: str) -> Iterator[tuple[int | None, str]]:
        """The opened folder that holds the file, None where it does not exist, and its name."""
        *folders, name = _parts(path)
        handle: int | None = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in folders:
                handle = _step(handle, part)
                if handle is None:
                    break
            yield handle, name
        finally:
            if handle is not None:
                os.close(handle)


def _parts(path: str) -> tuple[str, ...]:
    parts = PurePosixPath(path).parts
    bad = "\0" in path or "\\" in path or path.startswith("/")
    if bad or not parts or ".." in parts or path.endswith("/"):
        raise UnsafePath
    return parts


def _step(handle: int | None, part: str) -> int | None:
    """Open a folder inside the opened one, and let go of the latter."""
    try:
        inner: int | None = os.open(part, _FOLDER, dir_fd=handle)
    except FileNotFoundError:
        inner = None
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG}:
            raise UnsafePath from None
        raise
    if handle is not None:
        os.close(handle)
    return inner


def _is_plain(folder: int, name: str) -> bool:
    try:
        return _is_file(folder, name)
    except UnsafePath:
        return False


def _is_file(folder: int, name: str) -> bool:
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UnsafePath from None
        raise
    if not stat.S_ISREG(mode):
        raise UnsafePath
    return True
