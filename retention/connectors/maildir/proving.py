"""Looking whether messages are gone: by name in their folders, by Message-ID in all others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from retention.connectors.base import Level, Proof, Ref
from retention.connectors.mail_folders import MailFolder
from retention.connectors.mail_places import split, traces
from retention.connectors.maildir.copies import Copies
from retention.connectors.maildir.reading import refs_by_folder, split_key
from retention.connectors.maildir.store import Store, header_block

_HOW = "directory listing + message-id search"


class Look:
    """One look, at the folders that are there now."""

    def __init__(self, store: Store, copies: Copies, folders: Mapping[str, MailFolder]) -> None:
        self._store = store
        self._copies = copies
        self._folders = folders

    def can_read(self, control: Ref) -> bool:
        """Whether a message that is known to exist can be read, in one of its places."""
        for name, base in map(split_key, split(control.key)):
            folder = self._folders.get(name)
            entry = self._store.locate(folder, {base}).get(base) if folder else None
            if folder is not None and entry is not None:
                with self._store.opened(folder) as at:
                    if header_block(at, entry) is not None:
                        return True
        return False

    def of(self, refs: Sequence[Ref], covered: Collection[str]) -> Iterator[Proof]:
        """Proofs of single places. `covered`: folders of the location, whose copies are known."""
        gone: list[Ref] = []
        for name, group in refs_by_folder(refs).items():
            if (folder := self._folders.get(name)) is None:
                yield from (Proof(r.key, Level.UNKNOWN, "folder not readable") for r in group)
                continue
            still = self._copies.present(folder, {split_key(r.key)[1] for r in group})
            for ref in group:
                if split_key(ref.key)[1] in still:
                    yield Proof(ref.key, Level.PRESENT, "directory listing")
                else:
                    gone.append(ref)
        known = {*covered, *(ref.container for ref in gone)}
        yield from self._elsewhere(gone, [f for n, f in self._folders.items() if n not in known])

    def _elsewhere(self, gone: Sequence[Ref], folders: Collection[MailFolder]) -> Iterator[Proof]:
        # The places of one record have its traces in common.
        wanted = {trace for told in {ref.trace for ref in gone} for trace in told.split()}
        found = self._copies.among(folders, wanted)
        for ref in gone:
            if not found.isdisjoint(traces(ref)):
                yield Proof(ref.key, Level.PRESENT, "copy in another folder")
            else:
                yield Proof(ref.key, Level.GONE, _HOW)
