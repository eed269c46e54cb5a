"""One look at the file: opened, decrypted where needed, and read as a table."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from retention.connectors.spreadsheet.csvfile import CsvTable
from retention.connectors.spreadsheet.package import Package
from retention.connectors.spreadsheet.passwords import decrypted, is_container
from retention.connectors.spreadsheet.replace import open_file
from retention.connectors.spreadsheet.settings import SpreadsheetLocation
from retention.connectors.spreadsheet.workbook import SheetTable, Workbook
from retention.errors import ConnectorError, PermanentFailure

CSV_SUFFIXES = frozenset({".csv", ".tsv", ".txt"})
_ELSEWHERE = {
    ".ods": ("an OpenDocument sheet, which is not edited yet", "save it as .xlsx"),
    ".xls": ("in the old .xls form", "save it as an Excel workbook (.xlsx)"),
    ".xlsb": ("a binary workbook, which is not edited", "save it as .xlsx"),
    ".numbers": ("a Numbers document, which is not edited", "export it as .xlsx"),
}


@dataclass(slots=True)
class Source:
    """An open file with the table of one location."""

    path: Path
    file: BinaryIO
    """The file itself, as it lies on disk."""
    table: SheetTable | CsvTable
    encrypted: bool


@contextlib.contextmanager
def opened(path: Path, password: str | None, settings: SpreadsheetLocation) -> Iterator[Source]:
    """Open the file anew. Raises PermanentFailure, CredentialsRefused or TemporaryFailure."""
    suffix = path.suffix.lower()
    if suffix in _ELSEWHERE:
        what, hint = _ELSEWHERE[suffix]
        raise PermanentFailure(f"the file is {what}", hint=hint, place=path.name, code="file_form")
    with contextlib.ExitStack() as closing:
        file = closing.enter_context(open_file(path))
        try:
            yield _read(path, file, password, settings, closing)
        except ConnectorError as error:
            error.place = error.place or path.name
            raise


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
        return Source(path, file, CsvTable(file, path.name, settings.date_format), encrypted=False)
    encrypted = is_container(file)
    plain = file
    if encrypted:
        plain = closing.enter_context(decrypted(file, password, path.name))
    package = Package(plain)
    closing.callback(package.close)
    workbook = Workbook(package)
    table = SheetTable(workbook, workbook.sheet(settings.sheet), settings.date_format)
    return Source(path, file, table, encrypted)
