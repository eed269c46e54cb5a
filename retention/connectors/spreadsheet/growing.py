"""Around a workbook's rows: the table that grows when rows are added, and what forbids adding."""

from __future__ import annotations

import re

from lxml import etree

from retention.connectors.spreadsheet.columns import Columns
from retention.connectors.spreadsheet.edits import Edits
from retention.connectors.spreadsheet.others import block_of
from retention.connectors.spreadsheet.sheetxml import column_letters, column_number
from retention.connectors.spreadsheet.shift import corners_of
from retention.connectors.spreadsheet.workbook import Sheet
from retention.connectors.spreadsheet.xmltext import MAIN
from retention.errors import PermanentFailure

_DIMENSION = re.compile(
    rb'(<(?:\w+:)?dimension\s[^>]*?ref=")([A-Z]{1,3})(\d+)(?::([A-Z]{1,3})(\d+))?(?=")'
)


def rows_of_table(edits: Edits, sheet: Sheet, columns: Columns) -> range | None:
    """Rows of the table whose header is that of the records, its totals left out."""
    for part in edits.related(sheet.part, "table"):
        root = edits.tree(part)
        first, end, left, right = block_of(root.get("ref", ""))
        named = int(root.get("headerRowCount", "1")) and first == columns.header
        if named and left <= columns.key <= right:
            return range(first + 1, end - int(root.get("totalsRowCount", "0")) + 1)
    return None


def grow_table(edits: Edits, sheet: Sheet, columns: Columns, last: int, rows: range) -> None:
    """Let the table around the record in row `last` reach over the new `rows`.

    Raises PermanentFailure where the table cannot grow, or another one is in the way.
    """
    for part in edits.related(sheet.part, "table"):
        root = edits.tree(part)
        first, end, left, right = block_of(root.get("ref", ""))
        if first <= last <= end and left <= columns.key <= right:
            _refuse_table(root)
            if rows[-1] > end:
                _reach(root, rows[-1])
                for item in root.iterfind(f"{{{MAIN}}}autoFilter"):
                    _reach(item, rows[-1])
                edits.touch(part)
        elif first <= rows[-1] and end >= rows[0]:
            raise in_the_way("another table")


def _refuse_table(root: etree._Element) -> None:
    if int(root.get("totalsRowCount", "0")):
        raise PermanentFailure(
            "the table ends with a row of totals",
            hint="switch it off (Table Design, Total Row), or write totals above the table",
            code="totals_row",
        )
    if root.get("tableType", "worksheet") != "worksheet":
        raise PermanentFailure(
            "the table is filled by a query, which would drop rows that are added",
            hint="name another sheet in copy_to, or remove the query",
            code="query_table",
        )


def _reach(item: etree._Element, last: int) -> None:
    corners = corners_of(item.get("ref", ""))
    item.set("ref", f"{corners[0].text(corners[0].row)}:{corners[-1].text(last)}")


def refuse_merged(root: etree._Element, rows: range) -> None:
    """Raise where merged cells lie over the new rows: what is written there would not show."""
    for item in root.iter(f"{{{MAIN}}}mergeCell"):
        first, end, _, _ = block_of(item.get("ref", ""))
        if first <= rows[-1] and end >= rows[0]:
            raise in_the_way("a merged cell")


def in_the_way(what: str) -> PermanentFailure:
    """The refusal to add rows where something lies."""
    return PermanentFailure(
        f"{what} lies below the records",
        hint="move it to another place, so that rows can be added",
        code="below_records",
    )


def column_styles(root: etree._Element) -> dict[int, bytes]:
    """The style that each column gives to cells without one of their own."""
    out: dict[int, bytes] = {}
    for item in root.iterfind(f"{{{MAIN}}}cols/{{{MAIN}}}col"):
        style = item.get("style", "0")
        if style != "0":
            # A run may reach to the sheet's right end; nobody has a table that wide.
            first = int(item.get("min", "1"))
            for column in range(first, min(int(item.get("max", "1")), first + 1000) + 1):
                out[column] = style.encode()
    return out


def with_dimension(head: bytes, last: int, columns: range) -> bytes:
    """The head of a sheet, in which the range of cells in use reaches over the new rows."""

    def reaching(found: re.Match[bytes]) -> bytes:
        right = found[4] or found[2]
        if column_number(right) < columns[-1]:
            right = column_letters(columns[-1])
        end = max(last, int(found[5] or found[3]))
        return b"%b%b%b:%b%d" % (found[1], found[2], found[3], right, end)

    return _DIMENSION.sub(reaching, head, count=1)
