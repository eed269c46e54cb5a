"""The spreadsheet connector keeps the contract: all forms, with passwords, on several sheets."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path

import msoffcrypto
import pytest
from msoffcrypto.format.ooxml import OOXMLFile
from openpyxl import Workbook, load_workbook
from pydantic import SecretStr

from retention.connectors.base import Bound, Condition, Connector, Opened, Target, When
from retention.connectors.spreadsheet.connector import Spreadsheet
from retention.connectors.spreadsheet.odspasswords import seal, unsealed
from retention.connectors.spreadsheet.package import Package
from retention.connectors.spreadsheet.settings import SpreadsheetLocation, SpreadsheetSystem
from retention.testing.contract import ConnectorContract
from retention.testing.world import ODD_NAMES, Plan, World
from tests.connectors import ods_files
from tests.connectors.spreadsheet_sessions import spun_once

PASSWORD = "open sesame, please"
HEADER = ("key", "received", "status", "email", "note")


class FileWorld(World):
    """One file; a subclass knows its form."""

    name = ""
    password: str | None = None

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.path = folder / self.name
        self.patch = patch
        self.write([])

    def rows(self) -> list[list[object]]:
        raise NotImplementedError

    def write(self, rows: Sequence[Sequence[object]]) -> None:
        raise NotImplementedError

    def open(self) -> Connector:
        secret = SecretStr(self.password) if self.password is not None else None
        settings = SpreadsheetSystem(path=self.name, password=secret)
        return Spreadsheet(Opened("test", settings, str(self.path.parent)), page=self.page)

    def target(
        self, *, where: tuple[Condition, ...] = (), bounds: tuple[Bound, ...] = ()
    ) -> Target:
        settings = SpreadsheetLocation(key="key")
        return Target("c/rows", settings, ("received",), ("status", "email"), where, bounds)

    def missing(self) -> Target:
        return Target("c/none", SpreadsheetLocation(sheet="Nothing", key="key"))

    def seen(self, received: datetime | None) -> When:
        return received.date() if received else None

    def put(self, plans: Sequence[Plan]) -> list[str]:
        rows = self.rows()
        for p in plans:
            day = p.received.date() if p.received else None
            rows.append([p.name, day, p.status, p.email, f"about {p.name}"])
        self.write(rows)
        return [p.name for p in plans]

    def raw(self) -> Mapping[str, bytes]:
        return {str(row[0]): repr(row).encode() for row in self.rows()}

    def change(self, key: str) -> None:
        self.write([[*r[:2], "changed", *r[3:]] if r[0] == key else r for r in self.rows()])

    def remove(self, key: str) -> None:
        self.write([row for row in self.rows() if row[0] != key])

    @contextmanager
    def denied(self) -> Iterator[None]:
        def refuse(*_: object, **__: object) -> object:
            raise PermissionError

        with self.patch.context() as patch:
            patch.setattr(Path, "open", refuse)
            yield

    @contextmanager
    def temporary(self) -> Iterator[None]:
        lock = self.path.with_name(f"~${self.name}")
        lock.write_bytes(b"somebody")
        yield
        lock.unlink()

    @contextmanager
    def permanent(self) -> Iterator[None]:
        aside = self.path.with_suffix(".aside")
        self.path.rename(aside)
        yield
        aside.rename(self.path)

    @contextmanager
    def answer_lost(self) -> Iterator[None]:
        sync = os.fsync

        def lost(descriptor: int) -> None:
            sync(descriptor)
            if os.path.isdir(f"/proc/self/fd/{descriptor}"):  # noqa: PTH112 - a descriptor
                raise TimeoutError

        with self.patch.context() as patch:
            patch.setattr("retention.connectors.spreadsheet.replace.os.fsync", lost)
            yield


class XlsxWorld(FileWorld):
    name = "rows.xlsx"

    def load(self) -> Workbook:
        return load_workbook(self.path)

    def save(self, book: Workbook) -> None:
        book.save(self.path)

    def rows(self) -> list[list[object]]:
        book = self.load()
        found = [list(r) for r in book.active.iter_rows(min_row=2, values_only=True)]
        book.close()
        return [
            [v.date() if isinstance(v, datetime) else "" if v is None else v for v in row]
            for row in found
            if row[0] is not None
        ]

    def write(self, rows: Sequence[Sequence[object]]) -> None:
        book = Workbook()
        fill(book, rows)
        self.save(book)


def fill(book: Workbook, rows: Sequence[Sequence[object]]) -> None:
    sheet = book.active
    sheet.append(HEADER)
    for row in rows:
        sheet.append([None if v == "" else v for v in row])
        # A text that starts with an equals sign is a text here.
        for cell in sheet[sheet.max_row]:
            if isinstance(cell.value, str):
                cell.data_type = "s"


class XlsmWorld(XlsxWorld):
    name = "rows.xlsm"


class SealedXlsxWorld(XlsxWorld):
    password = PASSWORD
    secrets = (PASSWORD,)
    # Each new file costs a hundred thousand hashes.
    odd_names = ODD_NAMES[-4:]

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        spun_once()
        super().__init__(folder, patch)

    def load(self) -> Workbook:
        plain = io.BytesIO()
        with self.path.open("rb") as file:
            office = msoffcrypto.OfficeFile(file)
            office.load_key(password=PASSWORD)
            office.decrypt(plain)
        return load_workbook(plain)

    def save(self, book: Workbook) -> None:
        plain = io.BytesIO()
        book.save(plain)
        plain.seek(0)
        with self.path.open("wb") as file:
            OOXMLFile(plain).encrypt(PASSWORD, file)


class SheetsWorld(XlsxWorld):
    """Two sheets under one pattern; every other row stands in the second, which is hidden."""

    sheets = ("2023", "2024")

    def target(
        self, *, where: tuple[Condition, ...] = (), bounds: tuple[Bound, ...] = ()
    ) -> Target:
        settings = SpreadsheetLocation(key="key", sheet="20*")
        return Target("c/rows", settings, ("received",), ("status", "email"), where, bounds)

    def rows(self) -> list[list[object]]:
        book = self.load()
        found = [
            [f"{sheet.title}/{row[0]}", *row[1:]]
            for sheet in book.worksheets
            for row in sheet.iter_rows(min_row=2, values_only=True)
            if row[0] is not None
        ]
        book.close()
        return [
            [v.date() if isinstance(v, datetime) else "" if v is None else v for v in row]
            for row in found
        ]

    def write(self, rows: Sequence[Sequence[object]]) -> None:
        book = Workbook()
        book.active.title = self.sheets[0]
        book.create_sheet(self.sheets[1]).sheet_state = "veryHidden"
        for number, name in enumerate(self.sheets):
            book.active = number
            mine = [r for r in rows if str(r[0]).startswith(f"{name}/")]
            fill(book, [[str(r[0]).partition("/")[2], *r[1:]] for r in mine])
        book.active = 0
        self.save(book)

    def put(self, plans: Sequence[Plan]) -> list[str]:
        named = [
            plan._replace(name=f"{self.sheets[n % 2]}/{plan.name}") for n, plan in enumerate(plans)
        ]
        return super().put(named)


class OdsWorld(FileWorld):
    name = "rows.ods"

    def rows(self) -> list[list[object]]:
        return [[*r, *[""] * (len(HEADER) - len(r))] for r in ods_files.read(self.path, "Rows")[1:]]

    def write(self, rows: Sequence[Sequence[object]]) -> None:
        ods_files.write(self.path, ods_files.document(ods_files.table_of([HEADER, *rows], "Rows")))

    def target(
        self, *, where: tuple[Condition, ...] = (), bounds: tuple[Bound, ...] = ()
    ) -> Target:
        settings = SpreadsheetLocation(key="key", sheet="Rows")
        return Target("c/rows", settings, ("received",), ("status", "email"), where, bounds)


class SealedOdsWorld(OdsWorld):
    """Encrypted by this connector: LibreOffice's own files are read in test_spreadsheet_ods."""

    password = PASSWORD
    secrets = (PASSWORD,)
    odd_names = ODD_NAMES[-4:]

    def rows(self) -> list[list[object]]:
        with self.path.open("rb") as file:
            plain = unsealed(file, Package(file), PASSWORD, self.name)
        with plain:
            other = self.path.with_name("plain.tmp")
            other.write_bytes(plain.read())
        try:
            rows = ods_files.read(other, "Rows")[1:]
        finally:
            other.unlink()
        return [[*r, *[""] * (len(HEADER) - len(r))] for r in rows]

    def write(self, rows: Sequence[Sequence[object]]) -> None:
        super().write(rows)
        plain = io.BytesIO(self.path.read_bytes())
        with self.path.open("w+b") as file:
            seal(plain, PASSWORD, file, self.name)


class CsvWorld(FileWorld):
    name = "rows.csv"

    def rows(self) -> list[list[object]]:
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            found = list(csv.reader(file, delimiter=";"))[1:]
        return [[r[0], date.fromisoformat(r[1]) if r[1] else "", *r[2:]] for r in found]

    def write(self, rows: Sequence[Sequence[object]]) -> None:
        with self.path.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file, delimiter=";")
            writer.writerow(HEADER)
            writer.writerows([["" if v is None else v for v in row] for row in rows])


class SpreadsheetContract(ConnectorContract):
    form: type[FileWorld]

    @pytest.fixture
    def world(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
        world = self.form(tmp_path, monkeypatch)
        yield world
        world.close()


class TestXlsx(SpreadsheetContract):
    form = XlsxWorld


class TestXlsm(SpreadsheetContract):
    form = XlsmWorld


class TestSealedXlsx(SpreadsheetContract):
    form = SealedXlsxWorld


class TestSeveralSheets(SpreadsheetContract):
    form = SheetsWorld


class TestOds(SpreadsheetContract):
    form = OdsWorld


class TestSealedOds(SpreadsheetContract):
    form = SealedOdsWorld


class TestCsv(SpreadsheetContract):
    form = CsvWorld
