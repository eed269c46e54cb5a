"""Mail on an IMAP server: one connection, messages by folder, UIDVALIDITY and UID.

What keeps other people's mail safe: only `UID EXPUNGE` of exactly the given UIDs, never a plain
EXPUNGE, which also removes what somebody else merely marked; a server without UIDPLUS is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from retention.connectors import mail_places
from retention.connectors.base import (
    Cap,
    Connector,
    Content,
    Level,
    Manifest,
    Outcome,
    Page,
    Probe,
    Proof,
    Record,
    Ref,
    Scalar,
    Target,
)
from retention.connectors.base import Opened as Opening
from retention.connectors.imap.answers import body_of
from retention.connectors.imap.asking import criteria_of
from retention.connectors.imap.collecting import Collector
from retention.connectors.imap.copies import Copies, windows
from retention.connectors.imap.erasing import Erasing, refuse_unsafe
from retention.connectors.imap.probing import probe
from retention.connectors.imap.proving import Proving
from retention.connectors.imap.reading import (
    Key,
    Remembered,
    by_folder,
    folder_of,
    parse_key,
    read_pages,
    read_records,
    stay,
    void,
)
from retention.connectors.imap.session import Opened, Session
from retention.connectors.imap.settings import ImapLocation, ImapSystem
from retention.connectors.imap.spans import Range, cut, range_of
from retention.connectors.imap.wholes import Wholes
from retention.connectors.mail_folders import MailFolder, covered, patterned, resolve
from retention.connectors.mail_places import Unit
from retention.connectors.mail_sources import Sources, own_addresses
from retention.connectors.unmasked import Unmasked
from retention.errors import PermanentFailure

_WINDOW = 10_000
_PAGE = 1000

manifest = Manifest(
    kind="imap",
    title="Mail on an IMAP server",
    capabilities=Cap.DELETE | Cap.READ | Cap.PUSH_DOWN | Cap.COPIES | Cap.SHARDS,
    system_settings=ImapSystem,
    location_settings=ImapLocation,
    max_batch=5000,
    patterned=patterned,
    places=mail_places.split,
    notes=(
        "Backups of the server and mail that other programs fetched before are out of sight.",
        "A message or thread in several folders of a location is one record with several places.",
        "A message without Message-ID is traced by its size and internal date.",
    ),
)


def connect(opened: Opening) -> Connector:
    """A new session with a mail server; it connects when first used."""
    return ImapConnector(opened)


class ImapConnector(Unmasked):
    """One session with one mailbox."""

    def __init__(self, opened: Opening) -> None:
        settings = cast(ImapSystem, opened.settings)
        self._system = opened.system
        self._own = own_addresses(settings.own, settings.username)
        self._session = Session(opened.system, settings, opened.base)
        self._copies = Copies(self._session)
        self._proving = Proving(self._session, self._copies)
        self._found = Remembered()
        self._page = int(opened.extras.get("page", _PAGE))
        collector = Collector(self._session, self._copies, self._own, self._pages, self._found.keep)
        self._wholes = Wholes(opened.system, collector, self._page)

    def __repr__(self) -> str:
        return f"ImapConnector({self._system})"

    def describe(self) -> Manifest:
        return manifest

    def close(self) -> None:
        self._found.forget()
        self._wholes.close()
        self._session.close()

    # --- looking ------------------------------------------------------------------------------

    def probe(self, targets: Sequence[Target]) -> Iterator[Probe]:
        return probe(self._session, targets, self._resolved)

    def containers(self, target: Target) -> tuple[str, ...]:
        return tuple(folder.name for folder in self._resolved(target))

    def _resolved(self, target: Target) -> tuple[MailFolder, ...]:
        settings = cast(ImapLocation, target.settings)
        found = resolve(settings.folders, self._session.folders(), target.name)
        return mail_places.nameable(found, target.name)

    def _covered(self, target: Target) -> set[str]:
        settings = cast(ImapLocation, target.settings)
        return covered(settings.folders, self._session.folders(), target.name)

    def count(self, target: Target) -> int | None:
        folders = self._resolved(target)
        if len(folders) > 1 or _unit(target) is Unit.THREAD:
            # Of how many records these messages are places, only reading them tells.
            return None
        return sum(self._copies.size(folder) for folder in folders)

    def spans(self, target: Target, most: int, least: int) -> tuple[str | None, ...]:
        folders = self._resolved(target)
        if len(folders) > 1 or _unit(target) is Unit.THREAD:
            # A cut would go through records.
            return (None,)
        if not folders:
            return (None,)
        return cut(self._session, folders[0], self._copies.size(folders[0]), most, least)

    def find(self, target: Target, cursor: str | None = None) -> Iterator[Page]:
        sources = Sources(target, self._own)
        criteria = criteria_of(target)
        folders = self._resolved(target)
        if target.span is None and mail_places.together(target, _unit(target), len(folders)):
            yield from self._wholes.find(target, _unit(target), folders, criteria, cursor)
            return
        at = json.loads(cursor) if cursor else {}
        if "ends" in at:
            raise void(self._system)
        for folder in folders:
            if folder.name < at.get("folder", ""):
                continue
            within = range_of(target.span, folder.name)
            opened = self._session.open(folder.name, afresh=True)
            if within is None or within.epoch not in (None, opened.uidvalidity):
                raise void(self._system)
            resumed = (folder.name, opened.uidvalidity) == (at.get("folder"), at.get("epoch"))
            first = max(int(at["next"]) if resumed else 1, within.low or 1)
            for page in self._pages(opened, first, within, criteria, sources):
                self._found.keep(target, sources, page.records)
                yield page

    def _pages(
        self, opened: Opened, first: int, within: Range, criteria: bytes, sources: Sources
    ) -> Iterator[Page]:
        session, name = self._session, opened.folder.name
        scanned = 0
        for low, end in list(windows(session, opened, _WINDOW, first=first)):
            high = end if within.high is None else min(end, within.high)
            if low > high:
                continue
            stay(session, opened)
            with session.translated("searching"):
                uids = session.wire.search(
                    b"UID %d:%d %s" % (low, high, criteria), extended=session.has("ESEARCH")
                )
            # Beyond the end, `lo:hi` names the last message too (RFC 3501 §9).
            uids = [uid for uid in uids if low <= uid <= high]
            scanned += min(_WINDOW, opened.exists - scanned)
            parts = [uids[at : at + self._page] for at in range(0, len(uids), self._page)]
            for n, records in enumerate(read_pages(session, opened, parts, sources), start=1):
                place = {"folder": name, "epoch": opened.uidvalidity, "next": parts[n - 1][-1] + 1}
                last = n == len(parts)
                yield Page(records, json.dumps(place), scanned if last else 0)
                scanned = 0 if last else scanned

    def recheck(self, target: Target, keys: Sequence[str]) -> Iterator[Record]:
        return mail_places.recheck(
            keys, lambda places: self._read_places(target, places), self._beside(target)
        )

    def _beside(self, target: Target) -> mail_places.Beside | None:
        """For threads: what belongs to them that their keys do not name."""
        if _unit(target) is not Unit.THREAD:
            return None
        return lambda keys: self._wholes.beside(target, self._resolved(target), keys)

    def _read_places(self, target: Target, keys: Sequence[str]) -> Iterator[Record]:
        sources = Sources(target, self._own)
        for name, group in by_folder(map(parse_key, keys)).items():
            if self._session.folder(name) is None:
                # The folder went, and its messages with it, or we may not see it any more: the
                # engine reads this as absent and verification says which.
                continue
            opened = self._session.open(name)
            if any(key.uidvalidity != opened.uidvalidity for key in group):
                raise void(self._system)
            uids = {key.uid for key in group}
            if not sources.flags:
                for record in self._found.confirmed(self._session, opened, uids, target):
                    uids.discard(parse_key(record.ref.key).uid)
                    yield record
            yield from read_records(self._session, opened, uids, sources)

    def read(
        self,
        target: Target,  # noqa: ARG002 -- a key says all
        refs: Sequence[Ref],
    ) -> Iterator[Content]:
        for ref in refs:
            keys = [parse_key(place) for place in mail_places.split(ref.key)]
            bodies = [body for key in keys for body in self._bodies(key)]
            if bodies:
                yield mail_places.content(ref, f"{keys[0].uidvalidity}-{keys[0].uid}", bodies)

    def _bodies(self, key: Key) -> list[bytes]:
        session = self._session
        if session.folder(key.folder) is None:
            return []
        opened = session.open(key.folder)
        if opened.uidvalidity != key.uidvalidity:
            raise void(self._system)
        with session.translated("reading a message"):
            found = list(session.wire.fetch(b"%d" % key.uid, b"UID BODY.PEEK[]"))
        return [body_of(one) for one in found if int(one[b"UID"]) == key.uid]

    # --- acting -------------------------------------------------------------------------------

    def erase(self, target: Target, refs: Sequence[Ref]) -> Iterator[Outcome]:
        if not refs:
            return
        refuse_unsafe(self._session)
        erasing = Erasing(self._session, Sources(target, self._own))
        places = mail_places.Places(folder_of, erasing.versions, erasing.erase)
        yield from mail_places.erase(refs, places, self._beside(target))

    # --- proof --------------------------------------------------------------------------------

    def verify(
        self,
        target: Target,
        refs: Sequence[Ref],
        control: Ref | None,
        masked: Mapping[str, Scalar] | None = None,
    ) -> Iterator[Proof]:
        if masked is not None:
            raise PermanentFailure("mail cannot be masked", place=self._system, code="unsupported")
        if control is not None and not self._proving.can_read(control):
            yield from (Proof(ref.key, Level.UNKNOWN, "control read failed") for ref in refs)
            return
        known = self._covered(target)
        yield from mail_places.verify(refs, folder_of, lambda r: self._proving.of(r, known))


def _unit(target: Target) -> Unit:
    return cast(ImapLocation, target.settings).unit
