"""The sheets of a workbook that an act does not concern, and what of it concerns them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from retention.connectors.spreadsheet.rowxml import without_results
from retention.connectors.spreadsheet.sheetxml import parse_row
from retention.connectors.spreadsheet.shift import names_sheet, reads_elsewhere, tokens
from retention.connectors.spreadsheet.workbook import Sheet, Workbook
from retention.connectors.spreadsheet.xmltext import unescape, unescape_text


@dataclass(slots=True)
class Others:
    """What one pass over the other sheets found."""

    used: bytearray
    """1 for every shared string that one of them uses."""
    references: int = 0
    formulas: bool = False
    elsewhere: list[Sheet] = field(default_factory=list)
    """Sheets with a formula that reads beyond their own cells."""
    watching: bool = False
    """Something there points at rows of the sheet by number."""


def look_at_others(workbook: Workbook, sheet: Sheet) -> Others:
    """Survey every other sheet, hidden ones too."""
    found = Others(bytearray(len(workbook.strings)))
    for other in workbook.sheets:
        if other.worksheet and other.part != sheet.part:
            _survey(workbook, other, sheet.name, found)
    return found


def _survey(workbook: Workbook, other: Sheet, name: str, found: Others) -> None:
    xml, strings = workbook.xml(other), workbook.strings
    reads = False
    for number, raw in xml.raw_rows():
        for cell in parse_row(number, raw, xml.grammar, strings, xml.part).cells:
            if cell.shared >= 0:
                found.used[cell.shared] = 1
                found.references += 1
        if b"<%bf" % xml.grammar.prefix in raw:
            for match in xml.grammar.formula.finditer(raw):
                formula = unescape(match[2] or b"").decode()
                found.formulas = True
                reads = reads or reads_elsewhere(formula)
                found.watching = found.watching or _points_at_rows(formula, name)
    around = unescape_text((xml.head + xml.tail).decode()).casefold()
    quoted = name.casefold().replace("'", "''")
    if f"{name.casefold()}!" in around or f"{quoted}'!" in around:
        found.watching = True
    if reads:
        found.elsewhere.append(other)


def _points_at_rows(formula: str, name: str) -> bool:
    scope = ""
    for kind, text in tokens(formula):
        if scope and kind in ("area", "rows") and (names_sheet(scope, name) or ":" in scope):
            return True
        scope = text if kind == "sheet" else ""
    return False


def without_stale_results(workbook: Workbook, other: Sheet) -> Iterator[bytes]:
    """The sheet with the results of its formulas left out: they may rest on rows that went."""
    xml = workbook.xml(other)
    yield xml.head + xml.opening
    for _, raw in xml.raw_rows():
        has = b"<%bf" % xml.grammar.prefix in raw
        yield without_results(raw, xml.grammar) if has else raw
    yield xml.closing + xml.tail
