"""Rows in blocks: a thousand at a time through one pattern, column by column.

A call for each cell is what makes reading slow in Python. So the rows of a sheet are matched by
one strict pattern which leaves no room: what it has matched is a run of whole rows in the form
in which spreadsheet programs write them, every cell named by its own row, every byte accounted
for. A row in any other form (a formula, odd spacing, cells out of order) does not match and is
read carefully, by itself; both ways say the same of every row that both can read.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import repeat
from operator import itemgetter
from typing import Any, NamedTuple

from retention.connectors.base import Value
from retention.connectors.spreadsheet.layouts import Layout, Place
from retention.connectors.spreadsheet.sheetxml import KINDS, plain_number
from retention.connectors.spreadsheet.strings import SharedStrings
from retention.connectors.spreadsheet.table import SEPARATOR, Cell, Row, head_of, key_of, scalar_of
from retention.connectors.spreadsheet.xmltext import odd, sound, unescape

_SHORT = 7
_SEPARATOR = SEPARATOR.decode()


class Column(NamedTuple):
    """One column of a block. Where a cell holds nothing, its value is empty."""

    column: int
    kind: str
    """Kind of all cells; "" where they differ."""
    kinds: Sequence[str]
    values: Sequence[bytes]
    shared: Sequence[int] | None
    """Index of every cell in the table of strings, or -1; None: no cell uses it."""

    def kinds_of(self) -> Sequence[str]:
        """Kind of every cell."""
        return [self.kind] * len(self.values) if self.kind else self.kinds


class Block:
    """A run of rows that one pattern has matched."""

    def __init__(
        self,
        layout: Layout,
        groups: Sequence[Sequence[bytes]],
        strings: SharedStrings,
        part: str,
    ) -> None:
        """`groups`: what each group of the pattern has found, for every row."""
        self.layout, self.strings, self.part = layout, strings, part
        self._groups: Mapping[int, Sequence[bytes]] | Sequence[Sequence[bytes]] = groups
        self.raws = groups[0]
        self.numbers = list(map(int, groups[1]))
        self._columns: dict[int, Column] = {}

    def __len__(self) -> int:
        return len(self.numbers)

    def select(self, chosen: Sequence[int]) -> Block:
        """Only these rows, by position."""
        return self if len(chosen) == len(self) else _Part(self, chosen)

    def filled(self, *, above: int = 0, first_look: int = 0) -> Sequence[int]:
        """Positions of the rows that hold anything, and have a number above this one.

        `first_look`: a column that most likely holds something in every row.
        """
        first = bisect_right(self.numbers, above)
        if first_look and all(self.column(first_look).values):
            return range(first, len(self))
        columns = [c.values for c in self.columns()]
        if any(all(values) for values in columns):
            return range(first, len(self))
        rows = enumerate(zip(*columns, strict=True))
        return [at for at, values in rows if at >= first and any(values)]

    def cells(self, number: int) -> Iterator[tuple[str, bytes]]:
        """(kind, value) of every cell of a column."""
        column = self.column(number)
        return zip(column.kinds_of(), column.values, strict=True)

    def scalars(self, number: int) -> list[Value]:
        """The values of a column: see `table.scalar_of`."""
        column = self.column(number)
        if column.kind == "s":
            return list(_decoded(column.values) or map(_scalar, self.cells(number)))
        return [_scalar(cell) for cell in self.cells(number)]

    def texts(self, number: int) -> list[str]:
        """One column as keys: see `table.key_of`."""
        column = self.column(number)
        if column.kind == "s":
            return _as_keys(column.values)
        kinds = column.kinds_of()
        cells = zip(kinds, column.values, strict=True)
        return [key_of(Cell(number, kind, value)) if value else "" for kind, value in cells]

    def rows(self) -> Iterator[Row]:
        """The rows one by one."""
        columns = [c for c in self.columns() if any(c.values) or c.shared is not None]
        for at, number in enumerate(self.numbers):
            yield Row(number, list(_cells(columns, at)), self.raws[at])

    def sound(self) -> bool:
        """Whether all that stands between the tags may stand in XML."""
        group = self.group
        groups = [at for p in self.layout.places for at in (p.at, p.at + 1)[: 1 + p.inline]]
        return all(b"".join(group(at)).isdigit() or sound(b"\n".join(group(at))) for at in groups)

    def shared(self) -> list[array[int]]:
        """The strings that each row uses."""
        columns = [c.shared for c in self.columns() if c.shared is not None]
        if not columns or not self.numbers:
            return [array("I") for _ in self.numbers]
        rows = list(zip(*columns, strict=True))
        if rows and any(min(column) < 0 for column in columns):
            return [array("I", (index for index in row if index >= 0)) for row in rows]
        return [array("I", row) for row in rows]

    def used(self) -> Iterator[list[int]]:
        """Indices of strings that the cells use, in any order. Raises PermanentFailure."""
        for place in self.layout.places:
            raw = self.group(place.at)
            if place.kind is None:
                types = self.group(place.at - 1)
                raw = [v for kind, v in zip(types, raw, strict=True) if kind == b"s" and v]
            elif place.kind != b"s":
                continue
            elif not all(raw):
                raw = list(filter(None, raw))
            if raw:
                indices = self._indices(raw)
                if max(indices) >= len(self.strings):
                    raise odd(self.part, "points to a text that is not there")
                yield indices

    def telling(self) -> list[tuple[bytes, ...]]:
        """What else each row holds that could point at somebody: texts, and long numbers."""
        columns = [c for c in self.columns() if c.kind != "s" or c.shared is None]
        told = [_telling(c) for c in columns if any(c.values)]
        if not told:
            return [()] * len(self)
        return [tuple(filter(None, row)) for row in zip(*told, strict=True)]

    def told(self) -> bytes:
        """All that a cell, or the opening tag of a row, holds besides indices of strings."""
        lines = [b"\n".join(self.attributes())]
        for place in self.layout.places:
            types = {place.kind} if place.kind is not None else set(self.group(place.at - 1))
            if types != {b"s"}:
                lines.append(b"\n".join(self.group(place.at)))
            if place.inline:
                lines.append(b"\n".join(filter(None, self.group(place.at + 1))))
        return b"\n".join(lines) + b"\n"

    def group(self, at: int) -> Sequence[bytes]:
        """What one group of the pattern has found, for every row."""
        return self._groups[at]

    def attributes(self) -> set[bytes]:
        """What stands in the opening tags of the rows besides their numbers."""
        return set(self.group(2))

    def columns(self) -> list[Column]:
        """Every column of the block."""
        return [self.column(place.column) for place in self.layout.places]

    def column(self, number: int) -> Column:
        """One column; where the block has none, its cells are empty."""
        if number not in self._columns:
            place = next((p for p in self.layout.places if p.column == number), None)
            if place is None or not self.numbers:
                self._columns[number] = Column(number, "n", (), (b"",) * len(self), None)
            else:
                self._columns[number] = self._read(place)
        return self._columns[number]

    def _read(self, place: Place) -> Column:
        raw = self.group(place.at)
        if place.inline and any(self.group(place.at + 1)):
            return self._mixed(place, raw)
        kind = place.kind
        if kind is None:
            kinds = set(self.group(place.at - 1))
            if len(kinds) > 1:
                return self._mixed(place, raw)
            (kind,) = kinds
        if kind == b"s":
            if not all(raw):
                return self._mixed(place, raw)
            indices = self._indices(raw)
            return Column(place.column, "s", (), self.strings.pick(indices, self.part), indices)
        return Column(place.column, KINDS[kind], (), _converted(kind, raw), None)

    def _indices(self, raw: Sequence[bytes]) -> list[int]:
        try:
            return list(map(int, raw))
        except ValueError:
            raise odd(self.part, "points to a text that is not there") from None

    def _mixed(self, place: Place, raw: Sequence[bytes]) -> Column:
        """A column whose cells are of several kinds, cell by cell."""
        types = self.group(place.at - 1) if place.kind is None else repeat(place.kind)
        inline = self.group(place.at + 1) if place.inline else repeat(b"")
        kinds: list[str] = []
        values: list[bytes] = []
        shared: list[int] = []
        for kind, value, text in zip(types, raw, inline, strict=False):
            index = -1
            if text:
                kinds.append("s")
                values.append(unescape(text))
            elif not value:
                kinds.append("n")
                values.append(b"")
            elif kind == b"s":
                (index,) = self._indices([value])
                kinds.append("s")
                values.extend(self.strings.pick([index], self.part))
            else:
                kinds.append(KINDS[kind])
                values.extend(_converted(kind, [value]))
            shared.append(index)
        used = shared if any(index >= 0 for index in shared) else None
        return Column(place.column, "", kinds, values, used)

    def fingerprints(self) -> list[str]:
        """The fingerprint of every row (see `table.fingerprint`)."""
        columns = [c for c in self.columns() if any(c.values)]
        if not columns:
            return [_hash(b"", head_of(())) for _ in self.numbers]
        joined: Callable[[Any], bytes] = SEPARATOR.join
        if all(c.kind and all(c.values) for c in columns):
            head = head_of((c.column, c.kind) for c in columns)
            rows = zip(*(c.values for c in columns), strict=True)
            return [blake2b(head + text, digest_size=16).hexdigest() for text in map(joined, rows)]
        heads = _Heads([c.column for c in columns])
        kinds = zip(*(_present(c) for c in columns), strict=True)
        rows = zip(*(c.values for c in columns), strict=True)
        return [
            _hash(joined(filter(None, row)), heads[kind])
            for row, kind in zip(rows, kinds, strict=True)
        ]


def _decoded(values: Sequence[bytes]) -> list[str]:
    """Texts of cells, all at once; none where one is empty or needs a closer look."""
    joined = SEPARATOR.join(values)
    return [] if b"_x" in joined or not all(values) else joined.decode().split(_SEPARATOR)


def _as_keys(values: Sequence[bytes]) -> list[str]:
    texts = _decoded(values)
    if texts and all(map(str.strip, texts)):
        return texts
    return [key_of(Cell(1, "s", value)) for value in values]


def _scalar(cell: tuple[str, bytes]) -> Value:
    kind, value = cell
    return scalar_of(Cell(1, kind, value))


def _telling(column: Column) -> Sequence[bytes]:
    """The values that are texts, or long; all others empty."""
    values = column.values
    if column.kind == "s" and column.shared is None:
        return values
    if column.kind:
        return [value if len(value) > _SHORT else b"" for value in values]
    shared = column.shared or repeat(-1)
    cells = zip(column.kinds, values, shared, strict=False)
    return [v if i < 0 and (k == "s" or len(v) > _SHORT) else b"" for k, v, i in cells]


class _Part(Block):
    """Some rows of a block, which shares what has been read of it."""

    def __init__(self, whole: Block, chosen: Sequence[int]) -> None:
        self._whole = whole
        self._pick: Callable[[Sequence[Any]], Sequence[Any]]
        if len(chosen) > 1:
            self._pick = itemgetter(*chosen)
        else:
            self._pick = lambda values: tuple(values[at] for at in chosen)
        self.layout, self.strings, self.part = whole.layout, whole.strings, whole.part
        self.raws = self._pick(whole.raws)
        self.numbers = list(self._pick(whole.numbers))
        self._columns = {}

    def group(self, at: int) -> Sequence[bytes]:
        """What one group of the pattern has found, for these rows."""
        return self._pick(self._whole.group(at))

    def column(self, number: int) -> Column:
        """One column, taken from the whole block's where that has been read."""
        known = self._whole._columns.get(number)  # noqa: SLF001 - its own kind
        if known is None or number in self._columns:
            return super().column(number)
        self._columns[number] = chosen = Column(
            number,
            known.kind,
            known.kinds and self._pick(known.kinds),
            self._pick(known.values),
            known.shared and self._pick(known.shared),
        )
        return chosen


