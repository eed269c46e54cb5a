"""What a Maildir holds now: by file name in one folder, by Message-ID in the others."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from retention.connectors import mail_headers
from retention.connectors.mail_folders import MailFolder
from retention.connectors.mail_index import Sightings
from retention.connectors.mail_sources import trace_of, trace_without_id
from retention.connectors.maildir.store import PARTS, Store, header_block, received_of

_TRIES = 3
"""So many readings until the folder stays still; what any of them saw counts as there."""

State = tuple[int, ...]
"""When the directories of a folder were changed last; equal states, equal listings."""


@dataclass(slots=True)
class Seen:
    """What was read of a folder, and in which state the folder was (none: it never stood still)."""

    state: State | None = None
    texts: Sightings = field(default_factory=Sightings)


class Copies:
    """Remembers, for one session, what each folder held, until the folder changes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names: dict[str, Seen] = {}
        self._traces: dict[str, Seen] = {}

    def present(self, folder: MailFolder, bases: set[str]) -> set[str]:
        """Those of these messages that still have a file."""
        listed = self._current(self._names, folder, self._list)
        return {base for base in bases if base in listed}

    def among(self, folders: Collection[MailFolder], traces: Collection[str]) -> set[str]:
        """Those of these traces that a message in one of the folders has. Flat memory."""
        found: set[str] = set()
        for folder in folders:
            left = [t for t in traces if t not in found]
            if not left:
                break
            sightings = self._current(self._traces, folder, self._read)
            found.update(t for t in left if t in sightings)
        return found

    def _current(
        self,
        known: dict[str, Seen],
        folder: MailFolder,
        look: Callable[[int, MailFolder, Sightings], bool],
    ) -> Sightings:
        """What is known of a folder if it has not changed since, else what a new look tells.

        A message whose flags change while a directory is listed may be missed; the directory's
        time then differs before and after, and it is looked at again.
        """
        with self._store.opened(folder) as at:
            seen = known.get(folder.name)
            if seen is not None and seen.state == _state(at):
                return seen.texts
            seen = known[folder.name] = Seen()
            for _ in range(_TRIES):
                before = _state(at)
                if look(at, folder, seen.texts) and _state(at) == before:
                    seen.state = before
                    break
            return seen.texts

    def _list(self, at: int, folder: MailFolder, into: Sightings) -> bool:
        del at
        for entry in self._store.entries(folder):
            into.add(entry.base)
        return True

    def _read(self, at: int, folder: MailFolder, into: Sightings) -> bool:
        complete = True
        for entry in self._store.entries(folder):
            read = header_block(at, entry)
            if read is None:
                complete = False
                continue
            block, status = read
            size_trace = trace_without_id(status.st_size, received_of(status))
            into.add(trace_of(mail_headers.split(block)) or size_trace)
        return complete


def _state(at: int) -> State:
    out = []
    for part in PARTS:
        try:
            out.append(os.stat(part, dir_fd=at, follow_symlinks=False).st_mtime_ns)
        except FileNotFoundError:
            out.append(0)
    return tuple(out)
