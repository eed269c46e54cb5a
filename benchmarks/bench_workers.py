"""Eight workers beside one, on independent systems and on the shards of one table.

    python -m benchmarks.bench_workers [--rows 8000] [--workers 1 2 4 8] [--milliseconds 100]

The ledger is one PostgreSQL, fully synced. Each of eight systems is a table behind a line that
answers so many milliseconds late, as a vendor's does; half of its rows are due. The second part is
one table of forty times the size on this machine, without a delay, cut into eight shards: there
the processor is the limit, and two cores can be no more than twice as fast as one.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.bare_sql import postgres_address
from benchmarks.contest import ROOT, load
from benchmarks.whole import settings, write_policies
from retention.run.approval import approve_policy
from retention.run.home import Home
from retention.run.tick import new_run
from tests.servers.postgres import Postgres
from tests.servers.process import free_port

SYSTEMS = 8


def policies(tables: Mapping[str, str]) -> dict[str, Any]:
    """A policy, a cluster and a system for each table: name → variable with its URL."""
    return {
        "systems": {n: {"connector": "sql", "url": {"env": v}} for n, v in tables.items()},
        "clusters": {
            n: {
                "purpose": f"answering {n}",
                "basis": "legitimate_interest",
                "locations": {
                    "form": {
                        "system": n,
                        "table": n,
                        "key": "id",
                        "dates": {"received": "created_at"},
                        "subject": {"email": "email"},
                    }
                },
            }
            for n in tables
        },
        "policies": {
            f"{n}-yearly": {
                "applies_to": f"{n}/form",
                "starting_point": "received",
                "delete_at_latest": "1 year",
                "then": "delete",
                "schedule": "0 3 1 1 *",
            }
            for n in tables
        },
    }


def fill(url: str, table: str, rows: int) -> None:
    """Every other row is four years old."""
    with psycopg.connect(postgres_address(url), autocommit=True) as tx:
        tx.execute(f"DROP TABLE IF EXISTS {table}")
        tx.execute(
            f"CREATE TABLE {table} AS SELECT n::bigint AS id, now() - CASE WHEN n % 2 = 0 THEN"
            " interval '4 years' ELSE interval '30 days' END AS created_at,"
            f" 'p' || n || '@example.org' AS email FROM generate_series(1, {rows}) AS n"
        )
        tx.execute(f"ALTER TABLE {table} ADD PRIMARY KEY (id)")


def left(url: str, table: str) -> int:
    with psycopg.connect(postgres_address(url)) as tx:
        row = tx.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])


@contextmanager
def far_away(url: str, milliseconds: float) -> Iterator[str]:
    """The same database at the end of a slow line."""
    port = url.rpartition(":")[2].partition("/")[0]
    here = free_port()
    line = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "benchmarks.slow_line",
            str(here),
            port,
            str(milliseconds),
        ],
        cwd=ROOT,
    )
    time.sleep(0.5)
    try:
        yield url.replace(f":{port}/", f":{here}/")
    finally:
        line.kill()
        line.wait()


def crowd(home: Path, environment: Mapping[str, str], workers: int) -> float:
    """Seconds from the first claim to the end of the last run."""
    together = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.one_worker", str(home)],
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(workers)
    ]
    for one in together:
        assert one.stdout is not None
        assert one.stdout.readline() == b"ready\n"
    start = time.perf_counter()
    for one in together:
        assert one.stdin is not None
        one.stdin.write(b"go\n")
        one.stdin.flush()
    for one in together:
        assert one.wait() == 0
    return time.perf_counter() - start


def timed(folder: Path, ledger: str, tables: Mapping[str, str], workers: int, shards: int) -> float:
    """One contest on a new ledger: approve everything, fire everything, work it off."""
    import os

    urls = {f"BENCH_{n.upper()}": url for n, url in tables.items()}
    home = write_policies(folder, **policies({n: f"BENCH_{n.upper()}" for n in tables}))
    environment = {
        **os.environ,
        **urls,
        "BENCH_LEDGER": ledger,
        "RETENTION_SHARDS": str(shards),
        "RETENTION_SHARD_RECORDS": "1000",
        "RETENTION_SYSTEM_WORKERS": "100",
    }
    os.environ.update(environment)
    with Home.open(settings(home), actor="user:bench") as opened:
        for name in opened.in_force.names():
            approve_policy(opened.ctx, opened.in_force, name, by="user:bench")
        opened.reload()
        now = opened.ctx.clock.now()
        with opened.ctx.ledger.write() as tx:
            for name in opened.in_force.names():
                new_run(tx, name, opened.in_force.digest_of(name), now, "manual", now)
    return crowd(home, environment, workers)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=8_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--milliseconds", type=float, default=100)
    asked = parser.parse_args()
    rows = asked.rows
    print(f"\nworkers on one ledger; {load()}")
    print(f"{'':40}{'workers':>9}{'seconds':>9}{'records/s':>11}{'times one':>11}")
    with ExitStack() as stack:
        site = stack.enter_context(Postgres.start())
        ledgers = stack.enter_context(Postgres.start(durable=True))
        url = site.new_database()
        far = stack.enter_context(far_away(url, asked.milliseconds))
        names = [f"site{n}" for n in range(SYSTEMS)]
        all_of_them = dict.fromkeys(names, far)
        contests: list[tuple[str, dict[str, str], int, int]] = [
            (f"{SYSTEMS} systems, {asked.milliseconds:g} ms away", all_of_them, rows, 1),
            (f"one table in {SYSTEMS} shards, here", {"whole": url}, 5 * SYSTEMS * rows, SYSTEMS),
        ]
        for title, tables, size, shards in contests:
            first = 0.0
            for workers in asked.workers:
                for table in tables:
                    fill(url, table, size)
                with tempfile.TemporaryDirectory() as folder:
                    place = Path(folder, "home")
                    seconds = timed(place, ledgers.new_database(), tables, workers, shards)
                assert all(left(url, table) == size // 2 for table in tables)
                first = first or seconds
                done = len(tables) * size // 2
                print(
                    f"{title:40}{workers:>9}{seconds:>9.1f}{done / seconds:>11,.0f}"
                    f"{first / seconds:>10.2f} ×",
                    flush=True,
                )


if __name__ == "__main__":
    main()
