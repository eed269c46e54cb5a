"""Removing exactly the given messages: check, mark, UID EXPUNGE, look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from retention.connectors.base import Outcome, Ref, Result
from retention.connectors.imap import lifting
from retention.connectors.imap.answers import Items
from retention.connectors.imap.reading import (
    by_folder,
    flags_of,
    parse_key,
    precondition_items,
    present,
    refs_by_folder,
    version_of,
)
from retention.connectors.imap.session import Opened, Session
from retention.connectors.imap.sets import uid_sets
from retention.connectors.imap.settings import WithoutUidplus
from retention.connectors.mail_places import Refused
from retention.connectors.mail_sources import Sources
from retention.errors import ConnectorError, PermanentFailure, TemporaryFailure

_NEEDED = "te"
"""RFC 4314: mark as deleted, expunge."""


def refuse_unsafe(session: Session) -> None:
    """Raises PermanentFailure where deleting could hit other mail, or would not delete."""
    if session.has("X-GM-EXT-1"):
        raise PermanentFailure(
            "this is Gmail: expunging removes a label there, the message stays in All Mail",
            hint="say `profile: auto`, which deletes by way of the Trash",
            place=session.system,
            code="gmail",
        )
    if (
        not session.has("UIDPLUS")
        and session.settings.without_uidplus is not WithoutUidplus.LIFT_MARKS
    ):
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

    def erase(self, refs: Sequence[Ref]) -> Iterator[Outcome]:
        """One outcome per ref, each of a single message."""
        for name, group in refs_by_folder(refs).items():
            yield from self.folder(name, group)

    def versions(self, keys: Sequence[str]) -> dict[str, str | Refused]:
        """Versions of single messages now, or what is in the way. Missing: gone."""
        session = self._session
        items = precondition_items(self._sources)
        out: dict[str, str | Refused] = {}
        for name, group in by_folder(map(parse_key, keys)).items():
            opened = self._ready(name)
            if isinstance(opened, Refused):
                out |= {str(key): opened for key in group}
                continue
            # In a folder that was replaced nothing is what it was.
            out |= {str(key): "" for key in group if key.uidvalidity != opened.uidvalidity}
            same = {key.uid: str(key) for key in group if key.uidvalidity == opened.uidvalidity}
            for numbers in uid_sets(same):
                with session.translated("looking before deleting"):
                    for one in session.wire.fetch(numbers, items):
                        if b"INTERNALDATE" in one and (uid := int(one[b"UID"])) in same:
                            out[same[uid]] = version_of(opened, one, self._sources)
        return out

    def folder(self, name: str, refs: Sequence[Ref]) -> Iterator[Outcome]:
        """One outcome per ref, all of this folder."""
        opened = self._ready(name)
        if isinstance(opened, Refused):
            # Noticed before a mark is set: the next client to expunge would carry it out.
            yield from (Outcome(r.key, Result.FAILED_PERMANENT, opened.code) for r in refs)
            return
        if self._sources.flags_decide and self._session.has("CONDSTORE"):
            # For the number of the last change before we look.
            opened = self._session.open_numbered(name)
        yield from self._batch(opened, refs)

    def _ready(self, name: str) -> Opened | Refused:
        """The folder, open for erasing, or why nothing can be erased there."""
        if self._session.folder(name) is None:
            return Refused("folder_missing")
        try:
            opened = self._session.open(name, write=True)
        except PermanentFailure as error:
            if error.code != "read_only":
                raise
            return Refused(error.code)
        lacking = self._lacking(opened)
        return Refused(lacking) if lacking else opened

    def _lacking(self, opened: Opened) -> str:
        """Which right is missing, as the code of an outcome; "" where none is known to be."""
        rights = self._session.rights(opened.folder)
        if rights is not None and (lacking := "".join(r for r in _NEEDED if r not in rights)):
            return f"lacks_right_{lacking}"
        return "" if opened.marks else "cannot_mark"

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
            yield from self._remove(opened, act, {uid: there[uid] for uid in act})

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

    def _conditional(self, opened: Opened) -> bool:
        """Whether the server shall leave alone what changes between our look and the mark."""
        decides = self._sources.flags_decide
        return decides and opened.highest > 0 and self._session.has("CONDSTORE")

    def _remove(
        self, opened: Opened, act: dict[int, Ref], there: dict[int, Items]
    ) -> Iterator[Outcome]:
        marked_before = {uid for uid, one in there.items() if _is_marked(flags_of(one))}
        refused: ConnectorError | None = None
        changed: set[int] = set()
        try:
            if not self._session.has("UIDPLUS"):
                lifting.expunge(self._session, opened, act)
            elif self._conditional(opened):
                changed = self._mark_unchanged(opened, there)
                self._expunge(set(act) - changed, mark=False)
            else:
                self._expunge(act, mark=True)
        except TemporaryFailure:
            self._take_back(opened, set(act) - marked_before)
            raise
        except ConnectorError as error:
            refused = error
        # Looked at, not counted: EXPUNGE lines turn into VANISHED after ENABLE QRESYNC.
        left = dict(present(self._session, act))
        self._unmark(set(left) - marked_before - changed, left)
        failed = Result.FAILED_TEMPORARY, "still_there"
        if refused is not None:
            temporary = refused.code == lifting.OTHERS_MARK
            failed = (
                Result.FAILED_TEMPORARY if temporary else Result.FAILED_PERMANENT,
                refused.code,
            )
        for uid, ref in act.items():
            if uid not in left:
                yield Outcome(ref.key, Result.DISPOSED)
            elif uid in changed:
                yield Outcome(ref.key, Result.CHANGED)
            else:
                yield Outcome(ref.key, *failed)

    def _take_back(self, opened: Opened, uids: set[int]) -> None:
        """Our marks, after the connection broke, as far as that can be done now."""
        with suppress(ConnectorError):
            now = self._session.open(opened.folder.name, write=True)
            if now.uidvalidity == opened.uidvalidity:
                left = dict(present(self._session, uids))
                self._unmark(set(left), left)

    def _mark_unchanged(self, opened: Opened, there: dict[int, Items]) -> set[int]:
        """Mark what has not changed since before we looked; the UIDs of what has (CONDSTORE)."""
        changed: set[int] = set()
        for numbers in uid_sets(there):
            with self._session.translated("marking"):
                changed |= self._session.wire.store_unchanged(numbers, opened.highest)
        return changed & set(there)

    def _expunge(self, go: Iterable[int], *, mark: bool) -> None:
        # Mark and expunge travel together: were we to end in between, the marks would stay.
        for numbers in uid_sets(go, self._session.longest):
            marks = [b"UID STORE %s +FLAGS.SILENT (\\Deleted)" % numbers] if mark else []
            with self._session.translated("deleting"):
                self._session.wire.row(*marks, b"UID EXPUNGE " + numbers)

    def _unmark(self, uids: set[int], left: dict[int, tuple[str, ...]]) -> None:
        """Our marks must not stay: the next client to expunge would carry out what failed here."""
        for numbers in uid_sets({uid for uid in uids if _is_marked(left[uid])}):
            with self._session.translated("taking marks back"):
                self._session.wire.run(b"UID STORE %s -FLAGS.SILENT (\\Deleted)" % numbers)


def _is_marked(flags: Iterable[str]) -> bool:
    return any(flag.lower() == "\\deleted" for flag in flags)
