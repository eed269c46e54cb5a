"""Deleting at Gmail: into the Trash, found there again by id, and expunged there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from retention.connectors.base import Result
from retention.connectors.imap.asking import quoted
from retention.connectors.imap.labels import Labels, Seen, Spot, grouped
from retention.connectors.imap.reading import present
from retention.connectors.imap.session import Session
from retention.connectors.imap.sets import uid_sets
from retention.connectors.mail_folders import MailFolder
from retention.errors import ConnectorError, PermanentFailure, TemporaryFailure

_BATCH = 500
Told = tuple[int, Result, str]
"""(id, what became of it, code)."""


class Trashing:
    """One act over messages that were just looked at."""

    def __init__(
        self, session: Session, labels: Labels, trash: MailFolder, spam: MailFolder
    ) -> None:
        self._session = session
        self._labels = labels
        self._trash = trash
        self._spam = spam

    def delete(self, messages: Sequence[Seen]) -> Iterator[Told]:
        """What became of each. Raises TemporaryFailure, and PermanentFailure before any act."""
        if not messages:
            return
        if not self._session.has("UIDPLUS"):
            raise PermanentFailure(
                "the server cannot expunge single messages (no UIDPLUS)",
                place=self._session.system,
                code="no_uidplus",
            )
        for start in range(0, len(messages), _BATCH):
            yield from self._batch(messages[start : start + _BATCH])

    def _batch(self, messages: Sequence[Seen]) -> Iterator[Told]:
        final = {self._trash.name, self._spam.name}
        there = {m.msgid: m.spot for m in messages if m.spot.folder in final}
        coming = {m.msgid: m.spot for m in messages if m.spot.folder not in final}
        first = self._labels.uidnext(self._trash)
        refused = ""
        for folder, uids in grouped(coming).items():
            refused = self._move(folder, uids) or refused
        arrived = self._arrived(first, coming)
        there.update(arrived)
        for msgid in coming.keys() - arrived.keys():
            yield self._not_moved(msgid, refused)
        for folder, uids in grouped(there).items():
            yield from self._expunge(folder, uids)

    def _move(self, folder: str, uids: dict[int, int]) -> str:
        """The code of a refusal, "" where there was none. {UID: id}."""
        session = self._session
        session.open(folder, write=True)
        # Copying into the Trash takes a message out of everything else just as well.
        command = b"MOVE" if session.has("MOVE") else b"COPY"
        try:
            # The folder was opened again: its numbers may mean other messages by now.
            sure = [uid for uid, msgid in self._labels.ids(uids) if uids.get(uid) == msgid]
            for numbers in uid_sets(sure):
                with session.translated("moving to the Trash"):
                    session.wire.run(b"UID %s %s %s" % (command, numbers, quoted(self._trash.raw)))
        except TemporaryFailure:
            raise
        except ConnectorError as error:
            return error.code
        return ""

    def _arrived(self, first: int, coming: Collection[int]) -> dict[int, Spot]:
        """Where in the Trash these messages are now, by id; never by what the move answered."""
        if not coming:
            return {}
        found: dict[int, Spot] = {}
        opened = self._session.open(self._trash.name, write=True, afresh=True)
        if opened.uidnext > first:
            found = {
                msgid: Spot(self._trash.name, uid)
                for uid, msgid in self._labels.ids_from(first)
                if msgid in coming
            }
        left = [m for m in coming if m not in found]
        if left:
            found.update(self._labels.search(self._trash, left))
        return found

    def _not_moved(self, msgid: int, refused: str) -> Told:
        if refused:
            return msgid, Result.FAILED_PERMANENT, refused
        if self._labels.anywhere([msgid]):
            return msgid, Result.FAILED_TEMPORARY, "still_there"
        # Neither where it was nor in the Trash: somebody else did something at the same time.
        return msgid, Result.UNKNOWN, "vanished"

    def _expunge(self, folder: str, uids: dict[int, int]) -> Iterator[Told]:
        """Remove these from the Trash or from Spam, where that is final. {UID: id}."""
        session = self._session
        session.open(folder, write=True)
        # Asked once more: what is expunged here cannot be brought back.
        sure = {uid: m for uid, m in self._labels.ids(uids) if uids.get(uid) == m}
        refused = ""
        try:
            for numbers in uid_sets(sure):
                with session.translated("expunging from the Trash"):
                    session.wire.run(b"UID STORE %s +FLAGS.SILENT (\\Deleted)" % numbers)
                    session.wire.run(b"UID EXPUNGE %s" % numbers)
        except TemporaryFailure:
            raise
        except ConnectorError as error:
            refused = error.code
        left = dict(present(session, sure))
        self._unmark(uid for uid, flags in left.items() if "\\Deleted" in flags)
        for uid, msgid in uids.items():
            if uid in left:
                kind = Result.FAILED_PERMANENT if refused else Result.FAILED_TEMPORARY
                yield msgid, kind, refused or "still_there"
            elif uid in sure:
                yield msgid, Result.DISPOSED, ""
            else:
                # It left the Trash between two commands: the engine looks where it is.
                yield msgid, Result.UNKNOWN, "vanished"

    def _unmark(self, uids: Iterable[int]) -> None:
        """Our marks must not stay: the next client to expunge would carry out what failed here."""
        for numbers in uid_sets(uids):
            with self._session.translated("taking marks back"):
                self._session.wire.run(b"UID STORE %s -FLAGS.SILENT (\\Deleted)" % numbers)
