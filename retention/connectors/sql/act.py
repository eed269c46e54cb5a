"""Deleting and masking rows, each only while it is what it was when it was decided upon.

Usually one statement does it: DELETE … RETURNING gives back what was deleted, and the
transaction is committed only if that is what was meant. Where something differs, it is rolled
back, the rows are locked and compared first, and what still fits is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import String, delete, select, update
from sqlalchemy.engine import Connection

from retention.connectors.base import Outcome, Ref, Result, Scalar
from retention.connectors.sql.children import Branch
from retention.connectors.sql.failures import Constraint
from retention.connectors.sql.layout import Layout
from retention.connectors.sql.rows import Reading
from retention.connectors.sql.session import Session, fetch
from retention.connectors.sql.uploads import Root, UnsafePath

Keyed = Mapping[Any, Ref]
"""The database's own key → ref."""


class _Differs(Exception):
    """What was deleted is not what was meant."""


class Undeletable(Exception):
    """A file could not be removed; carries the key, which is never printed."""

    def __init__(self, key: Any) -> None:
        super().__init__()
        self.key = key


class Act:
    """Acts on the rows of one target."""

    def __init__(
        self,
        session: Session,
        reading: Reading,
        branches: Sequence[Branch],
        root: Root | None,
    ) -> None:
        self._session = session
        self._reading = reading
        self._layout = reading.layout
        self._branches = branches
        self._root = root

    def erase(self, refs: Sequence[Ref]) -> Iterator[Outcome]:
        """Delete these rows, their children and their files. One transaction where all is well."""
        keyed, outcomes = self._keyed(refs)
        yield from outcomes
        if not keyed:
            return
        yield from self._bisecting(keyed, self._erase)

    def mask(self, refs: Sequence[Ref], values: Mapping[str, Scalar]) -> Iterator[Outcome]:
        """Overwrite columns of these rows."""
        keyed, outcomes = self._keyed(refs)
        yield from outcomes
        if keyed and values:
            yield from self._bisecting(keyed, lambda some: self._mask(some, values))

    def _keyed(self, refs: Sequence[Ref]) -> tuple[dict[Any, Ref], list[Outcome]]:
        keyed: dict[Any, Ref] = {}
        outcomes: list[Outcome] = []
        for ref in refs:
            try:
                keyed[self._layout.to_key(ref.key)] = ref
            except ValueError:
                outcomes.append(Outcome(ref.key, Result.FAILED_PERMANENT, "no-such-key"))
        return keyed, outcomes

    def _bisecting(self, keyed: Keyed, act: Callable[[Keyed], list[Outcome]]) -> Iterator[Outcome]:
        """Act on all; where a constraint forbids it, on halves, until the culprits stand alone."""
        try:
            yield from self._session.told(self._layout.place, lambda: act(keyed))
            return
        except Constraint:
            if len(keyed) == 1:
                (ref,) = keyed.values()
                yield Outcome(ref.key, Result.FAILED_PERMANENT, "constraint")
                return
        items = list(keyed.items())
        middle = len(items) // 2
        for half in (items[:middle], items[middle:]):
            yield from self._bisecting(dict(half), act)

    # --- deleting ---------------------------------------------------------------------------

    def _erase(self, keyed: Keyed) -> list[Outcome]:
        # The connection first: what the server can do is known once it answered.
        self._session.reading()
        if self._root is None and self._session.engine.dialect.delete_returning:
            try:
                return self._erase_at_once(keyed)
            except _Differs:
                pass
        barred: dict[Any, str] = {}
        while True:
            try:
                return self._erase_carefully(keyed, barred)
            except Undeletable as found:
                barred[found.key] = "upload-undeletable"

    def _erase_at_once(self, keyed: Keyed) -> list[Outcome]:
        keys = list(keyed)
        reading = self._reading
        with self._session.acting() as connection:
            # Children of rows that are already absent go too: they are orphans of the record.
            for branch in self._branches:
                branch.erase(connection, keys)
            gone = {row[0]: reading.version(row) for row in reading.erased.fetch(connection, keys)}
            if not gone.items() <= {key: ref.version for key, ref in keyed.items()}.items():
                raise _Differs
        return [
            Outcome(ref.key, Result.DISPOSED if key in gone else Result.ALREADY_ABSENT)
            for key, ref in keyed.items()
        ]

    def _erase_carefully(self, keyed: Keyed, barred: Mapping[Any, str]) -> list[Outcome]:
        layout = self._layout
        with self._session.acting() as connection:
            rows, results = self._locked(connection, keyed)
            for key, code in barred.items():
                if key in rows:
                    results[key] = (Result.FAILED_PERMANENT, code)
            self._bar_unsafe_files(rows, results)
            fit = [key for key in rows if key not in results]
            absent = [k for k, (r, _) in results.items() if r is Result.ALREADY_ABSENT]
            if fit or absent:
                for branch in self._branches:
                    branch.erase(connection, [*fit, *absent])
            if fit:
                done = connection.execute(
                    delete(layout.table).where(layout.among(layout.key_column, fit))
                ).rowcount
                # A trigger may keep rows: then nobody knows which, and the engine looks.
                said = Result.DISPOSED if done == len(fit) else Result.UNKNOWN
                results.update(dict.fromkeys(fit, (said, "")))
                self._remove_files(rows, fit)
        return _outcomes(keyed, results)

    def _locked(
        self, connection: Connection, keyed: Keyed
    ) -> tuple[dict[Any, Any], dict[Any, tuple[Result, str]]]:
        """Lock the rows and compare them: (rows that are there, results that are known already)."""
        layout = self._layout
        statement = (
            select(*self._reading.columns)
            .where(layout.among(layout.key_column, list(keyed)))
            .with_for_update()
        )
        rows = {row[0]: row for row in fetch(connection, statement) if row[0] in keyed}
        results: dict[Any, tuple[Result, str]] = {}
        for key, ref in keyed.items():
            if key not in rows:
                results[key] = (Result.ALREADY_ABSENT, "")
            elif self._reading.version(rows[key]) != ref.version:
                results[key] = (Result.CHANGED, "")
        return rows, results

    def _bar_unsafe_files(
        self, rows: Mapping[Any, Any], results: dict[Any, tuple[Result, str]]
    ) -> None:
        if self._root is None:
            return
        self._root.check()
        for key, row in rows.items():
            path = self._reading.path(row)
            if path and key not in results:
                try:
                    self._root.exists(path)
                except UnsafePath:
                    results[key] = (Result.FAILED_PERMANENT, "upload-unsafe")

    def _remove_files(self, rows: Mapping[Any, Any], keys: Sequence[Any]) -> None:
        if self._root is None:
            return
        for key in keys:
            if path := self._reading.path(rows[key]):
                try:
                    self._root.remove(path)
                except (OSError, UnsafePath):
                    raise Undeletable(key) from None

    # --- masking ----------------------------------------------------------------------------

    def _mask(self, keyed: Keyed, values: Mapping[str, Scalar]) -> list[Outcome]:
        layout = self._layout
        columns = {layout.known(name): fitted(layout, name, v) for name, v in values.items()}
        with self._session.acting() as connection:
            rows, results = self._locked(connection, keyed)
            changed = [key for key, (r, _) in results.items() if r is Result.CHANGED]
            if changed:
                # A redo after a crash finds the masked row: nothing is left to do there.
                for key in masked_already(connection, self._reading, changed, values):
                    results[key] = (Result.ALREADY_ABSENT, "masked")
            fit = [key for key in rows if key not in results]
            if fit:
                connection.execute(
                    update(layout.table).where(layout.among(layout.key_column, fit)).values(columns)
                )
                results.update(dict.fromkeys(fit, (Result.DISPOSED, "")))
        return _outcomes(keyed, results)


def masked_already(
    connection: Connection, reading: Reading, keys: Sequence[Any], values: Mapping[str, Scalar]
) -> set[Any]:
    """Keys of the rows whose columns hold these values."""
    layout = reading.layout
    same = [
        layout.column(name).is_(None)
        if value is None
        else layout.column(name) == fitted(layout, name, value)
        for name, value in values.items()
    ]
    statement = select(layout.key_column).where(layout.among(layout.key_column, list(keys)), *same)
    return {row[0] for row in fetch(connection, statement)}


def fitted(layout: Layout, name: str, value: Scalar) -> Scalar:
    """The value as the column's type wants it; a policy file may write `0` for a text."""
    textual = isinstance(layout.type_of(name), String)
    return str(value) if textual and value is not None else value


def _outcomes(keyed: Keyed, results: Mapping[Any, tuple[Result, str]]) -> list[Outcome]:
    return [Outcome(ref.key, *results[key]) for key, ref in keyed.items()]
