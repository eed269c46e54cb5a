"""Files that people sent with a form: which ones an entry names, and who else names them.

Paths are relative to the site's folder of uploads. A visitor decides what a text field says, so
a file counts only where the plugin itself noted it; and a file that another entry names too stays
until that one goes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.engine import Connection

from retention.connectors.sql import php
from retention.connectors.sql.session import fetch
from retention.connectors.sql.uploads import Root, UnsafePath
from retention.connectors.sql.wordpress.entries import Entries, Entry, in_batches, leaves, packed

_CFDB7 = "cfdb7_file"
_GRAVITY = re.compile(r"(\d+)-[0-9A-Za-z]{16,128}/\d{4}/\d{2}/([^/]+)")
_GUARDS = re.compile(r"index\.\w+|\..*", re.IGNORECASE)
"""Files that keep visitors out of a folder; no visitor's own."""
_ANCHOR = re.compile(r"[A-Za-z0-9.]+")
_NAMES_AT_ONCE = 100
_TAKES_FILES = {"file-upload", "camera", "signature"}
_SMALLER = re.compile(r"(-\d+x\d+|-scaled|-rotated)$")


class Elsewhere(Exception):
    """An entry names a file that its plugin did not keep in its own folder."""


class Trace(NamedTuple):
    """What verification needs to know of an entry that is gone."""

    files: tuple[str, ...]
    posts: tuple[Any, ...]
    """Ids of its attachments and revisions."""

    def text(self) -> str:
        """As it travels in `Ref.trace`; "" where there is nothing."""
        if not self.files and not self.posts:
            return ""
        return json.dumps({"files": self.files, "posts": self.posts}, ensure_ascii=True)

    @classmethod
    def of(cls, text: str) -> Trace:
        """What was written by `text`; of anything else: nothing."""
        try:
            said = json.loads(text)
            return cls(tuple(map(str, said["files"])), tuple(map(int, said["posts"])))
        except (ValueError, KeyError, TypeError):
            return cls((), ())


class Files:
    """The files of one store's entries."""

    def __init__(self, entries: Entries, root: Root | None) -> None:
        self.entries = entries
        self.store = entries.store
        self.root = root

    def trace(self, entry: Entry) -> Trace:
        """Never raises: of an entry that cannot be read, what can be told."""
        try:
            files = self.named(entry)
        except (php.Unreadable, Elsewhere):
            files = ()
        return Trace(files, tuple(entry.offspring))

    def named(self, entry: Entry) -> tuple[str, ...]:
        """Every file that this entry names. Raises Unreadable, Elsewhere."""
        match self.store.folder:
            case "":
                found = self._attached(entry) if self.store.post_type else ()
            case "cfdb7_uploads":
                found = self._cfdb7(entry)
            case "gravity_forms":
                found = self._gravity(entry)
            case _:
                found = self._wpforms(entry)
        return tuple(dict.fromkeys(found))

    def _cfdb7(self, entry: Entry) -> Iterator[str]:
        for name, value in packed(self.store, entry).items():
            if str(name).endswith(_CFDB7):
                # The plugin notes a name alone: whatever else stands there is no file of its own.
                yield from (_named_in(self.store.folder, leaf) for leaf in leaves(value) if leaf)

    def _gravity(self, entry: Entry) -> Iterator[str]:
        """Its folders end in a hash that no visitor knows: what names one was put there by it."""
        form = str(entry.row.get("form_id"))
        for _, value in entry.joined:
            for path in _below(self.store.folder, leaves(_parsed(value))):
                found = _GRAVITY.fullmatch(path)
                if found and found[1] == form and not _GUARDS.fullmatch(found[2]):
                    yield f"{self.store.folder}/{path}"

    def _wpforms(self, entry: Entry) -> Iterator[str]:
        for said in packed(self.store, entry).values():
            if not isinstance(said, dict) or said.get("type") not in _TAKES_FILES:
                continue
            urls = [u for leaf in leaves(said.get("value")) for u in leaf.split("\n") if u.strip()]
            raw = said.get("value_raw")
            urls += [leaf for item in _items(raw) for leaf in leaves(item.get("value")) if leaf]
            found = list(_below(self.store.folder, urls))
            if len(found) < len(urls):
                raise Elsewhere
            yield from (f"{self.store.folder}/{path}" for path in found)

    def _attached(self, entry: Entry) -> Iterator[str]:
        """An attachment's file, its smaller sizes, and the original of what was scaled down."""
        folders: dict[Any, str] = {}
        for post, name, value in entry.attached:
            if name == "_wp_attached_file" and value:
                folders[post] = str(value)[: -len(PurePosixPath(str(value)).name)]
                yield str(value)
        for post, name, value in entry.attached:
            if name != "_wp_attached_file" and value:
                said = php.loads(str(value))
                for size in _sizes(said if isinstance(said, dict) else {}):
                    yield f"{folders.get(post, '')}{size}"

    # --- on the disk --------------------------------------------------------------------------

    def smaller(self, path: str) -> list[str]:
        """Smaller copies of an attached picture that lie beside it. Raises UnsafePath."""
        if self.root is None or not self.store.post_type:
            return []
        name = PurePosixPath(path)
        stem = re.escape(name.stem.removesuffix("-scaled"))
        form = rf"{stem}(-\d+x\d+|-scaled|-rotated)?{re.escape(name.suffix)}(\.webp|\.avif)?"
        if name.suffix.casefold() == ".pdf":
            form += rf"|{stem}-pdf(-\d+x\d+)?\.jpe?g"
        return self.root.beside(path, re.compile(form))

    def there(self, paths: Iterable[str]) -> list[str]:
        """Those of them that exist, with their smaller copies. Raises UnsafePath."""
        if self.root is None:
            return []
        found: list[str] = []
        for path in paths:
            found += [path] if self.root.exists(path) else []
            found += self.smaller(path)
        return list(dict.fromkeys(found))

    # --- who else names them ------------------------------------------------------------------

    def claimed(
        self, connection: Connection, paths: Collection[str], but: Collection[Any]
    ) -> set[str]:
        """Those of the paths that entries other than `but` name too."""
        claimed: set[str] = set()
        for some in in_batches(sorted(paths), _NAMES_AT_ONCE):
            if not self.store.folder:
                claimed |= self._attached_to_others(connection, some, but)
            else:
                claimed |= self._named_by_others(connection, some, set(but))
        return claimed

    def _attached_to_others(
        self, connection: Connection, paths: Sequence[str], but: Collection[Any]
    ) -> set[str]:
        """Also as a smaller copy of a picture that another attachment names."""
        meta = self.entries.site.table("postmeta").table
        whole = {path: _whole(path) for path in paths}
        wanted = sorted(set().union(*whole.values()))
        statement = select(meta.c["post_id"], meta.c["meta_value"]).where(
            meta.c["meta_key"] == "_wp_attached_file", meta.c["meta_value"].in_(wanted)
        )
        found = {str(path) for post, path in fetch(connection, statement) if post not in but}
        return {path for path, names in whole.items() if names & found}

    def _named_by_others(
        self, connection: Connection, paths: Sequence[str], but: set[Any]
    ) -> set[str]:
        wanted = set(paths)
        claimed: set[str] = set()
        keys = [row[0] for row in fetch(connection, self._suspects(paths)) if row[0] not in but]
        for some in in_batches(sorted(set(keys))):
            for entry in self.entries.read(connection, some).values():
                try:
                    claimed |= wanted & set(self.named(entry))
                except (php.Unreadable, Elsewhere):
                    # It may name them: what cannot be told is kept.
                    claimed |= wanted
        return claimed

    def _suspects(self, paths: Sequence[str]) -> Select[Any]:
        """Keys of entries in which the name of one of these files stands, or might."""
        anchors = {max(_ANCHOR.findall(PurePosixPath(p).name) or [""], key=len) for p in paths}

        def holds(column: ColumnElement[Any]) -> ColumnElement[bool]:
            return or_(*(column.contains(anchor, autoescape=True) for anchor in sorted(anchors)))

        layout, store = self.entries.layout, self.store
        if store.packed is not None:
            return select(layout.key_column).where(holds(layout.column(store.packed[0])))
        assert store.joined is not None  # noqa: S101 -- a store with files keeps values somewhere
        table = self.entries.site.table(store.joined.table).table
        return select(table.c[store.joined.parent]).where(holds(table.c[store.joined.value]))


