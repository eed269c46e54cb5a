"""Renaming without ever overwriting."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from collections.abc import Callable
from functools import cache

_NOREPLACE = 1
"""RENAME_NOREPLACE of Linux."""
_EXCL = 4
"""RENAME_EXCL of macOS."""
_UNKNOWN = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}
_UNLINKABLE = {*_UNKNOWN, errno.EPERM, errno.EMLINK, errno.EACCES}


def move(name: str, source: int, target: int) -> None:
    """Move a name from one open folder to another. Raises FileExistsError, never overwrites."""
    if (rename := _rename()) is not None:
        raw = os.fsencode(name)
        flag = _EXCL if sys.platform == "darwin" else _NOREPLACE
        if rename(source, raw, target, raw, flag) == 0:
            return
        number = ctypes.get_errno()
        if number not in _UNKNOWN:
            raise OSError(number, os.strerror(number))
    _by_link(name, source, target)


def _by_link(name: str, source: int, target: int) -> None:
    """For systems without the call: a second name, which is refused where there is one."""
    status = os.stat(name, dir_fd=source, follow_symlinks=False)
    if not stat.S_ISDIR(status.st_mode):
        try:
            os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _UNLINKABLE:
                raise
        else:
            os.unlink(name, dir_fd=source)
            return
    try:
        os.stat(name, dir_fd=target, follow_symlinks=False)
    except FileNotFoundError:
        # A moment in which another program may take the name is left: this disk knows no better.
        os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
        return
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


@cache
def _rename() -> Callable[..., int] | None:
    """The operating system's own call, through the C library."""
    name = "renameatx_np" if sys.platform == "darwin" else "renameat2"
    try:
        function = getattr(ctypes.CDLL(None, use_errno=True), name)
    except (AttributeError, OSError):
        return None
    function.argtypes = (
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_uint,
    )
    function.restype = ctypes.c_int
    found: Callable[..., int] = function
    return found
