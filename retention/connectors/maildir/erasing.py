"""Deleting one file if it is still what it was."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from retention.connectors.base import Outcome, Ref, Result
from retention.connectors.mail_places import Refused
from retention.connectors.mail_sources import Sources
from retention.connectors.maildir.listing import Listing
from retention.connectors.maildir.reading import by_folder, refs_by_folder, split_key, version_of
from retention.connectors.maildir.store import PARTS, Entry, Store, status_of


class Erasing:
    """One act over messages of several folders."""

    def __init__(self, store: Store, listing: Listing, sources: Sources) -> None:
        self._store = store
        self._listing = listing
        self._sources = sources

    def erase(self, refs: Sequence[Ref]) -> Iterator[Outcome]:
        """One outcome per ref, each of a single message."""
        folders = {f.name: f for f in self._store.folders()}
        for name, group in refs_by_folder(refs).items():
            if (folder := folders.get(name)) is None:
                yield from (
                    Outcome(r.key, Result.FAILED_PERMANENT, "folder_missing") for r in group
                )
                continue
            entries = self._listing.locate(folder, {split_key(r.key)[1] for r in group})
            with self._store.opened(folder) as at:
                for ref in group:
                    entry = entries.get(split_key(ref.key)[1])
                    yield unlink(at, ref, entry, self._sources)
                settle(at)

    def versions(self, keys: Sequence[str]) -> dict[str, str | Refused]:
        """Versions of single messages now, or what is in the way. Missing: gone."""
        folders = {f.name: f for f in self._store.folders()}
        out: dict[str, str | Refused] = {}
        for name, bases in by_folder(keys).items():
            if (folder := folders.get(name)) is None:
                out |= {f"{name}/{base}": Refused("folder_missing") for base in bases}
                continue
            entries = self._listing.locate(folder, bases)
            with self._store.opened(folder) as at:
                for base, entry in entries.items():
                    may = os.access(entry.part, os.W_OK | os.X_OK, dir_fd=at, effective_ids=True)
                    version = self._version(at, entry) if may else Refused("denied")
                    out[f"{name}/{base}"] = version
        return out

    def _version(self, at: int, entry: Entry) -> str:
        try:
            status = status_of(at, entry)
        except FileNotFoundError:
            # Renamed or removed this very moment: not what it was.
            return ""
        return version_of(status, entry, self._sources) if stat.S_ISREG(status.st_mode) else ""


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
