"""What `doctor` says about a file and its sheet, before anything is due."""

from __future__ import annotations

from collections.abc import Iterator

from retention.connectors.base import Probe, Target
from retention.connectors.spreadsheet.columns import columns_of, settings_of
from retention.connectors.spreadsheet.csvfile import CsvTable
from retention.connectors.spreadsheet.edit import RowWatch, foresee
from retention.connectors.spreadsheet.identity import Keys, own_key
from retention.connectors.spreadsheet.odsbook import OdsTable
from retention.connectors.spreadsheet.parts import refuse_opaque
from retention.connectors.spreadsheet.probefile import ods_way, probe_encoding
from retention.connectors.spreadsheet.sheets import covers_many
from retention.connectors.spreadsheet.shift import Unshiftable
from retention.connectors.spreadsheet.source import Source
from retention.connectors.spreadsheet.workbook import SheetTable
from retention.errors import PermanentFailure


def probe_target(source: Source, target: Target) -> Iterator[Probe]:
    """The header, the keys, and how rows would be taken out, for each sheet."""
    many = covers_many(settings_of(target).sheet)
    for table in source.tables:
        name = f"{target.name}, sheet {table.container!r}" if many else target.name
        yield from _probe_table(table, target, name)


def _probe_table(
    table: SheetTable | OdsTable | CsvTable, target: Target, name: str
) -> Iterator[Probe]:
    columns = columns_of(table, target, name)
    yield Probe(name, ok=True, detail=f"all columns found in row {columns.header}")
    empty = sum(
        1
        for row in table.rows()
        if row.number > columns.header and row.cells and not own_key(row, columns, name)
    )
    twice = bool(Keys(table, columns, name).repeated)
    yield Probe(
        f"{name}: keys",
        not empty and not twice,
        "every row has a key of its own"
        if not empty and not twice
        else f"{empty} rows without a key; {'some' if twice else 'no'} keys in several rows",
        "" if not empty and not twice else "such rows are reported and never touched",
    )
    if isinstance(table, CsvTable):
        yield Probe(f"{name}: way", ok=True, detail="records are cut out of the text")
        yield probe_encoding(table, name)
    elif isinstance(table, OdsTable):
        yield ods_way(table, name, settings_of(target).mode)
    else:
        yield from _way(table, target, f"{name}: way")


def _way(table: SheetTable, target: Target, name: str) -> Iterator[Probe]:
    try:
        refuse_opaque(table.workbook, table.sheet)
    except PermanentFailure as error:
        yield Probe(name, ok=False, detail=error.message, hint=error.hint)
        return
    try:
        watch = RowWatch(table)
        for row in table.rows():
            watch.look(row)
    except Unshiftable as odd:
        hint = "open it in Excel or LibreOffice and save it there"
        yield Probe(name, ok=False, detail=f"the sheet holds {odd}", hint=hint)
        return
    mode = settings_of(target).mode
    why = "" if mode == "blank" else foresee(table)
    if why and mode == "remove":
        yield Probe(
            name,
            ok=False,
            detail=f"rows cannot be removed: the workbook holds {why}",
            hint="take that out, or say `mode: auto`",
        )
        return
    if why or mode == "blank":
        said = f": the workbook holds {why}" if why else ", as the policy says"
        yield Probe(name, ok=True, detail=f"rows are emptied in place{said}")
        return
    how = "rows are removed and the rest moves up"
    if watch.formulas and mode == "auto":
        how += ", where no formula reads a row that goes"
    yield Probe(name, ok=True, detail=how)
