"""From FETCH responses to records."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from retention.connectors import mail_headers
from retention.connectors.base import Record, Ref, Target
from retention.connectors.imap.answers import Items, body_of, has_body, instant
from retention.connectors.imap.session import Opened, Session
from retention.connectors.imap.sets import expand, uid_sets
from retention.connectors.imap.wire import Ahead
from retention.connectors.mail_sources import Message, Sources, trace_of, trace_without_id
from retention.errors import PermanentFailure, TemporaryFailure


class Key(NamedTuple):
    """A message's identity on its server (RFC 3501 §2.3.1.1): never reused."""

    folder: str
    uidvalidity: int
    uid: int

    def __str__(self) -> str:
        return f"{self.folder}/{self.uidvalidity}/{self.uid}"


@lru_cache(maxsize=8192)
def parse_key(key: str) -> Key:
    """Folder names may hold slashes: read from the right. Raises PermanentFailure."""
    # Remembered, because one act asks for the same few thousand keys several times over.
    parts = key.rsplit("/", 2)
    if len(parts) == 3 and parts[1].isdecimal() and parts[2].isdecimal():
        return Key(parts[0], int(parts[1]), int(parts[2]))
    raise PermanentFailure("a key is none of this connector's", code="bad_key")


def folder_of(key: str) -> str:
    """The folder of a message."""
    return parse_key(key).folder


def by_folder(keys: Iterable[Key]) -> dict[str, list[Key]]:
    """Keys by folder, in the order in which the folders first come."""
    out: dict[str, list[Key]] = {}
    for key in keys:
        out.setdefault(key.folder, []).append(key)
    return out


def refs_by_folder(refs: Iterable[Ref]) -> dict[str, list[Ref]]:
    """Refs of single messages by folder, likewise."""
    out: dict[str, list[Ref]] = {}
    for ref in refs:
        out.setdefault(parse_key(ref.key).folder, []).append(ref)
    return out


def version_of(opened: Opened, items: Items, sources: Sources) -> str:
    """Fingerprint: a UID's content cannot change, but flags can, and a folder can be replaced."""
    return _version(opened, items, instant(items.get(b"INTERNALDATE", b"")), sources)


def _version(opened: Opened, items: Items, received: datetime | None, sources: Sources) -> str:
    seconds = int(received.timestamp()) if received else ""
    mark = sources.flags_mark(flags_of(items)) if sources.flags_decide else ""
    return f"{opened.uidvalidity}.{seconds}{mark}"


def message_of(folder: str, items: Items, sources: Sources) -> Message:
    """A message as far as it was asked for. Headers too long to be read: no dates, never due."""
    size = items.get(b"RFC822.SIZE")
    headers = body_of(items)
    return Message(
        folder,
        None if headers == mail_headers.TOO_LONG else instant(items[b"INTERNALDATE"]),
        mail_headers.split(headers),
        flags_of(items) if sources.flags else (),
        int(size) if size is not None else None,
    )


def flags_of(items: Items) -> tuple[str, ...]:
    """The flags as text."""
    return tuple(f.decode("ascii", "replace") for f in items.get(b"FLAGS") or ())


def precondition_items(sources: Sources) -> bytes:
    """What `version_of` needs."""
    return b"UID INTERNALDATE FLAGS" if sources.flags_decide else b"UID INTERNALDATE"


def read_pages(
    session: Session, opened: Opened, parts: Iterable[Sequence[int]], sources: Sources
) -> Iterator[list[Record]]:
    """These messages of the open folder, part by part; while one is used the next is fetched.

    An answer belongs to the folder that was open when it was asked for, so that nothing is lost
    where the caller opens another one between two parts. Raises TemporaryFailure.
    """
    under_way: list[tuple[set[int], list[Ahead]]] = []
    for part in parts:
        stay(session, opened)
        under_way.append((set(part), _ask(session, part, sources)))
        if len(under_way) > 1:
            yield list(_told(session, opened, *under_way.pop(0), sources))
    for asked in under_way:
        stay(session, opened)
        yield list(_told(session, opened, *asked, sources))


def stay(session: Session, before: Opened) -> None:
    """Have this folder open: the caller may have used the session for another one meanwhile.

    Raises PermanentFailure where it was replaced.
    """
    name, epoch = before.folder.name, before.uidvalidity
    now = session.opened
    if now is None or (now.folder.name, now.uidvalidity) != (name, epoch):
        now = session.open(name)
    if now.uidvalidity != epoch:
        raise void(session.system)


def void(system: str) -> PermanentFailure:
    """The error for a folder that is not the one it was."""
    return PermanentFailure(
        "a folder was replaced or rebuilt (its UIDVALIDITY changed): what was found is void",
        hint="the next run finds its messages again",
        place=system,
        code="uidvalidity",
    )


def read_records(
    session: Session, opened: Opened, uids: Iterable[int], sources: Sources
) -> Iterator[Record]:
    """These messages of the open folder, those that are there, in the server's order."""
    wanted = set(uids)
    return _told(session, opened, wanted, _ask(session, wanted, sources), sources)


