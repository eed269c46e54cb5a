"""Mail on an IMAP server: one connection, messages by folder, UIDVALIDITY and UID.

What keeps other people's mail safe: only `UID EXPUNGE` of exactly the given UIDs, never a plain
EXPUNGE, which also removes what somebody else merely marked; a server without UIDPLUS is refused.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, timedelta
from typing import cast

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
from retention.connectors.imap.copies import Copies, windows
from retention.connectors.imap.erasing import Erasing, refuse_unsafe
from retention.connectors.imap.probing import probe
from retention.connectors.imap.reading import (
    Key,
    Remembered,
    parse_key,
    present,
    read_records,
)
from retention.connectors.imap.session import Opened, Session
from retention.connectors.imap.settings import ImapLocation, ImapSystem
from retention.connectors.imap.spans import Range, cut, ranges_of
from retention.connectors.imap.wire import body_of
from retention.connectors.mail_folders import MailFolder, patterned, resolve
from retention.connectors.mail_sources import Sources, own_addresses
from retention.errors import PermanentFailure

_WINDOW = 10_000
_PAGE = 500
_WIDEST_ZONE = timedelta(hours=14)
"""No zone of the tz database is further from UTC."""
_HOW = "uid fetch + message-id search"

manifest = Manifest(
    kind="imap",
    title="Mail on an IMAP server",
    capabilities=Cap.DELETE | Cap.READ | Cap.PUSH_DOWN | Cap.COPIES | Cap.SHARDS,
    system_settings=ImapSystem,
    location_settings=ImapLocation,
    max_batch=500,
    patterned=patterned,
    notes=(
        "Backups of the server and mail that other programs fetched before are out of sight.",
        "A copy in another folder of the same location is a record of its own.",
        "A message without Message-ID is traced by its size and internal date.",
        "Gmail is refused: expunging there removes a label, not the message.",
    ),
)


def connect(opened: Opening) -> Connector:
    """A new session with a mail server; it connects when first used."""
    return ImapConnector(opened)


class ImapConnector:
    """One session with one mailbox."""

    def __init__(self, opened: Opening) -> None:
        settings = cast(ImapSystem, opened.settings)
        self._system = opened.system
        self._own = own_addresses(settings.own, settings.username)
        self._session = Session(opened.system, settings, opened.base)
        self._copies = Copies(self._session)
        self._found = Remembered()
        self._page = int(opened.extras.get("page", _PAGE))

    def __repr__(self) -> str:
        return f"ImapConnector({self._system})"

    def describe(self) -> Manifest:
        return manifest

    def close(self) -> None:
        self._found.forget()
        self._session.close()

    # --- looking ------------------------------------------------------------------------------

    def probe(self, targets: Sequence[Target]) -> Iterator[Probe]:
        return probe(self._session, targets, self._resolved)

    def containers(self, target: Target) -> tuple[str, ...]:
        return tuple(folder.name for folder in self._resolved(target))

    def _resolved(self, target: Target) -> tuple[MailFolder, ...]:
        settings = cast(ImapLocation, target.settings)
        return resolve(settings.folders, self._session.folders(), target.name)

    def _covered(self, target: Target) -> set[str]:
        """Names of the location's folders that are there; one that vanished stops no look."""
        settings = cast(ImapLocation, target.settings)
        folders = self._session.folders()
        covered: set[str] = set()
        for item in settings.folders:
            with suppress(PermanentFailure):
                covered.update(f.name for f in resolve((item,), folders, target.name))
        return covered

    def count(self, target: Target) -> int | None:
        return sum(self._copies.size(folder) for folder in self._resolved(target))

    def spans(self, target: Target, most: int, least: int) -> tuple[str | None, ...]:
        return cut(self._session, self._resolved(target), self._copies.size, most, least)

    def find(self, target: Target, cursor: str | None = None) -> Iterator[Page]:
        sources = Sources(target, self._own)
        criteria = _criteria(target)
        at = json.loads(cursor) if cursor else {}
        for folder in self._resolved(target):
            if folder.name < at.get("folder", ""):
                continue
            for within in ranges_of(target.span, folder.name):
                opened = self._session.open(folder.name, afresh=True)
                if within.epoch not in (None, opened.uidvalidity):
                    raise _void(self._system)
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
            self._same_epoch(opened)
            with session.translated("searching"):
                uids = session.wire.search(
                    b"UID %d:%d %s" % (low, high, criteria), extended=session.has("ESEARCH")
                )
            # Beyond the end, `lo:hi` names the last message too (RFC 3501 §9).
            uids = [uid for uid in uids if low <= uid <= high]
            scanned += min(_WINDOW, opened.exists - scanned)
            for start in range(0, len(uids), self._page):
                part = uids[start : start + self._page]
                self._same_epoch(opened)
                records = list(read_records(session, opened, part, sources))
                place = {"folder": name, "epoch": opened.uidvalidity, "next": part[-1] + 1}
                last = start + self._page >= len(uids)
                yield Page(records, json.dumps(place), scanned if last else 0)
                scanned = 0 if last else scanned

    def _same_epoch(self, before: Opened) -> None:
        """Between two pages the caller may have used this session for another folder."""
        now = self._session.open(before.folder.name)
        if now.uidvalidity != before.uidvalidity:
            raise _void(self._system)

    def recheck(self, target: Target, keys: Sequence[str]) -> Iterator[Record]:
        sources = Sources(target, self._own)
        for name, group in _by_folder(parse_key(key) for key in keys).items():
            if self._session.folder(name) is None:
                # The folder went, and its messages with it, or we may not see it any more: the
                # engine reads this as absent and verification says which.
                continue
            opened = self._session.open(name)
            if any(key.uidvalidity != opened.uidvalidity for key in group):
                raise _void(self._system)
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
        session = self._session
        for ref in refs:
            key = parse_key(ref.key)
            opened = session.open(key.folder)
            if opened.uidvalidity != key.uidvalidity:
                raise _void(self._system)
            with session.translated("reading a message"):
                found = list(session.wire.fetch(b"%d" % key.uid, b"UID BODY.PEEK[]"))
            for one in found:
                if int(one[b"UID"]) == key.uid:
                    name = f"{key.uidvalidity}-{key.uid}.eml"
                    yield Content(ref.key, "message/rfc822", name, body_of(one))

    # --- acting -------------------------------------------------------------------------------

    def erase(self, target: Target, refs: Sequence[Ref]) -> Iterator[Outcome]:
        if not refs:
            return
        refuse_unsafe(self._session)
        erasing = Erasing(self._session, Sources(target, self._own))
        for name, group in _refs_by_folder(refs).items():
            yield from erasing.folder(name, group)

    def mask(
        self,
        target: Target,  # noqa: ARG002 -- the protocol's signature
        refs: Sequence[Ref],  # noqa: ARG002 -- likewise
        values: Mapping[str, Scalar],  # noqa: ARG002 -- likewise
    ) -> Iterator[Outcome]:
        raise PermanentFailure(
            "mail cannot be masked", hint="use `delete`", place=self._system, code="unsupported"
        )

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
        trusted = control is None or self._is_there(control)
        if not trusted:
            yield from (Proof(ref.key, Level.UNKNOWN, "control read failed") for ref in refs)
            return
        covered = self._covered(target)
        moved: list[Ref] = []
        gone: list[Ref] = []
        for name, group in _refs_by_folder(refs).items():
            yield from self._look(name, group, gone, moved)
        outside = covered | {ref.container for ref in gone}
        yield from self._elsewhere(gone, outside)
        yield from self._elsewhere(moved, ())

    def _is_there(self, control: Ref) -> bool:
        key = parse_key(control.key)
        if self._session.folder(key.folder) is None:
            return False
        opened = self._session.open(key.folder)
        if opened.uidvalidity != key.uidvalidity:
            return False
        return any(True for _ in present(self._session, (key.uid,)))

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
        found = self._copies.among(folders, {ref.trace for ref in refs if ref.trace})
        for ref in refs:
            if ref.trace in found:
                yield Proof(ref.key, Level.PRESENT, "copy in another folder")
            elif but or ref.trace:
                yield Proof(ref.key, Level.GONE, _HOW if ref.trace else "uid fetch")
            else:
                yield Proof(ref.key, Level.UNKNOWN, "folder was replaced")


