"""One pass over a sheet: blocks where its rows allow it, single rows where not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from operator import lt

from retention.connectors.spreadsheet.blocks import Block
from retention.connectors.spreadsheet.layouts import (
    LETTERS,
    WIDEST,
    Layout,
    alike,
    any_row,
    found_in,
)
from retention.connectors.spreadsheet.sheetxml import SheetXml, column_number, parse_row
from retention.connectors.spreadsheet.strings import SharedStrings
from retention.connectors.spreadsheet.table import Row
from retention.connectors.spreadsheet.xmltext import Guard, odd

_FORMULA = b"<f"
"""No pattern of rows matches it, and no text can hold it."""
_PATIENCE = 4
_GIVE_UP = 8
"""Patterns are made anew for wider rows this often; then the rest is read carefully."""


class BlockReader:
    """One pass over a sheet, in blocks where its rows allow it and row by row where not."""

    def __init__(self, xml: SheetXml, strings: SharedStrings, guard: Guard | None) -> None:
        self.xml, self._strings, self._guard = xml, strings, guard
        self._alike: Layout | None = None
        """The last layout of rows that are all alike."""
        self._differ = 0
        """Regions in a row whose rows were not."""
        self._wide: Layout | None = None
        self._letters: set[bytes] = set()
        self._widened = 0

    def read(self) -> Iterator[Block | Row]:
        """Every row in order. Raises PermanentFailure."""
        xml, last = self.xml, 0
        self._begin()
        for region in xml.regions():
            if self._guard is not None and (b"<!" in region or b"<?" in region):
                self._guard.feed(region)
                raise odd(xml.part, "holds something between its rows")
            for piece in self._pieces(region):
                if isinstance(piece, Block):
                    numbers = piece.numbers
                    rising = all(map(lt, numbers, islice(numbers, 1, None)))
                    if numbers[0] <= last or not rising:
                        raise odd(xml.part, f"the rows after row {last} are out of order")
                    last = numbers[-1]
                    yield piece
                else:
                    last = xml.number(piece, last)
                    yield parse_row(last, piece, xml.grammar, self._strings, xml.part)
        self._feed(xml.closed + xml.tail)
        if self._guard is not None:
            self._guard.close()

    def _begin(self) -> None:
        head = self.xml.head
        self._feed(head + self.xml.opened)
        if self._guard is not None and (b"<!" in head or head.rfind(b"<?") > 3):
            raise odd(self.xml.part, "holds something before its rows")

    def _feed(self, piece: bytes) -> None:
        if self._guard is not None and piece:
            self._guard.feed(piece)

    def _pieces(self, region: bytes) -> Iterator[Block | bytes]:
        """Blocks, and rows that no pattern matches, after they have been guarded."""
        if self.xml.grammar.prefix:
            self._feed(region)
            yield from self.xml.split(region)
            return
        if _FORMULA in region:
            for _ in self._widest(region):
                pass
        elif (block := self._whole(region)) is not None:
            yield self._accepted(block)
            return
        yield from self._by_row(region)

    def _whole(self, region: bytes) -> Block | None:
        """The region as one block, if it is one."""
        for layout in self._layouts(region):
            groups = found_in(layout, region)
            if groups is None:
                continue
            block = Block(layout, groups, self._strings, self.xml.part)
            if self._guard is None or block.sound():
                if layout is self._alike:
                    self._differ = 0
                return block
        return None

    def _layouts(self, region: bytes) -> Iterator[Layout]:
        """What may match the region: rows that are all alike, then any rows."""
        self._differ += 1
        # Where rows differ, a sheet is not asked again and again whether they do.
        if self._differ <= _PATIENCE or self._differ % _PATIENCE == 0:
            before = self._alike
            if before is not None:
                yield before
            self._alike = alike(region[region.rfind(b"<row ") :])
            if self._alike is not None and self._alike is not before:
                yield self._alike
        yield from self._widest(region)

    def _widest(self, region: bytes) -> Iterator[Layout]:
        """The layout for all columns seen so far, unless there are too many."""
        if self._widened < _GIVE_UP:
            letters = set(LETTERS.findall(region))
            if not letters <= self._letters:
                self._letters |= letters
                self._widened += 1
                self._wide = None
                if len(self._letters) <= WIDEST:
                    ordered = sorted(self._letters, key=column_number)
                    self._wide = any_row(tuple(ordered))
        if self._wide is not None:
            yield self._wide

    def _by_row(self, region: bytes) -> Iterator[Block | bytes]:
        layout = self._wide
        run: list[tuple[bytes, ...]] = []
        at = 0
        for raw in self.xml.split(region):
            begin = region.index(raw, at)
            between = region[at:begin].strip()
            plain = layout is not None and _FORMULA not in raw
            match = layout.pattern.fullmatch(raw) if layout is not None and plain else None
            if layout is not None and run and (match is None or between):
                yield from self._run(layout, run)
                run = []
            # Expat must see everything in its place: what stands between rows comes here.
            self._feed(between)
            at = begin + len(raw)
            if match is not None:
                run.append(match.groups(b""))
            else:
                self._feed(raw)
                yield raw
        if layout is not None and run:
            yield from self._run(layout, run)
        self._feed(region[at:])

    def _run(self, layout: Layout, run: list[tuple[bytes, ...]]) -> Iterator[Block | bytes]:
        block = Block(layout, list(zip(*run, strict=True)), self._strings, self.xml.part)
        if self._guard is None or block.sound():
            yield self._accepted(block)
            return
        for found in run:
            self._feed(found[0])
            yield found[0]

    def _accepted(self, block: Block) -> Block:
        """The block, once its place in the part and its rows' attributes have been guarded."""
        if self._guard is not None:
            told = b"".join(b'<row r="1"%b/>' % said for said in block.attributes())
            self._guard.feed(told)
        return block
