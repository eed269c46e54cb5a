"""Reading a location's folders into groups: every message, or old ones and their copies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from retention.connectors import mail_headers
from retention.connectors.base import Page, Record, Target
from retention.connectors.imap.answers import body_of
from retention.connectors.imap.copies import Copies, windows
from retention.connectors.imap.reading import parse_key, read_records, stay, void
from retention.connectors.imap.session import Opened, Session
from retention.connectors.imap.sets import uid_sets
from retention.connectors.imap.spans import Range
from retention.connectors.mail_folders import MailFolder
from retention.connectors.mail_groups import Groups
from retention.connectors.mail_index import Sightings
from retention.connectors.mail_places import Part, Unit, WholeSources
from retention.connectors.mail_sources import Own, Sources, trace_of
from retention.errors import PermanentFailure

ALL = b"ALL"
_WINDOW = 10_000
_CHUNK = 500
_ID = b"UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"

Pages = Callable[[Opened, int, Range, bytes, Sources], Iterator[Page]]
"""Messages of one open folder, from a UID on, that fulfil search criteria."""
Seen = Callable[[Target, Sources, Sequence[Record]], None]
Ends = dict[str, list[int]]
"""Folder → its UIDVALIDITY, and the UID before which messages count."""


class Collector:
    """For one session. `seen` gets every message that was read."""

    def __init__(
        self, session: Session, copies: Copies, own: Own, pages: Pages, seen: Seen
    ) -> None:
        self._session = session
        self._copies = copies
        self._own = own
        self._pages = pages
        self._seen = seen

    def everything(
        self,
        target: Target,
        unit: Unit,
        folders: Sequence[MailFolder],
        into: Groups,
        ends: Ends,
    ) -> Iterator[int]:
        """All messages; yields 0 now and then. `ends` is filled in where it says nothing."""
        sources = WholeSources(target, self._own, unit)
        for folder in folders:
            low, end = 1, self._end(folder, ends)
            yield from self._read(target, folder, (low, end), ALL, sources, into, None)

    def what_arrived(
        self,
        target: Target,
        folders: Sequence[MailFolder],
        now: Mapping[str, tuple[int, int]],
        into: Groups,
        ends: Ends,
    ) -> None:
        """Messages that came into these folders between `ends`, which then says so, and `now`."""
        sources = WholeSources(target, self._own, Unit.THREAD)
        for folder in folders:
            epoch, end = now[folder.name]
            low = ends[folder.name][1] if folder.name in ends else 1
            if end > low or folder.name not in ends:
                for _ in self._read(target, folder, (low, end), ALL, sources, into, None):
                    pass
                ends[folder.name] = [epoch, end]

    def old_ones(
        self,
        target: Target,
        folders: Sequence[MailFolder],
        into: Groups,
        ends: Ends,
        criteria: bytes,
    ) -> Iterator[int]:
        """Messages that fulfil the criteria, and copies of them that do not.

        The latest place of a message counts, so a copy beyond the bound must be known; of all
        others only the Message-ID is read. Yields how many of those there were, now and then.
        """
        sources = WholeSources(target, self._own, Unit.MESSAGE)
        known = Sightings()
        found = False
        for folder in folders:
            span = (1, self._end(folder, ends))
            for _ in self._read(target, folder, span, criteria, sources, into, known):
                found = True
                yield 0
        if found and criteria != ALL:
            others = Sightings()
            for folder in folders:
                yield from self._beyond(
                    target, folder, ends[folder.name][1], criteria, sources, into, known, others
                )

    def state(self, folder: MailFolder) -> tuple[int, int]:
        """UIDVALIDITY and UIDNEXT. Raises ConnectorError where we may not look."""
        now = self._copies.state(folder)
        if now is None:
            raise PermanentFailure(
                "a folder of the location cannot be looked into",
                hint="grant reading (l, r) on it, or leave it out of `folders`",
                place=self._session.system,
                code="folder_missing",
            )
        return now

    def _end(self, folder: MailFolder, ends: Ends) -> int:
        epoch, now = self.state(folder)
        before = ends.setdefault(folder.name, [epoch, now])
        if before[0] != epoch:
            raise void(self._session.system)
        return before[1]

    def _read(
        self,
        target: Target,
        folder: MailFolder,
        span: tuple[int, int],
        criteria: bytes,
        sources: WholeSources,
        into: Groups,
        known: Sightings | None,
    ) -> Iterator[int]:
        low, end = span
        if end <= low:
            return
        opened = self._session.open(folder.name, afresh=True)
        within = Range(folder.name, None, low, end - 1)
        for page in self._pages(opened, low, within, criteria, sources):
            self._take(target, folder, page.records, sources, into)
            if known is not None:
                for record in page.records:
                    known.add(record.ref.trace)
            yield 0

    def _take(
        self,
        target: Target,
        folder: MailFolder,
        records: Iterable[Record],
        sources: WholeSources,
        into: Groups,
    ) -> None:
        parts = [Part.of(record) for record in records]
        into.add(folder.name, [(parse_key(p.record.ref.key).uid, p) for p in parts])
        self._seen(target, sources, [p.record for p in parts])

    def _beyond(
        self,
        target: Target,
        folder: MailFolder,
        end: int,
        criteria: bytes,
        sources: WholeSources,
        into: Groups,
        known: Sightings,
        others: Sightings,
    ) -> Iterator[int]:
        session = self._session
        opened = session.open(folder.name, afresh=True)
        for low, last in list(windows(session, opened, _WINDOW)):
            stay(session, opened)
            with session.translated("searching"):
                uids = session.wire.search(
                    b"UID %d:%d NOT (%s)" % (low, last, criteria), extended=session.has("ESEARCH")
                )
            uids = [uid for uid in uids if low <= uid <= last and uid < end]
            for start in range(0, len(uids), _CHUNK):
                stay(session, opened)
                wanted, number = self._known_of(uids[start : start + _CHUNK], known, others)
                if wanted:
                    copies = read_records(session, opened, wanted, sources)
                    self._take(target, folder, copies, sources, into)
                yield number

    def _known_of(
        self, uids: Sequence[int], known: Sightings, others: Sightings
    ) -> tuple[list[int], int]:
        """Messages that may be copies of known ones, and how many more there are."""
        wanted: list[int] = []
        number = 0
        for numbers in uid_sets(uids):
            with self._session.translated("reading Message-IDs"):
                found = list(self._session.wire.fetch(numbers, _ID))
            for one in found:
                trace = trace_of(mail_headers.split(body_of(one)))
                if trace and trace in known:
                    wanted.append(int(one[b"UID"]))
                elif not trace or trace not in others:
                    # Without an id, a copy has the same date, and is not beyond the bound.
                    number += 1
                    if trace:
                        others.add(trace)
        return wanted, number
