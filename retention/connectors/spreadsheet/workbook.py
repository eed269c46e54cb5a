"""A workbook: its sheets, its calendar, its strings, and one sheet read as a table."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from lxml import etree

from retention.connectors.spreadsheet.blockreader import BlockReader
from retention.connectors.spreadsheet.blocks import Block
from retention.connectors.spreadsheet.package import Package, relationships_part, resolve
from retention.connectors.spreadsheet.sheetxml import SheetXml, column_letters, parse_row
from retention.connectors.spreadsheet.strings import SharedStrings
from retention.connectors.spreadsheet.table import Calendar, Row
from retention.connectors.spreadsheet.xmltext import (
    MAIN,
    PACKAGE_RELATIONSHIPS,
    RELATIONSHIPS,
    parse,
)
from retention.errors import PermanentFailure

STRICT = "http://purl.oclc.org/ooxml/spreadsheetml/main"
_WITHOUT_CELLS = ("/chartsheet", "/dialogsheet")


@dataclass(slots=True)
class Remembered:
    """What a session has learnt of one file; void as soon as its bytes are others."""

    digest: bytes = b""
    accepted: set[str] = field(default_factory=set)
    """Parts that are plain XML."""
    strings: SharedStrings | None = None
    keys: dict[tuple[object, ...], Any] = field(default_factory=dict)
    """By sheet and place of the key: see identity.Keys. Of files in other forms too."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """One sheet as the workbook names it."""

    name: str
    part: str
    visible: bool
    position: int
    worksheet: bool
    without_cells: bool = False
    """A chart or a dialogue on a sheet of its own."""


class Workbook:
    """An open package read as a workbook. Raises PermanentFailure."""

    def __init__(self, package: Package) -> None:
        self.package = package
        self.part = self._main_part()
        self.root = parse(package.read(self.part), self.part)
        if etree.QName(self.root).namespace == STRICT:
            raise PermanentFailure(
                "the workbook is saved in the strict form, which is not edited here",
                hint="save it as an ordinary Excel workbook (.xlsx)",
                code="workbook_form",
            )
        properties = self.root.find(f"{{{MAIN}}}workbookPr")
        self.since_1904 = properties is not None and properties.get("date1904") in ("1", "true")
        self.relations = self._relations(self.part)
        self.sheets = self._sheets()
        self.strings_part = next(
            (t for kind, t in self.relations.values() if kind.endswith("/sharedStrings")), None
        )
        self._remembered = Remembered()

    @property
    def remembered(self) -> Remembered:
        """What is known of this very file."""
        return self._remembered

    def remember(self, remembered: Remembered) -> None:
        """Rest on what is remembered of this very file."""
        self._remembered = remembered
        self.package.remember(remembered.accepted)

    def _main_part(self) -> str:
        for kind, target in self._relations("").values():
            if kind.endswith("/officeDocument") and target in self.package.names:
                return target
        raise PermanentFailure("the file is not a workbook", code="not_a_workbook")

    def _relations(self, part: str) -> dict[str, tuple[str, str]]:
        """Id → (type, target part); external targets are left out."""
        where = relationships_part(part) if part else "_rels/.rels"
        if where not in self.package.names:
            return {}
        root = parse(self.package.read(where), where)
        return {
            item.get("Id", ""): (item.get("Type", ""), resolve(part, item.get("Target", "")))
            for item in root.iter(f"{{{PACKAGE_RELATIONSHIPS}}}Relationship")
            if item.get("TargetMode") != "External"
        }

    def relations_of(self, part: str) -> dict[str, tuple[str, str]]:
        """Id → (type, target part) of any part of this package."""
        return self._relations(part)

    def _sheets(self) -> tuple[Sheet, ...]:
        out: list[Sheet] = []
        for position, item in enumerate(self.root.iter(f"{{{MAIN}}}sheet")):
            kind, part = self.relations.get(item.get(f"{{{RELATIONSHIPS}}}id", ""), ("", ""))
            visible = item.get("state", "visible") == "visible"
            worksheet = kind.endswith("/worksheet") and part in self.package.names
            bare = kind.endswith(_WITHOUT_CELLS) and part in self.package.names
            out.append(Sheet(item.get("name", ""), part, visible, position, worksheet, bare))
        return tuple(out)

    def sheet(self, name: str | None) -> Sheet:
        """The sheet of that name, or the only visible one. Raises PermanentFailure."""
        if name is not None:
            found = [s for s in self.sheets if s.name.casefold() == name.casefold()]
            if not found or not found[0].worksheet:
                raise PermanentFailure(
                    f"there is no sheet called {name!r}",
                    hint="check `sheet:`; names are compared without regard to case",
                    code="no_sheet",
                )
            return found[0]
        visible = [s for s in self.sheets if s.visible and s.worksheet]
        if len(visible) != 1:
            raise PermanentFailure(
                f"the workbook has {len(visible)} visible sheets",
                hint="say which one with `sheet:`",
                code="which_sheet",
            )
        return visible[0]

    @property
    def strings(self) -> SharedStrings:
        """The table of strings, read once."""
        if self._remembered.strings is None:
            self._remembered.strings = self._load_strings()
        return self._remembered.strings

    def _load_strings(self) -> SharedStrings:
        part = self.strings_part
        if part is None or part not in self.package.names:
            return SharedStrings()
        strings = SharedStrings.load(self.package.raw(part), part, self.package.guard(part))
        self.package.accept(part)
        return strings

    def xml(self, sheet: Sheet) -> SheetXml:
        """A new pass over a sheet."""
        return SheetXml(self.package.chunks(sheet.part), sheet.part)


class SheetTable:
    """One sheet as a table of rows; each pass reads the part anew."""

    def __init__(self, workbook: Workbook, sheet: Sheet, date_format: str | None) -> None:
        self.workbook = workbook
        self.sheet = sheet
        self.container = sheet.name
        self.calendar = Calendar(workbook.since_1904, date_format)

        self._xml: SheetXml | None = None

    def rows(self, only: Collection[int] = ()) -> Iterator[Row]:
        """Every row in order."""
        xml = self.workbook.xml(self.sheet)
        strings = self.workbook.strings
        letters = frozenset(column_letters(column) for column in only)
        for number, raw in xml.raw_rows():
            yield parse_row(number, raw, xml.grammar, strings, xml.part, letters)
        self._xml = xml

    def pieces(self) -> Iterator[Block | Row]:
        """Every row in order, in blocks where their form allows it."""
        package, part = self.workbook.package, self.sheet.part
        xml = SheetXml(package.raw(part), part)
        yield from BlockReader(xml, self.workbook.strings, package.guard(part)).read()
        package.accept(part)
        self._xml = xml

    @property
    def xml(self) -> SheetXml:
        """A pass over the sheet that has ended, so that head and tail are known."""
        if self._xml is None:
            xml = self.workbook.xml(self.sheet)
            for _ in xml.raw_rows():
                pass
            self._xml = xml
        return self._xml
