"""Opening the ledger and its transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError

from retention.errors import LedgerUnreachable
from retention.ledger import migrate


def stamp(instant: datetime) -> str:
    """An aware instant as the ledger writes it: UTC, milliseconds, `Z`. Sorts as time does."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def instant(text: str) -> datetime:
    """The aware instant that `stamp` wrote."""
    return datetime.fromisoformat(text)


class Ledger:
    """One database and its transactions. Safe to share between threads; one writer at a time.

    SQLite: WAL, synchronous=FULL, BEGIN IMMEDIATE for writers, so that a commit that returned
    survives a power cut and writers queue instead of failing.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.sqlite = engine.dialect.name == "sqlite"

    @classmethod
    def open(cls, url: str, *, upgrade: bool = True) -> Ledger:
        """Open, and bring the schema up to date. Raises LedgerUnreachable."""
        try:
            engine = _engine(url)
        except (SQLAlchemyError, NoSuchModuleError, OSError) as error:
            raise unreachable(error) from None
        try:
            migrate.ensure_current(engine, upgrade=upgrade)
        except SQLAlchemyError as error:
            engine.dispose()
            raise unreachable(error) from None
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that writes: commits at the end, rolls back on any error."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent snapshot to read from."""
        with self._transaction("BEGIN") as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        try:
            with self.engine.connect() as raw:
                connection = raw.execution_options(retention_begin=begin)
                with connection.begin():
                    yield connection
        except DBAPIError as error:
            raise unreachable(error) from None

    def close(self) -> None:
        self.engine.dispose()


def unreachable(error: BaseException) -> LedgerUnreachable:
    """The driver's error by its class only: its text may hold values."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return LedgerUnreachable(
        f"the ledger's database does not answer ({type(cause).__name__})",
        hint="check RETENTION_DATABASE_URL, that the server runs, and that the disk is not full",
    )


def _engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, isolation_level="READ COMMITTED")
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = create_engine(url, connect_args={"timeout": 30, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _pragmas(dbapi: Any, _record: Any) -> None:
        dbapi.isolation_level = None
        cursor = dbapi.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "busy_timeout=30000",
            "secure_delete=ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        connection.exec_driver_sql(options.get("retention_begin", "BEGIN"))

    return engine
