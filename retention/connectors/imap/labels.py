"""Gmail's mailbox: one store of messages, of which folders are views; a message is its X-GM-MSGID.

What IMAP does not show cannot be found, nor proved gone: All Mail, Spam and Trash must be shown,
and no folder may look cut off (`maxFolderSize`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from retention.connectors.base import TOGETHER, Record, Ref
from retention.connectors.imap.answers import Items, has_body, instant, status_in
from retention.connectors.imap.asking import quoted
from retention.connectors.imap.failures import RefusedError
from retention.connectors.imap.reading import flags_of, message_of, present
from retention.connectors.imap.session import Opened, Session
from retention.connectors.imap.sets import uid_sets
from retention.connectors.mail_folders import INBOX, MailFolder, decode_utf7
from retention.connectors.mail_sources import Sources
from retention.errors import PermanentFailure, TemporaryFailure

LIMITS = frozenset({1000, 2000, 5000, 10_000})
"""Folder sizes that an account can be limited to (Gmail API, ImapSettings.maxFolderSize)."""
PREFIX = "gm/"
MAILBOX = "(one Gmail mailbox)"
"""A container that all locations of a Gmail system share: any two may show one message."""
_SPECIAL_OF = {
    "\\sent": "\\sent",
    "\\draft": "\\drafts",
    "\\drafts": "\\drafts",
    "\\starred": "\\flagged",
    "\\important": "\\important",
    "\\spam": "\\junk",
    "\\junk": "\\junk",
    "\\trash": "\\trash",
}
"""A system label as X-GM-LABELS spells it → the special use of its folder."""
_AT_ONCE = 20
"""Ids in one SEARCH."""
_WHO = b"UID X-GM-MSGID X-GM-LABELS INTERNALDATE"


class Spot(NamedTuple):
    """Where a message was seen."""

    folder: str
    uid: int


class Seen(NamedTuple):
    """A message as an act looks at it."""

    msgid: int
    spot: Spot
    version: str
    places: frozenset[str]
    """Names of all folders that show it."""


def key_of(msgid: int) -> str:
    """The key of a message; the same in whatever folder it is met."""
    return f"{PREFIX}{msgid}"


def parse(key: str) -> int:
    """The id in a key. Raises PermanentFailure."""
    number = key.removeprefix(PREFIX)
    if key.startswith(PREFIX) and number.isascii() and number.isdecimal() and len(number) <= 20:
        return int(number)
    raise PermanentFailure(
        "a key is none of a Gmail message",
        hint="was it found before the system's profile changed?",
        code="bad_key",
    )


class Labels:
    """Looks for messages by id, in the folders of one session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    # --- folders ------------------------------------------------------------------------------

    def whole(self) -> tuple[MailFolder, MailFolder, MailFolder]:
        """All Mail, Trash and Spam: every message is in one of them. Raises PermanentFailure."""
        return self._special("\\all"), self.trash(), self._special("\\junk")

    def trash(self) -> MailFolder:
        """The Trash, whatever it is called. Raises PermanentFailure where it is not shown."""
        return self._special("\\trash")

    def _special(self, use: str) -> MailFolder:
        for folder in self._session.folders(again=False):
            if use in folder.special and folder.selectable and not folder.foreign:
                return folder
        raise PermanentFailure(
            f"Gmail does not show the folder marked {use} over IMAP",
            hint="Settings, Labels: tick “Show in IMAP” for All Mail, Spam and Trash",
            place=self._session.system,
            code="gmail_hidden",
        )

    def size(self, folder: MailFolder) -> int:
        """Messages in a folder now."""
        with self._session.translated("counting messages"):
            responses = self._session.wire.run(b"STATUS %s (MESSAGES)" % quoted(folder.raw))
        for facts in map(status_in, responses):
            if b"MESSAGES" in facts:
                return facts[b"MESSAGES"]
        raise TemporaryFailure(
            "the server did not tell the size of a folder",
            place=self._session.system,
            code="incomplete",
        )

    def uidnext(self, folder: MailFolder) -> int:
        """The UID that the next message in a folder will have at least."""
        return self._session.open(folder.name, write=True, afresh=True).uidnext

    def cut_off(self, folders: Iterable[MailFolder], limit: int | None) -> str:
        """The name of a folder that may hide older mail; "" where none does.

        `limit`: the account's `maxFolderSize`, 0 for none; None: unknown, guessed by numbers.
        """
        if limit == 0:
            return ""
        for folder in folders:
            size = self.size(folder)
            if size in LIMITS if limit is None else size >= limit:
                return folder.name
        return ""

    def places(self, labels: Iterable[bytes], selected: MailFolder) -> frozenset[str]:
        """Names of the folders that show a message. X-GM-LABELS leaves the selected one out."""
        by_use = {use: f.name for f in self._session.folders(again=False) for use in f.special}
        found = {selected.name}
        if not selected.special & {"\\trash", "\\junk"}:
            found.add(by_use.get("\\all", selected.name))
        for raw in labels:
            name = decode_utf7(raw)
            if name.lower() == "\\inbox":
                found.add(INBOX)
            elif name.startswith("\\"):
                use = _SPECIAL_OF.get(name.lower(), "")
                found.update({by_use[use]} if use in by_use else ())
            else:
                found.add(name)
        return frozenset(found)

    # --- messages -----------------------------------------------------------------------------

    def search(self, folder: MailFolder, msgids: Collection[int]) -> dict[int, Spot]:
        """Where these messages are in a folder, asked for by their ids and read back."""
        found: dict[int, Spot] = {}
        wanted = sorted(msgids)
        if not wanted:
            return found
        self._session.open(folder.name, afresh=True)
        for start in range(0, len(wanted), _AT_ONCE):
            uids = self._searched(wanted[start : start + _AT_ONCE])
            found.update({m: Spot(folder.name, uid) for uid, m in self.ids(uids)})
        return {msgid: spot for msgid, spot in found.items() if msgid in set(wanted)}

    def _searched(self, msgids: list[int]) -> list[int]:
        session = self._session
        terms = [b"X-GM-MSGID %d" % msgid for msgid in msgids]
        extended = session.has("ESEARCH")
        with session.translated("looking for messages"):
            try:
                together = b"OR " * (len(terms) - 1) + b" ".join(terms)
                return session.wire.search(together, extended=extended)
            except RefusedError as error:
                if error.status != "BAD" or len(terms) == 1:
                    raise
                # A server that does not take so many terms takes them one by one.
                return [u for t in terms for u in session.wire.search(t, extended=extended)]

    def anywhere(self, msgids: Collection[int], also: Iterable[MailFolder] = ()) -> dict[int, Spot]:
        """Where these messages are: in All Mail, Trash, Spam, or the other folders."""
        found: dict[int, Spot] = {}
        for folder in (*self.whole(), *also):
            left = {m for m in msgids if m not in found}
            if not left:
                break
            found.update(self.search(folder, left))
        return found

    def ids(self, uids: Iterable[int]) -> Iterator[tuple[int, int]]:
        """(UID, id) of those of these UIDs that the open folder holds."""
        wanted = set(uids)
        for numbers in uid_sets(wanted):
            yield from (pair for pair in self._told(numbers) if pair[0] in wanted)

    def ids_from(self, first: int) -> Iterator[tuple[int, int]]:
        """(UID, id) of what the open folder holds from this UID on."""
        # Where there is nothing, `n:*` names the last message (RFC 3501 §9).
        yield from (pair for pair in self._told(b"%d:*" % first) if pair[0] >= first)

    def _told(self, numbers: bytes) -> list[tuple[int, int]]:
        with self._session.translated("looking for messages"):
            told = list(self._session.wire.fetch(numbers, b"UID X-GM-MSGID"))
        return [(int(one[b"UID"]), _number(one)) for one in told if b"X-GM-MSGID" in one]

    def look(
        self, folder: str, uids: Iterable[int], sources: Sources, *, write: bool = False
    ) -> Iterator[Seen]:
        """These messages of a folder as they are now, for an act that rests on it."""
        session = self._session
        opened = session.open(folder, write=write)
        items = _WHO + (b" FLAGS" if sources.flags_decide else b"")
        for numbers in uid_sets(uids):
            with session.translated("looking before deleting"):
                told = list(session.wire.fetch(numbers, items))
            for one in told:
                if _whole(one) and (b"FLAGS" in one or not sources.flags_decide):
                    yield Seen(
                        _number(one),
                        Spot(folder, int(one[b"UID"])),
                        version_of(one, sources),
                        self.places(_labels(one), opened.folder),
                    )

    def read(
        self, opened: Opened, uids: Iterable[int], sources: Sources
    ) -> Iterator[tuple[int, Record]]:
        """(UID, record) of messages of the open folder, those that are there."""
        session = self._session
        names = " ".join(sources.headers).upper().encode("ascii")
        items = _WHO + (b" FLAGS" if sources.flags else b"")
        items += b" RFC822.SIZE" if sources.size else b""
        items += b" BODY.PEEK[HEADER.FIELDS (%s)]" % names
        missing = set(uids)
        for numbers in uid_sets(missing):
            with session.translated("reading messages"):
                told = list(session.wire.fetch(numbers, items))
            for one in told:
                if (uid := int(one[b"UID"])) in missing and _whole(one) and has_body(one):
                    missing.discard(uid)
                    yield uid, self._record(opened, one, sources)
        if missing and any(True for _ in present(session, missing)):
            # A message left out would be a message forgotten.
            raise TemporaryFailure(
                "the server did not tell all about some messages",
                place=session.system,
                code="incomplete",
            )

    def _record(self, opened: Opened, one: Items, sources: Sources) -> Record:
        places = self.places(_labels(one), opened.folder)
        message = message_of(opened.folder.name, one, sources)
        fields = sources.fields(message)
        if "folder" in fields:
            fields["folder"] = tuple(sorted(places))
        together = TOGETHER.join(sorted(places))
        ref = Ref(together, key_of(_number(one)), version_of(one, sources))
        return Record(ref, sources.dates(message), fields)


def version_of(one: Items, sources: Sources) -> str:
    """Fingerprint: the content behind an id never changes; labels are looked at by themselves."""
    received = instant(one[b"INTERNALDATE"])
    seconds = int(received.timestamp()) if received else ""
    mark = sources.flags_mark(flags_of(one)) if sources.flags_decide else ""
    return f"gm.{seconds}{mark}"


def grouped(spots: Mapping[int, Spot]) -> dict[str, dict[int, int]]:
    """Folder → {UID: id}."""
    out: dict[str, dict[int, int]] = {}
    for msgid, spot in spots.items():
        out.setdefault(spot.folder, {})[spot.uid] = msgid
    return out


def _whole(one: Items) -> bool:
    return {b"X-GM-MSGID", b"X-GM-LABELS", b"INTERNALDATE"} <= one.keys()


def _number(one: Items) -> int:
    told = one.get(b"X-GM-MSGID", b"")
    return int(told) if isinstance(told, bytes) and told.isdigit() else 0


def _labels(one: Items) -> Iterable[bytes]:
    told = one[b"X-GM-LABELS"]
    return told if isinstance(told, list) else ()
