"""When a file was created, where the file system remembers it."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable
from functools import cache

_AT_SYMLINK_NOFOLLOW = 0x100
_STATX_BTIME = 0x800
_SIZE = 256
_BTIME = 80
"""Offset of `stx_btime` in the kernel's `struct statx`: seconds (s64), nanoseconds (u32)."""


def created_ns(at: int, name: str, status: os.stat_result) -> int | None:
    """Nanoseconds since 1970 of the file's birth, or None. `at`: its folder's descriptor."""
    birth: float | None = getattr(status, "st_birthtime", None)
    if birth is not None:
        return int(birth * 1_000_000_000)
    if (ask := _statx()) is None:
        return None
    answer = ctypes.create_string_buffer(_SIZE)
    if ask(at, os.fsencode(name), _AT_SYMLINK_NOFOLLOW, _STATX_BTIME, answer) != 0:
        return None
    (mask,) = struct.unpack_from("=I", answer)
    if not mask & _STATX_BTIME:
        return None
    seconds, nanoseconds = struct.unpack_from("=qI", answer, _BTIME)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


@cache
def _statx() -> Callable[..., int] | None:
    """Linux's call, through the C library; Python has none before 3.15."""
    try:
        function = ctypes.CDLL(None, use_errno=True).statx
    except (AttributeError, OSError):
        return None
    function.argtypes = (
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_char_p,
    )
    function.restype = ctypes.c_int
    found: Callable[..., int] = function
    return found
