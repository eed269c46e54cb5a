"""What a careful person's script does to a table: the peers of `bench_sql` and `bench_memory`.

`BENCH_DB=URL python -m benchmarks.bare_sql NAME` deletes what is old from the table `work` and
prints seconds and rows as one line of JSON. Only the driver is imported, before the time counts.
"""

from __future__ import annotations

import importlib
import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

CUT = 550
"""Days: between the young rows and the old ones; what is older goes."""


def postgres_address(url: str) -> str:
    """libpq's form of a SQLAlchemy URL."""
    return url.replace("postgresql+psycopg://", "postgresql://")


def mariadb_address(url: str) -> dict[str, Any]:
    """What pymysql and pt-archiver call the parts of a SQLAlchemy URL."""
    parts = urlsplit(url)
    return {
        "host": parts.hostname,
        "port": parts.port,
        "user": parts.username,
        "password": parts.password or "",
        "database": parts.path.strip("/"),
    }


def postgres_batches(url: str, size: int) -> int:
    """Keyset batches, each a transaction, that give back what they deleted."""
    import psycopg

    done, last = 0, 0
    with psycopg.connect(postgres_address(url)) as connection:
        while True:
            rows = connection.execute(
                "WITH picked AS (SELECT id FROM work WHERE id > %s"
                f" AND created_at < now() - interval '{CUT} days' ORDER BY id LIMIT %s)"
                " DELETE FROM work USING picked WHERE work.id = picked.id RETURNING work.id",
                (last, size),
            ).fetchall()
            connection.commit()
            if not rows:
                return done
            done += len(rows)
            last = max(row[0] for row in rows)


def postgres_single(url: str) -> int:
    """One statement for all."""
    import psycopg

    with psycopg.connect(postgres_address(url)) as connection:
        return connection.execute(
            f"DELETE FROM work WHERE created_at < now() - interval '{CUT} days'"
        ).rowcount


def mariadb_batches(url: str, size: int) -> int:
    """Keyset batches, each a transaction, that give back what they deleted."""
    import pymysql

    done, last = 0, 0
    with pymysql.connect(**mariadb_address(url)) as connection, connection.cursor() as cursor:
        while True:
            cursor.execute(
                "DELETE FROM work WHERE id > %s AND created_at <"
                f" UTC_TIMESTAMP() - INTERVAL {CUT} DAY ORDER BY id LIMIT %s RETURNING id",
                (last, size),
            )
            rows = cursor.fetchall()
            connection.commit()
            if not rows:
                return done
            done += len(rows)
            last = max(row[0] for row in rows)


def mariadb_single(url: str) -> int:
    """One statement for all."""
    import pymysql

    with pymysql.connect(**mariadb_address(url)) as connection, connection.cursor() as cursor:
        done: int = cursor.execute(
            f"DELETE FROM work WHERE created_at < UTC_TIMESTAMP() - INTERVAL {CUT} DAY"
        )
        connection.commit()
        return done


def fetch_all(connection: Any, old: str, mark: str) -> int:
    """Everything that is old at once, then deleted by key in batches."""
    cursor = connection.cursor()
    cursor.execute(f"SELECT id, created_at, email FROM work WHERE created_at < {old}")
    rows = cursor.fetchall()
    for first in range(0, len(rows), 500):
        keys = [row[0] for row in rows[first : first + 500]]
        marks = ",".join([mark] * len(keys))
        cursor.execute(f"DELETE FROM work WHERE id IN ({marks})", keys)
        connection.commit()
    connection.close()
    return len(rows)


def postgres_fetch_all(url: str) -> int:
    import psycopg

    connection = psycopg.connect(postgres_address(url))
    return fetch_all(connection, f"now() - interval '{CUT} days'", "%s")


def sqlite_fetch_all(url: str) -> int:
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    return fetch_all(connection, f"datetime('now', '-{CUT} days')", "?")


PEERS: dict[str, Callable[[str], int]] = {
    "postgresql-5000": lambda url: postgres_batches(url, 5000),
    "postgresql-500": lambda url: postgres_batches(url, 500),
    "postgresql-single": postgres_single,
    "mariadb-5000": lambda url: mariadb_batches(url, 5000),
    "mariadb-500": lambda url: mariadb_batches(url, 500),
    "mariadb-single": mariadb_single,
    "postgresql-fetch-all": postgres_fetch_all,
    "sqlite-fetch-all": sqlite_fetch_all,
}

DRIVERS = {"postgresql": "psycopg", "mariadb": "pymysql", "sqlite": "sqlite3"}


def main() -> None:
    name, url = sys.argv[1], os.environ["BENCH_DB"]
    importlib.import_module(DRIVERS[name.partition("-")[0]])
    start = time.perf_counter()
    done = PEERS[name](url)
    print(json.dumps({"work": time.perf_counter() - start, "rows": done}))


if __name__ == "__main__":
    main()
