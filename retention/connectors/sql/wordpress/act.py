"""Deleting and overwriting entries, each only while it is what it was when it was decided upon.

Order of a deletion: the entries are locked and compared, what belongs to them is deleted, then
they themselves, then their files, then all is committed. A process that dies in between leaves
the entry, which names its files; the next run finishes. Where tables know no transactions
(MyISAM), the files go first and the entry goes last, for the same reason.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import String, delete, update
from sqlalchemy.engine import Connection

from retention.connectors.base import Outcome, Ref, Result, Scalar
from retention.connectors.sql import php
from retention.connectors.sql.act import Act, Keyed, Undeletable
from retention.connectors.sql.rows import Reading
from retention.connectors.sql.session import Session
from retention.connectors.sql.uploads import UnsafePath
from retention.connectors.sql.wordpress.entries import Entries, Entry, in_batches, packed
from retention.connectors.sql.wordpress.files import Elsewhere, Files, Trace, is_safe
from retention.connectors.sql.wordpress.parts import Parts
from retention.connectors.sql.wordpress.site import rows_come_back
from retention.connectors.sql.wordpress.stores import Packing

_Results = dict[Any, tuple[Result, str]]


class EntryAct(Act):
    """Acts on the entries of one store."""

    def __init__(
        self, session: Session, reading: Reading, entries: Entries, files: Files, parts: Parts
    ) -> None:
        super().__init__(session, reading, (), None)
        self._entries = entries
        self._files = files
        self._parts = parts
        self._firm: bool | None = None

    # --- deleting -----------------------------------------------------------------------------

    def _erase(self, keyed: Keyed) -> list[Outcome]:
        if self._files.root is not None:
            self._files.root.check()
        barred: dict[Any, str] = {}
        while True:
            try:
                return self._erase_entries(keyed, barred)
            except Undeletable as found:
                barred[found.key] = "upload-undeletable"

    def _erase_entries(self, keyed: Keyed, barred: Mapping[Any, str]) -> list[Outcome]:
        firm = self._transactional()
        with self._session.acting() as connection:
            entries = self._entries.read(connection, list(keyed), lock=True)
            results = self._compared(entries, keyed)
            results.update({k: (Result.FAILED_PERMANENT, c) for k, c in barred.items()})
            named = self._named(entries, keyed, results)
            fit = [key for key in entries if key not in results]
            absent = [key for key, (r, _) in results.items() if r is Result.ALREADY_ABSENT]
            absent = [key for key in absent if key not in barred]
            offspring = [post for key in fit for post in entries[key].offspring]
            offspring += self._orphans(connection, {key: keyed[key] for key in absent})
            family = {*fit, *absent, *offspring}
            if not firm:
                self._remove(connection, named, [*fit, *absent], family)
            self._parts.erase(connection, [*fit, *absent], offspring)
            done = self._delete(connection, fit)
            said = Result.DISPOSED if done == len(fit) else Result.UNKNOWN
            results.update(dict.fromkeys(fit, (said, "")))
            if firm:
                self._remove(connection, named, [*fit, *absent], family)
        return [Outcome(ref.key, *results[key]) for key, ref in keyed.items()]

    def _compared(self, entries: Mapping[Any, Entry], keyed: Keyed) -> _Results:
        """What is known before anything is done."""
        results: _Results = {}
        for key, ref in keyed.items():
            entry = entries.get(key)
            if entry is None:
                results[key] = (Result.ALREADY_ABSENT, "")
            elif not self._same(entry, ref):
                results[key] = (Result.CHANGED, "")
        return results

    def _same(self, entry: Entry, ref: Ref) -> bool:
        return self._entries.is_ours(entry) and self._entries.version(entry) == ref.version

    def _named(
        self, entries: Mapping[Any, Entry], keyed: Keyed, results: _Results
    ) -> dict[Any, list[str]]:
        """The files of each; entries whose files cannot be dealt with are barred."""
        root = self._files.root
        named: dict[Any, list[str]] = {}
        for key, ref in keyed.items():
            code = ""
            paths: Sequence[str] = ()
            try:
                entry = entries.get(key)
                paths = Trace.of(ref.trace).files if entry is None else self._files.named(entry)
            except php.Unreadable:
                code = "unreadable"
            except Elsewhere:
                code = "upload-elsewhere"
            if paths and root is None:
                code = "upload-folder-not-told"
            elif root is not None and not all(is_safe(root, path) for path in paths):
                code = "upload-unsafe"
            if not code:
                named[key] = list(paths)
            elif results.get(key, (None,))[0] is not Result.CHANGED:
                results[key] = (Result.FAILED_PERMANENT, code)
        return named

    def _remove(
        self,
        connection: Connection,
        named: Mapping[Any, Sequence[str]],
        keys: Sequence[Any],
        family: Collection[Any],
    ) -> None:
        """Remove their files, but for those that others than `family` name too."""
        root = self._files.root
        if root is None:
            return
        for key in keys:
            paths = named.get(key, ())
            try:
                there = self._files.there(paths)
                kept = self._files.claimed(connection, there, family) if there else ()
                for path in there:
                    if path not in kept:
                        root.remove(path)
            except (OSError, UnsafePath):
                raise Undeletable(key) from None

    def _orphans(self, connection: Connection, absent: Keyed) -> list[Any]:
        """Attachments and revisions of posts that are gone already, as far as they were found."""
        if self._entries.store.post_type is None:
            return []
        known = {post for ref in absent.values() for post in Trace.of(ref.trace).posts}
        found = self._entries.children_of(connection, list(absent))
        return [post for post, _, _ in found if post in known]

    def _delete(self, connection: Connection, keys: Sequence[Any]) -> int:
        layout = self._layout
        done = 0
        for some in in_batches(keys):
            among = layout.among(layout.key_column, some)
            statement = delete(layout.table).where(among, *self._entries.ours())
            done += connection.execute(statement).rowcount
        return done

    def _transactional(self) -> bool:
        """Whether a rollback brings back what was deleted."""
        if self._firm is None:
            self._firm = self._session.told(
                self._layout.place, partial(rows_come_back, self._session, self._layout.name)
            )
        return self._firm

    # --- overwriting --------------------------------------------------------------------------

    def _mask(self, keyed: Keyed, values: Mapping[str, Scalar]) -> list[Outcome]:
        with self._session.acting() as connection:
            entries = self._entries.read(connection, list(keyed), lock=True)
            results = self._compared(entries, keyed)
            for key, (result, _) in list(results.items()):
                # A redo after a crash finds the overwritten entry: nothing is left to do there.
                if result is Result.CHANGED and shows(self._entries, entries[key], values):
                    results[key] = (Result.ALREADY_ABSENT, "masked")
            for key, entry in entries.items():
                if key not in results:
                    results[key] = self._overwrite(connection, entry, values)
        return [Outcome(ref.key, *results[key]) for key, ref in keyed.items()]

    def _overwrite(
        self, connection: Connection, entry: Entry, values: Mapping[str, Scalar]
    ) -> tuple[Result, str]:
        store = self._entries.store
        columns: dict[str, Any] = {}
        joined: dict[str, Any] = {}
        try:
            fields = self._packed(entry)
            for source, value in values.items():
                name = store.names.get(source, source).removeprefix("field:")
                if name in entry.row and not source.startswith("field:"):
                    columns[name] = self._fitted(name, value)
                elif fields is not None:
                    fields[name] = value
                else:
                    joined |= self._copies(entry, source, value)
        except php.Unreadable:
            return Result.FAILED_PERMANENT, "unreadable"
        if fields is not None and store.packed is not None:
            columns[store.packed[0]] = php.dumps(fields)
        if joined:
            columns |= dict.fromkeys(store.echoes, "")
        if columns:
            layout = self._layout
            here = layout.key_column == entry.key
            connection.execute(update(layout.table).where(here).values(columns))
        for name, value in joined.items():
            self._set_joined(connection, entry, name, value)
        return Result.DISPOSED, ""

    def _packed(self, entry: Entry) -> dict[str | int, Any] | None:
        """A form's values, where one column holds them all as PHP writes them."""
        store = self._entries.store
        if store.packed is None or store.packed[1] is not Packing.PHP:
            return None
        return dict(packed(store, entry))

    def _fitted(self, name: str, value: Scalar) -> Scalar:
        textual = isinstance(self._layout.type_of(name), String)
        return ("" if value is None else str(value)) if textual else value

    def _copies(self, entry: Entry, source: str, value: Scalar) -> dict[str, Scalar]:
        """The rows that hold this field, and those that hold the same text under other names."""
        entries = self._entries
        name = entries.store.names.get(source, source).removeprefix("field:")
        called = {name, entries.joined_name(name)}
        old = {str(held) for n, held in entry.joined if n in called and held not in (None, "")}
        same = {n for n, held in entry.joined if n in called or str(held) in old}
        return dict.fromkeys(same, "" if value is None else str(value))

    def _set_joined(self, connection: Connection, entry: Entry, name: str, value: Scalar) -> None:
        said = self._entries.store.joined
        assert said is not None  # noqa: S101 -- the name comes from there
        table = self._entries.site.table(said.table).table
        here = (table.c[said.parent] == entry.key) & (table.c[said.name] == name)
        connection.execute(update(table).where(here).values({said.value: value}))


def shows(entries: Entries, entry: Entry, values: Mapping[str, Scalar]) -> bool:
    """Whether the entry holds these values."""
    try:
        return all(
            (entries.value(entry, source) or "") == ("" if value is None else value)
            for source, value in values.items()
        )
    except php.Unreadable:
        return False