def is_safe(root: Root, path: str) -> bool:
    """Whether the path leads to a plain file below the root, or to nothing."""
    try:
        root.exists(path)
    except UnsafePath:
        return False
    return True


def _below(folder: str, urls: Iterable[str]) -> Iterator[str]:
    """Paths below the folder, of those addresses that lead there."""
    for url in urls:
        try:
            path = unquote(urlsplit(url.strip().partition("|:|")[0]).path)
        except ValueError:
            continue
        if found := path.partition(f"/{folder}/")[2]:
            yield found


def _whole(path: str) -> set[str]:
    """The path, and those of the pictures that it may be a smaller copy of."""
    name = PurePosixPath(path)
    if name.suffix in {".webp", ".avif"} and PurePosixPath(name.stem).suffix:
        name = name.with_name(name.stem)
    stems = {name.stem, _SMALLER.sub("", name.stem)}
    stems |= {stem.removesuffix("-pdf") for stem in stems} | {f"{stem}-scaled" for stem in stems}
    suffixes = {name.suffix, ".pdf"}
    return {path, *(str(name.with_name(f"{s}{end}")) for s in stems if s for end in suffixes)}


def _named_in(folder: str, name: str) -> str:
    return f"{folder}/{name}" if "/" not in name else f"{folder}/../{name}"


def _parsed(value: Any) -> Any:
    """A list that is written as JSON; else the text itself."""
    text = str(value or "")
    if text[:1] in {"[", "{"}:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
    return text


def _items(value: Any) -> list[dict[str, Any]]:
    listed = value if isinstance(value, list) else [value]
    return [item for item in listed if isinstance(item, dict)]


def _sizes(said: dict[Any, Any]) -> Iterator[str]:
    """Names of files that an attachment's notes list, in the folder of its own file."""
    sizes = said.get("sizes")
    listed = [*(sizes.values() if isinstance(sizes, dict) else ()), *said.values()]
    for size in listed:
        if isinstance(size, dict) and isinstance(name := size.get("file"), str) and name:
            yield name
    if isinstance(original := said.get("original_image"), str) and original:
        yield original
