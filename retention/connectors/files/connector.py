"""Files in folders of this machine.

Everything below the root is reached name by name over open folders: no link is followed, no other
file system entered. A file goes only if inode, size and times are what they were.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import cast

from retention.clock import Clock, SystemClock
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
    Result,
    Scalar,
    Target,
)
from retention.connectors.files import probing
from retention.connectors.files.aside import bring_back
from retention.connectors.files.documents import open_again
from retention.connectors.files.erasing import Eraser, Rules
from retention.connectors.files.globs import Selection, Steps
from retention.connectors.files.identity import dataless, version_of
from retention.connectors.files.names import is_policy, key_of, meant_by, steps_of
from retention.connectors.files.overlap import Known
from retention.connectors.files.proof import by_folder, prove
from retention.connectors.files.root import Elsewhere, Folder, Root
from retention.connectors.files.settings import FilesLocation, FilesSystem, HardLinks
from retention.connectors.files.sources import File, Sources, media_type
from retention.connectors.files.surroundings import in_use
from retention.connectors.files.walk import Listing, Place, walk
from retention.connectors.unmasked import Unmasked
from retention.errors import PermanentFailure

_PAGE = 500
_LOOKED_AT = 5_000
"""Files looked at before a page is given, even if nothing of them is old enough."""
_NO_NAME = "\0"
"""Comes before every name."""
_LARGEST_HAND_OVER = 512 * 1024 * 1024


def _patterned(settings: FilesLocation) -> bool:
    return settings.selection.patterned


manifest = Manifest(
    kind="files",
    title="Files in folders of this machine",
    capabilities=Cap.DELETE | Cap.READ | Cap.PUSH_DOWN,
    system_settings=FilesSystem,
    location_settings=FilesLocation,
    max_batch=500,
    patterned=_patterned,
    notes=(
        "Snapshots of the file system, backups and what a disk keeps of old blocks are unseen.",
        "Copies under other names (synced devices, trash, editors' backups) are other files.",
        "A deleted file's bytes stay on the disk until they are overwritten.",
    ),
)


def connect(opened: Opened) -> Connector:
    """A new session with a folder."""
    return FilesConnector(opened)


class FilesConnector(Unmasked):
    """One session with one root folder."""

    def __init__(self, opened: Opened) -> None:
        settings = cast(FilesSystem, opened.settings)
        self._system = opened.system
        self._root = Root(opened.system, Path(opened.base, settings.path), Path(opened.base))
        self._page = int(opened.extras.get("page", _PAGE))
        self._timezone = str(opened.extras.get("timezone", "UTC"))
        self._clock: Clock = opened.extras.get("clock") or SystemClock()
        self._known = Known()

    def __repr__(self) -> str:
        return f"FilesConnector({self._system})"

    def describe(self) -> Manifest:
        return manifest

    def close(self) -> None:
        """Nothing stays open between calls."""

    # --- looking ------------------------------------------------------------------------------

    def probe(self, targets: Sequence[Target]) -> Iterator[Probe]:
        known = Known()
        findings = list(probing.system(self._root))
        yield from findings
        for target in targets if findings[0].ok else ():
            yield from probing.location(self._root, target, known, self._timezone)

    def containers(self, target: Target) -> tuple[str, ...]:
        selection = _selection(target)
        self._known.add(target.name, selection)
        Sources(target, self._timezone)
        for base in selection.bases:
            self._refuse_missing(base, target.name)
        return (selection.name,)

    def _refuse_missing(self, base: Steps, place: str) -> None:
        with self._root.translated("reading folders"):
            try:
                with self._root.folder(base):
                    return
            except (FileNotFoundError, Elsewhere):
                raise PermanentFailure(
                    "a folder that `glob` names is not there, or a link, or on another disk",
                    hint="check `glob`; links and other file systems are never entered",
                    place=place,
                    code="missing",
                ) from None

    def count(self, target: Target) -> int | None:
        listings = walk(self._root, _selection(target))
        return sum(len(listing.names) + len(listing.strays) for listing in listings)

    def find(self, target: Target, cursor: str | None = None) -> Iterator[Page]:
        selection = _selection(target)
        self._known.refuse_overlap(target.name, selection)
        sources = Sources(target, self._timezone)
        records: list[Record] = []
        scanned, place = 0, Place()
        for listing in walk(self._root, selection, _place(cursor)):
            with self._root.translated("reading a folder"):
                for file, after in self._files(listing):
                    scanned += 1
                    place = Place(listing.folder.steps, listing.part, listing.parts, after)
                    if (record := sources.record(file)) is not None:
                        records.append(record)
                    full = len(records) >= self._page or scanned >= max(_LOOKED_AT, self._page)
                    if full and after:
                        yield Page(records, _cursor(place), scanned)
                        records, scanned = [], 0
        if scanned:
            yield Page(records, _cursor(place), scanned)

    def _files(self, listing: Listing) -> Iterator[tuple[File, str]]:
        """Files of a listing, each with what has then been given of it; empty: nothing for sure."""
        folder = listing.folder
        last = len(listing.strays) - 1
        for number, (slot, name) in enumerate(listing.strays):
            with suppress(FileNotFoundError, Elsewhere), folder.child(slot) as inner:
                # Where its name was taken meanwhile, it is a record of its own.
                at = (*folder.steps, slot, name) if _is(folder, name) else (*folder.steps, name)
                if (status := _status(inner, name)) is not None:
                    yield File(inner, name, status, at), _NO_NAME if number == last else ""
        for name in listing.names:
            if self._root.holds_policies and is_policy(name):
                continue
            if (status := _status(folder, name)) is not None:
                yield File(folder, name, status, (*folder.steps, name)), name

    def recheck(self, target: Target, keys: Sequence[str]) -> Iterator[Record]:
        sources = Sources(replace(target, bounds=()), self._timezone)
        for steps, names in _grouped(keys).items():
            with self._root.translated("reading a folder"):
                try:
                    with self._root.folder(steps) as folder:
                        yield from _read_again(folder, names, sources)
                except (FileNotFoundError, Elsewhere):
                    continue

    def read(self, target: Target, refs: Sequence[Ref]) -> Iterator[Content]:
        accessed = Sources(target, self._timezone).accessed
        for steps, group in by_folder(refs).items():
            with self._root.translated("reading a file"):
                try:
                    with self._root.folder(steps) as folder:
                        for name, ref in group.items():
                            content = _content(folder, name, ref, accessed=accessed)
                            if content is not None:
                                yield content
                except (FileNotFoundError, Elsewhere):
                    continue

    # --- acting -------------------------------------------------------------------------------

    def erase(self, target: Target, refs: Sequence[Ref]) -> Iterator[Outcome]:
        if not refs:
            return
        settings = cast(FilesLocation, target.settings)
        selection = settings.selection
        self._known.refuse_overlap(target.name, selection)
        rules = Rules(
            accessed="accessed" in target.dates,
            links_too=settings.hard_links is HardLinks.UNLINK,
            logs=settings.logs,
            in_use=in_use({steps_of(ref.key)[-1] for ref in refs}),
            now=self._clock.now(),
        )
        eraser = Eraser(self._root, rules)
        bases = self._bases(selection)
        for steps, group in by_folder(refs).items():
            outcomes = self._erase_in(eraser, selection, steps, group, bases)
            if any(o.result is Result.DISPOSED for o in outcomes):
                eraser.tidy(steps, selection.bases, prune=settings.prune)
            yield from outcomes

    def _bases(self, selection: Selection) -> set[Steps]:
        """Folders that globs name and that are there: without those, nothing can be said."""
        there: set[Steps] = set()
        for base in selection.bases:
            with self._root.translated("reading folders"):
                try:
                    with self._root.folder(base):
                        there.add(base)
                except (FileNotFoundError, Elsewhere):
                    continue
        return there

    def _erase_in(
        self,
        eraser: Eraser,
        selection: Selection,
        steps: Steps,
        group: Mapping[str, Ref],
        bases: set[Steps],
    ) -> list[Outcome]:
        told = [
            Outcome(ref.key, Result.FAILED_PERMANENT, "outside")
            for name, ref in group.items()
            if not self._means(selection, (*steps, name))
        ]
        outside = {outcome.key for outcome in told}
        inside = {name: ref for name, ref in group.items() if ref.key not in outside}
        if not inside:
            return told
        if not any(steps[: len(base)] == base for base in bases):
            return [*told, *_all(inside, Result.FAILED_PERMANENT, "folder_missing")]
        with self._root.translated("deleting files"):
            try:
                with self._root.folder(steps) as folder:
                    return [*told, *eraser.folder(folder, inside)]
            except FileNotFoundError:
                return [*told, *_all(inside, Result.ALREADY_ABSENT)]
            except Elsewhere:
                return [*told, *_all(inside, Result.CHANGED, "folder_replaced")]
            except PermissionError:
                return [*told, *_all(inside, Result.FAILED_PERMANENT, "denied")]

    def _means(self, selection: Selection, steps: Steps) -> bool:
        if self._root.holds_policies and is_policy(steps[-1]):
            return False
        return selection.means_path(meant_by(steps))

    # --- proof --------------------------------------------------------------------------------

    def verify(
        self,
        target: Target,
        refs: Sequence[Ref],
        control: Ref | None,
        masked: Mapping[str, Scalar] | None = None,
    ) -> Iterator[Proof]:
        if masked is not None:
            raise PermanentFailure("files cannot be masked", place=self._system, code="unsupported")
        if not refs:
            return
        if control is not None and not self._readable(control):
            yield from (Proof(ref.key, Level.UNKNOWN, "control read failed") for ref in refs)
            return
        yield from prove(self._root, _selection(target), refs)

    def _readable(self, control: Ref) -> bool:
        steps = steps_of(control.key)
        try:
            with self._root.folder(steps[:-1]) as folder:
                return folder.ours(folder.status(steps[-1]))
        except (OSError, Elsewhere):
            return False


def _selection(target: Target) -> Selection:
    return cast(FilesLocation, target.settings).selection


def _place(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    said = json.loads(cursor)
    steps = steps_of(said["in"]) if said["in"] else ()
    after = said["after"]
    after = _NO_NAME if after == "/" else steps_of(after)[0] if after else ""
    return Place(steps, int(said["part"]), int(said["parts"]), after)


def _cursor(place: Place) -> str:
    after = "/" if place.after == _NO_NAME else key_of((place.after,)) if place.after else ""
    said = {"in": key_of(place.steps), "part": place.part, "parts": place.parts, "after": after}
    return json.dumps(said)


def _grouped(keys: Sequence[str]) -> Mapping[Steps, list[str]]:
    found: dict[Steps, list[str]] = {}
    for key in keys:
        steps = steps_of(key)
        found.setdefault(steps[:-1], []).append(steps[-1])
    return found


def _status(folder: Folder, name: str) -> os.stat_result | None:
    """lstat of a plain file of this file system; None for anything else, or nothing."""
    try:
        status = folder.status(name)
    except FileNotFoundError:
        return None
    return status if folder.ours(status) else None


def _is(folder: Folder, name: str) -> bool:
    try:
        folder.status(name)
    except FileNotFoundError:
        return False
    return True


def _read_again(folder: Folder, names: Sequence[str], sources: Sources) -> Iterator[Record]:
    for name in names:
        if not _is(folder, name) and not bring_back(folder, name):
            continue
        if (status := _status(folder, name)) is not None:
            record = sources.record(File(folder, name, status, (*folder.steps, name)))
            if record is not None:
                yield record


def _content(folder: Folder, name: str, ref: Ref, *, accessed: bool) -> Content | None:
    """A file's bytes if it is still the one that was decided upon and they are on this machine."""
    status = _status(folder, name)
    if status is None or str(version_of(status, accessed=accessed)) != ref.version:
        return None
    if dataless(status):
        return None
    if status.st_size > _LARGEST_HAND_OVER:
        raise PermanentFailure(
            "a file is too large to be handed over",
            hint="hand over files above 512 MB by hand, then delete them",
            code="too_large",
        )
    try:
        with open_again(folder.at, name, status) as file:
            data = file.read()
            after = os.fstat(file.fileno())
    except FileNotFoundError:
        return None
    if str(version_of(after, accessed=False)) != str(version_of(status, accessed=False)):
        return None
    suffix = os.path.splitext(name)[1]  # noqa: PTH122 -- a name, no path
    safe = suffix.lower() if suffix[1:].isascii() and suffix[1:].isalnum() else ""
    told = f"{int(status.st_mtime)}-{status.st_ino}{safe}"
    return Content(ref.key, media_type(name), told, data)


def _all(group: Mapping[str, Ref], result: Result, code: str = "") -> list[Outcome]:
    return [Outcome(ref.key, result, code) for ref in group.values()]
