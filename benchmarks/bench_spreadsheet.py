"""Half of 100,000 rows × 10 columns taken out of a workbook, beside what a script would do.

    python -m benchmarks.bench_spreadsheet [--rows 100000] [--rounds 1]

Every contestant is a process of its own, on a copy of one file. *The connector alone* finds every
row, reads those that go again, erases them in one act and verifies each on a new session. *Whole*
is everything from opening the home to the signed checkpoint. openpyxl loads, keeps the rows that
stay, and saves; it verifies nothing. The bare rewrite filters bytes: the floor for a program in
Python that reads and writes the file once, and a broken workbook in most cases.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.contest import Cost, load, python, table, typical
from benchmarks.whole import write_policies

COLUMNS = ("key", "received", "name", "email", "phone", "city", "amount", "status", "note", "by")
POLICY = "offers-two-years"
ALONE = "retention: the connector alone"
WHOLE = "retention, decided, audited, verified"
OPENPYXL = "openpyxl: load, filter, save"


def policy_file(book: Path) -> dict[str, Any]:
    """Rows go two years after they came in."""
    return {
        "systems": {"book": {"connector": "spreadsheet", "path": str(book)}},
        "clusters": {
            "offers": {
                "title": "Offers",
                "subjects": "customers",
                "data": ["name", "email", "phone"],
                "purpose": "answering enquiries",
                "basis": "legitimate_interest",
                "locations": {
                    "sheet": {
                        "system": "book",
                        "key": "key",
                        "dates": {"received": "received"},
                        "subject": {"email": "email", "phone": "phone"},
                    }
                },
            }
        },
        "policies": {
            POLICY: {
                "title": "Offers go after two years",
                "applies_to": "offers/sheet",
                "starting_point": "received",
                "delete_at_latest": "2 years",
                "then": "delete",
                "schedule": "0 3 * * *",
            }
        },
    }


def make(path: Path, rows: int) -> None:
    """A workbook as a business would have it: mostly text, a date, an amount; odd keys are old."""
    import xlsxwriter

    book = xlsxwriter.Workbook(str(path), {"constant_memory": False})
    sheet = book.add_worksheet("Offers")
    day = book.add_format({"num_format": "yyyy-mm-dd"})
    sheet.write_row(0, 0, COLUMNS)
    today = datetime.now(UTC).date()
    for n in range(rows):
        age = 800 + n % 1000 if n % 2 else n % 600
        sheet.write_string(n + 1, 0, f"K{n:06}")
        sheet.write_datetime(n + 1, 1, today - timedelta(days=age), day)
        sheet.write_string(n + 1, 2, f"Given{n} Family{n % 977}")
        sheet.write_string(n + 1, 3, f"person{n}@example.org")
        sheet.write_string(n + 1, 4, f"+47 9{n:07}")
        sheet.write_string(n + 1, 5, f"Town {n % 300}")
        sheet.write_number(n + 1, 6, n * 1.25)
        sheet.write_string(n + 1, 7, ("new", "ended", "lost")[n % 3])
        sheet.write_string(n + 1, 8, f"asked about course {n}")
        sheet.write_string(n + 1, 9, f"colleague {n % 7}")
    book.close()


def alone(path: Path) -> dict[str, object]:
    """Find all, read again, erase every second one, verify on a new session."""
    from retention.connectors.base import Opened, Target
    from retention.connectors.spreadsheet import connect
    from retention.connectors.spreadsheet.settings import SpreadsheetLocation, SpreadsheetSystem

    opened = Opened("bench", SpreadsheetSystem(path=path.name), str(path.parent))
    target = Target("c/rows", SpreadsheetLocation(key="key"), ("received",), ("email", "phone"))
    steps: dict[str, float] = {}
    began = last = time.perf_counter()

    def step(name: str) -> None:
        nonlocal last
        now = time.perf_counter()
        steps[name], last = round(now - last, 2), now

    acting = connect(opened)
    pages = acting.find(target)
    refs = [r.ref for page in pages for r in page.records if int(r.ref.key[1:]) % 2]
    step("find")
    again = sum(1 for _ in acting.recheck(target, [ref.key for ref in refs]))
    step("read again")
    results = Counter(str(o.result) for o in acting.erase(target, refs))
    acting.close()
    step("erase")
    levels = Counter(str(p.level) for p in connect(opened).verify(target, refs, None))
    step("verify")
    assert again == results["disposed"] == levels["clean"] == len(refs)
    return {"work": last - began, "steps": steps}


def whole(path: Path) -> Cost:
    """The whole product in a process of its own, on a new ledger."""
    with tempfile.TemporaryDirectory() as folder:
        home = write_policies(Path(folder, "home"), **policy_file(path))
        return python("whole", str(home), POLICY)


CONTESTANTS: dict[str, Callable[[Path], Cost]] = {
    ALONE: lambda path: python("bench_spreadsheet", "--alone", str(path)),
    WHOLE: whole,
    OPENPYXL: lambda path: python("bare_sheet", "openpyxl", str(path)),
    "bare rewrite of the sheet's bytes": lambda path: python("bare_sheet", "bytes", str(path)),
}


def keys_left(path: Path) -> Iterator[str]:
    """The keys that a reader in another language finds."""
    import python_calamine

    book = python_calamine.CalamineWorkbook.from_path(str(path))
    return (str(row[0]) for row in book.get_sheet_by_index(0).to_python()[1:])


def contest(rows: int, rounds: int) -> None:
    """All contestants in turn, each round with fresh copies; prints the table."""
    costs: dict[str, list[Cost]] = {who: [] for who in CONTESTANTS}
    with tempfile.TemporaryDirectory() as folder:
        original = Path(folder, "original.xlsx")
        make(original, rows)
        for _ in range(rounds):
            for who, compete in CONTESTANTS.items():
                path = Path(folder, "work.xlsx")
                path.write_bytes(original.read_bytes())
                costs[who].append(compete(path))
                left = list(keys_left(path))
                assert left == [f"K{n:06}" for n in range(0, rows, 2)], who
        size = original.stat().st_size / (1 << 20)
    table(
        f"Half of {rows:,} rows x {len(COLUMNS)} columns, {size:.1f} MiB"
        f" ({rounds} round{'s' if rounds > 1 else ''}; {load()})",
        {who: typical(found) for who, found in costs.items()},
        ALONE,
    )
    told = costs[ALONE][-1].told["steps"]
    print("the connector alone: " + ", ".join(f"{name} {s:.2f} s" for name, s in told.items()))


def main() -> None:
    if sys.argv[1:2] == ["--alone"]:
        print(json.dumps(alone(Path(sys.argv[2]))))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    contest(asked.rows, asked.rounds)


if __name__ == "__main__":
    main()
