"""Entries as the plugins keep them: a row, values elsewhere, attachments; read in batches.

What is asked of an entry may stand in a column, in a row of another table, or inside a text that
PHP serialised. Whatever of it cannot be read makes the entry one without dates: it is reported,
and never due.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date
from hashlib import blake2b
from typing import Any

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.engine import Connection

from retention.connectors.base import Record, Ref, Value, When
from retention.connectors.sql import php
from retention.connectors.sql.dates import Shape, reader, shape_of
from retention.connectors.sql.layout import Layout, fitting_keys
from retention.connectors.sql.rows import plain
from retention.connectors.sql.session import fetch
from retention.connectors.sql.wordpress.site import Site
from retention.connectors.sql.wordpress.stores import Joined, Packing, Store

AT_ONCE = 500
"""Entries that are read together, with all that belongs to them."""
_OFFSPRING = ("attachment", "revision")
_GENERATIONS = 4
_FIELD = "field:"
_NOT_SANITISED = re.compile(r"[^a-z0-9_-]")
_CFDB7 = {"&quot;": '"', "&#039;": "'", "&#047;": "/", "&#092;": "\\"}
_ESCAPED = re.compile("|".join(map(re.escape, _CFDB7)))


@dataclass(slots=True)
class Entry:
    """One entry, whole."""

    key: Any
    row: dict[str, Any]
    joined: list[tuple[str, Any]] = field(default_factory=list)
    offspring: dict[Any, str] = field(default_factory=dict)
    """Posts that belong to it (attachments, revisions): id → type."""
    attached: list[tuple[Any, str, Any]] = field(default_factory=list)
    """What WordPress notes of its attachments' files: (id, name, value)."""


