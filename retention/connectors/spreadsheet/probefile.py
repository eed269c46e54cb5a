"""What `doctor` says about the file itself: rights, locks, second names, password, encoding."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from retention.connectors.base import Probe
from retention.connectors.spreadsheet.attributes import keeps_access
from retention.connectors.spreadsheet.csvfile import CsvTable
from retention.connectors.spreadsheet.odsaround import Around
from retention.connectors.spreadsheet.odsbook import OdsTable
from retention.connectors.spreadsheet.odsedit import refuse_opaque_ods
from retention.connectors.spreadsheet.odsshift import Move
from retention.connectors.spreadsheet.replace import leftovers, open_elsewhere
from retention.connectors.spreadsheet.shift import RowMap, Unshiftable
from retention.connectors.spreadsheet.source import Source
from retention.errors import PermanentFailure


def probe_file(path: Path) -> Iterator[Probe]:
    """Rights, locks, second names, and what runs that died left behind."""
    yield _lock(path)
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
    if path.exists():
        yield _owner(path)
        left = leftovers(path)
        if left:
            yield Probe(
                "leftovers",
                ok=False,
                detail=f"{len(left)} copies beside the file, of runs that died",
                hint="the next act on this file removes them",
            )


def _lock(path: Path) -> Probe:
    lock = open_elsewhere(path)
    if lock is None:
        return Probe("not open elsewhere", ok=True, detail="no lock file")
    since = datetime.fromtimestamp(lock.lstat().st_mtime, UTC)
    return Probe(
        "not open elsewhere",
        ok=False,
        detail=f"another program has had the file open since {since:%Y-%m-%d %H:%M} UTC",
        hint=f"close it there; if that program is long gone, remove {lock.name}: until then every "
        "act is put off",
    )


def _owner(path: Path) -> Probe:
    status = path.stat()
    ours = os.geteuid() in (0, status.st_uid)
    if ours:
        return Probe("owner", ok=True, detail="owner and rights of the file are kept")
    kept = keeps_access(status)
    return Probe(
        "owner",
        kept,
        "the file will belong to this account after an act; its owner keeps the same rights"
        if kept
        else "the file belongs to another account, which would lose its rights to it",
        "" if kept else "give the file to this account, or let both be in its group",
    )


def probe_password(source: Source, given: bool) -> Iterator[Probe]:
    """Whether a file that should be encrypted is."""
    if source.encrypted:
        yield Probe("password", ok=True, detail="the file is encrypted, and stays so")
    elif given:
        yield Probe(
            "password",
            ok=False,
            detail="a password is set, but the file is not encrypted",
            hint="somebody saved it without: set the password in the office program again",
        )


def probe_encoding(table: CsvTable, name: str) -> Probe:
    """What the text was taken for."""
    dialect = table.dialect
    sure = bool(dialect.bom) or dialect.encoding == "utf-8" or table.encoding_said
    mark = ", with a mark" if dialect.bom else ""
    delimiter = {"\t": "tab"}.get(dialect.delimiter, dialect.delimiter)
    return Probe(
        f"{name}: encoding",
        ok=True,
        detail=f"read as {dialect.encoding}{mark}, fields parted by {delimiter}",
        hint="" if sure else "not UTF-8, so this is a guess: say `encoding:` if letters look wrong",
    )


def ods_way(table: OdsTable, name: str, mode: str) -> Probe:
    """How rows of an OpenDocument sheet would go."""
    check = f"{name}: way"
    try:
        refuse_opaque_ods(table.book, table.sheet.name)
    except PermanentFailure as error:
        return Probe(check, ok=False, detail=error.message, hint=error.hint)
    if mode == "blank":
        return Probe(check, ok=True, detail="rows are emptied in place, as the policy says")
    try:
        _rehearse(table)
    except Unshiftable as why:
        if mode == "remove":
            return Probe(
                check,
                ok=False,
                detail=f"rows cannot be removed: the document holds {why}",
                hint="take that out, or say `mode: auto`",
            )
        return Probe(check, ok=True, detail=f"rows are emptied in place: the document holds {why}")
    return Probe(
        check,
        ok=True,
        detail="rows are removed and the rest moves up, where no formula reads a row that goes",
    )


def _rehearse(table: OdsTable) -> None:
    """Move everything as if a row far below went. Raises Unshiftable."""
    move = Move(table.container, RowMap([1 << 20]))
    around = Around(move)
    for piece in table.book.pieces():
        if piece.kind in ("between", "table"):
            around.moved(piece.raw, piece.sheet)
