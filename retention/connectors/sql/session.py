"""One session with one database: a connection that reads, and one that acts.

The reading connection never holds a transaction: each look sees what is committed now, and
nothing that others want to delete is kept from them.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, Executable, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import QueuePool

from retention.connectors.secrets import reveal
from retention.connectors.sql.failures import DRIVER_ERRORS, meaning
from retention.connectors.sql.settings import SqlSystem
from retention.errors import UsageError

T = TypeVar("T")

_DRIVERS = {
    "postgresql": "postgresql+psycopg",
    "mysql": "mysql+pymysql",
    "mariadb": "mariadb+pymysql",
    "sqlite": "sqlite+pysqlite",
}
_EXTRAS = {"postgresql": "postgresql", "mysql": "mysql", "mariadb": "mysql"}

# SQLAlchemy logs every row at DEBUG. Its own logger name keeps that shut even where somebody
# turns everything on.
_LOGGER = "retention"
_ACTING = "retention_acting"
logging.getLogger(f"sqlalchemy.engine.Engine.{_LOGGER}").setLevel(logging.WARNING)


class Session:
    """Connects when first used. Not shared between threads."""

    def __init__(self, system: str, settings: SqlSystem, base: str) -> None:
        self.system = system
        self._timeout = settings.statement_timeout
        self._pool = settings.pool
        self._url = _url(system, settings)
        self._base = base
        self._engine: Engine | None = None
        self._reader: Connection | None = None
        self._writer: Connection | None = None

    def __repr__(self) -> str:
        return f"Session({self.system})"

    @property
    def kind(self) -> str:
        """`sqlite`, `postgresql` or `mysql` (MariaDB too)."""
        name = self._url.get_backend_name()
        return "mysql" if name == "mariadb" else name

    @property
    def engine(self) -> Engine:
        """The engine, made when first asked for; it connects by itself."""
        if self._engine is None:
            self._engine = self._make()
        return self._engine

    def told(self, place: str, ask: Callable[[], T]) -> T:
        """Run `ask`; a driver's error comes out as one of ours, without its text or its chain."""
        try:
            return ask()
        except DRIVER_ERRORS as error:
            failure = meaning(error, place)
            self._forget_broken()
        # Outside the handler: the driver's error must not travel along as context.
        raise failure

    def reading(self) -> Connection:
        """The connection that looks; every statement sees what is committed."""
        if self._reader is None:
            if self._pool == 1:
                _close(self._writer)
                self._writer = None
            self._reader = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        return self._reader

    @contextmanager
    def acting(self) -> Iterator[Connection]:
        """One transaction on the connection that acts."""
        if self._writer is None:
            if self._pool == 1:
                _close(self._reader)
                self._reader = None
            self._writer = self.engine.connect().execution_options(**{_ACTING: True})
        with self._writer.begin():
            yield self._writer

    def close(self) -> None:
        """End the session; may be called twice."""
        _close(self._reader)
        _close(self._writer)
        self._reader = self._writer = None
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _forget_broken(self) -> None:
        """After a failure the next call starts on fresh connections: a server may be back."""
        for name in ("_reader", "_writer"):
            connection: Connection | None = getattr(self, name)
            if connection is not None and (connection.invalidated or connection.in_transaction()):
                _close(connection)
                setattr(self, name, None)

    def _make(self) -> Engine:
        options: dict[str, Any] = {"isolation_level": "READ COMMITTED"}
        if self.kind == "sqlite":
            options = {"creator": _sqlite_creator(self._url, self._base, self._timeout)}
        if self.kind == "postgresql":
            options["connect_args"] = {"connect_timeout": max(2, int(min(self._timeout, 30)))}
        if self.kind == "mysql":
            options["connect_args"] = {
                "conv": _mysql_converters(),
                "connect_timeout": max(1, int(min(self._timeout, 30))),
                # Beyond the server's own limit: only a dead network gets this far.
                "read_timeout": self._timeout + 30,
                "write_timeout": self._timeout + 30,
            }
        try:
            engine = create_engine(
                self._url,
                poolclass=QueuePool,
                pool_size=self._pool,
                max_overflow=0,
                pool_timeout=self._timeout,
                hide_parameters=True,
                logging_name=_LOGGER,
                pool_logging_name=_LOGGER,
                **options,
            )
        except ModuleNotFoundError:
            raise UsageError(
                f"the driver for {self.kind} is not installed",
                hint=f"install retention[{_EXTRAS.get(self.kind, 'all')}]",
                place=self.system,
                code="connector-broken",
            ) from None
        event.listen(engine, "connect", _greeting(self.kind, self._timeout))
        if self.kind == "sqlite":
            event.listen(engine, "begin", _begin_immediately)
        return engine


