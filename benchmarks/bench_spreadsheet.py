"""Half of 100,000 rows × 10 columns taken out of a workbook: this connector beside openpyxl.

    python benchmarks/bench_spreadsheet.py [ROWS]

Both run in processes of their own, one after the other, on copies of one file. The connector
finds, erases in one batch and verifies every row on a new session; openpyxl loads, keeps the rows
that stay, and saves (it verifies nothing). Peak memory is the process's largest resident set.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

COLUMNS = ("key", "received", "name", "email", "phone", "city", "amount", "status", "note", "by")
ROWS = 100_000


def make(path: Path, rows: int) -> None:
    """A workbook as a business would have it: mostly text, a date, an amount."""
    import xlsxwriter

    book = xlsxwriter.Workbook(str(path), {"constant_memory": False})
    sheet = book.add_worksheet("Offers")
    day = book.add_format({"num_format": "yyyy-mm-dd"})
    sheet.write_row(0, 0, COLUMNS)
    start = date(2020, 1, 1)
    for n in range(rows):
        sheet.write_string(n + 1, 0, f"K{n:06}")
        sheet.write_datetime(n + 1, 1, start + timedelta(days=n % 2000), day)
        sheet.write_string(n + 1, 2, f"Given{n} Family{n % 977}")
        sheet.write_string(n + 1, 3, f"person{n}@example.org")
        sheet.write_string(n + 1, 4, f"+47 9{n:07}")
        sheet.write_string(n + 1, 5, f"Town {n % 300}")
        sheet.write_number(n + 1, 6, n * 1.25)
        sheet.write_string(n + 1, 7, ("new", "ended", "lost")[n % 3])
        sheet.write_string(n + 1, 8, f"asked about course {n}")
        sheet.write_string(n + 1, 9, f"colleague {n % 7}")
    book.close()


def ours(path: Path) -> dict[str, object]:
    """Find all, erase every second one, verify on a new session."""
    from retention.connectors.base import Opened, Target
    from retention.connectors.spreadsheet import connect
    from retention.connectors.spreadsheet.settings import SpreadsheetLocation, SpreadsheetSystem

    opened = Opened("bench", SpreadsheetSystem(path=path.name), str(path.parent))
    target = Target("c/rows", SpreadsheetLocation(key="key"), ("received",), ("email", "phone"))
    steps = {}
    began = time.perf_counter()
    refs = []
    for page in connect(opened).find(target):
        refs += [r.ref for r in page.records if int(r.ref.key[1:]) % 2]
    steps["find"] = time.perf_counter() - began
    results = Counter(str(o.result) for o in connect(opened).erase(target, refs))
    steps["erase"] = time.perf_counter() - began - steps["find"]
    levels = Counter(str(p.level) for p in connect(opened).verify(target, refs, None))
    total = time.perf_counter() - began
    steps["verify"] = total - steps["find"] - steps["erase"]
    return {"seconds": total, "steps": steps, "results": results, "levels": levels}


def openpyxl_filter(path: Path) -> dict[str, object]:
    """Load, keep every second row, save: what a script would do."""
    from openpyxl import Workbook, load_workbook

    began = time.perf_counter()
    book = load_workbook(path)
    kept = Workbook()
    sheet = kept.active
    for row in book.active.iter_rows(values_only=True):
        if row[0] == "key" or int(row[0][1:]) % 2 == 0:
            sheet.append(row)
    kept.save(path)
    return {"seconds": time.perf_counter() - began}


WORK = {"retention": ours, "openpyxl": openpyxl_filter}


def measured(name: str, path: Path) -> dict[str, object]:
    """One contender in a process of its own."""
    command = [sys.executable, __file__, "--one", name, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def peak_mb() -> float:
    """Largest resident set of this process alone (`ru_maxrss` starts with the parent's)."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        found = WORK[sys.argv[2]](Path(sys.argv[3]))
        found["peak_mb"] = peak_mb()
        found["cpu"] = time.process_time()
        print(json.dumps(found))
        return
    chosen = [a for a in sys.argv[1:] if a in WORK] or list(WORK)
    rows = next((int(a) for a in sys.argv[1:] if a.isdigit()), ROWS)
    with tempfile.TemporaryDirectory() as folder:
        original = Path(folder, "original.xlsx")
        make(original, rows)
        print(
            f"half of {rows:,} rows x {len(COLUMNS)} columns, {original.stat().st_size >> 20} MiB"
        )
        print(f"{'':12} {'seconds':>8} {'cpu':>8} {'peak MB':>8}")
        for name in chosen:
            copy = Path(folder, f"{name}.xlsx")
            copy.write_bytes(original.read_bytes())
            found = measured(name, copy)
            print(
                f"{name:12} {found['seconds']:8.1f} {found['cpu']:8.1f} {found['peak_mb']:8.0f}  ",
                end="",
            )
            steps = found.get("steps")
            if isinstance(steps, dict):
                print(", ".join(f"{k} {v:.1f}" for k, v in steps.items()), end="; ")
                print(f"{found['results']} {found['levels']}", end="")
            print()


if __name__ == "__main__":
    main()
