"""Every file that a location means, folder by folder, in an order that can be taken up again.

Folders come before what is below them, names in order. A folder with very many files is read once
for each part of them, so that memory does not grow with it.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from typing import NamedTuple

from retention.connectors.files.globs import Places, Selection, Steps
from retention.connectors.files.names import SLOTS
from retention.connectors.files.root import NEVER_ENTERED, Elsewhere, Folder, Root
from retention.errors import PermanentFailure

_BUCKET = 50_000
_DEEPEST = 200


class Place(NamedTuple):
    """How far a walk has come: everything up to this name has been given."""

    steps: Steps = ()
    part: int = 0
    parts: int = 0
    after: str = ""


class Listing(NamedTuple):
    """Names of files that are meant, in one open folder; at most a bucket of them."""

    folder: Folder
    names: list[str]
    strays: list[tuple[str, str]]
    """Files that an interrupted disposal set aside: (folder inside this one, name)."""
    part: int
    parts: int


class _Level(NamedTuple):
    folder: Folder
    places: Places
    below: Iterator[str]
    """Names of folders still to be entered."""


def walk(root: Root, selection: Selection, place: Place | None = None) -> Iterator[Listing]:
    """Listings in order, those before `place` left out. A listing's folder is open until the next.

    Raises PermanentFailure where a folder that a glob names literally does not exist.
    """
    for base in selection.bases:
        if place is not None and base < place.steps and place.steps[: len(base)] != base:
            continue
        with root.translated("reading folders"), root.opened() as top:
            places = go_down(top, base, selection)
            yield from _below(top, places, selection, place)


def go_down(top: Folder, base: Steps, selection: Selection) -> Places:
    """Enter a folder that globs name literally. Raises PermanentFailure where it cannot be."""
    places: Places | None = selection.start
    try:
        for step in base:
            top.enter(step)
            places = selection.below(places, step) if places else None
    except FileNotFoundError:
        raise missing() from None
    except Elsewhere:
        raise missing("a link, no folder, or on another file system") from None
    return places or tuple(frozenset() for _ in selection.start)


def missing(why: str = "not there") -> PermanentFailure:
    """A folder that a glob names cannot be read."""
    return PermanentFailure(
        f"a folder that `glob` names is {why}",
        hint="check `glob`; links and other file systems are never entered",
        code="missing",
    )


def _below(
    top: Folder, places: Places, selection: Selection, place: Place | None
) -> Iterator[Listing]:
    """This folder and everything below it. Levels are kept by hand: folders may lie deep."""
    opened: list[Folder] = []
    try:
        levels = [(yield from _enter(top, places, selection, place))]
        while levels:
            level = levels[-1]
            if (name := next(level.below, None)) is None:
                levels.pop()
                if levels:
                    opened.pop().close()
            elif (inner := _child(level, name, selection)) is not None:
                opened.append(inner[0])
                if len(opened) > _DEEPEST:
                    raise PermanentFailure("folders are nested too deeply", code="too_deep")
                levels.append((yield from _enter(*inner, selection, place)))
    finally:
        for folder in opened:
            folder.close()


def _child(level: _Level, name: str, selection: Selection) -> tuple[Folder, Places] | None:
    if name in NEVER_ENTERED or (deeper := selection.below(level.places, name)) is None:
        return None
    # It may be gone, or a link by now.
    with suppress(FileNotFoundError, Elsewhere):
        return level.folder.child(name), deeper
    return None


def _enter(
    folder: Folder, places: Places, selection: Selection, place: Place | None
) -> Generator[Listing, None, _Level]:
    """Give this folder's files; return what is below it, from `place` on."""
    steps = place.steps if place is not None else ()
    depth = len(folder.steps)
    if place is not None and folder.steps != steps and folder.steps == steps[:depth]:
        # On the way down to the place: this folder's own files have been given.
        folders = sorted(name for name in _scan(folder).folders if name >= steps[depth])
        return _Level(folder, places, iter(folders))
    resumed = place if place is not None and folder.steps == steps else Place()
    found = _scan(folder, lambda name: selection.means(places, name), most=2 * _BUCKET)
    strays = [s for slot in found.slots for s in _strays(folder, slot, places, selection)]
    yield from _listings(folder, places, selection, found, strays, resumed)
    return _Level(folder, places, iter(sorted(found.folders)))


def _listings(
    folder: Folder,
    places: Places,
    selection: Selection,
    found: _Found,
    strays: list[tuple[str, str]],
    resumed: Place,
) -> Iterator[Listing]:
    parts = resumed.parts or found.number // _BUCKET + 1
    for part in range(resumed.part, parts):
        names = found.names
        if parts > 1 or found.number > len(names):
            names = _scan(folder, _in_part(places, selection, part, parts)).names
        after = resumed.after if part == resumed.part else ""
        kept = sorted(name for name in names if name > after)
        yield Listing(folder, kept, strays if part == 0 and not after else [], part, parts)


def _in_part(places: Places, selection: Selection, part: int, parts: int) -> Callable[[str], bool]:
    """Which part a name belongs to depends on the name only."""
    return lambda name: (
        zlib.crc32(os.fsencode(name)) % parts == part and selection.means(places, name)
    )


class _Found(NamedTuple):
    names: list[str]
    """Not all, where there are more than one part holds."""
    number: int
    folders: list[str]
    slots: list[str]


def _scan(
    folder: Folder, wanted: Callable[[str], bool] | None = None, most: int | None = None
) -> _Found:
    """One reading of a folder: files that are wanted, `most` of them named, and folders."""
    names: list[str] = []
    folders: list[str] = []
    slots: list[str] = []
    count = 0
    with os.scandir(folder.at) as entries:
        for entry in entries:
            name = entry.name
            if entry.is_dir(follow_symlinks=False):
                (slots if name in SLOTS else folders).append(name)
            elif wanted is not None and wanted(name) and entry.is_file(follow_symlinks=False):
                count += 1
                if most is None or count <= most:
                    names.append(name)
    return _Found(names, count, folders, slots)


def _strays(
    folder: Folder, slot: str, places: Places, selection: Selection
) -> Iterator[tuple[str, str]]:
    with suppress(FileNotFoundError, PermissionError, Elsewhere):
        # One that belongs to another account is that account's to bring back; `doctor` tells.
        with folder.child(slot) as inner:
            names = sorted(inner.names())
        yield from ((slot, name) for name in names if selection.means(places, name))
