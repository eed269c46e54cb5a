"""From a row to a record: dates, fields, and the fingerprint that is the act's precondition."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from hashlib import blake2b
from typing import Any

from sqlalchemy import (
    ColumnElement,
    LargeBinary,
    Text,
    cast,
    delete,
    func,
    literal_column,
    null,
    select,
)

from retention.connectors.base import Record, Ref, Target, Value
from retention.connectors.sql.dates import expression, reader
from retention.connectors.sql.layout import Layout
from retention.connectors.sql.prepared import Prepared
from retention.connectors.sql.settings import SqlLocation
from retention.errors import PermanentFailure

_PLAIN = frozenset({str, int, float, bool, type(None), date})


class Reading:
    """Which columns to select for a target, in which order, and what they become.

    A selected row is (key, version, *dates, *fields[, upload path]). The version is reckoned by
    the server where it can, so that an act need not send rows back; else it is NULL and reckoned
    here.
    """

    def __init__(self, layout: Layout, target: Target, settings: SqlLocation) -> None:
        self.layout = layout
        self._dates = target.dates
        self._fields = target.fields
        self._readers = [reader(layout.shape(name), layout.zone) for name in target.dates]
        self._end = 2 + len(target.dates) + len(target.fields)
        self.uploads = settings.uploads is not None
        read = [layout.column(name) for name in (*target.dates, *target.fields)]
        stamp = fingerprint(layout.kind, read)
        self.reckoned = stamp is not None
        dates = [expression(layout.kind, layout.shape(n), layout.column(n)) for n in target.dates]
        fields = [layout.column(name) for name in target.fields]
        extra = [layout.column(settings.uploads.column)] if settings.uploads else []
        first = [layout.key_column, null() if stamp is None else stamp]
        # Labels keep two uses of one column apart; one table's columns never need a prefix.
        self.columns: list[ColumnElement[Any]] = [
            c.label(f"c{n}") for n, c in enumerate([*first, *dates, *fields, *extra])
        ]
        key, of = layout.key_column, layout.key_type
        self.again = Prepared(layout, key, of, lambda picked: select(*self.columns).where(picked))
        """Reads rows by key."""
        self.present = Prepared(
            layout, key, of, lambda picked: select(self.columns[0]).where(picked)
        )
        """Reads the keys of rows that are there."""
        self.erased = Prepared(
            layout,
            key,
            of,
            lambda picked: delete(layout.table).where(picked).returning(*self.proof),
        )
        """Deletes rows by key, and gives back what was deleted."""

    @property
    def proof(self) -> list[ColumnElement[Any]]:
        """What an act must give back to tell whether it hit what was meant."""
        return self.columns[:2] if self.reckoned else self.columns

    def version(self, row: Sequence[Any]) -> str:
        """Fingerprint of what the decision rests on: the dates and fields that were read."""
        if self.reckoned:
            return str(row[1])
        read = repr(tuple(row[2 : self._end]))
        return blake2b(read.encode("utf-8", "surrogatepass"), digest_size=9).hexdigest()

    def path(self, row: Sequence[Any]) -> str:
        """The file that goes with the row, "" where there is none."""
        value = row[self._end] if self.uploads else None
        return "" if value is None else str(value)

    def records(self, rows: Iterable[Sequence[Any]]) -> Iterator[Record]:
        """Rows as records. Raises PermanentFailure for a key that could not be looked up again."""
        container, to_text = self.layout.container, self.layout.to_text
        firm = self.layout.kind != "sqlite"
        split = 2 + len(self._dates)
        dates = list(zip(self._dates, self._readers, range(2, split), strict=True))
        fields = list(zip(self._fields, range(split, self._end), strict=True))
        reckoned, uploads = self.reckoned, self.uploads
        for row in rows:
            key = to_text(row[0])
            if not firm:
                self._refuse_loose_key(key, row[0])
            version = row[1] if reckoned else self.version(row)
            yield Record(
                Ref(container, key, version, self.path(row) if uploads else ""),
                {name: read(row[i]) for name, read, i in dates},
                {
                    name: row[i] if row[i].__class__ in _PLAIN else plain(row[i])
                    for name, i in fields
                },
            )

    def _refuse_loose_key(self, key: str, raw: Any) -> None:
        """SQLite lets text stand in a number column; such a row could not be named again."""
        try:
            same = self.layout.to_key(key) == raw
        except ValueError:
            same = False
        if not same:
            raise PermanentFailure(
                f"a row's `{self.layout.key}` is of another type than its column",
                hint="give every row a key of the column's type",
                place=self.layout.place,
                code="key",
            )


def fingerprint(kind: str, columns: Sequence[ColumnElement[Any]]) -> ColumnElement[Any] | None:
    """An expression over these columns that differs when one of them does; text, on the server.

    PostgreSQL hashes the row's text (64 bits), MariaDB its quoted bytes (80 bits of MD5: a
    checksum against change, not against forgery). None where the database has no such function.
    """
    if not columns:
        return literal_column("'-'")
    if kind == "postgresql":
        whole = cast(func.row(*columns), Text)
        return cast(func.hashtextextended(whole, literal_column("0")), Text)
    if kind == "mysql":
        # Bytes, because columns of different collations must not meet in one text.
        parts = [func.quote(cast(column, LargeBinary)) for column in columns]
        return func.left(func.md5(func.concat(*parts)), literal_column("20"))
    return None


def plain(value: Any) -> Value:
    """A driver's value in the protocol's types."""
    match value:
        case None | str() | int() | float() | date():
            return value
        case bytes() | bytearray() | memoryview():
            return _text(bytes(value))
        case list() | tuple() | set() | frozenset():
            return tuple(str(part) for part in value)
        case dict():
            return json.dumps(value, ensure_ascii=False, default=str)
        case _:
            # Decimal, UUID, time, interval, network address: their usual text.
            return str(value)


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.hex()
