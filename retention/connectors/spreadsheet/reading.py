"""Rows as records: found, rechecked, counted, given whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta

from retention.connectors.base import (
    Content,
    Page,
    Record,
    Ref,
    Target,
    Value,
    When,
)
from retention.connectors.spreadsheet.columns import Columns, cell_at, columns_of, records
from retention.connectors.spreadsheet.identity import Repeated, own_key
from retention.connectors.spreadsheet.replace import Snapshot
from retention.connectors.spreadsheet.residue import distinctive, identifying
from retention.connectors.spreadsheet.table import (
    Row,
    Table,
    date_of,
    fingerprint,
    json_value,
    scalar_of,
)


class Reading:
    """One table read for one target."""

    def __init__(self, table: Table, target: Target, place: str) -> None:
        self.table, self.target, self.place = table, target, place
        self.columns: Columns = columns_of(table, target, place)

    def find(self, cursor: str | None, size: int, snapshot: Snapshot) -> Iterator[Page]:
        """Every row as a record, in pages of `size`."""
        epoch = snapshot.digest.hex()
        start = _start(cursor, epoch)
        repeated = Repeated(self.table, self.columns, self.place)
        batch: list[Record] = []
        scanned = 0
        last = start
        for row in records(self.table, self.columns):
            record = self._record_of(row, repeated)
            if row.number <= start:
                continue
            scanned, last = scanned + 1, row.number
            if not self._too_young(record):
                batch.append(record)
            if len(batch) == size:
                yield Page(batch, json.dumps({"row": last, "file": epoch}), scanned)
                batch, scanned = [], 0
        yield Page(batch, json.dumps({"row": last, "file": epoch}), scanned)

    def recheck(self, keys: Sequence[str]) -> Iterator[Record]:
        """The records of these keys, in the order of the sheet."""
        wanted = set(keys)
        repeated = Repeated(self.table, self.columns, self.place)
        for row in records(self.table, self.columns):
            if own_key(row, self.columns, self.place) in wanted or repeated or _synthetic(wanted):
                record = self._record_of(row, repeated)
                if record.ref.key in wanted:
                    yield record

    def count(self) -> int:
        """Rows below the header that hold anything."""
        return sum(1 for _ in records(self.table, self.columns))

    def contents(self, refs: Sequence[Ref]) -> Iterator[Content]:
        """Each row as JSON, by column name."""
        versions = {ref.key: ref.version for ref in refs}
        repeated = Repeated(self.table, self.columns, self.place)
        for row in records(self.table, self.columns):
            key = self._key(row, repeated)
            if key in versions:
                data = json.dumps(self._whole(row), ensure_ascii=False, indent=2).encode()
                name = f"row-{fingerprint(row, self.columns.read)}.json"
                yield Content(key, "application/json", name, data)

    def _whole(self, row: Row) -> dict[str, Value]:
        named = {column: name for name, column in self.columns.places.items()}
        dated = set(self.columns.dates.values())
        out: dict[str, Value] = {}
        for cell in row.cells:
            name = named.get(cell.column, f"column {cell.column}")
            when = date_of(cell, self.table.calendar) if cell.column in dated else None
            out[name] = json_value(when) if when is not None else scalar_of(cell)
        return out

    def _record_of(self, row: Row, repeated: Repeated) -> Record:
        key = self._key(row, repeated)
        cells = {cell.column: cell for cell in row.cells}
        calendar = self.table.calendar
        dates: dict[str, When] = {
            name: None if row.ragged else date_of(cells.get(column), calendar)
            for name, column in self.columns.dates.items()
        }
        fields: dict[str, Value] = {}
        for name, column in self.columns.fields.items():
            known = dates.get(name)
            fields[name] = known if known is not None else scalar_of(cells.get(column))
        told = [v for v in fields.values() if isinstance(v, str | int) and identifying(str(v))]
        trace = json.dumps([str(v) for v in told], ensure_ascii=False) if told else ""
        ref = Ref(self.table.container, key, fingerprint(row, self.columns.read), trace)
        return Record(ref, dates, fields)

    def _key(self, row: Row, repeated: Repeated) -> str:
        key = own_key(row, self.columns, self.place)
        return key if key and key not in repeated else repeated.label(row, key, self.columns)

    def _too_young(self, record: Record) -> bool:
        return any(
            (day := _day(record.dates.get(bound.source))) is not None
            # A civil date has no zone: a day of grace covers all of them.
            and day > bound.instant.date() + timedelta(days=1)
            for bound in self.target.bounds
        )


def values_of(row: Row, columns: Columns, names: Sequence[str]) -> dict[str, Value]:
    """The values of a row in these columns."""
    return {name: scalar_of(cell_at(row, columns.places[name])) for name in names}


def traces(refs: Sequence[Ref]) -> dict[str, list[str]]:
    """Per key, what verification looks for everywhere: the key itself and the values it carries."""
    return {
        ref.key: [
            value
            for value in (ref.key, *(json.loads(ref.trace) if ref.trace else ()))
            if distinctive(value)
        ]
        for ref in refs
    }


def _start(cursor: str | None, epoch: str) -> int:
    """The row a cursor has reached; 0 where the file is another one by now."""
    try:
        said = json.loads(cursor) if cursor else {}
        return int(said["row"]) if said.get("file") == epoch else 0
    except (ValueError, KeyError, AttributeError, TypeError):
        return 0


def _day(when: When) -> date | None:
    return when.date() if isinstance(when, datetime) else when


def _synthetic(keys: set[str]) -> bool:
    return any(key.startswith("⟨") for key in keys)
