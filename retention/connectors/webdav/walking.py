"""Folder by folder through a tree (servers refuse Depth infinity), resumable, in flat memory."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from retention.connectors.webdav.properties import DAV, Entry, NotThere, listing, look
from retention.connectors.webdav.selection import Selection, Steps
from retention.connectors.webdav.session import Session
from retention.connectors.webdav.tree import Tree, steps_of
from retention.errors import PermanentFailure

_BUCKET = 20_000
"""Files of one folder kept at once; a larger folder is read again for each part."""
_DEEPEST = 100
_KIND = (f"{DAV}resourcetype",)


class Read(NamedTuple):
    """A folder as it was just read. `files`: those of one part, sorted by key."""

    files: list[Entry]
    folders: list[str]
    total: int


class Batch(NamedTuple):
    """Some files of one folder, and where to go on behind them."""

    folder: str
    files: Sequence[Entry]
    cursor: str


class Walk:
    """Through the folders of a selection, each before what is below it, in order of their names."""

    def __init__(self, session: Session, tree: Tree, selection: Selection, place: str) -> None:
        self._session = session
        self._tree = tree
        self._selection = selection
        self._place = place

    def files(self, names: Sequence[str], page: int, cursor: str | None) -> Iterator[Batch]:
        """Every file, `page` at a time. Raises PermanentFailure for a named folder that is gone."""
        at: dict[str, Any] = json.loads(cursor) if cursor else {}
        resume = steps_of(at["folder"]) if at else None
        stack = self._begin()
        while stack:
            key = stack.pop()
            steps = steps_of(key)
            if resume is not None and steps < resume:
                if resume[: len(steps)] == steps:
                    self._push(stack, self._read(key, names).folders)
                continue
            here = at if steps == resume else {}
            read = self._read(key, names, int(here.get("part", 0)), int(here.get("parts", 0)))
            self._push(stack, read.folders)
            if self._selection.covers(steps):
                yield from self._batches(key, read, names, page, here)

    def folders(self, levels: int) -> Iterator[Steps]:
        """Every folder of the selection down to that depth."""
        stack = self._begin()
        while stack:
            key = stack.pop()
            steps = steps_of(key)
            if self._selection.covers(steps):
                yield steps
            if len(steps) < levels:
                self._push(stack, self._read(key, _KIND).folders)
            elif steps in self._selection.roots:
                self._read(key, _KIND)

    def _begin(self) -> list[str]:
        return ["/".join(root) for root in reversed(self._selection.roots)]

    def _push(self, stack: list[str], folders: Sequence[str]) -> None:
        deeper = [f for f in folders if self._selection.leads(steps_of(f))]
        if deeper and len(steps_of(deeper[0])) > _DEEPEST:
            raise PermanentFailure(
                f"folders lie in one another more than {_DEEPEST} deep",
                hint="a link that leads in a circle? the server must not follow it",
                place=self._place,
            )
        stack.extend(sorted(deeper, key=steps_of, reverse=True))

    def _batches(
        self, key: str, read: Read, names: Sequence[str], page: int, at: dict[str, Any]
    ) -> Iterator[Batch]:
        parts = int(at.get("parts", 0)) or read.total // _BUCKET + 1
        first = int(at.get("part", 0))
        for part in range(first, parts):
            known = part == first and (at or parts == 1)
            files = read.files if known else self._read(key, names, part, parts).files
            after = str(at.get("after", "")) if part == first else ""
            files = [entry for entry in files if entry.key > after]
            for start in range(0, len(files), page):
                some = files[start : start + page]
                place = {"folder": key, "part": part, "parts": parts, "after": some[-1].key}
                yield Batch(key, some, json.dumps(place))

    def _read(self, key: str, names: Sequence[str], part: int = 0, parts: int = 0) -> Read:
        """`parts` 0: all files, but none where they are too many."""
        files: list[Entry] = []
        folders: list[str] = []
        total = 0
        try:
            for entry in listing(self._session, self._tree, key, names, "listing a folder"):
                if entry.folder:
                    folders.append(entry.key)
                    continue
                total += 1
                if parts == 0 and total > _BUCKET:
                    files.clear()
                elif parts == 0 or zlib.crc32(entry.key.encode()) % parts == part:
                    files.append(entry)
        except NotThere:
            self.gone(key)
        return Read(sorted(files, key=lambda e: e.key), folders, total)

    def gone(self, key: str) -> None:
        """A folder is not there: as it may be, unless the policy file names it."""
        if steps_of(key) in self._selection.roots:
            raise PermanentFailure(
                "a folder of this location does not exist",
                hint="was it renamed? check `folders` and `url`",
                place=self._place,
                code="folder_missing",
            )

    def check_roots(self) -> None:
        """Raises PermanentFailure where a named folder is gone: what is in it is not absent."""
        for root in self._selection.roots:
            key = "/".join(root)
            found = look(self._session, self._tree, key, _KIND, "looking for a folder")
            if found is None or not found.folder:
                self.gone(key)
