"""One store of one site, put together: what the connector asks of a location with `store`."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Select, select

from retention.connectors.base import (
    Bound,
    Condition,
    Op,
    Outcome,
    Page,
    Proof,
    Record,
    Ref,
    Scalar,
    Target,
)
from retention.connectors.sql import find
from retention.connectors.sql.dates import not_after, shape_of
from retention.connectors.sql.layout import Layouts
from retention.connectors.sql.rows import Reading
from retention.connectors.sql.session import Session, fetch
from retention.connectors.sql.settings import SqlLocation
from retention.connectors.sql.uploads import Root
from retention.connectors.sql.wordpress import names
from retention.connectors.sql.wordpress.act import EntryAct
from retention.connectors.sql.wordpress.entries import AT_ONCE, Entries, Entry
from retention.connectors.sql.wordpress.files import Files
from retention.connectors.sql.wordpress.look import EntryLook
from retention.connectors.sql.wordpress.parts import Parts
from retention.connectors.sql.wordpress.site import Site
from retention.connectors.sql.wordpress.stores import STORES


class WordPress:
    """The entries of one store, as the connector's calls need them."""

    def __init__(
        self,
        session: Session,
        layouts: Layouts,
        target: Target,
        settings: SqlLocation,
        base: str,
    ) -> None:
        assert settings.store is not None  # noqa: S101 -- asked only of such locations
        store = STORES[settings.store]
        prefix = "wp_" if settings.prefix is None else settings.prefix
        described = settings.model_copy(
            update={"table": f"{prefix}{store.table}", "key": store.key, "uploads": None}
        )
        bare = replace(target, dates=(), fields=())
        self.target = target
        self.session = session
        self.store = store
        self.settings = settings
        self.layout = layouts.of(bare, described)
        self.site = Site(session, prefix, settings.timezone, target.name)
        self.entries = Entries(self.site, store, self.layout)
        uploads = settings.uploads
        # Absolute, because every path below it is followed part by part, links refused.
        root = Root(str(Path(base, uploads.root)), base, target.name) if uploads else None
        self.files = Files(self.entries, root)
        self.parts = Parts(self.entries)
        self._reading = Reading(self.layout, bare, described)

    @property
    def container(self) -> str:
        """Posts of several types share a table: each type is a container of its own."""
        kind = self.store.post_type
        return f"{self.layout.container}/{kind}" if kind else self.layout.container

    # --- reading ------------------------------------------------------------------------------

    def count(self, target: Target) -> int | None:
        """Entries that match `where`; None where only a scan could tell."""
        mine = self._columns_only(target)
        if len(mine.where) < len(target.where):
            return None
        kind = self.store.post_type
        if kind is not None:
            mine = replace(mine, where=(*mine.where, Condition("post_type", Op.IN, (kind,))))
        return find.total(self.session, self.layout, mine)

    def spans(self, target: Target, most: int, least: int) -> tuple[str | None, ...]:
        """Ranges of the key."""
        return find.spans(self.session, self.layout, target, most, least, self.entries.ours())

    def pages(self, target: Target, cursor: str | None, size: int) -> Iterator[Page]:
        """Every entry that may match, in the order of the key, a batch at a time."""
        self.session.told(target.name, partial(names.refuse_unknown, self.entries, target))
        key, size = self.layout.key_column, min(size, AT_ONCE)
        wanted = find.pushed(self.layout, self._columns_only(target))
        wanted += [*self._bounds(target.bounds), *self.entries.ours()]
        wanted += find.within(self.layout, target.span)
        statement = select(*self.entries.columns).where(*wanted).order_by(key).limit(size)
        after = find.start_of(self.layout, cursor)
        while True:
            page = statement if after is None else statement.where(key > after)
            found = self.session.told(target.name, partial(self._page, page))
            if not found:
                return
            after = found[-1].key
            records = [self._record(entry, target) for entry in found]
            yield Page(records, find.cursor_of(self.layout, after), len(found))
            if len(found) < size:
                return

    def _page(self, statement: Select[Any]) -> list[Entry]:
        connection = self.session.reading()
        return list(self.entries.whole(connection, fetch(connection, statement)).values())

    def again(self, target: Target, keys: Sequence[str]) -> Iterator[Record]:
        """The entries of these keys, as they are now."""
        raw = [key for key in map(self._key, keys) if key is not None]
        entries = self.session.told(
            target.name, lambda: self.entries.read(self.session.reading(), raw)
        )
        for entry in entries.values():
            yield self._record(entry, target)

    def _key(self, text: str) -> Any:
        try:
            return self.layout.to_key(text)
        except ValueError:
            return None

    def _record(self, entry: Entry, target: Target) -> Record:
        trace = self.files.trace(entry).text()
        return self.entries.record(entry, self.container, trace, target.dates, target.fields)

    def _columns_only(self, target: Target) -> Target:
        """What the database can compare: conditions on the entry's own columns, by their names."""
        where = []
        for condition in target.where:
            source = self.store.names.get(condition.source, condition.source)
            if source in self.layout.types and condition.source not in self.store.dates:
                where.append(condition._replace(source=source))
        return replace(target, where=tuple(where), bounds=())

    def _bounds(self, bounds: Sequence[Bound]) -> Iterator[Any]:
        for bound in bounds:
            # The first column is the one that counts; where it cannot be read, nothing is hidden.
            name = self.store.dates.get(bound.source, (bound.source,))[0]
            if name not in self.layout.types:
                continue
            zone = UTC if name in self.store.in_utc else self.site.zone
            shape = shape_of(self.layout.kind, self.layout.types[name])
            column = self.layout.column(name)
            said = not_after(self.layout.kind, shape, column, bound.instant, zone)
            if said is not None:
                yield said

    # --- acting and looking -------------------------------------------------------------------

    def erase(self, refs: Sequence[Ref]) -> Iterator[Outcome]:
        """Delete these entries, with all that belongs to them."""
        yield from self._act().erase(refs)

    def mask(self, refs: Sequence[Ref], values: Mapping[str, Scalar]) -> Iterator[Outcome]:
        """Overwrite fields of these entries."""
        yield from self._act().mask(refs, values)

    def _act(self) -> EntryAct:
        return EntryAct(self.session, self._reading, self.entries, self.files, self.parts)

    def proofs(
        self, refs: Sequence[Ref], control: Ref | None, masked: Mapping[str, Scalar] | None
    ) -> Iterator[Proof]:
        """Look for these entries."""
        look = EntryLook(self.session, self.entries, self.files, self.parts)
        yield from look.proofs(refs, control, masked)

    def content(self, ref: Ref) -> dict[str, Any] | None:
        """Everything that is kept of an entry; None where it is gone."""
        key = self._key(ref.key)
        connection = self.session.reading()
        entry = self.entries.read(connection, [key]).get(key) if key is not None else None
        if entry is None:
            return None
        family = [key, *entry.offspring]
        whole: dict[str, Any] = {"table": self.layout.container, "row": entry.row}
        parts = self.parts.contents(connection, family)
        whole["children"] = [{"table": name, "rows": rows} for name, rows in parts if rows]
        if self.files.root is not None:
            files = names.refuse_unsafe(self.files, entry, self.layout.place)
            read = ((path, self.files.root.read(path)) for path in files)
            whole["files"] = [
                {"path": path, "base64": base64.b64encode(data).decode()}
                for path, data in read
                if data is not None
            ]
        return whole
