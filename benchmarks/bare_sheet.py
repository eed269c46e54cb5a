"""What a script does to a workbook: `python -m benchmarks.bare_sheet WAY FILE` removes half of it.

`openpyxl` loads, keeps the rows that stay, and saves. `bytes` filters the sheet's bytes row by row
and numbers the rest anew; it decides by the row's place, leaves every name in the table of strings,
looks at nothing again, and breaks whatever else names a row.
"""

from __future__ import annotations

import json
import re
import sys
import time
import zipfile
from pathlib import Path

_ROW = re.compile(rb'<row r="(\d+)".*?</row>', re.DOTALL)
_NAMED = re.compile(rb'(<c r="[A-Z]+)\d+')
SHEET = "xl/worksheets/sheet1.xml"


def with_openpyxl(path: Path) -> None:
    """Keep the header and every row whose key is even."""
    from openpyxl import Workbook, load_workbook

    book = load_workbook(path)
    kept = Workbook()
    sheet = kept.active
    for row in book.active.iter_rows(values_only=True):
        if row[0] == "key" or int(row[0][1:]) % 2 == 0:
            sheet.append(row)
    kept.save(path)


def with_bytes(path: Path) -> None:
    """Keep the header and every second row after it."""
    last = 0

    def kept(match: re.Match[bytes]) -> bytes:
        nonlocal last
        number = int(match[1])
        if number > 1 and number % 2 == 1:
            return b""
        last += 1
        name = b"%d" % last
        row = _NAMED.sub(rb"\g<1>" + name, match[0])
        return row.replace(b'<row r="%d"' % number, b'<row r="%b"' % name, 1)

    whole = path.with_suffix(".new")
    with (
        zipfile.ZipFile(path) as old,
        zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, _ROW.sub(kept, data) if name == SHEET else data)
    whole.replace(path)


WAYS = {"openpyxl": with_openpyxl, "bytes": with_bytes}

if __name__ == "__main__":
    start = time.perf_counter()
    WAYS[sys.argv[1]](Path(sys.argv[2]))
    print(json.dumps({"work": time.perf_counter() - start}))
