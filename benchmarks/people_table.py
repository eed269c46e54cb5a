"""The table that the SQL benchmarks work on: half of its rows are due, as a form's would be.

The older half lies two to four years back, the younger within 360 days, in the order of `id` as
a table grows, or every other row (`mixed`). The policy's year therefore divides them exactly, and
some of those that stay are young by a few days only.
"""

from __future__ import annotations

from typing import Any

import psycopg
import pymysql
from psycopg import sql

from benchmarks.bare_sql import CUT, mariadb_address, postgres_address

COLUMNS = "id, created_at, name, email, message"
POLICY = "form-yearly"
POLICY_FILE: dict[str, Any] = {
    "systems": {"site": {"connector": "sql", "url": {"env": "BENCH_DB"}}},
    "clusters": {
        "enquiries": {
            "title": "Questions sent through the contact form",
            "subjects": "enquirers",
            "data": ["name", "email", "free_text"],
            "purpose": "answering enquiries",
            "basis": "legitimate_interest",
            "locations": {
                "form": {
                    "system": "site",
                    "table": "work",
                    "key": "id",
                    "dates": {"received": "created_at"},
                    "subject": {"email": "email"},
                }
            },
        }
    },
    "policies": {
        POLICY: {
            "title": "The contact form is emptied of what is older than a year",
            "applies_to": "enquiries/form",
            "starting_point": "received",
            "delete_at_latest": "1 year",
            "then": "delete",
            "schedule": "0 3 * * *",
        }
    },
}


def _is_old(rows: int, *, mixed: bool) -> str:
    return "n % 2 = 0" if mixed else f"n <= {rows // 2}"


def age_of_row(rows: int, *, mixed: bool = False) -> str:
    """Seconds of age of row `n`, whole numbers that any database reckons alike."""
    year = 365 * 86_400
    old = f"{2 * year} + (n * 7919) % {2 * year}"
    young = f"(n * 7919) % {360 * 86_400}"
    return f"CASE WHEN {_is_old(rows, mixed=mixed)} THEN {old} ELSE {young} END"


class PostgresTable:
    """`source` in a database of PostgreSQL, and the copy `work` for one contestant at a time."""

    def __init__(self, url: str, admin_url: str, rows: int, *, mixed: bool = False) -> None:
        self.rows = rows
        self._url = url
        self._connection = psycopg.connect(postgres_address(url), autocommit=True)
        self._admin = psycopg.connect(postgres_address(admin_url), autocommit=True)
        run = self._connection.execute
        run(
            "CREATE TABLE source (id bigint PRIMARY KEY, created_at timestamptz NOT NULL,"
            " name text NOT NULL, email text NOT NULL, message text NOT NULL)"
        )
        run("CREATE INDEX ON source (created_at)")
        age = age_of_row(rows, mixed=mixed)
        run(
            f"INSERT INTO source SELECT n, now() - ({age}) * interval '1 second',"
            " 'Given' || n || ' Family' || n % 977, 'person' || n || '@example.org',"
            " 'Question ' || n || ': ' || repeat('Hello, how does this work? ', 7)"
            f" FROM generate_series(1::bigint, {rows}) AS n"
        )

    def fresh(self) -> None:
        """A new `work`, analysed and written to disk."""
        run = self._connection.execute
        run("DROP TABLE IF EXISTS work")
        run("CREATE TABLE work (LIKE source INCLUDING ALL)")
        run("INSERT INTO work SELECT * FROM source ORDER BY id")
        run("VACUUM (ANALYZE) work")
        self._admin.execute("CHECKPOINT")

    def check(self) -> None:
        """The older half is gone and nothing else."""
        found = self._connection.execute(
            sql.SQL("SELECT count(*), count(*) FILTER (WHERE created_at < {}) FROM work").format(
                sql.SQL(f"now() - interval '{CUT} days'")
            )
        ).fetchone()
        assert found == (self.rows - self.rows // 2, 0), found

    def close(self) -> None:
        self._connection.close()
        self._admin.close()


class MariadbTable:
    """The same in a database of MariaDB."""

    def __init__(self, url: str, rows: int, *, mixed: bool = False) -> None:
        self.rows = rows
        self._connection = pymysql.connect(**mariadb_address(url), autocommit=True)
        self._run(
            "CREATE TABLE source (id bigint PRIMARY KEY, created_at datetime NOT NULL,"
            " name varchar(200) NOT NULL, email varchar(200) NOT NULL, message text NOT NULL,"
            " KEY created (created_at)) ENGINE=InnoDB"
        )
        step = 100_000
        for first in range(1, rows + 1, step):
            last = min(rows, first + step - 1)
            self._run(
                "INSERT INTO source SELECT n, UTC_TIMESTAMP() - INTERVAL"
                f" ({age_of_row(rows, mixed=mixed)}) SECOND,"
                " CONCAT('Given', n, ' Family', n % 977), CONCAT('person', n, '@example.org'),"
                " CONCAT('Question ', n, ': ', REPEAT('Hello, how does this work? ', 7))"
                f" FROM (SELECT seq AS n FROM seq_{first}_to_{last}) AS numbers"
            )

    def _run(self, statement: str) -> tuple[Any, ...]:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)
            return tuple(cursor.fetchall())

    def fresh(self) -> None:
        """A new `work`, analysed; what was deleted before is purged by then."""
        self._run("DROP TABLE IF EXISTS work")
        self._run("CREATE TABLE work LIKE source")
        self._run("INSERT INTO work SELECT * FROM source ORDER BY id")
        self._run("ANALYZE TABLE work")

    def check(self) -> None:
        """The older half is gone and nothing else."""
        found = self._run(
            "SELECT count(*), COALESCE(sum(created_at < UTC_TIMESTAMP() - INTERVAL"
            f" {CUT} DAY), 0) FROM work"
        )
        assert [int(x) for x in found[0]] == [self.rows - self.rows // 2, 0], found

    def close(self) -> None:
        self._connection.close()
