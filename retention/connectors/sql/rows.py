"""From a row to a record: dates, fields, and the fingerprint that is the act's precondition."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from hashlib import blake2b
from typing import Any

from sqlalchemy import ColumnElement

from retention.connectors.base import Record, Ref, Target, Value
from retention.connectors.sql.dates import expression, reader
from retention.connectors.sql.layout import Layout
from retention.connectors.sql.settings import SqlLocation
from retention.errors import PermanentFailure

_PLAIN = frozenset({str, int, float, bool, type(None), date})


class Reading:
    """Which columns to select for a target, in which order, and what they become.

    A selected row is (key, *dates, *fields[, upload path]).
    """

    def __init__(self, layout: Layout, target: Target, settings: SqlLocation) -> None:
        self.layout = layout
        self._dates = target.dates
        self._fields = target.fields
        self._readers = [reader(layout.shape(name), layout.zone) for name in target.dates]
        self._end = 1 + len(target.dates) + len(target.fields)
        self.uploads = settings.uploads is not None
        dates = [expression(layout.kind, layout.shape(n), layout.column(n)) for n in target.dates]
        fields = [layout.column(name) for name in target.fields]
        extra = [layout.column(settings.uploads.column)] if settings.uploads else []
        # Labels keep two uses of one column apart; one table's columns never need a prefix.
        self.columns: list[ColumnElement[Any]] = [
            c.label(f"c{n}") for n, c in enumerate([layout.key_column, *dates, *fields, *extra])
        ]

    def version(self, row: Sequence[Any]) -> str:
        """Fingerprint of what the decision rests on: the dates and fields that were read."""
        read = repr(tuple(row[1 : self._end]))
        return blake2b(read.encode("utf-8", "surrogatepass"), digest_size=9).hexdigest()

    def path(self, row: Sequence[Any]) -> str:
        """The file that goes with the row, "" where there is none."""
        value = row[self._end] if self.uploads else None
        return "" if value is None else str(value)

    def records(self, rows: Iterable[Sequence[Any]]) -> Iterator[Record]:
        """Rows as records. Raises PermanentFailure for a key that could not be looked up again."""
        container, to_text = self.layout.container, self.layout.to_text
        firm = self.layout.kind != "sqlite"
        split = 1 + len(self._dates)
        read_dates = list(zip(self._dates, self._readers, range(1, split), strict=True))
        fields = list(zip(self._fields, range(split, self._end), strict=True))
        version = self.version
        for row in rows:
            key = to_text(row[0])
            if not firm:
                self._refuse_loose_key(key, row[0])
            yield Record(
                Ref(container, key, version(row), self.path(row) if self.uploads else ""),
                {name: read(row[i]) for name, read, i in read_dates},
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
