"""Values of rows that go: what of them other parts hold, and whether the new file is free of it."""

from __future__ import annotations

import re
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, islice

from retention.connectors.spreadsheet.columns import Columns
from retention.connectors.spreadsheet.lookup import decoded, short_among, with_words_of
from retention.connectors.spreadsheet.others import block_of
from retention.connectors.spreadsheet.pivots import Item
from retention.connectors.spreadsheet.residue import (
    Needles,
    fold,
    is_text,
    left_in,
    may_occur,
    more_forms,
    segments,
    vocabulary,
)
from retention.connectors.spreadsheet.sheetxml import SheetXml
from retention.connectors.spreadsheet.survey import Survey
from retention.connectors.spreadsheet.table import Cell, text_of
from retention.connectors.spreadsheet.workbook import Sheet, SheetTable, Workbook
from retention.errors import PermanentFailure

_AT_ONCE = 20_000
_FEW, _MANY = 10_000, 200_000
_LONG = 4 << 20
_FEW_WORDS = 40
_TWO_LETTERS = re.compile(r"[^\W\d_].*?[^\W\d_]", re.DOTALL)
_XML = (".xml", ".rels", ".vml")


class Departed:
    """What rows that go (or cells that are overwritten) held, and no cell that stays holds."""

    def __init__(
        self,
        table: SheetTable,
        columns: Columns,
        survey: Survey,
        used: bytearray,
        over: Collection[int] | None,
        around: dict[str, SheetXml],
        emptied: Mapping[str, Sequence[str]],
    ) -> None:
        """`used`: strings that stay. `over`: columns that are overwritten, where rows stay.

        `around`: a pass that has ended over every other sheet. `emptied`: ranges of other sheets,
        by part, that will hold nothing.
        """
        self._emptied = {part: [block_of(text) for text in said] for part, said in emptied.items()}
        self._table, self._columns, self._survey, self._over = table, columns, survey, over
        self._workbook = table.workbook
        self._around = around
        self._numbers = frozenset(row.number for row in survey.meant)
        indices = set(chain.from_iterable(row.shared for row in survey.meant))
        self._asked: set[str] = set()
        self._equal: set[str] = set()
        """Short texts of other parts that have been looked for, and those that a value equals."""
        self._orphans = array("Q", (i for i in sorted(indices) if not used[i]))

    def _batches(self) -> Iterator[list[str]]:
        """Every value, some thousand at a time."""
        strings, part = self._workbook.strings, self._workbook.strings_part or ""
        for start in range(0, len(self._orphans), _AT_ONCE):
            yield from decoded(strings.pick(self._orphans[start : start + _AT_ONCE], part))
        yield from decoded(text for row in self._survey.meant for text in row.texts)

    def values(self) -> Iterator[str]:
        """Every value, and the addresses and numbers inside longer ones."""
        for some in self._batches():
            yield from some
            yield from more_forms(some)

    def with_words_of(self, known: set[str]) -> list[str]:
        """Values that may stand in a text, by the words of that text."""
        if not known:
            return []
        found: list[str] = []
        for some in self._batches():
            if _may_hold(some, known):
                found += with_words_of(some + more_forms(some), known)
        return found

    @cached_property
    def _texts(self) -> list[bytes]:
        """Other parts as they were, where they are short enough to be looked through at once."""
        texts = around_rows(self._table, self._around)
        package = self._workbook.package
        size = sum(map(len, texts))
        # The smallest first; records of pivot tables are left out whatever they hold.
        for part in sorted(derived(self._workbook), key=lambda p: package.zip.getinfo(p).file_size):
            size += package.zip.getinfo(part).file_size
            if size > _LONG:
                break
            if part.endswith(_XML) and "/pivotCacheRecords" not in part:
                texts.append(package.read(part))
        return texts

    @cached_property
    def known(self) -> set[str]:
        """Every word of those parts."""
        return vocabulary(self._texts)

    @cached_property
    def suspects(self) -> list[str]:
        """Values of which some word stands in another part."""
        return self.with_words_of(self.known)

    def short(self, texts: Iterable[bytes], *, inside: bool) -> set[str]:
        """Short values of the policy's own columns that a text, or an attribute, equals.

        A word of three letters is no proof of anything by its form; in a column that the policy
        names, and as the whole of a text, it is one.
        """
        found = segments(texts, inside=inside)
        if new := found - self._asked:
            self._asked |= new
            self._equal |= {v for some in self._batches() for v in short_among(some, new)}
        likely = {value for value in self._equal & found if _TWO_LETTERS.search(value)}
        if not likely:
            return set()
        columns = set(self._columns.fields.values())
        return {
            folded
            for row in self._table.rows()
            if row.number in self._numbers
            for cell in row.cells
            if cell.column in columns and (folded := _folded(cell)) in likely
        }

    @cached_property
    def _gone(self) -> tuple[Needles, frozenset[str]]:
        said = Needles(self.suspects).among(self._texts)
        short = self.short(self._texts, inside=True)
        held = self._held(said | short) if said or short else set()
        return Needles(said - held), frozenset(short - held)

    def gone(self, text: str) -> bool:
        """Whether a text of another part holds a value of rows that go and of none that stays."""
        needles, short = self._gone
        if not text or not (needles or short):
            return False
        return fold(text).strip() in short or bool(needles.among([text.encode()]))

    def _staying(self) -> Iterator[tuple[Sheet, Cell]]:
        for sheet in self._workbook.sheets:
            if not sheet.worksheet:
                continue
            ours = sheet.part == self._table.sheet.part
            areas = self._emptied.get(sheet.part, ())
            for row in SheetTable(self._workbook, sheet, None).rows():
                meant = ours and row.number in self._numbers
                inside = [a for a in areas if a[0] <= row.number <= a[1]]
                for cell in row.cells:
                    if any(a[2] <= cell.column <= a[3] for a in inside):
                        continue
                    if not meant or (self._over is not None and cell.column not in self._over):
                        yield sheet, cell

    def _held(self, values: set[str]) -> set[str]:
        """Values that a cell which stays holds: they are another record's too."""
        folded = {fold(value).strip() for value in values}
        found = {
            text
            for _, cell in self._staying()
            if not cell.formula and (text := _folded(cell)) in folded
        }
        return {value for value in values if fold(value).strip() in found}

    def still_held(self, items: set[Item]) -> set[Item]:
        """Items of a pivot table's copy that a row of the sheet still holds."""
        found: set[Item] = set()
        for sheet, cell in self._staying() if items else ():
            if sheet.part != self._table.sheet.part:
                continue
            if cell.kind in ("n", "b"):
                try:
                    number = float(cell.value)
                except ValueError:
                    continue
                said: list[Item] = [("n", number), ("n", round(number, 5))]
            else:
                said = [("s", _folded(cell))]
            found.update(item for item in said if item in items)
        return found


