"""SQL: half of a table goes, the whole product beside bare deletes, in one run.

    python -m benchmarks.bench_sql [--rows 1000000] [--rounds 1] [--mixed] [--only postgresql]

Every contestant is a process of its own and gets a fresh, analysed copy of the same table on the
same throw-away server, which syncs every commit to disk. Ours is everything from opening the
home to the signed checkpoint: a plan in a ledger on disk, every row decided, read again, written
down as intended, deleted only if unchanged, looked at again on another connection, and named in
the audit log. The peers decide nothing, look at nothing and write nothing down; pt-archiver, the
program that DBAs use for this, is there on MariaDB (`apt install percona-toolkit`).
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.bare_sql import CUT, mariadb_address
from benchmarks.contest import Cost, load, python, run, table, typical
from benchmarks.people_table import POLICY, POLICY_FILE, MariadbTable, PostgresTable
from benchmarks.whole import write_policies
from tests.servers.mariadb import MariaDB
from tests.servers.postgres import Postgres

OURS = "retention, decided, audited, verified"
BUFFERS = {"shared_buffers": "256MB", "max_wal_size": "4GB"}
POOL = {"innodb-buffer-pool-size": "512M"}


# --- the contest -------------------------------------------------------------------------------

Contestant = Callable[[], Cost]


def ours(url: str, rows: int) -> Cost:
    """The whole product in a process of its own, on a new ledger."""
    with tempfile.TemporaryDirectory() as folder:
        home = write_policies(Path(folder, "home"), **POLICY_FILE)
        cost = python("whole", str(home), POLICY, BENCH_DB=url)
    assert cost.told["verified"] == rows // 2, cost.told
    return cost


def bare(name: str, url: str) -> Contestant:
    return lambda: python("bare_sql", name, BENCH_DB=url)


def archiver(url: str) -> Contestant:
    """pt-archiver as its manual advises for purging."""
    at = mariadb_address(url)
    source = (
        f"h={at['host']},P={at['port']},u={at['user']},p={at['password']},D={at['database']},"
        "t=work,A=utf8mb4"
    )
    command = [
        *("pt-archiver", "--source", source, "--purge", "--no-check-charset"),
        *("--where", f"created_at < UTC_TIMESTAMP() - INTERVAL {CUT} DAY"),
        *("--limit", "1000", "--commit-each", "--bulk-delete"),
    ]
    return lambda: run(command)


@contextmanager
def postgresql(rows: int, *, mixed: bool) -> Iterator[tuple[PostgresTable, dict[str, Contestant]]]:
    """The server, its table and who competes there."""
    with Postgres.start(durable=True, settings=BUFFERS) as server:
        url = server.new_database()
        place = PostgresTable(url, server.admin_url(url), rows, mixed=mixed)
        contestants = {
            OURS: lambda: ours(url, rows),
            "psycopg, DELETE … RETURNING by 5,000": bare("postgresql-5000", url),
            "psycopg, DELETE … RETURNING by 500": bare("postgresql-500", url),
            "psycopg, one DELETE": bare("postgresql-single", url),
        }
        try:
            yield place, contestants
        finally:
            place.close()


@contextmanager
def mariadb(rows: int, *, mixed: bool) -> Iterator[tuple[MariadbTable, dict[str, Contestant]]]:
    """The same on MariaDB, with pt-archiver where it is installed."""
    with MariaDB.start(durable=True, settings=POOL) as server:
        url = server.new_database()
        place = MariadbTable(url, rows, mixed=mixed)
        contestants = {OURS: lambda: ours(url, rows)}
        if shutil.which("pt-archiver"):
            contestants["pt-archiver --limit 1000 --bulk-delete"] = archiver(url)
        else:
            print("pt-archiver is not installed: apt install percona-toolkit")
        contestants |= {
            "pymysql, DELETE … RETURNING by 5,000": bare("mariadb-5000", url),
            "pymysql, DELETE … RETURNING by 500": bare("mariadb-500", url),
            "pymysql, one DELETE": bare("mariadb-single", url),
        }
        try:
            yield place, contestants
        finally:
            place.close()


SERVERS: dict[str, Any] = {"postgresql": postgresql, "mariadb": mariadb}


def contest(name: str, rows: int, rounds: int, *, mixed: bool) -> None:
    """All contestants on one server, in turn, each round on fresh copies; prints the table."""
    with SERVERS[name](rows, mixed=mixed) as (place, contestants):
        costs: dict[str, list[Cost]] = {who: [] for who in contestants}
        for _ in range(rounds):
            for who, compete in contestants.items():
                place.fresh()
                costs[who].append(compete())
                place.check()
    table(
        f"{name}: half of {rows:,} rows, {'every other one' if mixed else 'the oldest'}"
        f" ({rounds} round{'s' if rounds > 1 else ''}; {load()})",
        {who: typical(found) for who, found in costs.items()},
        OURS,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--mixed", action="store_true", help="every other row is due")
    parser.add_argument("--only", choices=sorted(SERVERS), action="append")
    asked = parser.parse_args()
    for name in asked.only or list(SERVERS):
        contest(name, asked.rows, asked.rounds, mixed=asked.mixed)


if __name__ == "__main__":
    main()