class Entries:
    """Reads the entries of one store of one site."""

    def __init__(self, site: Site, store: Store, layout: Layout) -> None:
        self.site = site
        self.store = store
        self.layout = layout
        self.columns: list[ColumnElement[Any]] = [
            layout.table.c[name].label(f"c{n}") for n, name in enumerate(layout.types)
        ]

    # --- from the database --------------------------------------------------------------------

    def ours(self) -> list[ColumnElement[bool]]:
        """What rows of this table must fulfil to be entries of this store."""
        if self.store.post_type is None:
            return []
        return [self.layout.column("post_type") == self.store.post_type]

    def is_ours(self, entry: Entry) -> bool:
        """The same of an entry that was read."""
        return self.store.post_type in (None, entry.row.get("post_type"))

    def read(
        self, connection: Connection, keys: Sequence[Any], *, lock: bool = False
    ) -> dict[Any, Entry]:
        """The entries of these keys that are there now. `lock`: for the rest of a transaction."""
        found: dict[Any, Entry] = {}
        for some in in_batches(keys):
            among = self.layout.among(self.layout.key_column, some)
            rows = fetch(connection, _locked(select(*self.columns).where(among), lock))
            found |= self.whole(connection, rows, lock=lock)
        wanted = set(keys)
        # A collation may find a key that only looks alike.
        return {key: entry for key, entry in found.items() if key in wanted}

    def whole(
        self, connection: Connection, rows: Iterable[Sequence[Any]], *, lock: bool = False
    ) -> dict[Any, Entry]:
        """These rows with all that belongs to them."""
        names = list(self.layout.types)
        made = (dict(zip(names, row, strict=True)) for row in rows)
        entries = {row[self.layout.key]: Entry(row[self.layout.key], row) for row in made}
        if entries and self.store.joined is not None:
            self._join(connection, entries, self.store.joined, lock=lock)
        if entries and self.store.post_type is not None:
            self._find_offspring(connection, entries)
        return entries

    def _join(
        self, connection: Connection, entries: Mapping[Any, Entry], said: Joined, *, lock: bool
    ) -> None:
        known = self.site.table(said.table)
        parent, name, value = (known.table.c[c] for c in (said.parent, said.name, said.value))
        keys = fitting_keys(list(entries), known.types[said.parent])
        statement = select(parent, name, value).where(parent.in_(keys))
        for key, called, held in fetch(connection, _locked(statement, lock)):
            if key in entries:
                entries[key].joined.append((str(called), held))
        for entry in entries.values():
            entry.joined.sort(key=lambda pair: (pair[0], str(pair[1])))

    def _find_offspring(self, connection: Connection, entries: Mapping[Any, Entry]) -> None:
        of = dict(entries)
        for _ in range(_GENERATIONS):
            found = self.children_of(connection, list(of))
            of = {child: of[parent] for child, parent, _ in found if child not in entries}
            for child, _, kind in found:
                if child in of:
                    of[child].offspring[child] = kind
            if not of:
                break
        attachments = {
            child: entry
            for entry in entries.values()
            for child, kind in entry.offspring.items()
            if kind == "attachment"
        }
        if attachments:
            for child, name, value in self.attached_files(connection, list(attachments)):
                attachments[child].attached.append((child, name, value))
            for entry in attachments.values():
                entry.attached.sort(key=str)

    def children_of(self, connection: Connection, keys: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Attachments and revisions of posts: (id, id of the post, type)."""
        posts = self.layout.table
        parent = posts.c["post_parent"]
        wanted = [key for key in keys if key]
        if not wanted:
            return []
        statement = select(posts.c["ID"], parent, posts.c["post_type"]).where(
            parent.in_(wanted), posts.c["post_type"].in_(_OFFSPRING)
        )
        return fetch(connection, statement)

    def attached_files(self, connection: Connection, ids: Sequence[Any]) -> list[tuple[Any, ...]]:
        """What WordPress notes of attachments: (id, name, value)."""
        meta = self.site.table("postmeta").table
        names = ("_wp_attached_file", "_wp_attachment_metadata", "_wp_attachment_backup_sizes")
        statement = select(meta.c["post_id"], meta.c["meta_key"], meta.c["meta_value"]).where(
            meta.c["post_id"].in_(list(ids)), meta.c["meta_key"].in_(names)
        )
        return fetch(connection, statement)

    # --- what it says -------------------------------------------------------------------------

    def version(self, entry: Entry) -> str:
        """Fingerprint of the whole entry, but for what changes when somebody only looks at it."""
        store = self.store
        row = {n: v for n, v in entry.row.items() if n not in store.restless}
        if store.packed is not None and store.packed[1] is Packing.PHP:
            try:
                values = packed(store, entry)
            except php.Unreadable:
                pass
            else:
                row[store.packed[0]] = [p for p in values.items() if p[0] != "cfdb7_status"]
        quiet = store.joined.restless if store.joined is not None else frozenset()
        joined = [pair for pair in entry.joined if pair[0] not in quiet]
        whole = repr((sorted(row.items()), joined, sorted(entry.offspring), entry.attached))
        return blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=9).hexdigest()

    def record(
        self, entry: Entry, container: str, trace: str, dates: Sequence[str], fields: Sequence[str]
    ) -> Record:
        """The entry as the engine sees it."""
        ref = Ref(container, self.layout.to_text(entry.key), self.version(entry), trace)
        try:
            if self.store.packed is not None:
                packed(self.store, entry)
            values = {name: self.value(entry, name) for name in fields}
            when = {name: self.when(entry, name) for name in dates}
        except php.Unreadable:
            return Record(ref, dict.fromkeys(dates), dict.fromkeys(fields))
        return Record(ref, when, values)

    def when(self, entry: Entry, source: str) -> When:
        """A date; None where there is none. Raises Unreadable."""
        for name in self.store.dates.get(source, (source,)):
            zone = UTC if name in self.store.in_utc else self.site.zone
            if name in entry.row:
                shape = shape_of(self.layout.kind, self.layout.types[name])
                raw = entry.row[name]
            else:
                shape, raw = Shape.ANY, self.value(entry, name)
            if isinstance(raw, tuple | bool | float) or raw is None:
                continue
            if (found := reader(shape, zone)(raw)) is not None:
                return found
        return None

    def value(self, entry: Entry, source: str) -> Value:
        """A column, or a field of the form; None where the entry has none. Raises Unreadable."""
        name = self.store.names.get(source, source)
        if not source.startswith(_FIELD):
            if name in entry.row:
                return plain(entry.row[name])
            if source in self.store.dates:
                return _as_value(self.when(entry, source))
        name = name.removeprefix(_FIELD)
        if self.store.packed is not None and self.store.packed[1] is Packing.PHP:
            found = packed(self.store, entry).get(name)
            return _unescaped(found) if isinstance(found, str) else _flat(found)
        held = self.joined_values(entry, name)
        if held:
            return held[0] if len(held) == 1 else tuple(str(v) for v in _spread(held))
        return None

    def joined_values(self, entry: Entry, name: str) -> list[Value]:
        """Every value that has this name in the other table. Raises Unreadable."""
        said = self.store.joined
        if said is None:
            return []
        called = {name, self.joined_name(name)}
        strict = self.store.post_type is not None
        return [_unserialised(value, strict=strict) for n, value in entry.joined if n in called]

    def joined_name(self, name: str) -> str:
        """How a form's field is named in the other table."""
        said = self.store.joined
        if said is None or name.startswith("_"):
            return name
        named = said.form.format(name)
        return _NOT_SANITISED.sub("", named.lower()) if said.sanitised else named


def packed(store: Store, entry: Entry) -> dict[str | int, Any]:
    """All values of a form that one column holds. Raises Unreadable."""
    assert store.packed is not None  # noqa: S101 -- asked only of stores that have one
    column, how = store.packed
    raw = entry.row[column]
    if raw is None or raw == "":
        return {}
    text = raw.decode("utf-8", "surrogateescape") if isinstance(raw, bytes) else str(raw)
    if how is Packing.PHP:
        values: Any = php.loads(text)
    else:
        values = _from_json(text)
    if not isinstance(values, dict):
        raise php.Unreadable
    return values


def _from_json(text: str) -> Any:
    if len(text) > php.LARGEST:
        raise php.Unreadable
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise php.Unreadable from None
    return dict(enumerate(found)) if isinstance(found, list) else found


def leaves(value: Any) -> list[str]:
    """Every text in a value, however deep."""
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in leaves(item)]
    return [] if value is None or isinstance(value, bool) else [str(value)]


