"""Looking for files that should be gone: under their names, and under any other name."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from retention.connectors.base import Level, Proof, Ref
from retention.connectors.files.aside import set_aside
from retention.connectors.files.globs import Selection, Steps
from retention.connectors.files.identity import Version, parsed, version_of
from retention.connectors.files.names import steps_of
from retention.connectors.files.root import NEVER_ENTERED, Elsewhere, Folder, Root

_HOW = "lstat by path + walk by inode"
_DEEPEST = 200


def prove(root: Root, selection: Selection, refs: Sequence[Ref]) -> Iterator[Proof]:
    """One proof for each. Raises ConnectorError where the walk could not be done."""
    gone: list[Ref] = []
    for steps, group in by_folder(refs).items():
        for ref, level, how in _looked(root, steps, group):
            if level is Level.GONE:
                gone.append(ref)
            else:
                yield Proof(ref.key, level, how)
    if gone:
        yield from _elsewhere(root, selection, gone)


def by_folder(refs: Iterable[Ref]) -> Mapping[Steps, Mapping[str, Ref]]:
    """Folder → name → ref."""
    found: dict[Steps, dict[str, Ref]] = {}
    for ref in refs:
        steps = steps_of(ref.key)
        found.setdefault(steps[:-1], {})[steps[-1]] = ref
    return found


def _looked(root: Root, steps: Steps, group: Mapping[str, Ref]) -> Iterator[tuple[Ref, Level, str]]:
    try:
        with root.folder(steps) as folder:
            there = {name for name in group if _there(folder, name)}
            # Looked into after the names: what is on its way back is seen in one of the two.
            aside = set_aside(folder) if len(there) < len(group) else frozenset()
            for name, ref in group.items():
                yield ref, *_level(name in there or _there(folder, name), name in aside)
    except FileNotFoundError:
        yield from ((ref, Level.GONE, _HOW) for ref in group.values())
    except Elsewhere:
        # A link or another disk stands where the folder was: the folder may have been moved.
        yield from ((ref, Level.UNKNOWN, "folder replaced") for ref in group.values())
    except OSError:
        yield from ((ref, Level.UNKNOWN, "folder not readable") for ref in group.values())


def _there(folder: Folder, name: str) -> bool:
    try:
        folder.status(name)
    except FileNotFoundError:
        return False
    return True


def _level(there: bool, aside: bool) -> tuple[Level, str]:
    if there:
        return Level.PRESENT, "lstat by path"
    if aside:
        return Level.PRESENT, "set aside, not deleted"
    return Level.GONE, _HOW


def _elsewhere(root: Root, selection: Selection, refs: Sequence[Ref]) -> Iterator[Proof]:
    """Whether the same inode lies under another name: moved, or another hard link."""
    versions = {ref.key: parsed(ref.version) for ref in refs}
    wanted = {v.inode: v for v in versions.values() if v is not None}
    names = Counter(v.inode for v in versions.values() if v is not None)
    found = _found(root, selection, wanted)
    for ref in refs:
        version = versions[ref.key]
        if version is None:
            yield Proof(ref.key, Level.GONE, "lstat by path")
        elif version.inode in found:
            yield Proof(ref.key, Level.PRESENT, "under another name")
        elif version.links > names[version.inode]:
            yield Proof(ref.key, Level.UNKNOWN, "its other hard link was not found")
        else:
            yield Proof(ref.key, Level.GONE, _HOW)


def _found(root: Root, selection: Selection, wanted: Mapping[int, Version]) -> set[int]:
    found: set[int] = set()
    for base in selection.bases:
        with root.translated("looking for other names"), root.folder(base) as folder:
            _search(folder, wanted, found, _DEEPEST)
    return found


def _search(folder: Folder, wanted: Mapping[int, Version], found: set[int], depth: int) -> None:
    """Names come with their inode numbers, so only what has a wanted one is looked at."""
    below: list[str] = []
    with os.scandir(folder.at) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                below.append(entry.name)
            elif (version := wanted.get(entry.inode())) is not None:
                with suppress(FileNotFoundError):
                    now = version_of(folder.status(entry.name), accessed=False)
                    if now.same_file(version._replace(accessed=0)):
                        found.add(version.inode)
    for name in below:
        if name not in NEVER_ENTERED and depth > 0:
            with suppress(FileNotFoundError, PermissionError, Elsewhere):
                inner = folder.child(name)
                try:
                    _search(inner, wanted, found, depth - 1)
                finally:
                    inner.close()
