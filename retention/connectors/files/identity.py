"""What makes a file the very file that was decided upon."""

from __future__ import annotations

import os
from typing import NamedTuple

_DATALESS = 0x40000000
"""macOS: the content lies in the cloud, and reading would fetch it (SF_DATALESS)."""


class Version(NamedTuple):
    """A file's identity and state. Renaming it changes `changed` only."""

    inode: int
    size: int
    modified: int
    changed: int
    links: int
    accessed: int
    """Zero where nothing rests on it."""

    def __str__(self) -> str:
        return ".".join(map(str, self))

    def same_file(self, other: Version) -> bool:
        """Whether it is the same inode with the same content, renamed or linked meanwhile."""
        mine = (self.inode, self.size, self.modified, self.accessed)
        return mine == (other.inode, other.size, other.modified, other.accessed)


def version_of(status: os.stat_result, *, accessed: bool) -> Version:
    """`accessed`: the decision rests on the last access, so a new one is a change."""
    return Version(
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_nlink,
        status.st_atime_ns if accessed else 0,
    )


def parsed(version: str) -> Version | None:
    """A version that was written as text; None for what is none."""
    parts = version.split(".")
    if len(parts) != 6 or not all(part.lstrip("-").isdigit() for part in parts):
        return None
    return Version(*map(int, parts))


def dataless(status: os.stat_result) -> bool:
    """Whether the content is not on this machine: opening it would fetch it.

    Where the system has no flag for it: no block on disk for content that needs one.
    """
    flags: int = getattr(status, "st_flags", 0)
    return bool(flags & _DATALESS) or (status.st_size > 4096 and status.st_blocks == 0)
