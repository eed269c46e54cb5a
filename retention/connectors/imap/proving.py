"""Looking whether messages are gone: by UID in their folders, by Message-ID in all others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from retention.connectors.base import Level, Proof, Ref
from retention.connectors.imap.copies import Copies
from retention.connectors.imap.reading import parse_key, present, refs_by_folder
from retention.connectors.imap.session import Session
from retention.connectors.mail_places import split, traces

_HOW = "uid fetch + message-id search"


class Proving:
    """For one session."""

    def __init__(self, session: Session, copies: Copies) -> None:
        self._session = session
        self._copies = copies

    def can_read(self, control: Ref) -> bool:
        """Whether a message that is known to exist can be read, in one of its places."""
        for key in map(parse_key, split(control.key)):
            if self._session.folder(key.folder) is not None:
                opened = self._session.open(key.folder)
                if opened.uidvalidity == key.uidvalidity and any(present(self._session, [key.uid])):
                    return True
        return False

    def of(self, refs: Sequence[Ref], covered: Collection[str]) -> Iterator[Proof]:
        """Proofs of single places. `covered`: folders of the location, whose copies are known."""
        moved: list[Ref] = []
        gone: list[Ref] = []
        for name, group in refs_by_folder(refs).items():
            yield from self._look(name, group, gone, moved)
        yield from self._elsewhere(gone, {*covered, *(ref.container for ref in gone)})
        yield from self._elsewhere(moved, ())

    def _look(
        self, name: str, group: Sequence[Ref], gone: list[Ref], moved: list[Ref]
    ) -> Iterator[Proof]:
        """Proofs of what is still there or cannot be told; the rest goes into the lists."""
        session = self._session
        if session.folder(name) is None:
            # Without the right to see it, a folder looks exactly like one that is gone.
            yield from (Proof(r.key, Level.UNKNOWN, "folder not readable") for r in group)
            return
        opened = session.open(name)
        still = dict(present(session, [parse_key(r.key).uid for r in group]))
        for ref in group:
            key = parse_key(ref.key)
            if key.uidvalidity != opened.uidvalidity:
                moved.append(ref)
            elif key.uid in still:
                marked = any(f.lower() == "\\deleted" for f in still[key.uid])
                yield Proof(ref.key, Level.MARKED if marked else Level.PRESENT, "uid fetch")
            else:
                gone.append(ref)

    def _elsewhere(self, refs: Sequence[Ref], but: Collection[str]) -> Iterator[Proof]:
        """Proofs of messages that left their place: are there copies, other than in `but`?"""
        if not refs:
            return
        folders = [f for f in self._session.folders(again=False) if f.selectable]
        folders = [f for f in folders if f.name not in but]
        # The places of one record have its traces in common.
        wanted = {trace for told in {ref.trace for ref in refs} for trace in told.split()}
        found = self._copies.among(folders, wanted)
        for ref in refs:
            if not found.isdisjoint(traces(ref)):
                yield Proof(ref.key, Level.PRESENT, "copy in another folder")
            elif but or (ref.trace and not any(t.startswith("#") for t in traces(ref))):
                yield Proof(ref.key, Level.GONE, _HOW if ref.trace else "uid fetch")
            else:
                # A rebuilt folder may give its messages other dates: without an id none is known.
                yield Proof(ref.key, Level.UNKNOWN, "folder was replaced")
