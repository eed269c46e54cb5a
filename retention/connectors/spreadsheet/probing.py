"""What `doctor` says about a file and its sheet, before anything is due."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from retention.connectors.base import Probe, Target
from retention.connectors.spreadsheet.columns import columns_of
from retention.connectors.spreadsheet.csvfile import CsvTable
from retention.connectors.spreadsheet.edit import RowWatch
from retention.connectors.spreadsheet.identity import Repeated, own_key
from retention.connectors.spreadsheet.parts import refuse_opaque, refuse_watchers
from retention.connectors.spreadsheet.replace import open_elsewhere
from retention.connectors.spreadsheet.shift import RowMap, Unshiftable
from retention.connectors.spreadsheet.skeleton import Skeleton
from retention.connectors.spreadsheet.source import Source
from retention.connectors.spreadsheet.workbook import SheetTable
from retention.errors import PermanentFailure


def probe_file(path: Path) -> Iterator[Probe]:
    """Rights, locks and second names."""
    lock = open_elsewhere(path)
    yield Probe(
        "not open elsewhere",
        lock is None,
        "no lock file" if lock is None else "another program has the file open",
        "" if lock is None else f"close it there, or remove the stale {lock.name}",
    )
    writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK)
    yield Probe(
        "writable",
        writable,
        "file and folder may be written" if writable else "file or folder may not be written",
        "" if writable else "give the account write rights to both",
    )
    names = path.stat().st_nlink if path.exists() else 1
    yield Probe(
        "one name",
        names == 1,
        "no hard link" if names == 1 else "the file has a second name, where rows would stay",
        "" if names == 1 else "remove the other name",
    )


def probe_target(source: Source, target: Target) -> Iterator[Probe]:
    """The header, the keys, and how rows would be taken out."""
    columns = columns_of(source.table, target, target.name)
    yield Probe(target.name, ok=True, detail=f"all columns found in row {columns.header}")
    empty = sum(
        1
        for row in source.table.rows()
        if row.number > columns.header and row.cells and not own_key(row, columns, target.name)
    )
    twice = bool(Repeated(source.table, columns, target.name))
    yield Probe(
        f"{target.name}: keys",
        not empty and not twice,
        "every row has a key of its own"
        if not empty and not twice
        else f"{empty} rows without a key; {'some' if twice else 'no'} keys in several rows",
        "" if not empty and not twice else "such rows are reported and never touched",
    )
    if isinstance(source.table, CsvTable):
        yield Probe(f"{target.name}: way", ok=True, detail="records are cut out of the text")
    else:
        yield from _way(source.table, target)


def _way(table: SheetTable, target: Target) -> Iterator[Probe]:
    name = f"{target.name}: way"
    try:
        refuse_opaque(table.workbook, table.sheet)
    except PermanentFailure as error:
        yield Probe(name, ok=False, detail=error.message, hint=error.hint)
        return
    watch = RowWatch(table)
    for row in table.rows():
        watch.look(row)
    try:
        refuse_watchers(table.workbook, table.sheet)
        Skeleton(table.xml).shift(RowMap([1 << 20]), table.sheet.name)
    except Unshiftable as why:
        yield Probe(name, ok=True, detail=f"rows are emptied in place: the workbook holds {why}")
        return
    how = "rows are removed and the rest moves up"
    if watch.formulas:
        how += ", where no formula reads a row that goes"
    yield Probe(name, ok=True, detail=how)
