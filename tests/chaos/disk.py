"""A small file system of its own, that can fill up and that can lose power.

An ext4 image on a loop device. Losing power shuts the file system down without flushing its
journal: what was written but not yet synced is gone after the next mount, as on a real machine.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import struct
import subprocess
from pathlib import Path

from tests.servers.process import as_root, wait_until

_PATH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
_NO_FLUSH = struct.pack("I", 2)
_GUARD = 'while read -r _; do :; done; umount -l "$1" 2>/dev/null; :'
_FILLER = "filler"


class Disk:
    """`path` is the folder. Needs root, Linux and loop devices; see `disk_in`."""

    real = True

    def __init__(self, folder: Path, megabytes: int, owner: str | None = None) -> None:
        self.path = folder / "disk"
        self.path.mkdir()
        self._image = folder / "disk.img"
        self._owner = owner
        with self._image.open("wb") as image:
            image.truncate(megabytes * 1024 * 1024)
        # No blocks are kept back for root: a full disk is full for everybody.
        options = ["-q", "-F", "-m", "0", "-E", "lazy_itable_init=1"]
        subprocess.run([_program("mkfs.ext4"), *options, str(self._image)], check=True)
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", str(self.path)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self._mount()
        if owner:
            shutil.chown(self.path, owner)
        self.path.chmod(0o711)

    def fill(self) -> None:
        """Leave not one free block."""
        with (self.path / _FILLER).open("ab") as filler:
            size = 64 * 1024 * 1024
            while size >= 1024:
                try:
                    os.posix_fallocate(filler.fileno(), filler.seek(0, os.SEEK_END), size)
                    filler.seek(0, os.SEEK_END)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2
            os.fsync(filler.fileno())

    def free(self) -> None:
        """There is space again."""
        (self.path / _FILLER).unlink(missing_ok=True)
        self.sync()  # a power cut must not bring it back

    def sync(self) -> None:
        """All that was written reaches the disk."""
        subprocess.run([_program("sync"), "-f", str(self.path)], check=True)

    def cut(self) -> None:
        """Power goes: from now on nothing reaches the disk. Whoever uses it must be dead or die."""
        handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(handle, _SHUTDOWN, _NO_FLUSH)
        finally:
            os.close(handle)

    def restore(self) -> None:
        """Power comes back: mounted again, with what had been synced. Nobody may use it."""
        wait_until(lambda: _quietly("umount", str(self.path)), 20)
        self._mount()

    def close(self) -> None:
        _quietly("umount", "-l", str(self.path))
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait(timeout=20)
        with contextlib.suppress(OSError):
            self._image.unlink()

    def _mount(self) -> None:
        command = [_program("mount"), "-o", "loop", str(self._image), str(self.path)]
        subprocess.run(command, check=True)


class Folder(Disk):
    """Where no disk can be made: it never fills up, and a power cut is a kill and nothing more."""

    real = False

    def __init__(self, folder: Path, owner: str | None = None) -> None:
        self.path = folder / "disk"
        self.path.mkdir(mode=0o711)
        if owner:
            shutil.chown(self.path, owner)

    def fill(self) -> None:
        raise NotImplementedError

    def sync(self) -> None:
        pass

    def cut(self) -> None:
        pass

    def restore(self) -> None:
        pass

    def close(self) -> None:
        pass


def disk_in(folder: Path, megabytes: int, owner: str | None = None) -> Disk:
    """A disk of its own, or a folder for accounts and machines that cannot mount one."""
    able = (
        as_root() and Path("/dev/loop-control").exists() and shutil.which("mkfs.ext4", path=_PATH)
    )
    return Disk(folder, megabytes, owner) if able else Folder(folder, owner)


def _quietly(name: str, *words: str) -> bool:
    said = subprocess.run([_program(name), *words], check=False, stderr=subprocess.DEVNULL)
    return said.returncode == 0


def _program(name: str) -> str:
    return shutil.which(name, path=_PATH) or name
