"""Bringing the ledger's schema up to date.

A new ledger is made from `tables` and stamped; an older one is upgraded by Alembic, one revision
after another, inside one transaction. A test proves that both ways end in the same schema.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from retention.errors import LedgerUnreachable
from retention.ledger.tables import metadata

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0003"
"""The revision that `tables` describes."""

_UPGRADE_LOCK = 7_205_759_403_792


def current(connection: Connection) -> str | None:
    """The revision the database is at; None for a database without our tables."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
    return str(row[0]) if row else None


def ensure_current(engine: Engine, *, upgrade: bool = True) -> None:
    """Create or upgrade the schema. Raises LedgerUnreachable when it is newer than this program."""
    with engine.connect() as connection:
        if current(connection) == HEAD:
            return
    with engine.connect() as raw:
        connection = raw.execution_options(retention_begin="BEGIN IMMEDIATE")
        with connection.begin():
            if engine.dialect.name == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})"))
            found = current(connection)
            if found == HEAD:
                return
            if found is None:
                _create(connection)
            elif not upgrade:
                raise LedgerUnreachable(
                    f"the ledger's schema is at revision {found}, this program needs {HEAD}",
                    hint="open it once with the daemon or any command that acts",
                )
            else:
                _upgrade(connection, found)


def _create(connection: Connection) -> None:
    metadata.create_all(connection)
    connection.execute(
        text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    )
    connection.execute(text("INSERT INTO alembic_version (version_num) VALUES (:v)"), {"v": HEAD})


def _upgrade(connection: Connection, found: str) -> None:
    from alembic import command
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    settings = config()
    try:
        ScriptDirectory.from_config(settings).get_revision(found)
    except CommandError:
        raise LedgerUnreachable(
            f"the ledger's schema is at revision {found}, which this program does not know",
            hint="it was written by a newer version; install that version",
        ) from None
    settings.attributes["connection"] = connection
    command.upgrade(settings, "head")


def config() -> Config:
    """Alembic's settings, without a file: the scripts lie beside this module."""
    from alembic.config import Config

    settings = Config()
    settings.set_main_option(
        "script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%")
    )
    return settings
