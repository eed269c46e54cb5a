"""Copies of the data that no location covers: other sheets of the file, and files beside it."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from retention.connectors.base import Probe, Target
from retention.connectors.spreadsheet.columns import columns_of, settings_of
from retention.connectors.spreadsheet.settings import SpreadsheetLocation
from retention.connectors.spreadsheet.sheets import covers_many
from retention.connectors.spreadsheet.source import CSV_SUFFIXES, opened
from retention.connectors.spreadsheet.table import Table, text_of
from retention.errors import ConnectorError

_LOOK_FOR_HEADER = 30
_MOST_FILES = 200
_KINDS = (".xlsx", ".xlsm", ".xltx", ".ods", ".ots", ".csv", ".tsv", ".txt")
_UNREADABLE = (".bak", ".tmp", ".wbk", ".xlk", ".asd", ".xls", ".xlsb", ".old", ".sav")


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the locations of one file cover."""

    sheets: frozenset[str]
    headers: tuple[frozenset[str], ...]
    """Names of the columns that each location reads."""


def probe_copies(path: Path, password: str | None, targets: Sequence[Target]) -> Iterator[Probe]:
    """Sheets and neighbouring files that hold the same columns, and sheets covered in two ways."""
    try:
        seen = _seen(path, password, targets)
    except ConnectorError:
        return  # said already, by the check of the location itself
    if not seen.headers:
        return
    yield from _other_sheets(path, password, targets, seen)
    yield from _other_files(path, password, seen)
    yield from _two_ways(path, password, targets)


def _seen(path: Path, password: str | None, targets: Sequence[Target]) -> _Seen:
    sheets: set[str] = set()
    headers: list[frozenset[str]] = []
    for target in targets:
        with opened(path, password, settings_of(target)) as source:
            for table in source.tables:
                sheets.add(table.container)
                columns = columns_of(table, target, target.name)
                named = {*columns.dates, *columns.fields, settings_of(target).key}
                headers.append(frozenset(_plain(name) for name in named))
    return _Seen(frozenset(sheets), tuple(dict.fromkeys(headers)))


def _other_sheets(
    path: Path, password: str | None, targets: Sequence[Target], seen: _Seen
) -> Iterator[Probe]:
    with opened(path, password, settings_of(targets[0])) as source:
        visible = dict(source.sheets)
        alike = [
            table.container
            for table in source.every_table()
            if table.container not in seen.sheets and _holds(table, seen)
        ]
    for name in alike:
        yield Probe(
            f"sheet {name}",
            ok=False,
            detail="it has the same columns and is covered by no location"
            + ("" if visible.get(name, True) else "; it is hidden"),
            hint="name it in a location too (`sheet:` takes a list or a pattern), or delete it",
        )


def _other_files(path: Path, password: str | None, seen: _Seen) -> Iterator[Probe]:
    for other in islice(_neighbours(path), _MOST_FILES):
        suffix = other.suffix.lower()
        if suffix in _UNREADABLE:
            yield _copy(other, "it looks like an older version or a half-saved copy")
        elif suffix in _KINDS and _file_holds(other, password, seen):
            yield _copy(other, "it has the same columns")


def _neighbours(path: Path) -> Iterator[Path]:
    """Files beside it that may be copies: conflict copies, backups, half-saved ones, exports."""
    stem = path.stem.casefold()
    with os.scandir(path.parent) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            name = entry.name.casefold()
            if name == path.name.casefold() or not entry.is_file(follow_symlinks=False):
                continue
            if name.startswith(("~$", ".~lock.")):
                continue
            suffix = Path(name).suffix
            if suffix in _KINDS or (suffix in _UNREADABLE and re.search(re.escape(stem), name)):
                yield Path(entry.path)


def _copy(other: Path, why: str) -> Probe:
    return Probe(
        f"copy {other.name}",
        ok=False,
        detail=f"{why}, and rows that go here stay there",
        hint="delete it, or make it a system of its own with a location of the same cluster",
    )


def _file_holds(path: Path, password: str | None, seen: _Seen) -> bool:
    csv = path.suffix.lower() in CSV_SUFFIXES
    settings = SpreadsheetLocation(key="-", sheet=None if csv else "*")
    try:
        with opened(path, password, settings) as source:
            return any(_holds(table, seen) for table in source.tables)
    except (ConnectorError, zipfile.BadZipFile, OSError):
        return False  # not a workbook that could be looked into


def _holds(table: Table, seen: _Seen) -> bool:
    """Whether one of the first rows holds all names that a location reads."""
    for row in table.rows():
        if row.number > _LOOK_FOR_HEADER:
            break
        names = {_plain(text_of(cell)) for cell in row.cells}
        if any(header <= names for header in seen.headers):
            return True
    return False


def _two_ways(path: Path, password: str | None, targets: Sequence[Target]) -> Iterator[Probe]:
    plain: dict[str, str] = {}
    prefixed: dict[str, str] = {}
    for target in targets:
        with opened(path, password, settings_of(target)) as source:
            named = prefixed if covers_many(settings_of(target).sheet) else plain
            named.update((table.container, target.name) for table in source.tables)
    for sheet in plain.keys() & prefixed.keys():
        yield Probe(
            f"sheet {sheet}",
            ok=False,
            detail=f"{plain[sheet]} covers it alone and {prefixed[sheet]} together with others, "
            "so a row has two keys: a hold on one row, set through one, does not hold in the other",
            hint="cover it in one way: both times by a pattern or list, or both times alone",
        )


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold()
