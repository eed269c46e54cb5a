"""Mail in a Maildir on this machine, for those who run the mail server themselves.

The act is an unlink after the file was found to be what it was. Dovecot and others notice by
themselves; their index files are left alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from retention.connectors import mail_places
from retention.connectors.base import (
    Cap,
    Connector,
    Content,
    Level,
    Manifest,
    Opened,
    Outcome,
    Page,
    Probe,
    Proof,
    Record,
    Ref,
    Scalar,
    Target,
)
from retention.connectors.mail_folders import MailFolder, covered, patterned, resolve
from retention.connectors.mail_places import Unit
from retention.connectors.mail_sources import (
    Sources,
    own_addresses,
)
from retention.connectors.maildir.copies import Copies
from retention.connectors.maildir.erasing import Erasing
from retention.connectors.maildir.listing import Listing
from retention.connectors.maildir.proving import Look
from retention.connectors.maildir.reading import (
    by_folder,
    folder_of,
    record_of,
    split_key,
)
from retention.connectors.maildir.settings import MaildirLocation, MaildirSystem
from retention.connectors.maildir.store import (
    Entry,
    Store,
    header_block,
    received_of,
    status_of,
)
from retention.connectors.maildir.wholes import Wholes
from retention.connectors.unmasked import Unmasked
from retention.errors import ConnectorError, PermanentFailure

_PAGE = 500

manifest = Manifest(
    kind="maildir",
    title="Mail in a Maildir on this machine",
    capabilities=Cap.DELETE | Cap.READ | Cap.PUSH_DOWN | Cap.COPIES,
    system_settings=MaildirSystem,
    location_settings=MaildirLocation,
    max_batch=500,
    places=mail_places.split,
    patterned=patterned,
    notes=(
        "Backups, snapshots and hard links outside this Maildir are out of sight.",
        "A message or thread in several folders of a location is one record with several places.",
        "A message without Message-ID is traced by its size and date.",
        "Index files of the mail server are left alone: it notices by itself.",
    ),
)


def connect(opened: Opened) -> Connector:
    """A new session with a Maildir."""
    return MaildirConnector(opened)


class MaildirConnector(Unmasked):
    """One session with one Maildir."""

    def __init__(self, opened: Opened) -> None:
        settings = cast(MaildirSystem, opened.settings)
        self._system = opened.system
        self._own = own_addresses(settings.own)
        self._store = Store(opened.system, Path(opened.base, settings.path))
        self._copies = Copies(self._store)
        self._page = int(opened.extras.get("page", _PAGE))
        self._listing = Listing(self._store)
        self._wholes = Wholes(self._store, self._own, self._page, self._records)

    def __repr__(self) -> str:
        return f"MaildirConnector({self._system})"

    def describe(self) -> Manifest:
        return manifest

    def close(self) -> None:
        self._listing.forget()
        self._wholes.close()

    # --- looking ------------------------------------------------------------------------------

    def probe(self, targets: Sequence[Target]) -> Iterator[Probe]:
        try:
            folders = self._store.folders()
        except ConnectorError as error:
            yield Probe("path", ok=False, detail=error.message, hint=error.hint)
            return
        yield Probe("path", ok=True, detail=f"a Maildir with {len(folders)} folders")
        for target in targets:
            check = f"location {target.name}"
            try:
                covered = self._resolved(target)
                counts = [self._store.size(folder) for folder in covered]
                closed = sum(not self._writable(folder) for folder in covered)
            except ConnectorError as error:
                yield Probe(check, ok=False, detail=error.message, hint=error.hint)
                continue
            told = f"{len(covered)} folders with {sum(counts)} messages"
            yield Probe(check, ok=bool(covered), detail=told)
            if closed:
                yield Probe(
                    check,
                    ok=False,
                    detail=f"{closed} folders cannot be written to",
                    hint="deleting a message needs the right to write to its folder",
                )

    def _writable(self, folder: MailFolder) -> bool:
        with self._store.opened(folder) as at:
            return os.access("cur", os.W_OK | os.X_OK, dir_fd=at, effective_ids=True)

    def containers(self, target: Target) -> tuple[str, ...]:
        return tuple(folder.name for folder in self._resolved(target))

    def _resolved(self, target: Target) -> tuple[MailFolder, ...]:
        settings = cast(MaildirLocation, target.settings)
        found = resolve(settings.folders, self._store.folders(), target.name)
        return mail_places.nameable(found, target.name)

    def count(self, target: Target) -> int | None:
        folders = self._resolved(target)
        if len(folders) > 1 or _unit(target) is Unit.THREAD:
            # Of how many records these messages are places, only reading them tells.
            return None
        return sum(self._store.size(folder) for folder in folders)

    def find(self, target: Target, cursor: str | None = None) -> Iterator[Page]:
        folders = self._resolved(target)
        if mail_places.together(target, _unit(target), len(folders)):
            yield from self._wholes.find(target, _unit(target), folders, cursor)
            return
        sources = Sources(target, self._own)
        at = json.loads(cursor) if cursor else {}
        before = [b.instant for b in target.bounds if b.source == "internal_date"]
        bound = min(before) if before else None
        if "first" in at:
            raise PermanentFailure(
                "the location's folders are others now: what was found is void",
                hint="the next run finds its messages again",
                place=self._system,
                code="folders",
            )
        for folder in folders:
            if folder.name < at.get("folder", ""):
                continue
            resumed = at if folder.name == at.get("folder") else {}
            yield from self._pages(folder, resumed, bound, sources)

    def _pages(
        self, folder: MailFolder, at: Mapping[str, Any], bound: datetime | None, sources: Sources
    ) -> Iterator[Page]:
        parts = self._store.sorted_parts(folder, int(at.get("part", 0)), int(at.get("parts", 0)))
        for number, total, listed in parts:
            after = at.get("after", "") if number == int(at.get("part", -1)) else ""
            entries = [e for e in listed if e.base > after]
            self._listing.remember(folder, entries)
            for start in range(0, len(entries), self._page):
                part = entries[start : start + self._page]
                records = self._records(folder, part, sources, bound)
                place = {
                    "folder": folder.name,
                    "part": number,
                    "parts": total,
                    "after": part[-1].base,
                }
                yield Page(records, json.dumps(place), len(part))

    def _records(
        self,
        folder: MailFolder,
        entries: Iterable[Entry],
        sources: Sources,
        bound: datetime | None = None,
        *,
        again: bool = True,
    ) -> list[Record]:
        out: list[Record] = []
        moved: set[str] = set()
        with self._store.opened(folder) as at:
            for entry in entries:
                try:
                    if bound is not None and received_of(status_of(at, entry)) >= bound:
                        continue
                    read = header_block(at, entry)
                except FileNotFoundError:
                    read = None
                if read is None:
                    moved.add(entry.base)
                else:
                    out.append(record_of(folder, entry, *read, sources))
        if moved and again:
            # Flags changed while we looked, so the name did: find it once more.
            found = self._store.locate(folder, moved).values()
            out += self._records(folder, found, sources, bound, again=False)
        return out

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
        folders = {f.name: f for f in self._store.folders()}
        for name, bases in by_folder(keys).items():
            if (folder := folders.get(name)) is None:
                continue
            entries = self._listing.locate(folder, bases)
            yield from self._records(folder, entries.values(), sources)

    def read(
        self,
        target: Target,  # noqa: ARG002 -- a key says all
        refs: Sequence[Ref],
    ) -> Iterator[Content]:
        folders = {f.name: f for f in self._store.folders()}
        for ref in refs:
            found = [
                body
                for name, base in map(split_key, mail_places.split(ref.key))
                if (body := self._body(folders.get(name), base)) is not None
            ]
            if found:
                yield mail_places.content(ref, found[0][0], [data for _, data in found])

    def _body(self, folder: MailFolder | None, base: str) -> tuple[str, bytes] | None:
        """A file name that says nothing, and the message."""
        entry = self._listing.locate(folder, {base}).get(base) if folder else None
        if folder is None or entry is None:
            return None
        with self._store.opened(folder) as at:
            file = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=at)
            with os.fdopen(file, "rb") as stream:
                status = os.fstat(stream.fileno())
                return f"{int(status.st_mtime)}-{status.st_ino}", stream.read()

    # --- acting -------------------------------------------------------------------------------

    def erase(self, target: Target, refs: Sequence[Ref]) -> Iterator[Outcome]:
        if not refs:
            return
        erasing = Erasing(self._store, self._listing, Sources(target, self._own))
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
        settings = cast(MaildirLocation, target.settings)
        folders = self._store.folders()
        known = covered(settings.folders, folders, target.name)
        look = Look(self._store, self._copies, {f.name: f for f in folders})
        if control is not None and not look.can_read(control):
            yield from (Proof(ref.key, Level.UNKNOWN, "control read failed") for ref in refs)
            return
        yield from mail_places.verify(refs, folder_of, lambda places: look.of(places, known))


def _unit(target: Target) -> Unit:
    return cast(MaildirLocation, target.settings).unit
