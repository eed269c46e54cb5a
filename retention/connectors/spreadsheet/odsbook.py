"""An OpenDocument spreadsheet: its sheets, and one of them read as a table."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from retention.connectors.spreadsheet.odsrows import parse_row, unbroken
from retention.connectors.spreadsheet.odsxml import CONTENT, Piece, pieces
from retention.connectors.spreadsheet.package import Package
from retention.connectors.spreadsheet.table import Calendar, Row
from retention.connectors.spreadsheet.xmltext import attributes
from retention.errors import PermanentFailure

MIMETYPE = "mimetype"
_KINDS = (
    b"application/vnd.oasis.opendocument.spreadsheet",
    b"application/vnd.oasis.opendocument.spreadsheet-template",
)


@dataclass(frozen=True, slots=True)
class OdsSheet:
    """One sheet as the document names it."""

    name: str
    visible: bool
    linked: bool
    """Filled from another document, from which its rows would come back."""


class OdsBook:
    """An open package read as an OpenDocument spreadsheet. Raises PermanentFailure."""

    def __init__(self, package: Package) -> None:
        self.package = package
        kind = package.read(MIMETYPE).strip() if MIMETYPE in package.names else b""
        if kind not in _KINDS or CONTENT not in package.names:
            raise PermanentFailure(
                "the file is not an OpenDocument spreadsheet", code="not_a_workbook"
            )
        self.sheets = self._sheets()

    def pieces(self) -> Iterator[Piece]:
        """A new pass over the whole document."""
        yield from pieces(self.package.chunks(CONTENT), CONTENT)

    def searchable(self) -> Iterator[bytes]:
        """The document's text with no tags within words; what has none is left out."""
        for piece in self.pieces():
            whole = unbroken(piece.raw)
            if whole is not piece.raw:
                yield whole + b" "

    def _sheets(self) -> tuple[OdsSheet, ...]:
        found: list[OdsSheet] = []
        hidden: set[bytes] = set()
        linked: set[str] = set()
        style = b""
        for piece in self.pieces():
            if piece.kind == "table":
                said = attributes(piece.raw)
                visible = said.get(b"table:style-name", b"") not in hidden
                found.append(OdsSheet(piece.sheet, visible, linked=False))
            elif piece.kind == "between" and piece.sheet and b"<table:table-source" in piece.raw:
                linked.add(piece.sheet)
            elif piece.kind == "between" and not found:
                style += piece.raw
                hidden |= _hidden_styles(style)
        names = [sheet.name.casefold() for sheet in found]
        if len(set(names)) < len(names) or "" in names:
            raise PermanentFailure(
                "the document holds two sheets of one name, or one without", code="workbook_form"
            )
        return tuple(
            OdsSheet(s.name, s.visible and s.name not in linked, s.name in linked) for s in found
        )


def _hidden_styles(styles: bytes) -> set[bytes]:
    """Names of the styles that hide a sheet."""
    out: set[bytes] = set()
    for element in styles.split(b"<style:style ")[1:]:
        said = attributes(b" " + element.split(b">")[0])
        if said.get(b"style:family") == b"table" and b'table:display="false"' in element:
            out.add(said.get(b"style:name", b""))
    return out


class OdsTable:
    """One sheet as a table of rows; each pass reads the document anew."""

    def __init__(self, book: OdsBook, sheet: OdsSheet, date_format: str | None) -> None:
        self.book = book
        self.sheet = sheet
        self.container = sheet.name
        # Dates are ISO texts here, whatever day the document counts from.
        self.calendar = Calendar(date_format=date_format)

    def rows(self, only: Collection[int] = ()) -> Iterator[Row]:  # noqa: ARG002 - nothing to gain
        """Every row that holds anything, in order; a repeated one as often as it stands there."""
        for piece in self.book.pieces():
            if piece.sheet != self.container:
                continue
            if piece.kind == "end":
                return
            if piece.kind == "row":
                row = parse_row(piece.number, piece.raw)
                if row.cells:
                    for number in range(piece.number, piece.number + piece.repeated):
                        yield row._replace(number=number)
