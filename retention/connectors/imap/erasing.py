"""Removing exactly the given messages: check, mark, UID EXPUNGE, look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from retention.connectors.base import Outcome, Ref, Result
from retention.connectors.imap.reading import (
    parse_key,
    precondition_items,
    present,
    version_of,
)
from retention.connectors.imap.session import Opened, Session
from retention.connectors.imap.wire import Items, uid_sets
from retention.connectors.mail_sources import Sources
from retention.errors import ConnectorError, PermanentFailure, TemporaryFailure

_BATCH = 500


def refuse_unsafe(session: Session) -> None:
    """Raises PermanentFailure where deleting could hit other mail, or would not delete."""
    if session.has("X-GM-EXT-1"):
        raise PermanentFailure(
            "this is Gmail: expunging removes a label there, the message stays in All Mail",
            hint="deleting at Gmail is not supported yet; use `then: review`",
            place=session.system,
            code="gmail",
        )
    if not session.has("UIDPLUS"):
        raise PermanentFailure(
            "the server cannot expunge single messages (no UIDPLUS)",
            hint="a plain EXPUNGE would hit what other people only marked; nothing was done",
            place=session.system,
            code="no_uidplus",
        )


class Erasing:
    """One act over messages of several folders."""

    def __init__(self, session: Session, sources: Sources) -> None:
        self._session = session
        self._sources = sources

    def folder(self, name: str, refs: Sequence[Ref]) -> Iterator[Outcome]:
        """One outcome per ref, all of this folder."""
        if self._session.folder(name) is None:
            yield from (Outcome(r.key, Result.FAILED_PERMANENT, "folder_missing") for r in refs)
            return
        for start in range(0, len(refs), _BATCH):
            opened = self._session.open(name, write=True)
            yield from self._batch(opened, refs[start : start + _BATCH])

    def _batch(self, opened: Opened, refs: Sequence[Ref]) -> Iterator[Outcome]:
        keyed = [(ref, parse_key(ref.key)) for ref in refs]
        there = self._preconditions({key.uid for _, key in keyed})
        act: dict[int, Ref] = {}
        for ref, key in keyed:
            if key.uidvalidity != opened.uidvalidity:
                yield Outcome(ref.key, Result.CHANGED, "uidvalidity")
            elif key.uid not in there:
                yield Outcome(ref.key, Result.ALREADY_ABSENT)
            elif version_of(opened, there[key.uid], self._sources) != ref.version:
                yield Outcome(ref.key, Result.CHANGED)
            else:
                act[key.uid] = ref
        if act:
            marked = {u for u in act if b"\\DELETED" in map(bytes.upper, there[u][b"FLAGS"] or ())}
            yield from self._remove(opened, act, marked)

    def _preconditions(self, uids: Iterable[int]) -> dict[int, Items]:
        items = precondition_items(self._sources)
        items += b"" if b"FLAGS" in items else b" FLAGS"
        out: dict[int, Items] = {}
        for numbers in uid_sets(uids):
            with self._session.translated("looking before deleting"):
                for one in self._session.wire.fetch(numbers, items):
                    if b"INTERNALDATE" in one and b"FLAGS" in one:
                        out[int(one[b"UID"])] = one
        return out

    def _remove(
        self, opened: Opened, act: dict[int, Ref], marked_before: set[int]
    ) -> Iterator[Outcome]:
        session = self._session
        refused: ConnectorError | None = None
        try:
            for numbers in uid_sets(act):
                with session.translated("deleting"):
                    session.wire.pair(
                        b"UID STORE %s +FLAGS.SILENT (\\Deleted)" % numbers,
                        b"UID EXPUNGE %s" % numbers,
                    )
        except TemporaryFailure:
            raise
        except ConnectorError as error:
            refused = error
        # Looked at, not counted: EXPUNGE lines turn into VANISHED after ENABLE QRESYNC.
        left = dict(present(session, act))
        failed = Result.FAILED_TEMPORARY, "still_there"
        if left:
            self._unmark(set(left) - marked_before, left)
            rights = session.rights(opened.folder)
            if refused is not None or (rights is not None and "e" not in rights):
                # Dovecot says OK to an EXPUNGE that the right is lacking for, and does nothing.
                failed = Result.FAILED_PERMANENT, refused.code if refused else "denied"
        for uid, ref in act.items():
            yield Outcome(ref.key, *(failed if uid in left else (Result.DISPOSED, "")))

    def _unmark(self, uids: set[int], left: dict[int, tuple[str, ...]]) -> None:
        """Our marks must not stay: the next client to expunge would carry out what failed here."""
        ours = {u for u in uids if any(f.lower() == "\\deleted" for f in left[u])}
        for numbers in uid_sets(ours):
            with self._session.translated("taking marks back"):
                self._session.wire.run(b"UID STORE %s -FLAGS.SILENT (\\Deleted)" % numbers)