class _Heads(dict[tuple[str, ...], bytes]):
    """The beginning of what is hashed of a row, by the kinds of its cells."""

    def __init__(self, columns: Sequence[int]) -> None:
        super().__init__()
        self._numbers = columns

    def __missing__(self, kinds: tuple[str, ...]) -> bytes:
        head = head_of((n, k) for n, k in zip(self._numbers, kinds, strict=True) if k)
        return self.setdefault(kinds, head)


def _hash(text: bytes, head: bytes) -> str:
    return blake2b(head + text, digest_size=16).hexdigest()


def _present(column: Column) -> Sequence[str]:
    """Kind of every cell that holds something, "" of all others."""
    kinds = column.kinds_of()
    if all(column.values):
        return kinds
    return [kind if value else "" for kind, value in zip(kinds, column.values, strict=True)]


def _converted(kind: bytes, raw: Sequence[bytes]) -> Sequence[bytes]:
    if KINDS[kind] == "n":
        # Whole numbers without a leading zero are written in one way already.
        usual = b"".join(raw).isdigit() and max(map(len, raw)) < 16 and min(raw) >= b"1"
        return raw if usual else list(map(plain_number, raw))
    if any(b"&" in value for value in raw):
        return list(map(unescape, raw))
    return raw


def _cells(columns: Sequence[Column], at: int) -> Iterator[Cell]:
    for c in columns:
        index = c.shared[at] if c.shared is not None else -1
        if c.values[at] or index >= 0:
            yield Cell(c.column, c.kind or c.kinds[at], c.values[at], shared=index)
