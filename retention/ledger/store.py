"""Opening the ledger and its transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, NoSuchModuleError, SQLAlchemyError

from retention.errors import LedgerMoved, LedgerUnreachable
from retention.ledger import migrate

UNFLUSHED = "retention_unflushed"
"""Advisory locks of the transaction at hand, as a fact of its connection."""
_REVISION = text("SELECT version_num FROM alembic_version")
_LOCK = text("SELECT pg_advisory_xact_lock(:key), set_config('synchronous_commit', 'off', true)")
_POSTGRESQL = {
    # A process that is stopped in the middle of a transaction, or a machine that vanished, must
    # not keep its locks: none of our transactions ever waits for anything outside the database.
    "options": "-c idle_in_transaction_session_timeout=20s -c lock_timeout=60s",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_FLUSH = text("SELECT pg_logical_emit_message(true, 'retention', '')")


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
            engine = engine_of(url)
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
        """A transaction that writes: commits at the end, rolls back on any error.

        When this returns, what was written is on disk. On any error it may or may not be there.
        """
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    def same_schema(self, tx: Connection) -> None:
        """Raises LedgerMoved where a newer version has upgraded the ledger since it was opened."""
        found = tx.execute(_REVISION).scalar_one_or_none()
        if found != migrate.HEAD:
            raise LedgerMoved(
                f"the ledger is at revision {found} now, this process knows {migrate.HEAD}",
                hint="end it and start the version that is installed",
            )

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
                connection.info.pop(UNFLUSHED, None)
                with connection.begin():
                    yield connection
                if connection.info.pop(UNFLUSHED, None):
                    _flush(connection)
        except DBAPIError as error:
            raise unreachable(error) from None

    def close(self) -> None:
        self.engine.dispose()


def one_at_a_time(tx: Connection, key: int) -> None:
    """Wait for an advisory lock that is held until this transaction ends. PostgreSQL only.

    The transaction then commits without waiting for the disk, so that the lock is held for the
    length of a few statements and not of an fsync; `Ledger.write` waits for the disk afterwards,
    one fsync for all processes that wait at that moment. What is flushed includes every earlier
    commit, so nobody can build upon something that a power cut still takes away.
    """
    if key in (held := tx.info.setdefault(UNFLUSHED, set())):
        return
    tx.execute(_LOCK, {"key": key})
    held.add(key)


def _flush(connection: Connection) -> None:
    """Wait until all that was committed is on disk: an empty record that commits synchronously."""
    with connection.begin():
        connection.execute(_FLUSH)


def unreachable(error: BaseException) -> LedgerUnreachable:
    """The driver's error by its class only: its text may hold values."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return LedgerUnreachable(
        f"the ledger's database does not answer ({type(cause).__name__})",
        hint="check RETENTION_DATABASE_URL, that the server runs, and that the disk is not full",
    )


def engine_of(url: str) -> Engine:
    """The engine of a ledger, as every process opens it; nothing is connected to yet."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(
            url,
            pool_pre_ping=True,
            isolation_level="READ COMMITTED",
            connect_args=_POSTGRESQL if parsed.get_driver_name() == "psycopg" else {},
        )
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
