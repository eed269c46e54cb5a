"""Deleting one file if it is still what it was."""

from __future__ import annotations

import os
import stat

from retention.connectors.base import Outcome, Ref, Result
from retention.connectors.mail_sources import Sources
from retention.connectors.maildir.reading import version_of
from retention.connectors.maildir.store import PARTS, Entry, status_of


def unlink(at: int, ref: Ref, entry: Entry | None, sources: Sources) -> Outcome:
    """Delete one file if it is what it was. `linked`: the content has another name somewhere."""
    if entry is None:
        return Outcome(ref.key, Result.ALREADY_ABSENT)
    try:
        status = status_of(at, entry)
        if not stat.S_ISREG(status.st_mode) or version_of(status, entry, sources) != ref.version:
            return Outcome(ref.key, Result.CHANGED)
        os.unlink(entry.path, dir_fd=at)
    except FileNotFoundError:
        # Renamed or removed this very moment: which of the two, the engine finds out.
        return Outcome(ref.key, Result.FAILED_TEMPORARY, "moved")
    except PermissionError:
        return Outcome(ref.key, Result.FAILED_PERMANENT, "denied")
    except OSError:
        return Outcome(ref.key, Result.FAILED_TEMPORARY, "disk")
    return Outcome(ref.key, Result.DISPOSED, "linked" if status.st_nlink > 1 else "")


def settle(at: int) -> None:
    """What was said to be deleted stays deleted after a power cut."""
    for part in PARTS:
        try:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
        except FileNotFoundError:
            continue
        try:
            os.fsync(inner)
        finally:
            os.close(inner)
