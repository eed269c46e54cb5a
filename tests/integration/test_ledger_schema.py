"""The ledger's schema: new ones and upgraded ones are the same, and nothing is lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, create_engine, text

from retention.errors import LedgerUnreachable
from retention.ledger import migrate
from retention.ledger.store import Ledger
from retention.ledger.tables import metadata
from tests.servers.postgres import Postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


def at_revision(url: str, revision: str) -> Engine:
    """A ledger as an older version of the program left it."""
    engine = create_engine(url)
    with engine.begin() as connection:
        settings = migrate.config()
        settings.attributes["connection"] = connection
        command.upgrade(settings, revision)
    return engine


def differences(engine: Engine) -> list[object]:
    with engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))


def test_a_new_ledger_is_what_the_tables_say(url: str) -> None:
    """create_all and the list of revisions end at the same place."""
    ledger = Ledger.open(url)
    assert differences(ledger.engine) == []
    with ledger.read() as tx:
        assert migrate.current(tx) == migrate.HEAD
    ledger.close()


def test_an_older_ledger_is_upgraded_without_loss(url: str) -> None:
    """Rows that an older version wrote are still there, and the schema is the new one."""
    engine = at_revision(url, "0001")
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO meta (key, value) VALUES ('mark', 'kept')"))
        connection.execute(
            text(
                "INSERT INTO run (policy, digest, due_at, kind, state, late, token, attempts,"
                " created_at, counts, note) VALUES ('p', 'd', '2026-01-01T00:00:00.000Z',"
                " 'schedule', 'done', false, 1, 1, '2026-01-01T00:00:00.000Z', '{}', '')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO scan (run_id, location, state, scanned, totals)"
                " VALUES (1, 'c/l', 'read', 7, '{}')"
            )
        )
    migrate.raise_to_head(engine)
    engine.dispose()
    ledger = Ledger.open(url)
    assert differences(ledger.engine) == []
    with ledger.read() as tx:
        assert tx.execute(text("SELECT value FROM meta WHERE key = 'mark'")).scalar_one() == "kept"
        assert tx.execute(text("SELECT scanned FROM scan")).scalar_one() == 7
    ledger.close()


def test_a_ledger_of_a_newer_version_is_refused(url: str) -> None:
    """A program that does not know the schema touches nothing."""
    Ledger.open(url).close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(LedgerUnreachable, match="does not know"):
        Ledger.open(url)


def test_two_processes_that_make_a_ledger_at_once_make_one(url: str) -> None:
    """Whoever comes second finds the schema of the first."""
    from concurrent.futures import ThreadPoolExecutor

    opened: Callable[[int], Ledger] = lambda _: Ledger.open(url)  # noqa: E731
    with ThreadPoolExecutor(4) as pool:
        ledgers = list(pool.map(opened, range(4)))
    assert differences(ledgers[0].engine) == []
    for ledger in ledgers:
        ledger.close()


def test_an_unreachable_database_is_one_clear_error() -> None:
    """No driver text, no password, a hint."""
    with pytest.raises(LedgerUnreachable) as caught:
        Ledger.open("postgresql+psycopg://nobody:hush@127.0.0.1:1/none")
    assert "hush" not in str(caught.value)
    assert caught.value.hint