def fetch(connection: Connection, statement: Executable) -> list[tuple[Any, ...]]:
    """Every row as the driver gives it; nothing here has types that SQLAlchemy would convert."""
    result = connection.execute(statement)
    rows: list[tuple[Any, ...]] = list(result.cursor.fetchall())
    result.close()
    return rows


def _close(connection: Connection | None) -> None:
    """End a connection, broken or not."""
    if connection is not None:
        try:
            connection.close()
        except DRIVER_ERRORS:
            # Already broken: nothing is left to end properly.
            if not connection.closed:
                connection.invalidate()


def _url(system: str, settings: SqlSystem) -> URL:
    try:
        url = make_url(reveal(settings.url) or "")
        backend = url.get_backend_name()
    except (ArgumentError, ValueError, NoSuchModuleError):
        backend = ""
    if backend not in _DRIVERS:
        raise UsageError(
            "its `url` is no URL of a database that is supported",
            hint="sqlite:///path, postgresql://…, or mysql://… for MariaDB",
            place=f"systems.{system}",
            code="settings",
        )
    url = url.set(drivername=_DRIVERS[backend])
    if settings.password is not None:
        url = url.set(password=reveal(settings.password))
    return url


def _sqlite_creator(url: URL, base: str, timeout: float) -> Callable[[], sqlite3.Connection]:
    name = url.database or ""
    path = Path(base, name)

    def create() -> sqlite3.Connection:
        # mode=rw: a mistyped path must fail, not become a new empty database.
        return sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode=rw",
            uri=True,
            timeout=timeout,
            isolation_level=None,
            check_same_thread=False,
        )

    return create


def _greeting(kind: str, timeout: float) -> Callable[[Any, Any], None]:
    milliseconds = int(timeout * 1000)
    statements = {
        "postgresql": (
            "SET TIME ZONE 'UTC'",
            "SET DateStyle = 'ISO'",
            "SET extra_float_digits = 1",
            f"SET statement_timeout = {milliseconds}",
            f"SET lock_timeout = {milliseconds}",
            "SET idle_in_transaction_session_timeout = 120000",
        ),
        "mysql": (
            "SET SESSION time_zone = '+00:00'",
            f"SET SESSION innodb_lock_wait_timeout = {max(1, int(timeout))}",
        ),
        # secure_delete: deleted rows are overwritten, not only unlinked. foreign_keys: what the
        # schema says about children holds for us as it does on other databases.
        "sqlite": ("PRAGMA secure_delete = ON", "PRAGMA foreign_keys = ON"),
    }[kind]

    def greet(raw: Any, _record: Any) -> None:
        automatic = kind == "postgresql"
        if automatic:
            raw.autocommit = True
        cursor = raw.cursor()
        for statement in statements:
            cursor.execute(statement)
        if kind == "mysql":
            _mysql_statement_limit(cursor, timeout)
        cursor.close()
        if automatic:
            raw.autocommit = False

    return greet


def _mysql_statement_limit(cursor: Any, timeout: float) -> None:
    cursor.execute("SELECT VERSION()")
    if "mariadb" in str(cursor.fetchone()[0]).lower():
        cursor.execute(f"SET SESSION max_statement_time = {timeout}")
    else:
        cursor.execute(f"SET SESSION max_execution_time = {int(timeout * 1000)}")


def _mysql_converters() -> dict[Any, Any]:
    """The driver's own, with dates read in C; what is no date (0000-00-00) stays text."""
    from pymysql.constants import FIELD_TYPE
    from pymysql.converters import conversions

    def moment(text: str) -> Any:
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            return text

    def day(text: str) -> Any:
        try:
            return date.fromisoformat(text)
        except ValueError:
            return text

    quick = {FIELD_TYPE.DATETIME: moment, FIELD_TYPE.TIMESTAMP: moment, FIELD_TYPE.DATE: day}
    return {**conversions, **quick}


def _begin_immediately(connection: Connection) -> None:
    # The acting connection takes the write lock at once, so that what is read inside cannot
    # change before it is acted upon. The reading one must never hold a transaction.
    if connection.get_execution_options().get(_ACTING):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
