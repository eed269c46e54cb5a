"""Real stores of the example sets, filled and read without the connectors under test."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import openpyxl
from msoffcrypto import OfficeFile
from msoffcrypto.format.ooxml import OOXMLFile
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from tests.servers.mailbox import Mailbox, message

OURS = "post@fjordro.example"


class Database:
    """One database, whichever server it is on."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = create_engine(url, poolclass=NullPool)

    def fill(self, table: str, columns: str, *rows: Sequence[Any]) -> None:
        """Create a table (`columns`: as in DDL) and insert rows."""
        names = [column.split()[0] for column in columns.split(", ")]
        places = ", ".join(f":{name}" for name in names)
        with self._engine.begin() as tx:
            tx.execute(text(f"CREATE TABLE {table} ({columns})"))
            for row in rows:
                values = dict(zip(names, row, strict=True))
                tx.execute(text(f"INSERT INTO {table} VALUES ({places})"), values)

    def column(self, table: str, column: str = "id") -> set[Any]:
        """All values of a column."""
        with self._engine.connect() as tx:
            return set(tx.execute(text(f"SELECT {column} FROM {table}")).scalars())

    def row(self, table: str, key: int, columns: str) -> tuple[Any, ...]:
        """Some columns of one row."""
        with self._engine.connect() as tx:
            found = tx.execute(text(f"SELECT {columns} FROM {table} WHERE id = {key}"))
            return tuple(found.one())


def write_workbook(
    path: Path, sheets: dict[str, list[Sequence[Any]]], password: str | None = None
) -> None:
    """A workbook as Excel would write it; the first row of each sheet is its header."""
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
    plain = io.BytesIO()
    book.save(plain)
    path.parent.mkdir(parents=True, exist_ok=True)
    if password is None:
        path.write_bytes(plain.getvalue())
        return
    with path.open("wb") as file:
        OOXMLFile(io.BytesIO(plain.getvalue())).encrypt(password, file)


def keys_in_workbook(path: Path, sheet: str, password: str | None = None) -> set[Any]:
    """First column of a sheet, without the header."""
    data = io.BytesIO(path.read_bytes())
    if password is not None:
        locked, data = OfficeFile(data), io.BytesIO()
        locked.load_key(password=password)
        locked.decrypt(data)
    rows = openpyxl.load_workbook(data)[sheet].iter_rows(min_row=2, values_only=True)
    return {row[0] for row in rows if row[0] is not None}


def write_csv(path: Path, *rows: str) -> None:
    """A text file of rows, the first being the header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")


def keys_in_csv(path: Path) -> set[str]:
    """First field of every row, without the header."""
    return {line.partition(",")[0] for line in path.read_text(encoding="utf-8").splitlines()[1:]}


def write_file(path: Path, day: str) -> None:
    """A file that was last written on that day."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"something")
    os.utime(path, (noon(day).timestamp(),) * 2)


def noon(day: str) -> datetime:
    """An instant of that day."""
    return datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC).replace(hour=12)


def append(box: Mailbox, folder: str, subject: str, sender: str, to: str, day: str) -> None:
    """One message in a folder of the server, which makes the folder."""
    box.append(folder, message(sender=sender, to=to, subject=subject), received=noon(day))


def subjects(box: Mailbox, *folders: str) -> set[str]:
    """Subjects of all messages in these folders."""
    found: set[str] = set()
    with box.client() as client:
        for folder in folders:
            client.select_folder(folder, readonly=True)
            for data in client.fetch(client.search(["ALL"]), ["ENVELOPE"]).values():
                found.add(data[b"ENVELOPE"].subject.decode())
    return found


def write_maildir(root: Path, mails: Iterable[tuple[str, str, str]]) -> None:
    """(folder, file name, day) of each message; `INBOX` is there in any case."""
    for folder in ("", ".Enquiries", ".Trash"):
        for part in ("cur", "new", "tmp"):
            (root / folder / part).mkdir(parents=True, exist_ok=True)
    for folder, name, day in mails:
        file = root / f".{folder}" / "cur" / f"{name}:2,S"
        file.write_bytes(message(to="mottagning@stillmark.example", subject=name))
        at = noon(day).timestamp()
        os.utime(file, (at, at))


def names_in_maildir(root: Path) -> set[str]:
    """Names of all message files below a Maildir."""
    return {p.name.partition(":")[0] for p in root.rglob("cur/*")}
