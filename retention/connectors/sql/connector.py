"""The connector: one session with one database."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar, cast

from sqlalchemy import select

from retention.clock import Clock, SystemClock
from retention.connectors.base import (
    Arrival,
    Content,
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
from retention.connectors.sql import find, probe, receiving
from retention.connectors.sql.act import Act
from retention.connectors.sql.children import Branch, branches
from retention.connectors.sql.layout import Layout, Layouts
from retention.connectors.sql.look import Look
from retention.connectors.sql.rows import Reading, plain
from retention.connectors.sql.session import Session
from retention.connectors.sql.settings import SqlLocation, SqlSystem
from retention.connectors.sql.uploads import Root, UnsafePath
from retention.connectors.sql.wordpress import doctor
from retention.connectors.sql.wordpress.store import WordPress
from retention.errors import PermanentFailure

T = TypeVar("T")


class _At(NamedTuple):
    """Everything about one target, looked up once."""

    settings: SqlLocation
    layout: Layout
    reading: Reading
    branches: Sequence[Branch]
    root: Root | None


class SqlConnector:
    """Rows of the tables of one database. See the package's docstring for the reading order."""

    def __init__(self, manifest: Manifest, opened: Opened, settings: SqlSystem) -> None:
        self._manifest = manifest
        self._base = opened.base
        self._page = settings.page
        self._session = Session(opened.system, settings, opened.base)
        self._zone = str(opened.extras.get("timezone") or "UTC")
        self._clock = cast(Clock, opened.extras.get("clock") or SystemClock())
        self._layouts = Layouts(self._session, self._zone)
        self._known: dict[tuple[Any, ...], _At] = {}
        self._stores: dict[tuple[Any, ...], WordPress] = {}

    def __repr__(self) -> str:
        return f"SqlConnector({self._session.system})"

    def describe(self) -> Manifest:
        return self._manifest

    def probe(self, targets: Sequence[Target]) -> Iterator[Probe]:
        yield from probe.of_system(self._session, self._clock)
        covered = doctor.covered_by(
            [(said.prefix, said.store) for t in targets for said in (_settings(t),)]
        )
        stores: dict[str, WordPress] = {}
        tables: dict[str, str] = {}
        for target in targets:
            try:
                if (store := self._store(target)) is not None:
                    stores[target.name] = store
                    yield from doctor.of_store(store, covered)
                    continue
                at = self._at(target)
                tables[target.name] = at.layout.name
                yield from probe.of_target(
                    self._session, at.layout, target, at.settings, at.root, self._zone
                )
            except PermanentFailure as error:
                yield Probe(
                    f"{target.name}: table", ok=False, detail=error.message, hint=error.hint
                )
        yield from doctor.said_twice(stores, tables)

    def containers(self, target: Target) -> tuple[str, ...]:
        if (store := self._store(target)) is not None:
            return (store.container,)
        return (self._at(target).layout.container,)

    def count(self, target: Target) -> int | None:
        if (store := self._store(target)) is not None:
            return store.count(target)
        return find.total(self._session, self._at(target).layout, target)

    def spans(self, target: Target, most: int, least: int) -> tuple[str | None, ...]:
        if (store := self._store(target)) is not None:
            return store.spans(target, most, least)
        return find.spans(self._session, self._at(target).layout, target, most, least)

    def find(self, target: Target, cursor: str | None = None) -> Iterator[Page]:
        # The schema may have changed since an earlier call: a run looks once, at its start.
        self._forget()
        if (store := self._store(target)) is not None:
            yield from store.pages(target, cursor, self._page)
            return
        at = self._at(target)
        yield from find.pages(self._session, at.reading, target, cursor, self._page)

    def recheck(self, target: Target, keys: Sequence[str]) -> Iterator[Record]:
        if (store := self._store(target)) is not None:
            for some in _batches(keys, self._manifest.max_batch):
                yield from store.again(target, some)
            return
        reading = self._at(target).reading
        for some in _batches(keys, self._manifest.max_batch):
            yield from reading.records(find.again(self._session, reading, target.name, some))

    def erase(self, target: Target, refs: Sequence[Ref]) -> Iterator[Outcome]:
        for some in _batches(refs, self._manifest.max_batch):
            store = self._store(target)
            yield from (store or self._act(target)).erase(some)

    def mask(
        self, target: Target, refs: Sequence[Ref], values: Mapping[str, Scalar]
    ) -> Iterator[Outcome]:
        for some in _batches(refs, self._manifest.max_batch):
            store = self._store(target)
            yield from (store or self._act(target)).mask(some, values)

    def read(self, target: Target, refs: Sequence[Ref]) -> Iterator[Content]:
        store = self._store(target)
        ask = store.content if store is not None else partial(self._whole, self._at(target))
        for ref in refs:
            whole = self._session.told(target.name, partial(ask, ref))
            if whole is not None:
                data = json.dumps(whole, ensure_ascii=False, indent=1, default=_json).encode()
                name = sha256(f"{ref.container}\0{ref.key}".encode()).hexdigest()[:24]
                yield Content(ref.key, "application/json", f"{name}.json", data)

    def receive(self, target: Target, arrivals: Sequence[Arrival]) -> Iterator[Outcome]:
        if self._store(target) is not None:
            # A plugin makes its entries itself: what it would miss in one of ours, nobody knows.
            yield from (Outcome(a.key, Result.FAILED_PERMANENT, "store") for a in arrivals)
            return
        reading = self._at(target).reading
        for some in _batches(arrivals, self._manifest.max_batch):
            yield from receiving.receive(self._session, reading, some)

    def verify(
        self,
        target: Target,
        refs: Sequence[Ref],
        control: Ref | None,
        masked: Mapping[str, Scalar] | None = None,
    ) -> Iterator[Proof]:
        if not refs:
            return
        if (store := self._store(target)) is not None:
            for some in _batches(refs, self._manifest.max_batch):
                yield from store.proofs(some, control, masked)
            return
        at = self._at(target)
        look = Look(self._session, at.reading, at.branches, at.root)
        for some in _batches(refs, self._manifest.max_batch):
            yield from look.proofs(some, control, masked)

    def close(self) -> None:
        self._session.close()
        self._forget()

    # --- inner ------------------------------------------------------------------------------

    def _at(self, target: Target) -> _At:
        settings = _settings(target)
        ident = (target.name, settings.model_dump_json(), target.dates, target.fields)
        if (at := self._known.get(ident)) is None:
            at = self._known[ident] = self._session.told(
                target.name, lambda: self._look_up(target, settings)
            )
        return at

    def _store(self, target: Target) -> WordPress | None:
        """The store that a location names; None where it describes its table itself."""
        settings = _settings(target)
        if settings.store is None:
            return None
        ident = (target.name, settings.model_dump_json())
        if ident not in self._stores:
            make = partial(WordPress, self._session, self._layouts, target, settings, self._base)
            self._stores[ident] = self._session.told(target.name, make)
        return self._stores[ident]

    def _look_up(self, target: Target, settings: SqlLocation) -> _At:
        layout = self._layouts.of(target, settings)
        reading = Reading(layout, target, settings)
        listed = branches(self._session.reading(), layout, settings)
        uploads = settings.uploads
        root = Root(uploads.root, self._base, target.name) if uploads else None
        return _At(settings, layout, reading, listed, root)

    def _act(self, target: Target) -> Act:
        at = self._at(target)
        return Act(self._session, at.reading, at.branches, at.root)

    def _forget(self) -> None:
        self._known.clear()
        self._stores.clear()
        self._layouts.forget()

    def _whole(self, at: _At, ref: Ref) -> dict[str, Any] | None:
        """Every column of the row, its children, and its file."""
        layout, connection = at.layout, self._session.reading()
        try:
            key = layout.to_key(ref.key)
        except ValueError:
            return None
        columns = [c.label(f"c{n}") for n, c in enumerate(layout.table.c)]
        row = connection.execute(select(*columns).where(layout.key_column == key)).first()
        if row is None:
            return None
        values = dict(zip(layout.types, row, strict=True))
        whole: dict[str, Any] = {"table": layout.container, "row": values}
        if at.branches:
            whole["children"] = [
                {"table": branch.said.table, "rows": branch.contents(connection, key)}
                for branch in at.branches
            ]
        if at.root is not None and at.settings.uploads is not None:
            path = str(values[layout.known(at.settings.uploads.column)] or "")
            whole["file"] = _file(at.root, path, layout.place)
        return whole


def _settings(target: Target) -> SqlLocation:
    return cast(SqlLocation, target.settings)


def _file(root: Root, path: str, place: str) -> dict[str, str] | None:
    if not path:
        return None
    try:
        data = root.read(path)
    except UnsafePath:
        raise PermanentFailure(
            "a row names a file outside the folder of uploaded files",
            hint="correct the row; it is neither exported nor deleted like this",
            place=place,
            code="upload-unsafe",
        ) from None
    return None if data is None else {"path": path, "base64": base64.b64encode(data).decode()}


def _json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date | datetime) else plain(value)


def _batches(items: Sequence[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
