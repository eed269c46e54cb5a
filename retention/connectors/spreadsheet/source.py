"""One look at the file: opened, decrypted where needed, and its sheets read as tables."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from retention.connectors.spreadsheet.csvfile import CsvTable
from retention.connectors.spreadsheet.odsbook import MIMETYPE, OdsBook, OdsTable
from retention.connectors.spreadsheet.odspasswords import is_sealed, unsealed
from retention.connectors.spreadsheet.package import Package
from retention.connectors.spreadsheet.passwords import decrypted, is_container
from retention.connectors.spreadsheet.replace import open_file
from retention.connectors.spreadsheet.settings import SpreadsheetLocation
from retention.connectors.spreadsheet.sheets import chosen
from retention.connectors.spreadsheet.workbook import SheetTable, Workbook
from retention.errors import ConnectorError, PermanentFailure, TemporaryFailure

CSV_SUFFIXES = frozenset({".csv", ".tsv", ".txt"})
_ODS_SUFFIXES = frozenset({".ods", ".ots"})
_ELSEWHERE = {
    ".fods": ("a flat OpenDocument file, which is not edited", "save it as .ods or .xlsx"),
    ".xls": ("in the old .xls form", "save it as an Excel workbook (.xlsx)"),
    ".xlsb": ("a binary workbook, which is not edited", "save it as .xlsx"),
    ".numbers": ("a Numbers document, which is not edited", "export it as .xlsx"),
}


@dataclass(slots=True)
class Source:
    """An open file with the tables of one location."""

    path: Path
    file: BinaryIO
    """The file itself, as it lies on disk."""
    tables: list[SheetTable | OdsTable | CsvTable]
    """One for each sheet that the location covers, in the file's order; at least one."""
    encrypted: bool
    package: Package | None = None
    """The file as a package, decrypted; None for CSV."""
    sheets: tuple[tuple[str, bool], ...] = ()
    """Name of every sheet of the file, and whether it is visible."""

    @property
    def table(self) -> SheetTable | OdsTable | CsvTable:
        """The only table, or the first one."""
        return self.tables[0]

    def every_table(self) -> Iterator[SheetTable | OdsTable]:
        """Every sheet of the file as a table, hidden ones too."""
        table = self.tables[0]
        if isinstance(table, OdsTable):
            for ods in table.book.sheets:
                yield OdsTable(table.book, ods, None)
        elif isinstance(table, SheetTable):
            for sheet in table.workbook.sheets:
                if sheet.worksheet:
                    yield SheetTable(table.workbook, sheet, None)


@contextlib.contextmanager
def opened(
    path: Path, password: str | None, settings: SpreadsheetLocation, only: str | None = None
) -> Iterator[Source]:
    """Open the file anew. `only`: of the sheets that the location covers, this one.

    Raises PermanentFailure, CredentialsRefused or TemporaryFailure.
    """
    suffix = path.suffix.lower()
    if suffix in _ELSEWHERE:
        what, hint = _ELSEWHERE[suffix]
        raise PermanentFailure(f"the file is {what}", hint=hint, place=path.name, code="file_form")
    with contextlib.ExitStack() as closing:
        file = closing.enter_context(open_file(path))
        status = os.fstat(file.fileno())
        try:
            source = _read(path, file, password, settings, closing)
            if only is not None:
                source.tables = [t for t in source.tables if t.container == only]
            yield source
        except ConnectorError as error:
            error.place = error.place or path.name
            if error.permanent and _moves(path, file, status):
                raise TemporaryFailure(
                    "the file was saved while it was read",
                    hint="it is tried again later",
                    place=path.name,
                    code="changed_meanwhile",
                ) from None
            raise


def _moves(path: Path, file: BinaryIO, before: os.stat_result) -> bool:
    """Whether somebody saves the file just now: half a file is not a broken one."""
    now = [os.fstat(file.fileno())]
    with contextlib.suppress(FileNotFoundError):
        now.append(path.stat())
    known = (before.st_ino, before.st_size, before.st_mtime_ns)
    return any((s.st_ino, s.st_size, s.st_mtime_ns) != known for s in now)


def _read(
    path: Path,
    file: BinaryIO,
    password: str | None,
    settings: SpreadsheetLocation,
    closing: contextlib.ExitStack,
) -> Source:
    if path.suffix.lower() in CSV_SUFFIXES:
        if settings.sheet is not None and settings.sheet != path.name:
            raise PermanentFailure(
                "a CSV file has no sheets", hint="leave `sheet:` out", code="no_sheet"
            )
        csv = CsvTable(file, path.name, settings.date_format, settings.encoding)
        return Source(path, file, [csv], encrypted=False)
    encrypted = is_container(file)
    plain = file
    if encrypted:
        plain = closing.enter_context(decrypted(file, password, path.name))
    package = Package(plain)
    closing.callback(package.close)
    if path.suffix.lower() in _ODS_SUFFIXES or MIMETYPE in package.names:
        return _read_ods(path, file, password, settings, package, closing)
    workbook = Workbook(package)
    worksheets = [s for s in workbook.sheets if s.worksheet]
    tables: list[SheetTable | OdsTable | CsvTable] = [
        SheetTable(workbook, sheet, settings.date_format)
        for sheet in chosen(worksheets, settings.sheet)
    ]
    names = tuple((s.name, s.visible) for s in workbook.sheets if s.worksheet)
    return Source(path, file, tables, encrypted, package, names)


def _read_ods(
    path: Path,
    file: BinaryIO,
    password: str | None,
    settings: SpreadsheetLocation,
    package: Package,
    closing: contextlib.ExitStack,
) -> Source:
    sealed = is_sealed(package)
    if sealed:
        package = Package(closing.enter_context(unsealed(file, package, password, path.name)))
        closing.callback(package.close)
    book = OdsBook(package)
    tables: list[SheetTable | OdsTable | CsvTable] = [
        OdsTable(book, sheet, settings.date_format) for sheet in chosen(book.sheets, settings.sheet)
    ]
    names = tuple((s.name, s.visible) for s in book.sheets)
    return Source(path, file, tables, sealed, package, names)