def _criteria(target: Target) -> bytes:
    """SEARCH keys for the bounds that the server can apply.

    BEFORE compares calendar days in a zone that the server does not tell, so the bound goes to
    the end of the latest day it can be anywhere. Date headers are not pushed down: servers differ
    in what they do with a message that has none, and it must never be left out.
    """
    keys = []
    for bound in target.bounds:
        if bound.source == "internal_date":
            latest = bound.instant.astimezone(UTC) + _WIDEST_ZONE
            day = (latest + timedelta(days=1)).date()
            keys.append(b"BEFORE %d-%s-%d" % (day.day, _MONTH[day.month - 1], day.year))
    return b" ".join(keys) or b"ALL"


_MONTH = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun",
          b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")  # fmt: skip


def _by_folder(keys: Iterable[Key]) -> dict[str, list[Key]]:
    out: dict[str, list[Key]] = {}
    for key in keys:
        out.setdefault(key.folder, []).append(key)
    return out


def _refs_by_folder(refs: Sequence[Ref]) -> dict[str, list[Ref]]:
    out: dict[str, list[Ref]] = {}
    for ref in refs:
        out.setdefault(parse_key(ref.key).folder, []).append(ref)
    return out


def _void(system: str) -> PermanentFailure:
    return PermanentFailure(
        "a folder was replaced or rebuilt (its UIDVALIDITY changed): what was found is void",
        hint="the next run finds its messages again",
        place=system,
        code="uidvalidity",
    )