def _may_hold(values: Sequence[str], words: set[str]) -> bool:
    """A quick look for a few words; False only where none can stand in these values."""
    # Numbers are also sought without what stands between their digits.
    if len(words) > _FEW_WORDS or any(map(str.isdigit, words)):
        return True
    joined = "\n".join(values)
    if not joined.isascii():
        return True
    folded = joined.lower()
    return any(word in folded for word in words)


def _folded(cell: Cell) -> str:
    return fold(text_of(cell)).strip()


def derived(workbook: Workbook) -> list[str]:
    """Parts that hold no cells of a sheet, nor the links of another sheet's cells."""
    sheets = {sheet.part for sheet in workbook.sheets if sheet.worksheet}
    apart = {*sheets, workbook.strings_part}
    return [info.filename for info in workbook.package.zip.infolist() if info.filename not in apart]


def around_rows(table: SheetTable, others: dict[str, SheetXml]) -> list[bytes]:
    """What stands around the rows of every sheet."""
    return [xml.head + b" " + xml.tail for xml in (table.xml, *others.values())]


def prove_clean(workbook: Workbook, table: SheetTable, departed: Departed) -> None:
    """Search the new file. Raises PermanentFailure where it would still hold a value that went."""
    links = {
        relationships: sheet.part
        for sheet in workbook.sheets
        if sheet.worksheet and sheet.part != table.sheet.part
        for relationships in [_relationships(sheet.part)]
    }
    # A link on another sheet's cell belongs to that cell, which is another record.
    parts = [part for part in derived(workbook) if part not in links]
    others = {
        sheet.part: SheetTable(workbook, sheet, None).xml
        for sheet in workbook.sheets
        if sheet.worksheet and sheet.part != table.sheet.part
    }
    around = {part: xml.head + b" " + xml.tail for part, xml in others.items()}
    around[table.sheet.part] = table.xml.head + b" " + table.xml.tail
    package = workbook.package
    size = sum(package.zip.getinfo(name).file_size for name in parts)
    short = size < _LONG
    texts = [package.read(n) for n in parts if n.endswith(_XML)] if short else []
    hits: dict[str, str] = {}
    if short and all(is_text(name) for name in parts):
        known = vocabulary([*texts, *around.values()])
        before = [value for value in departed.suspects if may_occur(value, known)]
        suspects = iter(before + departed.with_words_of(known - departed.known))
    else:
        suspects = departed.values()
    # Few values at a time keep memory flat; many, where the parts are long to read.
    while some := list(islice(suspects, _FEW if short else _MANY)):
        needles = Needles(some)
        for part, value in left_in(package.zip, parts, needles):
            hits.setdefault(value, part)
        for part, text in around.items():
            for value in needles.among([text]):
                hits.setdefault(value, part)
    if short:
        named = [(n, package.read(n)) for n in parts if n.endswith(".xml")]
        for value in departed.short((text for _, text in named), inside=False):
            where = next(n for n, text in named if value in segments([text], inside=False))
            hits.setdefault(value, where)
    for value in _held_in(workbook, set(hits)):
        del hits[value]
    for part in hits.values():
        raise PermanentFailure(
            f"{part}: the file would still hold values of rows that go",
            hint="remove what holds them by hand (a note, a text box, an embedded file, a "
            "heading), and run again",
            code="residue",
        )


def _relationships(part: str) -> str:
    folder, _, name = part.rpartition("/")
    return f"{folder}/_rels/{name}.rels"


def _held_in(workbook: Workbook, values: set[str]) -> set[str]:
    """Values that a cell which stays holds exactly: they are another record's too."""
    if not values:
        return set()
    folded = {fold(value).strip() for value in values}
    found = {
        text
        for sheet in workbook.sheets
        if sheet.worksheet
        for row in SheetTable(workbook, sheet, None).rows()
        for cell in row.cells
        if (text := _folded(cell)) in folded
    }
    return {value for value in values if fold(value).strip() in found}
