"""Databases as the contract suite sees them: written and read by their own drivers."""

from __future__ import annotations

import sqlite3
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, cast
from urllib.parse import urlsplit

import psycopg
import pymysql
from pydantic import SecretStr

from retention.connectors import sql
from retention.connectors.base import Bound, Condition, Connector, Opened, Target
from retention.connectors.sql.connector import SqlConnector
from retention.connectors.sql.settings import SqlLocation, SqlSystem
from retention.testing.world import Plan, World
from tests.servers.mariadb import MariaDB
from tests.servers.postgres import Postgres


class SqlWorld(World):
    """One table `records`: key `name`, `received`, `status`, `email`, and a column nobody reads."""

    mark: ClassVar[str] = "%s"
    timeout = 20.0
    url: str
    _lost = False

    def __init__(self) -> None:
        self._open: list[Connector] = []

    # --- the connector ---

    def open(self) -> Connector:
        settings = SqlSystem(
            url=SecretStr(self.url), statement_timeout=self.timeout, page=self.page
        )
        connector = sql.connect(Opened("shop", settings, "."))
        if self._lost:
            self._lose_commits(cast(SqlConnector, connector))
        self._open.append(connector)
        return connector

    def target(
        self, *, where: tuple[Condition, ...] = (), bounds: tuple[Bound, ...] = ()
    ) -> Target:
        settings = SqlLocation(table="records", key="name", timezone="UTC")
        return Target("c/records", settings, ("received",), ("status", "email"), where, bounds)

    def missing(self) -> Target:
        return Target("c/none", SqlLocation(table="recrds", key="name"))

    def _lose_commits(self, connector: SqlConnector) -> None:
        dialect: Any = connector._session.engine.dialect
        commit = dialect.do_commit

        def committed_but(raw: Any) -> None:
            commit(raw)
            raise self.lost_error()

        dialect.do_commit = committed_but

    # --- the other route ---

    @abstractmethod
    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """One statement, committed."""

    @abstractmethod
    def lost_error(self) -> Exception:
        """What the driver raises when the server is gone."""

    def put(self, plans: Sequence[Plan]) -> list[str]:
        marks = ", ".join([self.mark] * 4)
        for plan in plans:
            self.run(
                f"INSERT INTO records (name, received, status, email) VALUES ({marks})",
                plan.name,
                self.stored(plan.received),
                plan.status,
                plan.email,
            )
        return [plan.name for plan in plans]

    def stored(self, received: datetime | None) -> Any:
        """The date as this database takes it."""
        return received

    def raw(self) -> Mapping[str, bytes]:
        return {row[0]: repr(row).encode() for row in self.run("SELECT * FROM records")}

    def change(self, key: str) -> None:
        self.run(f"UPDATE records SET status = 'changed' WHERE name = {self.mark}", key)

    def remove(self, key: str) -> None:
        self.run(f"DELETE FROM records WHERE name = {self.mark}", key)

    # --- trouble ---

    @contextmanager
    def permanent(self) -> Iterator[None]:
        self.run("ALTER TABLE records RENAME TO recordings")
        yield
        self.run("ALTER TABLE recordings RENAME TO records")

    @contextmanager
    def answer_lost(self) -> Iterator[None]:
        self._lost = True
        yield
        self._lost = False

    @contextmanager
    def impatient(self) -> Iterator[None]:
        """Sessions opened in here give up soon."""
        self.timeout = 0.3
        yield
        self.timeout = 20.0

    def close(self) -> None:
        for connector in self._open:
            connector.close()


class SqliteWorld(SqlWorld):
    """A file."""

    mark = "?"

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.file = folder / "shop.db"
        self.url = f"sqlite:///{self.file}"
        self.connection = sqlite3.connect(self.file, isolation_level=None)
        self.run(
            "CREATE TABLE records (name VARCHAR(200) PRIMARY KEY NOT NULL, received DATETIME,"
            " status TEXT, email TEXT, rest BLOB DEFAULT X'00ff')"
        )

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(statement, values).fetchall()

    def stored(self, received: datetime | None) -> Any:
        return None if received is None else received.strftime("%Y-%m-%d %H:%M:%S")

    def lost_error(self) -> Exception:
        error = sqlite3.OperationalError("disk I/O error at canary.person@example.org")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        return error

    @contextmanager
    def denied(self) -> Iterator[None]:
        # A file has no accounts: whoever may not open it does not see it.
        away = self.file.rename(self.file.with_suffix(".away"))
        yield
        away.rename(self.file)

    @contextmanager
    def temporary(self) -> Iterator[None]:
        with self.impatient():
            self.run("BEGIN IMMEDIATE")
            yield
            self.run("ROLLBACK")

    def close(self) -> None:
        super().close()
        self.connection.close()


