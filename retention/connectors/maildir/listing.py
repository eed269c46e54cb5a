"""Where the files of the folder last listed were."""

from __future__ import annotations

from collections.abc import Sequence

from retention.connectors.mail_folders import MailFolder
from retention.connectors.maildir.store import Entry, Store, status_of

_REMEMBERED = 200_000


class Listing:
    """Where the files of the folder last listed were: spares a listing for every batch.

    Only a hint: a name that no longer fits is looked for again.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._folder = ""
        self._entries: dict[str, Entry] = {}

    def forget(self) -> None:
        self._folder = ""
        self._entries = {}

    def remember(self, folder: MailFolder, entries: Sequence[Entry]) -> None:
        """Keep what was just listed, up to a limit."""
        if folder.name != self._folder or len(self._entries) + len(entries) > _REMEMBERED:
            self._folder, self._entries = folder.name, {}
        self._entries.update((e.base, e) for e in entries)

    def locate(self, folder: MailFolder, bases: set[str]) -> dict[str, Entry]:
        """Where these messages are now; those that are nowhere are left out."""
        found: dict[str, Entry] = {}
        if folder.name == self._folder:
            with self._store.opened(folder) as at:
                for base in bases:
                    entry = self._entries.get(base)
                    if entry is not None and _exists(at, entry):
                        found[base] = entry
        if missing := bases - found.keys():
            located = self._store.locate(folder, missing)
            self.remember(folder, list(located.values()))
            found |= located
        return found


def _exists(at: int, entry: Entry) -> bool:
    try:
        status_of(at, entry)
    except FileNotFoundError:
        return False
    return True
