"""Gmail over IMAP: expunging from a label deletes nothing, so messages go by way of the Trash.

Moving a message into the Trash takes it out of every label and out of All Mail; expunging it
there is final, whatever the account's settings say about other folders. A message is one record
however many labels it has, and deleting it deletes it everywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from retention.connectors.base import (
    Content,
    Level,
    Outcome,
    Page,
    Proof,
    Record,
    Ref,
    Result,
    Target,
    containers_of,
)
from retention.connectors.imap.answers import body_of
from retention.connectors.imap.copies import windows
from retention.connectors.imap.labels import (
    Labels,
    Seen,
    Spot,
    grouped,
    key_of,
    parse,
)
from retention.connectors.imap.reading import stay, void
from retention.connectors.imap.session import Opened, Session
from retention.connectors.imap.settings import GmailSettings
from retention.connectors.imap.trashing import Trashing
from retention.connectors.mail_folders import MailFolder
from retention.connectors.mail_index import Numbers
from retention.connectors.mail_sources import Own, Sources
from retention.errors import PermanentFailure

_WINDOW = 10_000
_REMEMBERED = 100_000
_HOW = "x-gm-msgid search"


class Gmail:
    """The calls of a connector, over labels, on one session."""

    def __init__(
        self, session: Session, own: Own, page: int, settings: GmailSettings, limit: int | None
    ) -> None:
        """`limit`: the account's folder size limit (0: none) where it is known."""
        self._session = session
        self._own = own
        self._page = page
        self._limit = 0 if settings.folder_limit == "none" else limit
        self._labels = Labels(session)
        self._spots: dict[int, Spot] = {}
        """Where messages were when they were found; asked again before use."""
        self._decided: dict[int, frozenset[str]] = {}
        """The folders that showed a message when it was last judged."""

    def __repr__(self) -> str:
        return "Gmail()"

    def forget(self) -> None:
        """Drop what is remembered of messages."""
        self._spots.clear()
        self._decided.clear()

    # --- looking ------------------------------------------------------------------------------

    def complete(self, folders: Sequence[MailFolder]) -> None:
        """Raises PermanentFailure where IMAP does not show all there is."""
        if self._labels.cut_off((*self._labels.whole(), *folders), self._limit):
            raise PermanentFailure(
                "Gmail may hide older mail from IMAP: a folder is as large as a folder size limit",
                hint="Gmail, Settings, Forwarding and POP/IMAP: do not limit the number of "
                "messages in an IMAP folder; or, if there is no limit, say "
                "`gmail: {folder_limit: none}`",
                place=self._session.system,
                code="gmail_folder_limit",
            )

    def count(self, folders: Sequence[MailFolder]) -> int | None:
        """Messages in a single folder; of several only a scan could tell, as they overlap."""
        return self._labels.size(folders[0]) if len(folders) == 1 else None

    def find(
        self, target: Target, folders: Sequence[MailFolder], criteria: bytes, cursor: str | None
    ) -> Iterator[Page]:
        self.complete(folders)
        sources = Sources(target, self._own)
        at = json.loads(cursor) if cursor else {}
        seen = Numbers()
        for folder in folders:
            name = folder.name
            opened = self._session.open(name, afresh=True)
            first = 1
            if name == at.get("folder"):
                if opened.uidvalidity != at["epoch"]:
                    # What was found before would be found again, and counted twice.
                    raise void(self._session.system)
                first = int(at["next"])
            before = name < at.get("folder", "")
            if len(folders) > 1 and (before or first > 1):
                self._learn(opened, None if before else first, criteria, seen)
            if not before:
                several = len(folders) > 1
                yield from self._pages(opened, first, criteria, sources, seen if several else None)

    def _learn(self, opened: Opened, end: int | None, criteria: bytes, seen: Numbers) -> None:
        """Which messages an earlier session already found: those before `end`."""
        for low, high in windows(self._session, opened, _WINDOW):
            for uid, msgid in self._ids(opened, low, high, criteria):
                if end is None or uid < end:
                    seen.add(msgid)

    def _ids(
        self, opened: Opened, low: int, high: int, criteria: bytes
    ) -> Iterator[tuple[int, int]]:
        uids = self._matching(opened, low, high, criteria)
        for start in range(0, len(uids), _WINDOW):
            yield from self._labels.ids(uids[start : start + _WINDOW])

    def _matching(self, opened: Opened, low: int, high: int, criteria: bytes) -> list[int]:
        session = self._session
        stay(session, opened)
        with session.translated("searching"):
            uids = session.wire.search(
                b"UID %d:%d %s" % (low, high, criteria), extended=session.has("ESEARCH")
            )
        # Beyond the end, `lo:hi` names the last message too (RFC 3501 §9).
        return [uid for uid in uids if low <= uid <= high]

    def _pages(
        self, opened: Opened, first: int, criteria: bytes, sources: Sources, seen: Numbers | None
    ) -> Iterator[Page]:
        name, scanned = opened.folder.name, 0
        for low, high in list(windows(self._session, opened, _WINDOW, first=first)):
            uids = self._matching(opened, low, high, criteria)
            scanned += min(_WINDOW, opened.exists - scanned)
            for start in range(0, len(uids), self._page):
                part = uids[start : start + self._page]
                stay(self._session, opened)
                records = self._fresh(opened, part, sources, seen)
                place = {"folder": name, "epoch": opened.uidvalidity, "next": part[-1] + 1}
                last = start + self._page >= len(uids)
                yield Page(records, json.dumps(place), scanned if last else 0)
                scanned = 0 if last else scanned

    def _fresh(
        self, opened: Opened, uids: Sequence[int], sources: Sources, seen: Numbers | None
    ) -> list[Record]:
        """These messages, but those that another folder showed already."""
        out = []
        for uid, record in self._labels.read(opened, uids, sources):
            msgid = parse(record.ref.key)
            if seen is not None:
                if msgid in seen:
                    continue
                seen.add(msgid)
            if len(self._spots) < _REMEMBERED:
                self._spots[msgid] = Spot(opened.folder.name, uid)
            out.append(record)
        return out

    def recheck(
        self, target: Target, covered: frozenset[str], keys: Sequence[str]
    ) -> Iterator[Record]:
        """A message is there while a folder of the location shows it, or the Trash does.

        The Trash, because a process of ours may have died between moving and expunging.
        """
        sources = Sources(target, self._own)
        trash = self._labels.trash().name
        self._decided.clear()
        for folder, uids in grouped(self._located({parse(key) for key in keys})).items():
            opened = self._session.open(folder)
            for _, record in self._labels.read(opened, list(uids), sources):
                places = frozenset(containers_of(record.ref))
                msgid = parse(record.ref.key)
                if msgid in uids.values() and places & {*covered, trash}:
                    self._decided[msgid] = places
                    yield record

    def _located(self, msgids: set[int]) -> dict[int, Spot]:
        """Where these messages are now; those that are nowhere are left out."""
        known = {m: spot for m in msgids if (spot := self._spots.get(m))}
        found: dict[int, Spot] = {}
        for folder, uids in grouped(known).items():
            if self._session.folder(folder) is not None:
                self._session.open(folder)
                now = dict(self._labels.ids(list(uids)))
                found.update({m: known[m] for uid, m in uids.items() if now.get(uid) == m})
        left = msgids - found.keys()
        found.update(self._labels.anywhere(left) if left else {})
        for msgid in left:
            self._spots.pop(msgid, None)
        return found

    def read(self, refs: Sequence[Ref]) -> Iterator[Content]:
        spots = self._located({parse(ref.key) for ref in refs})
        for folder, uids in grouped(spots).items():
            for uid, msgid in uids.items():
                self._session.open(folder)
                with self._session.translated("reading a message"):
                    told = list(
                        self._session.wire.fetch(b"%d" % uid, b"UID X-GM-MSGID BODY.PEEK[]")
                    )
                for one in told:
                    if int(one[b"UID"]) == uid and one.get(b"X-GM-MSGID") == b"%d" % msgid:
                        data = body_of(one)
                        yield Content(key_of(msgid), "message/rfc822", f"{msgid}.eml", data)

    # --- acting -------------------------------------------------------------------------------

    def erase(
        self,
        target: Target,
        folders: Sequence[MailFolder],
        covered: frozenset[str],
        refs: Sequence[Ref],
    ) -> Iterator[Outcome]:
        """One outcome per ref. Raises ConnectorError."""
        self.complete(folders)
        sources = Sources(target, self._own)
        _, trash, spam = self._labels.whole()
        wanted = {parse(ref.key): ref for ref in refs}
        spots = self._located(set(wanted))
        act: dict[int, Seen] = {}
        for folder, uids in grouped(spots).items():
            for seen in self._labels.look(folder, list(uids), sources, write=True):
                if uids.get(seen.spot.uid) == seen.msgid:
                    act[seen.msgid] = seen
        go: list[Seen] = []
        for msgid, ref in wanted.items():
            seen_now = act.get(msgid)
            if seen_now is None:
                yield Outcome(ref.key, Result.ALREADY_ABSENT)
            elif code := self._changed(ref, seen_now, covered, trash.name):
                yield Outcome(ref.key, Result.CHANGED, code)
            else:
                go.append(seen_now)
        trashing = Trashing(self._session, self._labels, trash, spam)
        for msgid, result, code in trashing.delete(go):
            self._spots.pop(msgid, None)
            yield Outcome(wanted[msgid].key, result, code)

    def _changed(self, ref: Ref, now: Seen, covered: frozenset[str], trash: str) -> str:
        """Why a message is no longer what was decided upon; "" where it is."""
        if now.version != ref.version:
            return "version"
        if trash in now.places:
            # Moved there by us before a crash, or by its owner: it was to go, and it goes.
            return ""
        if not now.places & covered:
            return "moved"
        decided = self._decided.get(now.msgid) or frozenset(containers_of(ref))
        return "labels" if decided != now.places else ""

    # --- proof --------------------------------------------------------------------------------

    def verify(
        self, folders: Sequence[MailFolder], refs: Sequence[Ref], control: Ref | None
    ) -> Iterator[Proof]:
        """Asked for by id in All Mail, Spam, Trash and the location's folders."""
        everything, trash, spam = self._labels.whole()
        if control is not None and not self._labels.anywhere([parse(control.key)]):
            yield from (Proof(r.key, Level.UNKNOWN, "control read failed") for r in refs)
            return
        if self._labels.cut_off((everything, trash, spam), self._limit):
            yield from (Proof(r.key, Level.UNKNOWN, "folder size limit") for r in refs)
            return
        wanted = {parse(ref.key) for ref in refs}
        others = [f for f in folders if f not in (everything, trash, spam)]
        shown: dict[int, Spot] = {}
        for folder in (everything, spam, *others):
            shown.update(self._labels.search(folder, wanted - shown.keys()))
        binned = self._labels.search(trash, wanted - shown.keys())
        for ref in refs:
            msgid = parse(ref.key)
            if msgid in shown or (msgid in binned and trash in folders):
                yield Proof(ref.key, Level.PRESENT, _HOW)
            elif msgid in binned:
                yield Proof(ref.key, Level.BIN, _HOW)
            else:
                yield Proof(ref.key, Level.GONE, _HOW)


def limit_of(told: Mapping[str, object]) -> int | None:
    """`maxFolderSize` in an account's IMAP settings; None where it is not told."""
    value = told.get("maxFolderSize", 0)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
