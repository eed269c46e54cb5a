"""Whose the file is and who may read it: the same after it has been replaced, or it is not."""

from __future__ import annotations

import contextlib
import os
import pwd
import stat
from pathlib import Path

from retention.errors import PermanentFailure

_ACCESS_LISTS = "system.posix_acl_"


def refuse_lost_owner(path: Path, status: os.stat_result) -> None:
    """Raise where the new file would be ours and its owner could no longer use it.

    Only root may give a file away. Everybody who saves a file in a shared folder takes it over, so
    that is accepted as long as the old owner keeps the same rights through the group or as anybody.
    """
    if status.st_uid == os.geteuid() or os.geteuid() == 0:
        return
    if not keeps_access(status):
        raise PermanentFailure(
            "the file belongs to another account, which would lose its rights to it",
            hint="run retention as the file's owner, give the file to its account, or let both be "
            "in the file's group with the same rights",
            place=path.name,
            code="owner_lost",
        )


def keeps_access(status: os.stat_result) -> bool:
    """Whether the owner may do as much through the group or as anybody."""
    own = stat.S_IMODE(status.st_mode) >> 6 & 0o6
    group = stat.S_IMODE(status.st_mode) >> 3 & 0o6
    anybody = stat.S_IMODE(status.st_mode) & 0o6
    if own & ~anybody == 0:
        return True
    ours = {*os.getgroups(), os.getegid()}
    return own & ~group == 0 and status.st_gid in ours and _is_member(status.st_uid, status.st_gid)


def _is_member(uid: int, gid: int) -> bool:
    try:
        account = pwd.getpwuid(uid)
        return gid in os.getgrouplist(account.pw_name, account.pw_gid)
    except (KeyError, OSError):
        return False


def keep_attributes(path: Path, descriptor: int) -> None:
    """Give the new file the old one's mode, owner, group, and extended attributes.

    Raises PermanentFailure where it would be open to others than the old one, or closed to them.
    """
    status = path.stat()
    if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
        try:
            os.fchown(descriptor, status.st_uid, status.st_gid)
        except PermissionError:
            refuse_lost_owner(path, status)
            with contextlib.suppress(PermissionError):
                os.fchown(descriptor, -1, status.st_gid)
    # After the owner: changing that takes set-id bits away.
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
    if not hasattr(os, "listxattr"):
        return
    for name in os.listxattr(path):
        try:
            os.setxattr(descriptor, name, os.getxattr(path, name))
        except OSError as error:
            if name.startswith(_ACCESS_LISTS):
                raise PermanentFailure(
                    "the file's access list cannot be kept",
                    hint="run retention as the file's owner",
                    place=path.name,
                    code="access_list",
                ) from error
