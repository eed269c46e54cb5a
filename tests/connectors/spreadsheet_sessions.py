"""What the spreadsheet tests share: opening, finding, acting, and reading by other programs."""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from msoffcrypto.method.ecma376_agile import ECMA376Agile
from openpyxl import load_workbook
from pydantic import SecretStr

from retention.connectors.base import Connector, Level, Opened, Record, Result, Scalar, Target
from retention.connectors.spreadsheet import connect
from retention.connectors.spreadsheet.settings import SpreadsheetLocation, SpreadsheetSystem

FIELDS = ("name", "email")


@cache
def spun_once() -> None:
    """Hash each password with each salt only once in this process.

    A hundred thousand hashes in Python give the same every time; to open a file takes them twice,
    and a test opens the same file again and again.
    """
    name = "_derive_iterated_hash_from_password"
    setattr(ECMA376Agile, name, staticmethod(cache(getattr(ECMA376Agile, name))))


spun_once()


def session(path: Path, password: str | None = None) -> Connector:
    """A new session with a file."""
    secret = SecretStr(password) if password is not None else None
    return connect(
        Opened("test", SpreadsheetSystem(path=path.name, password=secret), str(path.parent))
    )


def location(
    *, dates: Sequence[str] = ("received",), fields: Sequence[str] = FIELDS, **settings: Any
) -> Target:
    """A location whose key column is called `key` unless said otherwise."""
    model = SpreadsheetLocation.model_validate({"key": "key", **settings})
    return Target("c/rows", model, tuple(dates), tuple(fields))


def found(path: Path, target: Target, password: str | None = None) -> dict[str, Record]:
    """Every record by key."""
    pages = session(path, password).find(target)
    return {record.ref.key: record for page in pages for record in page.records}


def erase(
    path: Path, target: Target, keys: Sequence[str], password: str | None = None
) -> dict[str, tuple[Result, str]]:
    """Result and code by key; refs come from a look just before."""
    refs = [found(path, target, password)[key].ref for key in keys]
    return {o.key: (o.result, o.code) for o in session(path, password).erase(target, refs)}


def mask(
    path: Path, target: Target, keys: Sequence[str], values: Mapping[str, Scalar]
) -> dict[str, tuple[Result, str]]:
    """Result and code by key."""
    refs = [found(path, target)[key].ref for key in keys]
    return {o.key: (o.result, o.code) for o in session(path).mask(target, refs, values)}


def levels(path: Path, target: Target, records: Sequence[Record]) -> set[Level]:
    """Proof levels on a new session."""
    return {p.level for p in session(path).verify(target, [r.ref for r in records], None)}


def parts(path: Path) -> dict[str, bytes]:
    """Every part of a package, unpacked."""
    with zipfile.ZipFile(path) as package:
        assert package.testzip() is None
        return {name: package.read(name) for name in package.namelist()}


def residue(path: Path, *texts: str) -> list[str]:
    """Parts in which any of these texts stands, as a thief with `unzip` and `grep` would look."""
    return [
        name
        for name, data in parts(path).items()
        if any(text.encode() in data or text.encode("utf-16-le") in data for text in texts)
    ]


def values(path: Path, sheet: str | None = None) -> list[tuple[object, ...]]:
    """All rows with content, as openpyxl sees them (formulas as text)."""
    book = load_workbook(path)
    page = book[sheet] if sheet else book.worksheets[0]
    rows = [row for row in page.iter_rows(values_only=True) if any(v is not None for v in row)]
    book.close()
    return rows


def recomputed(path: Path, folder: Path) -> list[list[str]]:
    """The first sheet as LibreOffice computes it, as text."""
    subprocess.run(
        [
            "soffice",
            f"-env:UserInstallation=file://{folder}/profile",
            "--headless",
            "--convert-to",
            "csv:Text - txt - csv (StarCalc):59,34,76,1,,0,false,true,false",
            "--outdir",
            str(folder),
            str(path),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    made = folder / f"{path.stem}.csv"
    assert made.exists(), "LibreOffice did not open the file"
    return [line.split(";") for line in made.read_text(encoding="utf-8").splitlines()]
