"""Looking at the sample data by other means than the connectors that changed it."""

from __future__ import annotations

import sqlite3
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from retention.cli.demo_data.mailbox import FOLDERS, directory
from retention.cli.demo_data.people import Person

_TABLES = (
    ("website.db", "contact_form"),
    ("website.db", "subscribers"),
    ("accounts.db", "customers"),
    ("accounts.db", "invoices"),
)


def counts(data: Path) -> dict[str, int]:
    """How many records lie in each place."""
    found = {table: len(_rows(data / file, table)) for file, table in _TABLES}
    for folder in FOLDERS:
        found[f"mail {folder}"] = len(_files(data / "mail", folder))
    found["newsletter.xlsx"] = _workbook(data / "newsletter.xlsx").count("<row ") - 1
    return found


def places_with(data: Path, person: Person) -> dict[str, int]:
    """Places that hold a person's address, and how many records of it there are."""
    found = {
        table: sum(person.email in row for row in _rows(data / file, table))
        for file, table in _TABLES
    }
    for folder in FOLDERS:
        found[f"mail {folder}"] = sum(
            person.email.encode() in file.read_bytes() for file in _files(data / "mail", folder)
        )
    found["newsletter.xlsx"] = _workbook(data / "newsletter.xlsx").count(person.email)
    return {place: number for place, number in found.items() if number}


def files_with(folder: Path, people: Iterable[Person]) -> Iterator[tuple[Path, Person]]:
    """Files below a folder that hold somebody's name or address."""
    listed = list(people)
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        text = file.read_bytes()
        for person in listed:
            if person.email.encode() in text or person.name.encode() in text:
                yield file, person


def _rows(file: Path, table: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(f"SELECT * FROM {table}").fetchall()


def _files(root: Path, folder: str) -> list[Path]:
    return [f for part in ("cur", "new") for f in (directory(root, folder) / part).iterdir()]


def _workbook(file: Path) -> str:
    """The text of every part; the sample's cells hold their text in the sheet itself."""
    with zipfile.ZipFile(file) as package:
        return "".join(package.read(name).decode("utf-8") for name in package.namelist())
