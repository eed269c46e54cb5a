"""The cells of a workbook as texts to be searched: what no tag, style or row number could hold."""

from __future__ import annotations

from collections.abc import Iterator

from retention.connectors.spreadsheet.blocks import Block
from retention.connectors.spreadsheet.strings import told_strings
from retention.connectors.spreadsheet.workbook import Sheet, SheetTable, Workbook


def texts_of(workbook: Workbook) -> Iterator[tuple[str, Iterator[bytes]]]:
    """(part, its texts) of every sheet and of the table of strings.

    Rows and strings in an unusual form are given as they stand, tags and all, and so is what
    stands around them. Texts are still escaped.
    """
    for sheet in workbook.sheets:
        if sheet.worksheet:
            yield sheet.part, _sheet(workbook, sheet)
    part = workbook.strings_part
    if part is not None and part in workbook.package.names:
        yield part, told_strings(workbook.package.raw(part), part)


def _sheet(workbook: Workbook, sheet: Sheet) -> Iterator[bytes]:
    table = SheetTable(workbook, sheet, None)
    for piece in table.pieces():
        yield piece.told() if isinstance(piece, Block) else piece.raw
    yield table.xml.head + b" " + table.xml.tail