class PostgresWorld(SqlWorld):
    """A database, and an account with no more than the rights it needs."""

    def __init__(self, server: Postgres) -> None:
        super().__init__()
        self.owner = server.new_database()
        self.url = server.new_login(self.owner)
        self.guest = urlsplit(self.url).username
        self.secrets = (str(urlsplit(self.url).password),)  # type: ignore[misc]  # one per world
        self.connection = psycopg.connect(_plain(self.owner), autocommit=True)
        self.run(
            "CREATE TABLE records (name text PRIMARY KEY, received timestamptz, status text,"
            r" email text, rest bytea DEFAULT '\x00ff')"
        )
        self.run(f"GRANT SELECT, INSERT, DELETE, UPDATE ON records TO {self.guest}")

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    def lost_error(self) -> Exception:
        return psycopg.OperationalError("server closed, canary.person@example.org")

    @contextmanager
    def denied(self) -> Iterator[None]:
        self.run(f"REVOKE ALL ON records FROM {self.guest}")
        yield
        self.run(f"GRANT SELECT, INSERT, DELETE, UPDATE ON records TO {self.guest}")

    @contextmanager
    def temporary(self) -> Iterator[None]:
        with self.impatient():
            self.run("BEGIN")
            self.run("SELECT * FROM records FOR UPDATE")
            yield
            self.run("ROLLBACK")

    def close(self) -> None:
        super().close()
        self.connection.close()


class MariaWorld(SqlWorld):
    """The same on MariaDB, with its usual collation that ignores case."""

    def __init__(self, server: MariaDB) -> None:
        super().__init__()
        owner = server.new_database()
        self.connection: Any = _pymysql(owner)
        self.database = urlsplit(owner).path[1:]
        self.run(
            "CREATE TABLE records (name varchar(200) PRIMARY KEY, received datetime(6),"
            " status text, email text, rest blob DEFAULT 0x00ff) CHARACTER SET utf8mb4"
        )
        self._server = server
        self.url = server.new_login(owner, "SELECT", "DELETE", "UPDATE", "INSERT")
        self.guest = urlsplit(self.url).username
        self.secrets = (str(urlsplit(self.url).password),)  # type: ignore[misc]  # one per world

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall())

    def stored(self, received: datetime | None) -> Any:
        return None if received is None else received.replace(tzinfo=None)

    def lost_error(self) -> Exception:
        return pymysql.err.OperationalError(2013, "Lost at canary.person@example.org")

    @contextmanager
    def denied(self) -> Iterator[None]:
        rights = f"SELECT, INSERT, DELETE, UPDATE ON {self.database}.*"
        self._server._execute(f"REVOKE {rights} FROM {self.guest}@'127.0.0.1'")
        yield
        self._server._execute(f"GRANT {rights} TO {self.guest}@'127.0.0.1'")

    @contextmanager
    def temporary(self) -> Iterator[None]:
        with self.impatient():
            self.run("BEGIN")
            self.run("SELECT * FROM records FOR UPDATE")
            yield
            self.run("ROLLBACK")

    def close(self) -> None:
        super().close()
        self.connection.close()


def _plain(url: str) -> str:
    """A SQLAlchemy URL as psycopg takes it."""
    return url.replace("postgresql+psycopg://", "postgresql://")


def _pymysql(url: str) -> Any:
    parts = urlsplit(url)
    return pymysql.connect(
        host=parts.hostname or "",
        port=parts.port or 0,
        user=parts.username,
        password=parts.password or "",
        database=parts.path[1:],
        charset="utf8mb4",
        autocommit=True,
    )
