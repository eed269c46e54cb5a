"""Taking in copies of records that lie elsewhere: one row each, below the last record, in one act.

Whatever cannot be written so that it reads back the same is refused, record by record; whatever
stands in the way of new rows refuses all of them, and the file stays as it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, tzinfo
from functools import partial
from typing import BinaryIO, Protocol

from retention.connectors.base import Arrival, Outcome, Result
from retention.connectors.spreadsheet.addcsv import CsvAddition
from retention.connectors.spreadsheet.addods import OdsAddition
from retention.connectors.spreadsheet.addsheet import SheetAddition
from retention.connectors.spreadsheet.columns import Columns
from retention.connectors.spreadsheet.csvfile import CsvTable
from retention.connectors.spreadsheet.ending import Computes, Ending, ending_of
from retention.connectors.spreadsheet.entries import Entry, Refused, Stored, entry_of, reads_back
from retention.connectors.spreadsheet.odsbook import OdsTable
from retention.connectors.spreadsheet.replace import replace, snapshot
from retention.connectors.spreadsheet.rewriting import write_protected
from retention.connectors.spreadsheet.source import Source
from retention.connectors.spreadsheet.table import Row
from retention.errors import ConnectorError, PermanentFailure


class Addition(Protocol):
    """Rows to be added to one table of one form of file."""

    ending: Ending

    def look(self, row: Row) -> Computes:
        """What the formulas of a row read; rows come from the top."""

    @property
    def within(self) -> range | None:
        """Rows of the Excel table around the records, where there is one."""

    @property
    def first(self) -> int:
        """Number of the first new row."""

    def prepare(self, count: int) -> None:
        """Raise PermanentFailure where so many rows cannot be added."""

    def date(self, column: int, when: date) -> Stored:
        """What a cell is given for a date, or an instant in the organisation's zone."""

    def row(self, number: int, entry: Entry) -> bytes:
        """The new row as it is written. Raises Refused or PermanentFailure."""

    def parsed(self, number: int, raw: bytes) -> Row:
        """The new row as it will be read."""

    def write(self, out: BinaryIO, rows: Mapping[int, bytes]) -> Iterator[Row]:
        """Write the whole new file, and give the new rows as it reads.

        Fewer than were written where anything else differs from what it was.
        """


class Arriving:
    """Copies on their way into the only table of an open file."""

    def __init__(
        self, source: Source, columns: Columns, password: str | None, zone: tzinfo, place: str
    ) -> None:
        self.source, self.columns = source, columns
        self.password, self.zone, self.place = password, zone, place
        table = source.table
        self.addition: Addition
        if isinstance(table, CsvTable):
            self.addition = CsvAddition(table, columns)
        elif isinstance(table, OdsTable):
            self.addition = OdsAddition(table, columns)
        else:
            self.addition = SheetAddition(table, columns)

    def take_in(self, arrivals: Sequence[Arrival]) -> list[Outcome]:
        """Add what is not there yet. The file is rewritten once, or not at all."""
        before = snapshot(self.source.file)
        self._refuse_unknown(arrivals)
        wanted = {arrival.key: arrival for arrival in arrivals}
        addition = self.addition
        ending = ending_of(
            self.source.table, self.columns, wanted, self.place, addition.look, addition.within
        )
        self.addition.ending = ending
        fresh = [arrival for key, arrival in wanted.items() if key not in ending.known]
        refused: dict[str, str] = {}
        if fresh:
            ending.refuse_below(len(fresh), self.place)
            entries, rows = self._rows(fresh, refused)
            if rows:
                replace(self.source.path, before, partial(self._write, entries, rows))
        return [
            Outcome(a.key, Result.FAILED_PERMANENT, refused[a.key])
            if a.key in refused
            else Outcome(a.key, Result.RECEIVED)
            for a in arrivals
        ]

    def _rows(
        self, fresh: Sequence[Arrival], refused: dict[str, str]
    ) -> tuple[dict[int, Entry], dict[int, bytes]]:
        """What is written, by row number; what cannot be is noted in `refused`."""
        addition, columns = self.addition, self.columns
        entries: dict[int, Entry] = {}
        rows: dict[int, bytes] = {}
        try:
            addition.prepare(len(fresh))
            for arrival in fresh:
                number = addition.first + len(rows)
                try:
                    entry = entry_of(arrival, columns, addition.date, self.zone)
                    raw = addition.row(number, entry)
                    if not self._reads_back(entry, addition.parsed(number, raw)):
                        raise Refused("not_writable")
                except Refused as why:
                    refused[arrival.key] = why.code
                else:
                    entries[number], rows[number] = entry, raw
        except ConnectorError as error:
            error.place = error.place or self.place
            raise
        return entries, rows

    def _write(
        self, entries: Mapping[int, Entry], rows: Mapping[int, bytes], out: BinaryIO
    ) -> None:
        write_protected(self.source, self.password, partial(self._fill, entries, rows), out)

    def _fill(self, entries: Mapping[int, Entry], rows: Mapping[int, bytes], out: BinaryIO) -> None:
        """Write the new file and prove it. Raises PermanentFailure, leaving `out` useless."""
        seen = 0
        for row in self.addition.write(out, rows):
            seen += self._reads_back(entries[row.number], row)
        if seen != len(rows):
            raise PermanentFailure(
                "the new file did not read back the same; the old one was kept",
                hint="this is a fault of ours: please report it",
                code="not_the_same",
            )

    def _reads_back(self, entry: Entry, row: Row) -> bool:
        return reads_back(entry, row, self.columns, self.source.table.calendar, self.zone)

    def _refuse_unknown(self, arrivals: Sequence[Arrival]) -> None:
        for name in dict.fromkeys(name for arrival in arrivals for name in arrival.values):
            column = self.columns.places.get(name.strip())
            if column is None:
                raise PermanentFailure(
                    f"there is no column {name!r}",
                    hint="add it to the header, or check `values:` of copy_to",
                    place=self.place,
                    code="no_column",
                )
            if column == self.columns.key:
                raise PermanentFailure(
                    f"the column {name!r} is the key, which a copy gets from the record it copies",
                    hint="choose another column",
                    place=self.place,
                    code="key_given",
                )
