"""The spreadsheet connector keeps the contract, on workbooks and on CSV files."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path

import pytest
from openpyxl import Workbook, load_workbook

from retention.connectors.base import Bound, Condition, Connector, Opened, Target, When
from retention.connectors.spreadsheet.connector import Spreadsheet
from retention.connectors.spreadsheet.settings import SpreadsheetLocation, SpreadsheetSystem
from retention.testing.contract import ConnectorContract
from retention.testing.world import Plan, World

HEADER = ("key", "received", "status", "email", "note")


class FileWorld(World):
    """One file; a subclass knows its form."""

    name = ""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.path = folder / self.name
        self.patch = patch
        self.write([])

    def rows(self) -> list[list[object]]:
        raise NotImplementedError

    def write(self, rows: Sequence[Sequence[object]]) -> None:
        raise NotImplementedError

    def open(self) -> Connector:
        settings = SpreadsheetSystem(path=self.name)
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

    def rows(self) -> list[list[object]]:
        book = load_workbook(self.path)
        found = [list(r) for r in book.active.iter_rows(min_row=2, values_only=True)]
        book.close()
        return [
            [v.date() if isinstance(v, datetime) else "" if v is None else v for v in row]
            for row in found
            if row[0] is not None
        ]

    def write(self, rows: Sequence[Sequence[object]]) -> None:
        book = Workbook()
        book.active.append(HEADER)
        for row in rows:
            book.active.append([None if v == "" else v for v in row])
            # A text that starts with an equals sign is a text here.
            for cell in book.active[book.active.max_row]:
                if isinstance(cell.value, str):
                    cell.data_type = "s"
        book.save(self.path)


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


class TestXlsx(ConnectorContract):
    @pytest.fixture
    def world(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
        world = XlsxWorld(tmp_path, monkeypatch)
        yield world
        world.close()


class TestCsv(ConnectorContract):
    @pytest.fixture
    def world(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
        world = CsvWorld(tmp_path, monkeypatch)
        yield world
        world.close()
