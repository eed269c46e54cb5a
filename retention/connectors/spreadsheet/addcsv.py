"""Adding records at the end of a CSV file: every byte before them stays what it was."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cached_property
from typing import BinaryIO

from retention.connectors.spreadsheet.columns import Columns
from retention.connectors.spreadsheet.csvfile import (
    CsvTable,
    like_formula,
    quoted,
    sniff,
    split_line,
)
from retention.connectors.spreadsheet.dates import to_text
from retention.connectors.spreadsheet.ending import Computes, Ending
from retention.connectors.spreadsheet.entries import Entry, Refused, Stored
from retention.connectors.spreadsheet.survey import checksum
from retention.connectors.spreadsheet.table import Cell, Row

_CHUNK = 1 << 20


class CsvAddition:
    """Records to be added to one file."""

    def __init__(self, table: CsvTable, columns: Columns) -> None:
        self.table, self.columns = table, columns
        self.ending = Ending()
        self.within: range | None = None

    def look(self, row: Row) -> Computes:  # noqa: ARG002 - nothing is computed in CSV
        """No row has formulas."""
        return Computes.OWN_ROW

    @property
    def first(self) -> int:
        """Number of the first new record."""
        return self.ending.end + 1

    def prepare(self, count: int) -> None:
        """A file has room for any number."""

    def date(self, column: int, when: date) -> Stored:
        """Text as the record above writes its date."""
        return to_text(when, self.ending.text_above(column), self.table.calendar.date_format)

    @cached_property
    def _above(self) -> list[str]:
        """The fields above, as they are written: the last record's, or the header's."""
        number = self.ending.last
        raw = next(raw for at, raw, _ in self.table.records() if at == number)
        return split_line(raw.rstrip("\r\n"), self.table.dialect.delimiter)

    @cached_property
    def _width(self) -> int:
        header = next(f for at, _, f in self.table.records() if at == self.columns.header)
        return len(header)

    def row(self, number: int, entry: Entry) -> bytes:  # noqa: ARG002 - records bear no numbers
        """The record with its line end. Raises Refused."""
        dialect = self.table.dialect
        fields: list[str] = []
        for column in range(1, max(self._width, *entry.cells) + 1):
            stored = entry.cells.get(column, "")
            text = str(stored)
            if isinstance(stored, str) and like_formula(text):
                raise Refused("formula")
            if dialect.newline == "\r":
                text = text.replace("\n", "\r")
            field = quoted(text, dialect.delimiter)
            above = self._above[column - 1] if column <= len(self._above) else ""
            if field[:1] != '"' and above[:1] == '"':
                field = f'"{field}"'
            fields.append(field)
        try:
            return (dialect.delimiter.join(fields) + dialect.newline).encode(dialect.encoding)
        except UnicodeEncodeError:
            raise Refused("encoding") from None

    def parsed(self, number: int, raw: bytes) -> Row:
        """The record as it will be read."""
        dialect = self.table.dialect
        text = io.StringIO(raw.decode(dialect.encoding), newline="")
        fields = next(csv.reader(text, delimiter=dialect.delimiter, strict=True))
        return Row(number, [Cell(n, "s", f.encode()) for n, f in enumerate(fields, 1) if f])

    def write(self, out: BinaryIO, rows: Mapping[int, bytes]) -> Iterator[Row]:
        """Write the new file; gives the new records as it reads. Raises PermanentFailure."""
        dialect = self.table.dialect
        ends = tuple(end.encode(dialect.encoding) for end in ("\r", "\n"))
        tail = b""
        for chunk in self.table.bytes():
            out.write(chunk)
            tail = (tail + chunk)[-4:]
        if not tail.endswith(ends):
            out.write(dialect.newline.encode(dialect.encoding))
        out.writelines(rows[number] for number in sorted(rows))
        out.flush()
        found = sniff(out, self.table.dialect.encoding if self.table.encoding_said else None)
        same = (found.bom, found.encoding, found.delimiter, found.preamble)
        if same != (dialect.bom, dialect.encoding, dialect.delimiter, dialect.preamble):
            return
        again = self.table.again(out)
        if checksum(again, set(rows)) != self.ending.kept(rows):
            return
        for row in again.rows():
            if row.number in rows:
                yield row
