"""One session with one file. Every call opens it anew: people save it meanwhile."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from retention.connectors.base import (
    Content,
    Manifest,
    Opened,
    Outcome,
    Page,
    Probe,
    Proof,
    Record,
    Ref,
    Result,
    Scalar,
    Target,
)
from retention.connectors.secrets import reveal
from retention.connectors.spreadsheet.columns import Columns, columns_of, settings_of
from retention.connectors.spreadsheet.csvfile import CsvTable
from retention.connectors.spreadsheet.edit import Removal, RowWatch
from retention.connectors.spreadsheet.parts import refuse_opaque
from retention.connectors.spreadsheet.passwords import encrypt
from retention.connectors.spreadsheet.proof import proofs
from retention.connectors.spreadsheet.reading import Reading
from retention.connectors.spreadsheet.replace import (
    refuse_unsafe,
    remove_leftovers,
    replace,
    snapshot,
)
from retention.connectors.spreadsheet.settings import MANIFEST, SpreadsheetSystem
from retention.connectors.spreadsheet.source import Source, opened
from retention.connectors.spreadsheet.survey import Survey, checksum, take
from retention.connectors.spreadsheet.workbook import SheetTable
from retention.errors import ConnectorError, PermanentFailure

PAGE = 1000


class Spreadsheet:
    """The connector (see connectors/base.py)."""

    def __init__(self, opened_: Opened, page: int = PAGE) -> None:
        if not isinstance(opened_.settings, SpreadsheetSystem):
            raise TypeError("the system's settings are of another connector")
        # Links are followed here, so that replacing changes the file and not the link to it.
        self._path = Path(opened_.base, opened_.settings.path).resolve()
        self._password = opened_.settings.password
        self._page = page

    def __repr__(self) -> str:
        return f"Spreadsheet({self._path.name})"

    def describe(self) -> Manifest:
        """Capabilities and settings as data."""
        return MANIFEST

    def close(self) -> None:
        """Nothing stays open between calls."""

    def probe(self, targets: Sequence[Target]) -> Iterator[Probe]:
        """Readable, writable, not open elsewhere, header found, and how rows would go."""
        from retention.connectors.spreadsheet.probing import probe_file, probe_target

        yield from probe_file(self._path)
        for target in targets:
            try:
                with self._open(target) as source:
                    yield from probe_target(source, target)
            except ConnectorError as error:
                yield Probe(target.name, ok=False, detail=error.message, hint=error.hint)

    def containers(self, target: Target) -> tuple[str, ...]:
        """The sheet, or the CSV file's name."""
        with self._open(target) as source:
            return (source.table.container,)

    def count(self, target: Target) -> int | None:
        """Rows below the header that hold anything."""
        with self._open(target) as source:
            return Reading(source.table, target, target.name).count()

    def find(self, target: Target, cursor: str | None = None) -> Iterator[Page]:
        """Every row, in pages."""
        with self._open(target) as source:
            before = snapshot(source.file)
            reading = Reading(source.table, target, target.name)
            yield from reading.find(cursor, self._page, before)

    def recheck(self, target: Target, keys: Sequence[str]) -> Iterator[Record]:
        """These rows as they are now; one pass over the file."""
        if not keys:
            return
        with self._open(target) as source:
            yield from Reading(source.table, target, target.name).recheck(keys)

    def read(self, target: Target, refs: Sequence[Ref]) -> Iterator[Content]:
        """Each row as a JSON object by column name."""
        if not refs:
            return
        with self._open(target) as source:
            yield from Reading(source.table, target, target.name).contents(refs)

    def erase(self, target: Target, refs: Sequence[Ref]) -> Iterator[Outcome]:
        """Take out exactly these rows; the file is rewritten once, or not at all."""
        return self._act(target, refs, None)

    def mask(
        self, target: Target, refs: Sequence[Ref], values: Mapping[str, Scalar]
    ) -> Iterator[Outcome]:
        """Overwrite these columns in exactly these rows."""
        return self._act(target, refs, dict(values))

    def verify(
        self,
        target: Target,
        refs: Sequence[Ref],
        control: Ref | None,
        masked: Mapping[str, Scalar] | None = None,
    ) -> Iterator[Proof]:
        """Read the file again: the sheet for the keys, every part for what they carried."""
        if not refs:
            return
        with self._open(target) as source:
            columns = columns_of(source.table, target, target.name)
            yield from proofs(source, columns, refs, control, masked, target.name)

    def _open(self, target: Target) -> contextlib.AbstractContextManager[Source]:
        return opened(self._path, reveal(self._password), settings_of(target))

    def _act(
        self, target: Target, refs: Sequence[Ref], masked: Mapping[str, Scalar] | None
    ) -> Iterator[Outcome]:
        if not refs:
            return
        with self._open(target) as source:
            refuse_unsafe(self._path, source.file)
            remove_leftovers(self._path)
            columns = columns_of(source.table, target, target.name)
            if masked is not None:
                _refuse_unknown(columns, masked, target.name)
            outcomes = self._rewritten(source, columns, refs, masked, target.name)
        for ref in refs:
            yield outcomes.get(ref.key) or Outcome(ref.key, Result.UNKNOWN)

    def _rewritten(
        self,
        source: Source,
        columns: Columns,
        refs: Sequence[Ref],
        masked: Mapping[str, Scalar] | None,
        place: str,
    ) -> dict[str, Outcome]:
        before = snapshot(source.file)
        if isinstance(source.table, CsvTable):
            survey = take(
                source.table, columns, refs, 0, place, lambda _: "", whole_row=masked is None
            )
            if survey.meant:
                table = source.table
                replace(
                    self._path, before, lambda out: _write_csv(table, columns, survey, masked, out)
                )
        else:
            survey = self._rewrite_workbook(source, source.table, columns, refs, masked, place)
        done = Outcome("", Result.DISPOSED)
        return survey.outcomes | {row.key: done._replace(key=row.key) for row in survey.meant}

    def _rewrite_workbook(
        self,
        source: Source,
        table: SheetTable,
        columns: Columns,
        refs: Sequence[Ref],
        masked: Mapping[str, Scalar] | None,
        place: str,
    ) -> Survey:
        before = snapshot(source.file)
        watch = RowWatch(table)
        strings = len(table.workbook.strings)
        survey = take(table, columns, refs, strings, place, watch.look, whole_row=masked is None)
        if not survey.meant:
            return survey
        refuse_opaque(table.workbook, table.sheet)
        removal = Removal(table, columns, survey, watch, masked)
        removal.refuse_rows()
        if survey.meant:
            replace(self._path, before, lambda out: self._write_workbook(source, removal, out))
        return survey

    def _write_workbook(self, source: Source, removal: Removal, out: BinaryIO) -> None:
        if not source.encrypted:
            removal.write(out)
            return
        with tempfile.TemporaryFile() as plain:
            removal.write(plain)
            encrypt(plain, reveal(self._password) or "", out, self._path.name)


