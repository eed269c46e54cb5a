"""One sheet's rows taken out or overwritten, and the whole file put in the old one's place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO

from retention.connectors.base import Outcome, Ref, Result, Scalar
from retention.connectors.spreadsheet.columns import Columns
from retention.connectors.spreadsheet.csvfile import CsvTable, refuse_formulas
from retention.connectors.spreadsheet.edit import Removal, RowWatch
from retention.connectors.spreadsheet.odsbook import OdsTable
from retention.connectors.spreadsheet.odsedit import OdsRemoval, OdsWatch, refuse_opaque_ods
from retention.connectors.spreadsheet.odspasswords import seal
from retention.connectors.spreadsheet.parts import refuse_opaque
from retention.connectors.spreadsheet.passwords import encrypt
from retention.connectors.spreadsheet.private import private_file
from retention.connectors.spreadsheet.replace import Snapshot, replace, snapshot
from retention.connectors.spreadsheet.settings import Mode
from retention.connectors.spreadsheet.shift import Unshiftable
from retention.connectors.spreadsheet.source import Source
from retention.connectors.spreadsheet.survey import Survey, same_rows, take
from retention.connectors.spreadsheet.workbook import SheetTable
from retention.errors import PermanentFailure


class Rewriting:
    """One act on the first table of an open file."""

    def __init__(
        self,
        source: Source,
        columns: Columns,
        masked: Mapping[str, Scalar] | None,
        password: str | None,
        place: str,
        mode: Mode = "auto",
    ) -> None:
        self.source, self.columns, self.masked = source, columns, masked
        self.password, self.place, self.mode = password, place, mode

    def act(self, refs: Sequence[Ref]) -> dict[str, Outcome]:
        """Outcome by key. The file is rewritten once, or not at all."""
        before = snapshot(self.source.file)
        if self.masked is not None:
            _refuse_unknown(self.columns, self.masked, self.place)
        try:
            survey = self._survey(refs, before)
        except Unshiftable as why:
            raise PermanentFailure(
                f"rows cannot be taken out: the sheet holds {why}",
                hint="open it in Excel or LibreOffice, save it there, and try again",
                place=self.place,
                code="cannot_edit",
            ) from why
        done = Outcome("", Result.DISPOSED)
        return survey.outcomes | {row.key: done._replace(key=row.key) for row in survey.meant}

    def _survey(self, refs: Sequence[Ref], before: Snapshot) -> Survey:
        table = self.source.table
        if isinstance(table, CsvTable):
            return self._csv(table, refs, before)
        if isinstance(table, OdsTable):
            return self._ods(table, refs, before)
        return self._workbook(table, refs, before)

    def _csv(self, table: CsvTable, refs: Sequence[Ref], before: Snapshot) -> Survey:
        refuse_formulas(self.masked or {}, self.place)
        survey = take(
            table, self.columns, refs, 0, self.place, lambda _: "", whole_row=self.masked is None
        )
        if survey.meant:
            replace(
                self.source.path,
                before,
                lambda out: _write_csv(table, self.columns, survey, self.masked, out),
            )
        return survey

    def _ods(self, table: OdsTable, refs: Sequence[Ref], before: Snapshot) -> Survey:
        watch = OdsWatch(table)
        survey = take(
            table, self.columns, refs, 0, self.place, watch.look, whole_row=self.masked is None
        )
        if survey.meant:
            refuse_opaque_ods(table.book, table.sheet.name)
            removal = OdsRemoval(table, self.columns, survey, watch, self.masked, mode=self.mode)
            removal.refuse_rows()
            if survey.meant:
                replace(self.source.path, before, lambda out: self._write(removal, out))
        return survey

    def _workbook(self, table: SheetTable, refs: Sequence[Ref], before: Snapshot) -> Survey:
        watch = RowWatch(table)
        strings = len(table.workbook.strings)
        survey = take(
            table,
            self.columns,
            refs,
            strings,
            self.place,
            watch.look,
            whole_row=self.masked is None,
        )
        if survey.meant:
            refuse_opaque(table.workbook, table.sheet)
            removal = Removal(table, self.columns, survey, watch, self.masked, self.mode)
            removal.refuse_rows()
            if survey.meant:
                replace(self.source.path, before, lambda out: self._write(removal, out))
        return survey

    def _write(self, removal: Removal | OdsRemoval, out: BinaryIO) -> None:
        write_protected(self.source, self.password, removal.write, out)


def write_protected(
    source: Source, password: str | None, write: Callable[[BinaryIO], None], out: BinaryIO
) -> None:
    """Let `write` fill the new file, encrypted as the old one was."""
    if not source.encrypted:
        write(out)
        return
    protect = seal if isinstance(source.table, OdsTable) else encrypt
    with private_file(source.file.seek(0, 2)) as plain:
        write(plain)
        protect(plain, password or "", out, source.path.name)


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
    again = table.again(out)
    skip = frozenset() if masked is None else frozenset(numbers)
    if not same_rows(survey, table, again, skip):
        raise PermanentFailure(
            "the new file did not read back the same; the old one was kept",
            hint="this is a fault of ours: please report it",
            code="not_the_same",
        )