def in_batches(keys: Sequence[Any], size: int = AT_ONCE) -> list[list[Any]]:
    """Keys in parts that one statement can name."""
    return [list(keys[n : n + size]) for n in range(0, len(keys), size)]


def _unserialised(value: Any, *, strict: bool) -> Value:
    """`strict`: WordPress's own tables, where nothing looks serialised that is not."""
    held = plain(value)
    if isinstance(held, str) and php.looks_serialised(held):
        try:
            return _flat(php.loads(held.strip()))
        except php.Unreadable:
            if strict:
                raise
    return held


def _flat(value: Any) -> Value:
    if isinstance(value, dict):
        return tuple(leaf.encode("utf-8", "replace").decode() for leaf in leaves(value))
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return plain(value)


def _spread(values: Sequence[Value]) -> list[Any]:
    spread: list[Any] = []
    for value in values:
        spread += value if isinstance(value, tuple) else [value]
    return [value for value in spread if value is not None]


def _unescaped(text: str) -> Value:
    """The plugin writes quotes and slashes as entities."""
    return _flat(_ESCAPED.sub(lambda found: _CFDB7[found.group()], text))


def _as_value(when: When) -> Value:
    return when if isinstance(when, date) else None


def _locked(statement: Select[Any], lock: bool) -> Select[Any]:
    return statement.with_for_update() if lock else statement
