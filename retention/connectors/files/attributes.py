"""Why the operating system does not permit what the rights would allow."""

from __future__ import annotations

import array
import fcntl
import os
import stat
from contextlib import suppress

from retention.connectors.files.root import Folder

_GET_FLAGS = 0x80086601
"""FS_IOC_GETFLAGS of Linux on 64-bit machines."""
_FIXED = 0x10 | 0x20
"""Immutable, append-only."""
_FIXED_BSD = 0x2 | 0x4 | 0x20000 | 0x40000
"""The same for macOS, set by the owner or by root."""


def fixed(at: int, name: str = "") -> bool:
    """Whether a file, or (without a name) the open folder itself, is immutable or append-only."""
    try:
        status = os.stat(name, dir_fd=at, follow_symlinks=False) if name else os.fstat(at)
    except OSError:
        return False
    if flags := getattr(status, "st_flags", 0):
        return bool(flags & _FIXED_BSD)
    if not name:
        return bool(_flags(at) & _FIXED)
    if not stat.S_ISREG(status.st_mode):
        return False
    with suppress(OSError):
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
        try:
            return bool(_flags(descriptor) & _FIXED)
        finally:
            os.close(descriptor)
    return False


def _flags(descriptor: int) -> int:
    answer = array.array("l", [0])
    try:
        fcntl.ioctl(descriptor, _GET_FLAGS, answer)
    except OSError:
        return 0
    return answer[0]


def protected_by_sticky(folder: os.stat_result, owner: int, account: int) -> bool:
    """Whether the sticky bit keeps this account from deleting another owner's file."""
    return bool(folder.st_mode & stat.S_ISVTX) and account not in (0, owner, folder.st_uid)


def why_not_permitted(folder: Folder, name: str) -> str:
    """A stable word: `immutable`, `sticky`, or `not_permitted`."""
    if fixed(folder.at) or fixed(folder.at, name):
        return "immutable"
    with suppress(OSError):
        owner = folder.status(name).st_uid
        if protected_by_sticky(os.fstat(folder.at), owner, os.geteuid()):
            return "sticky"
    return "not_permitted"
