"""Peak memory of a whole run, from 10,000 records to a million, beside a script that fetches all.

    python -m benchmarks.bench_memory [--rows 10000 100000 1000000] [--only sqlite]

`--rows 10000000` by hand: it takes minutes. Each run is a process of its own; half of the records
are due, and every one of them is decided, spooled, deleted, verified and audited. `before` is the
peak when everything was opened and nothing read yet. The peer selects what is old with one
`fetchall` and deletes it in batches of 500. The target: flat, and under 200 MB.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.contest import Cost, load, python
from benchmarks.people_table import POLICY, POLICY_FILE, PostgresTable, age_of_row
from benchmarks.whole import write_policies
from tests.servers.postgres import Postgres

LIMIT_MB = 200
FLAT = 1.25
"""The largest run may take so many times the peak of the smallest."""


Place = tuple[str, Callable[[], None]]
"""URL, and what makes the table anew."""


@contextmanager
def sqlite(rows: int) -> Iterator[Place]:
    """A SQLite file; the table is filled by SQLite itself."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "site.db")

        def fresh() -> None:
            path.unlink(missing_ok=True)
            connection = sqlite3.connect(path)
            connection.execute(
                "CREATE TABLE work (id INTEGER PRIMARY KEY, created_at TEXT NOT NULL,"
                " name TEXT NOT NULL, email TEXT NOT NULL, message TEXT NOT NULL)"
            )
            connection.execute("CREATE INDEX created ON work (created_at)")
            connection.execute(
                "INSERT INTO work WITH RECURSIVE numbers(n) AS"
                f" (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows})"
                f" SELECT n, datetime('now', '-' || ({age_of_row(rows)}) || ' seconds'),"
                " 'Given' || n || ' Family' || n % 977, 'person' || n || '@example.org',"
                " 'Question ' || n || ': Hello, how does this work? Please tell me.' FROM numbers"
            )
            connection.commit()
            connection.close()

        yield f"sqlite:///{path}", fresh


@contextmanager
def postgresql(rows: int) -> Iterator[Place]:
    """A database of PostgreSQL. Memory does not depend on syncing, so it does not sync."""
    with Postgres.start() as server:
        url = server.new_database()
        place = PostgresTable(url, server.admin_url(url), rows)
        try:
            yield url, place.fresh
        finally:
            place.close()


PLACES: dict[str, Any] = {"sqlite": sqlite, "postgresql": postgresql}


def ours(url: str, rows: int) -> Cost:
    """The whole product in a process of its own, on a new ledger."""
    with tempfile.TemporaryDirectory() as folder:
        home = write_policies(Path(folder, "home"), **POLICY_FILE)
        cost = python("whole", str(home), POLICY, BENCH_DB=url)
    assert cost.told["verified"] == rows // 2, cost.told
    return cost


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--only", choices=sorted(PLACES), action="append")
    asked = parser.parse_args()
    print(f"\npeak memory of a whole run, half of the records due; {load()}")
    print(f"{'':12}{'records':>12}{'before MB':>11}{'peak MB':>9}{'seconds':>9}{'peer MB':>12}")
    for name in asked.only or list(PLACES):
        peaks = []
        for rows in sorted(asked.rows):
            with PLACES[name](rows) as (url, fresh):
                fresh()
                cost = ours(url, rows)
                fresh()
                peer = python("bare_sql", f"{name}-fetch-all", BENCH_DB=url)
            peaks.append(cost.peak)
            before = cost.told["before_mb"]
            print(
                f"{name:12}{rows:>12,}{before:>11.0f}{cost.peak:>9.0f}{cost.work:>9.1f}"
                f"{peer.peak:>12.0f}",
                flush=True,
            )
        growth = max(peaks) / peaks[0]
        print(
            f"{name}: {'flat' if growth <= FLAT else 'NOT FLAT'} ({growth:.2f} × the smallest),"
            f" {'under' if max(peaks) < LIMIT_MB else 'OVER'} {LIMIT_MB} MB"
        )


if __name__ == "__main__":
    main()