def _refuse_unknown(columns: Columns, masked: Mapping[str, Scalar], place: str) -> None:
    for name in masked:
        if name not in columns.places:
            raise PermanentFailure(
                f"there is no column {name!r}",
                hint="check the policy",
                place=place,
                code="no_column",
            )
        if columns.places[name] == columns.key:
            raise PermanentFailure(
                f"the column {name!r} is the key and cannot be overwritten",
                hint="choose another key column, or delete the rows",
                place=place,
                code="key_masked",
            )


def _write_csv(
    table: CsvTable,
    columns: Columns,
    survey: Survey,
    masked: Mapping[str, Scalar] | None,
    out: BinaryIO,
) -> None:
    numbers = {row.number for row in survey.meant}
    if masked is None:
        table.rewrite(out, numbers, {})
    else:
        values = {columns.places[name]: value for name, value in masked.items()}
        table.rewrite(out, (), dict.fromkeys(numbers, values))
    out.flush()
    again = CsvTable(out, table.container, table.calendar.date_format)
    again.dialect = table.dialect
    if checksum(again, set() if masked is None else numbers) != survey.kept:
        raise PermanentFailure(
            "the new file did not read back the same; the old one was kept",
            hint="this is a fault of ours: please report it",
            code="not_the_same",
        )
