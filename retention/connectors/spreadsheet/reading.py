"""Rows as records: found, rechecked, counted, given whole."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from json.encoder import encode_basestring
from typing import TypeVar

from retention.connectors.base import (
    Content,
    Page,
    Record,
    Ref,
    Target,
    Value,
    When,
)
from retention.connectors.spreadsheet.blocks import Block
from retention.connectors.spreadsheet.columns import (
    Columns,
    cell_at,
    columns_of,
    record_pieces,
    records,
)
from retention.connectors.spreadsheet.csvfile import CsvTable
from retention.connectors.spreadsheet.identity import Keys, Repeated, own_key
from retention.connectors.spreadsheet.replace import Snapshot
from retention.connectors.spreadsheet.residue import distinctive, identifying
from retention.connectors.spreadsheet.table import (
    Cell,
    Row,
    Table,
    date_of,
    fingerprint,
    json_value,
    scalar_of,
)

_T = TypeVar("_T")
_REMEMBERED = 50_000


class Reading:
    """One table read for one target."""

    def __init__(
        self,
        table: Table,
        target: Target,
        place: str,
        known: dict[tuple[object, ...], Keys] | None = None,
    ) -> None:
        """`known`: what has been learnt of the keys of this very file, and will be."""
        self.table, self.target, self.place = table, target, place
        self._known = {} if known is None else known
        self.columns: Columns = columns_of(table, target, place)
        days = table.calendar
        self._memo: dict[int, Memo] = {
            column: Memo(lambda cell: date_of(cell, days)) for column in self.columns.dates.values()
        }
        self._limits = [
            # A civil date has no zone: a day of grace covers all of them.
            (bound.source, bound.instant.date() + timedelta(days=1))
            for bound in target.bounds
        ]

    @property
    def keys(self) -> Keys:
        """The keys of the table, after one pass; none if this very file has had it."""
        written = self.table.dialect if isinstance(self.table, CsvTable) else None
        place = (self.table.container, self.columns.header, self.columns.key, written)
        if place not in self._known:
            self._known[place] = Keys(self.table, self.columns, self.place)
        return self._known[place]

    def find(self, cursor: str | None, size: int, snapshot: Snapshot) -> Iterator[Page]:
        """Every row as a record, in pages of `size`."""
        epoch = snapshot.digest.hex()
        last = start = _start(cursor, epoch)
        batch: list[Record] = []
        scanned = 0
        for numbers, found in self._runs(Repeated(self.keys)):
            at = bisect_right(numbers, start)
            while at < len(numbers):
                # Never more rows than a page has room for, though some may be too young for it.
                end = min(len(numbers), at + size - len(batch))
                batch += filter(None, found[at:end])
                scanned, last, at = scanned + end - at, numbers[end - 1], end
                if len(batch) == size:
                    yield Page(batch, json.dumps({"row": last, "file": epoch}), scanned)
                    batch, scanned = [], 0
        yield Page(batch, json.dumps({"row": last, "file": epoch}), scanned)

    def _runs(self, repeated: Repeated) -> Iterator[tuple[list[int], list[Record | None]]]:
        """Numbers and records of some rows; None for one that is too young to matter."""
        for piece in record_pieces(self.table, self.columns):
            if isinstance(piece, Block):
                names = self._names(piece, repeated)
                dates = self._dates_of(piece)
                old = self._old_enough(len(piece), dates)
                records = list(self._records(piece, names, dates, old))
                if len(old) == len(piece):
                    yield piece.numbers, list(records)
                    continue
                found: list[Record | None] = [None] * len(piece)
                for at, record in zip(old, records, strict=True):
                    found[at] = record
                yield piece.numbers, found
            else:
                one = self._record_of(piece, repeated)
                yield [piece.number], [None if self._too_young(one) else one]

    def recheck(self, keys: Sequence[str]) -> Iterator[list[Record]]:
        """The records of these keys, in the order of the sheet, some at a time."""
        wanted = set(keys)
        repeated = Repeated(self.keys)
        closely = bool(repeated) or _synthetic(wanted)
        for piece in record_pieces(self.table, self.columns):
            if isinstance(piece, Block):
                names = self._names(piece, repeated) if closely else piece.texts(self.columns.key)
                chosen = [at for at, name in enumerate(names) if name in wanted]
                if chosen:
                    yield list(self._records(piece, names, self._dates_of(piece), chosen))
            elif closely or own_key(piece, self.columns, self.place) in wanted:
                record = self._record_of(piece, repeated)
                if record.ref.key in wanted:
                    yield [record]

    def _names(self, block: Block, repeated: Repeated) -> list[str]:
        """The key that each row of a block goes by."""
        names = block.texts(self.columns.key)
        if repeated or not all(names):
            odd = [at for at, key in enumerate(names) if not key or key in repeated]
            prints = block.select(odd).fingerprints() if odd else ()
            for at, print_ in zip(odd, prints, strict=True):
                names[at] = repeated.label(names[at], print_)
        return names

    def _dates_of(self, block: Block) -> dict[str, list[When]]:
        return {
            name: [self._memo[column][cell] for cell in block.cells(column)]
            for name, column in self.columns.dates.items()
        }

    def _old_enough(self, rows: int, dates: Mapping[str, list[When]]) -> Sequence[int]:
        chosen: Sequence[int] = range(rows)
        for source, limit in self._limits:
            days = dates[source]
            chosen = [at for at in chosen if (day := _day(days[at])) is None or day <= limit]
        return chosen

    def _records(
        self,
        block: Block,
        names: Sequence[str],
        dates: Mapping[str, list[When]],
        chosen: Sequence[int],
    ) -> Iterator[Record]:
        """Records of the chosen rows of a block."""
        if not chosen:
            return iter(())
        part = block.select(chosen)
        names = [names[at] for at in chosen]
        days = {name: [found[at] for at in chosen] for name, found in dates.items()}
        fields: dict[str, list[Value]] = {}
        for name, column in self.columns.fields.items():
            fields[name] = part.scalars(column)
            if name in days:
                pairs = zip(days[name], fields[name], strict=True)
                fields[name] = [value if day is None else day for day, value in pairs]
        refs = zip(
            [self.table.container] * len(names),
            names,
            part.fingerprints(),
            _traces(fields.values(), len(names)),
            strict=True,
        )
        rows = zip(
            map(Ref._make, refs),
            _by_row(days, len(names)),
            _by_row(fields, len(names)),
            strict=False,
        )
        return map(Record._make, rows)

    def count(self) -> int:
        """Rows below the header that hold anything."""
        return self.keys.rows

    def contents(self, refs: Sequence[Ref]) -> Iterator[Content]:
        """Each row as JSON, by column name."""
        versions = {ref.key: ref.version for ref in refs}
        repeated = Repeated(self.keys)
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
        print_ = fingerprint(row, self.columns.read)
        ref = Ref(self.table.container, key, print_, _trace(fields.values()))
        return Record(ref, dates, fields)

    def _key(self, row: Row, repeated: Repeated) -> str:
        key = own_key(row, self.columns, self.place)
        if key and key not in repeated:
            return key
        return repeated.label(key, fingerprint(row, self.columns.read))

    def _too_young(self, record: Record) -> bool:
        return any(
            (day := _day(record.dates.get(source))) is not None and day > limit
            for source, limit in self._limits
        )


class Memo(dict[tuple[str, bytes], When]):
    """Dates of cells that have been read: most sheets hold few different ones."""

    def __init__(self, read: Callable[[Cell], When]) -> None:
        super().__init__()
        self._read = read

    def __missing__(self, cell: tuple[str, bytes]) -> When:
        if len(self) > _REMEMBERED:
            self.clear()
        kind, value = cell
        when = self[cell] = self._read(Cell(1, kind, value))
        return when


def _told(value: Value) -> str:
    """A value that points at somebody by itself, as JSON; empty where it does not."""
    if not isinstance(value, str | int):
        return ""
    text = str(value)
    return encode_basestring(text) if "@" in text or identifying(text) else ""


def _trace(values: Iterable[Value]) -> str:
    """What of a row points at somebody by itself, as JSON; empty where nothing does."""
    told = ", ".join(filter(None, map(_told, values)))
    return f"[{told}]" if told else ""


def _traces(columns: Iterable[Sequence[Value]], rows: int) -> list[str]:
    told = [list(map(_told, column)) for column in columns]
    if not told:
        return [""] * rows
    joined = [", ".join(filter(None, row)) for row in zip(*told, strict=True)]
    return [f"[{text}]" if text else "" for text in joined]


def _by_row(columns: Mapping[str, Sequence[_T]], rows: int) -> Iterator[dict[str, _T]]:
    """Columns as one dictionary a row."""
    if len(columns) == 1:
        ((name, values),) = columns.items()
        return ({name: value} for value in values)
    if not columns:
        return ({} for _ in range(rows))
    names = tuple(columns)
    return (dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True))


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
