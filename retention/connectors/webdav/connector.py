"""Files on a WebDAV server, Nextcloud above all: found, deleted, purged from the bin, proved."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast
from zoneinfo import ZoneInfo

from retention.clock import Clock, SystemClock
from retention.connectors.base import (
    Cap,
    Connector,
    Content,
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
from retention.connectors.unmasked import Unmasked
from retention.connectors.webdav import probing, proof
from retention.connectors.webdav.bin import Bin, Item
from retention.connectors.webdav.erasing import Eraser
from retention.connectors.webdav.properties import Entry, look
from retention.connectors.webdav.reading import Sources, container_of, split_trace
from retention.connectors.webdav.selection import Selection
from retention.connectors.webdav.session import LARGEST_FILE, Session
from retention.connectors.webdav.settings import WebdavLocation, WebdavSystem
from retention.connectors.webdav.tree import Tree, split_key, steps_of
from retention.connectors.webdav.walking import Walk
from retention.errors import PermanentFailure

_PAGE = 500
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}\Z")


def _patterned(settings: Any) -> bool:
    location = cast(WebdavLocation, settings)
    return any("*" in folder or "?" in folder for folder in location.folders)


manifest = Manifest(
    kind="webdav",
    title="Files on a WebDAV server (Nextcloud)",
    capabilities=Cap.DELETE | Cap.READ | Cap.COPIES,
    system_settings=WebdavSystem,
    location_settings=WebdavLocation,
    max_batch=100,
    patterned=_patterned,
    notes=(
        "The server's backups and copies on synchronised computers are out of sight.",
        "A computer that was offline may upload its copy again: that is found by the next run.",
        "Of a folder that belongs to another account, the owner's bin is out of sight.",
        "Nextcloud's activity list and logs keep file names for as long as they are set to.",
    ),
)


def connect(opened: Opened) -> Connector:
    """A new session with a WebDAV server."""
    return WebdavConnector(opened)


class WebdavConnector(Unmasked):
    """One session with one account on one server."""

    def __init__(self, opened: Opened) -> None:
        settings = cast(WebdavSystem, opened.settings)
        self._system = opened.system
        self._settings = settings
        self._zone = ZoneInfo(str(opened.extras.get("timezone", "UTC")))
        self._page = int(opened.extras.get("page", _PAGE))
        self._clock = cast(Clock, opened.extras.get("clock") or SystemClock())
        self._session = Session(opened.system, settings, opened.base)
        self._tree = Tree(settings.url, opened.system)
        self._bin = Bin(self._session, settings)
        self._left: dict[str, Record] = {}

    def __repr__(self) -> str:
        return f"WebdavConnector({self._system})"

    def describe(self) -> Manifest:
        return manifest

    def close(self) -> None:
        self._session.close()

    # --- looking ------------------------------------------------------------------------------

    def probe(self, targets: Sequence[Target]) -> Iterator[Probe]:
        def walk(target: Target) -> tuple[Walk, Sequence[str]]:
            selection = self._selection(target)
            self._sources(target)
            return self._walk(target), ["/".join(root) for root in selection.roots]

        now = self._clock.now()
        yield from probing.probe(self._session, self._tree, self._bin, targets, walk, now)

    def _selection(self, target: Target) -> Selection:
        settings = cast(WebdavLocation, target.settings)
        return Selection(settings.folders, self._settings.levels, target.name)

    def _walk(self, target: Target) -> Walk:
        return Walk(self._session, self._tree, self._selection(target), target.name)

    def _sources(self, target: Target) -> Sources:
        return Sources(target, cast(WebdavLocation, target.settings), self._zone)

    def _container(self, key: str) -> str:
        return container_of(split_key(key)[0], self._settings.levels)

    def containers(self, target: Target) -> tuple[str, ...]:
        levels = self._settings.levels
        return tuple("/".join(steps) or "/" for steps in self._walk(target).folders(levels))

    def count(self, target: Target) -> int | None:  # noqa: ARG002 -- only a walk could tell
        return None

    def find(self, target: Target, cursor: str | None = None) -> Iterator[Page]:
        sources = self._sources(target)
        for batch in self._walk(target).files(sources.names, self._page, cursor):
            container = container_of(batch.folder, self._settings.levels)
            records = [sources.record(entry, container) for entry in batch.files]
            yield Page(records, batch.cursor, len(records))

    def recheck(self, target: Target, keys: Sequence[str]) -> Iterator[Record]:
        sources = self._sources(target)
        absent: list[str] = []
        for key in keys:
            entry = look(self._session, self._tree, key, sources.names, "looking again")
            if entry is None:
                absent.append(key)
            elif not entry.folder:
                yield sources.record(entry, self._container(key))
        if absent:
            # Raises where the whole folder is gone: an unmounted disk is no deletion.
            self._walk(target).check_roots()
            yield from self._binned(absent, sources)

    def _binned(self, keys: Sequence[str], sources: Sources) -> Iterator[Record]:
        """What lies in the bin is not absent, as far as its dates can be told there.

        Nextcloud's bin shows the day of deletion as the modification date. Where that is all
        there is, only the session that deleted the file still knows the true one.
        """
        wanted = {
            key: split_trace(self._left[key].ref.trace)[1] if key in self._left else ""
            for key in keys
        }
        for key, items in self._bin.find(wanted).items():
            if key in self._left:
                yield self._left[key]
            elif sources.by_name_only or items[0].tells_date:
                yield sources.record(self._as_file(key, items[0]), self._container(key))

    def _as_file(self, key: str, item: Item) -> Entry:
        return Entry(key, folder=False, props=item.entry.props)

    def read(
        self,
        target: Target,  # noqa: ARG002 -- a key says all
        refs: Sequence[Ref],
    ) -> Iterator[Content]:
        for ref in refs:
            url = self._tree.url(ref.key)
            with self._session.asking("GET", url, "reading a file") as response:
                if response.status_code == 404:
                    continue
                if response.status_code != 200:
                    raise PermanentFailure(
                        f"a file cannot be read (HTTP {response.status_code})", place=self._system
                    )
                data = bytearray()
                for chunk in response.iter_raw(1024 * 1024):
                    data += chunk
                    if len(data) > LARGEST_FILE:
                        raise PermanentFailure(
                            "a file is too large to hand over", place=self._system
                        )
                kind = response.headers.get("Content-Type", "application/octet-stream")
            name = hashlib.sha256(ref.key.encode()).hexdigest()[:24]
            suffix = _SUFFIX.search(steps_of(ref.key)[-1].lower())
            yield Content(ref.key, kind, name + (suffix[0] if suffix else ""), bytes(data))

    # --- acting -------------------------------------------------------------------------------

    def erase(self, target: Target, refs: Sequence[Ref]) -> Iterator[Outcome]:
        if not refs:
            return
        eraser = Eraser(
            self._session,
            self._tree,
            self._sources(target),
            self._bin,
            self._left,
            self._walk(target).check_roots,
        )
        yield from eraser.erase(refs)

    # --- proof --------------------------------------------------------------------------------

    def verify(
        self,
        target: Target,
        refs: Sequence[Ref],
        control: Ref | None,
        masked: Mapping[str, Scalar] | None = None,
    ) -> Iterator[Proof]:
        if masked is not None:
            raise PermanentFailure(
                "a file cannot be masked", place=self._system, code="unsupported"
            )
        if refs:
            check = self._walk(target).check_roots
            yield from proof.prove(self._session, self._tree, self._bin, refs, control, check)
