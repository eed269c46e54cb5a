"""One look over a location for `doctor`: what is there, and what will not work."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass

from retention.connectors.files.attributes import fixed, protected_by_sticky
from retention.connectors.files.globs import Places, Selection
from retention.connectors.files.identity import dataless
from retention.connectors.files.names import COPY_FOLDERS, SLOTS, is_copy, is_placeholder
from retention.connectors.files.root import NEVER_ENTERED, Elsewhere, Folder, Root
from retention.connectors.files.walk import go_down

_MOST = 200_000
"""Names looked at; what is beyond is not told."""
_SAMPLED = 1_000
"""Files that are asked for their attributes, each by opening it."""
_DEEPEST = 200


@dataclass(slots=True)
class Seen:
    """Numbers of what was seen."""

    files: int = 0
    folders: int = 0
    looked_at: int = 0
    unreadable: int = 0
    unwritable: int = 0
    sticky: int = 0
    fixed: int = 0
    linked: int = 0
    links: int = 0
    special: int = 0
    borders: int = 0
    placeholders: int = 0
    hidden: int = 0
    copies: int = 0
    copy_folders: int = 0
    set_aside: int = 0

    @property
    def cut(self) -> bool:
        """Whether there was more than was looked at."""
        return self.looked_at >= _MOST


def survey(root: Root, selection: Selection) -> Seen:
    """Look at a location. Changes nothing. Raises ConnectorError where a base cannot be opened."""
    seen = Seen()
    for base in selection.bases:
        with root.translated("reading folders"), root.opened() as folder:
            places = go_down(folder, base, selection)
            _folder(folder, places, selection, seen, _DEEPEST)
    return seen


def _folder(folder: Folder, places: Places, selection: Selection, seen: Seen, depth: int) -> None:
    seen.folders += 1
    files = 0
    below: list[str] = []
    with os.scandir(folder.at) as entries:
        for entry in entries:
            if seen.cut:
                return
            seen.looked_at += 1
            if entry.is_dir(follow_symlinks=False):
                below.append(entry.name)
            elif selection.means(places, entry.name):
                with suppress(FileNotFoundError):
                    files += _file(folder, entry.name, seen)
            else:
                _not_meant(entry.name, seen)
    if files and not os.access(".", os.W_OK | os.X_OK, dir_fd=folder.at, effective_ids=_EFFECTIVE):
        seen.unwritable += 1
    seen.fixed += fixed(folder.at)
    for name in below:
        _below(folder, name, places, selection, seen, depth - 1)


_EFFECTIVE = os.access in os.supports_effective_ids


def _not_meant(name: str, seen: Seen) -> None:
    if is_placeholder(name):
        seen.placeholders += 1
    elif is_copy(name):
        seen.copies += 1
    elif name.startswith("."):
        seen.hidden += 1


def _file(folder: Folder, name: str, seen: Seen) -> bool:
    """Count one name that is meant. Whether it is a record."""
    status = folder.status(name)
    if stat.S_ISLNK(status.st_mode):
        seen.links += 1
        return False
    if not folder.ours(status):
        seen.special += 1
        return False
    seen.files += 1
    seen.linked += status.st_nlink > 1
    seen.placeholders += dataless(status)
    seen.copies += is_copy(name)
    seen.sticky += protected_by_sticky(os.fstat(folder.at), status.st_uid, os.geteuid())
    if seen.files <= _SAMPLED and not dataless(status):
        seen.fixed += fixed(folder.at, name)
    return True


def _below(
    folder: Folder, name: str, places: Places, selection: Selection, seen: Seen, depth: int
) -> None:
    if COPY_FOLDERS.fullmatch(name):
        seen.copy_folders += 1
    deeper = selection.below(places, name)
    if (deeper is None and name not in SLOTS) or name in NEVER_ENTERED or depth < 0:
        seen.hidden += name.startswith(".") and not COPY_FOLDERS.fullmatch(name)
        return
    try:
        with folder.child(name) as inner:
            if name in SLOTS:
                seen.set_aside += len(inner.names())
            elif deeper is not None:
                _folder(inner, deeper, selection, seen, depth)
    except FileNotFoundError:
        return
    except PermissionError:
        seen.unreadable += 1
    except Elsewhere:
        seen.borders += 1
