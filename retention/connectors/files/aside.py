"""Setting a file aside before it is deleted, and bringing it back.

Between a check and an unlink another program may put a new file under the same name; the unlink
would hit that one. So the file is first renamed into a private folder beside it, looked at once
more where nobody else can reach it, and only then unlinked. What turns out to be another file goes
back under its name, and never over a file that has taken the name meanwhile.

A process that dies in between leaves the file in the private folder, under its own name. Whoever
looks for the file next brings it back; it is then decided upon anew.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from retention.connectors.files.moving import move
from retention.connectors.files.names import SLOTS
from retention.connectors.files.root import Elsewhere, Folder


class NoRoomError(Exception):
    """No private folder could be made: all are in use, or hold what could not be brought back."""


class Aside:
    """A private folder in an open folder, made when first needed, removed by `close`."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._inner: Folder | None = None
        self._slot = ""

    def take(self, name: str) -> os.stat_result:
        """Set this name aside; what it is. Raises OSError, NoRoomError."""
        inner = self._opened()
        move(name, self.folder.at, inner.at)
        return inner.status(name)

    def unlink(self, name: str) -> None:
        """Delete what was set aside. Raises OSError."""
        os.unlink(name, dir_fd=self._opened().at)

    @contextmanager
    def held(self, name: str) -> Iterator[int]:
        """A descriptor of what was set aside, to ask it after its name is gone."""
        flags = getattr(os, "O_PATH", os.O_RDONLY | os.O_NONBLOCK) | os.O_NOFOLLOW
        descriptor = os.open(name, flags, dir_fd=self._opened().at)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def holds(self, name: str) -> bool:
        """Whether it is still there."""
        return _there(self._opened(), name)

    def bring_back(self, name: str) -> bool:
        """Put it back under its name; False where that was taken meanwhile, or may not be."""
        try:
            move(name, self._opened().at, self.folder.at)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Remove the private folder; one that still holds something stays."""
        if self._inner is not None:
            with suppress(OSError):
                os.rmdir(self._slot, dir_fd=self.folder.at)
            self._inner.close()
            self._inner = None

    def _opened(self) -> Folder:
        if self._inner is None:
            for slot in SLOTS:
                with suppress(FileExistsError):
                    os.mkdir(slot, 0o700, dir_fd=self.folder.at)
                if (inner := _claimed(self.folder, slot)) is not None:
                    self._inner, self._slot = inner, slot
                    return inner
            raise NoRoomError
        return self._inner


def bring_back(folder: Folder, name: str) -> bool:
    """Undo what an interrupted disposal did to this name. Whether the name is there again."""
    for slot in SLOTS:
        try:
            inner = folder.child(slot)
        except (FileNotFoundError, PermissionError, Elsewhere):
            continue
        try:
            if _there(inner, name) and _lock(inner):
                with suppress(OSError):
                    move(name, inner.at, folder.at)
                with suppress(OSError):
                    os.rmdir(slot, dir_fd=folder.at)
        finally:
            inner.close()
    return _there(folder, name)


def set_aside(folder: Folder) -> frozenset[str]:
    """Names that private folders here hold. Raises PermissionError where one cannot be read."""
    found: set[str] = set()
    for slot in SLOTS:
        with suppress(FileNotFoundError, Elsewhere), folder.child(slot) as inner:
            found.update(inner.names())
    return frozenset(found)


def _claimed(folder: Folder, slot: str) -> Folder | None:
    """The private folder, if it is ours alone and empty. It stays locked while it is open."""
    try:
        inner = folder.child(slot)
    except (FileNotFoundError, PermissionError, Elsewhere):
        return None
    status = os.fstat(inner.at)
    private = status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077
    if private and _lock(inner):
        for name in inner.names():
            with suppress(OSError):
                move(name, inner.at, folder.at)
        with suppress(FileNotFoundError):
            # Its last owner may have removed it while we waited for nothing but its lock.
            same = os.path.samestat(folder.status(slot), status)
            if same and not inner.names():
                return inner
    inner.close()
    return None


def _lock(inner: Folder) -> bool:
    """False where a living process works in it. The lock ends with the descriptor."""
    try:
        fcntl.flock(inner.at, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # A network disk may not lock folders; then nobody can tell, and moving is safe anyway.
        return error.errno not in (errno.EWOULDBLOCK, errno.EAGAIN)
    return True


def _there(folder: Folder, name: str) -> bool:
    try:
        folder.status(name)
    except FileNotFoundError:
        return False
    return True