def _ask(session: Session, uids: Collection[int], sources: Sources) -> list[Ahead]:
    wanted = [b"UID INTERNALDATE"]
    wanted += [b"FLAGS"] if sources.flags else []
    wanted += [b"RFC822.SIZE"] if sources.size else []
    names = " ".join(sources.headers).upper().encode("ascii")
    wanted.append(b"BODY.PEEK[HEADER.FIELDS (%s)]" % names)
    items = b" ".join(wanted)
    with session.translated("reading messages"):
        return [session.wire.ahead(numbers, expand(numbers), items) for numbers in uid_sets(uids)]


def _told(
    session: Session, opened: Opened, missing: set[int], asked: Iterable[Ahead], sources: Sources
) -> Iterator[Record]:
    """What the server answered. Raises TemporaryFailure where that is not all."""
    without_id: list[Record] = []
    for answer in asked:
        with session.translated("reading messages"):
            found = answer.read()
        for one in found:
            uid = int(one[b"UID"])
            if uid not in missing or (record := _record(opened, uid, one, sources)) is None:
                continue
            missing.discard(uid)
            if record.ref.trace:
                yield record
            else:
                without_id.append(record)
    if without_id:
        yield from _traced_by_size(session, without_id)
    if missing and any(True for _ in present(session, missing)):
        # A message left out would be a message forgotten.
        raise TemporaryFailure(
            "the server did not tell all about some messages",
            place=session.system,
            code="incomplete",
        )


def present(session: Session, uids: Iterable[int]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """(UID, flags) of those of these UIDs that the open folder still holds."""
    wanted = set(uids)
    for numbers in uid_sets(wanted):
        with session.translated("looking whether messages are there"):
            found = list(session.wire.fetch(numbers, b"UID FLAGS"))
        for one in found:
            if (uid := int(one[b"UID"])) in wanted:
                wanted.discard(uid)
                yield uid, flags_of(one)


def there(session: Session, uids: Iterable[int]) -> list[int]:
    """Those of these UIDs that the open folder still holds, ascending."""
    wanted = set(uids)
    found: list[int] = []
    for numbers in uid_sets(wanted):
        with session.translated("looking whether messages are there"):
            found += session.wire.search(b"UID " + numbers, extended=session.has("ESEARCH"))
    return [uid for uid in found if uid in wanted]


def _record(opened: Opened, uid: int, items: Items, sources: Sources) -> Record | None:
    if b"INTERNALDATE" not in items or not has_body(items):
        # News about flags that nobody asked for, not the answer.
        return None
    name = opened.folder.name
    message = message_of(name, items, sources)
    ref = Ref(
        name,
        f"{name}/{opened.uidvalidity}/{uid}",
        _version(opened, items, message.received or instant(items[b"INTERNALDATE"]), sources),
        trace_of(message.headers),
    )
    return Record(ref, sources.dates(message), sources.fields(message))


def _traced_by_size(session: Session, records: list[Record]) -> Iterator[Record]:
    """Messages without Message-ID, rare: their copies are known by size and internal date."""
    by_uid = {parse_key(r.ref.key).uid: r for r in records}
    for uid, trace in traces_by_size(session, by_uid):
        record = by_uid[uid]
        yield record._replace(ref=record.ref._replace(trace=trace))


def traces_by_size(session: Session, uids: Iterable[int]) -> Iterator[tuple[int, str]]:
    """(UID, trace) of messages without Message-ID in the open folder."""
    wanted = set(uids)
    for numbers in uid_sets(wanted):
        with session.translated("reading sizes"):
            found = list(session.wire.fetch(numbers, b"UID INTERNALDATE RFC822.SIZE"))
        for one in found:
            if b"RFC822.SIZE" in one and (uid := int(one[b"UID"])) in wanted:
                wanted.discard(uid)
                size = int(one[b"RFC822.SIZE"])
                yield uid, trace_without_id(size, instant(one.get(b"INTERNALDATE", b"")))


class Remembered:
    """Records as `find` read them, for the recheck of the same session; bounded, never printed.

    A message's headers, size and internal date can never change under its UID (RFC 3501
    §2.3.1.1), so asking whether the UID is there is reading it again; the act compares the date
    once more. Flags can change: where anything rests on them, nothing is remembered.
    """

    _MOST = 20_000
    _PEOPLE = 100
    """Addresses of one message; who writes to a thousand is read again."""

    def __init__(self) -> None:
        self._read: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self._records: dict[str, Record] = {}

    def keep(self, target: Target, sources: Sources, records: Iterable[Record]) -> None:
        """Remember what was found, as far as there is room."""
        if sources.flags:
            return
        if self._read != (target.dates, target.fields):
            self.forget()
            self._read = (target.dates, target.fields)
        for record in records:
            if len(self._records) >= self._MOST:
                return
            if sum(len(v) for v in record.fields.values() if isinstance(v, tuple)) <= self._PEOPLE:
                self._records[record.ref.key] = record

    def confirmed(
        self, session: Session, opened: Opened, uids: Iterable[int], target: Target
    ) -> Iterator[Record]:
        """Those of these messages that are remembered and, asked for now, still there."""
        if self._read != (target.dates, target.fields):
            return
        prefix = f"{opened.folder.name}/{opened.uidvalidity}/"
        known = {u: r for u in uids if (r := self._records.pop(f"{prefix}{u}", None))}
        for uid in there(session, known):
            yield known[uid]

    def forget(self) -> None:
        """Drop everything."""
        self._records.clear()
