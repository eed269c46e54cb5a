"""Bringing the ledger's schema up to date.

A new ledger is made from `tables` and stamped; an older one is upgraded by Alembic, one revision
after another, inside one transaction. A test proves that both ways end in the same schema. Who may
upgrade when, and what that means for processes that run, is in docs/explanation/upgrades.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError

from retention.errors import Busy, LedgerUnreachable
from retention.ledger import backup
from retention.ledger.tables import metadata, run

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0004"
"""The revision that `tables` describes."""

_UPGRADE_LOCK = 7_205_759_403_792
PATIENCE_SECONDS = 120.0
"""How long an upgrade tries to find a moment in which no other process uses the tables."""
GENTLE_SECONDS = 20.0
"""For so long, where two wait for each other, it is the upgrade that lets go and tries again: its
patience is below PostgreSQL's deadlock_timeout. After that it insists, and a transaction of a
process that still runs is rolled back instead; what was cut off is looked up, as after a crash."""
_GIVE_WAY, _INSIST = "300ms", "10s"
_LOCKED = ("55P03", "40P01")


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What an upgrade found and did. `found`: the revision before, None where there was no ledger.
    `copy`: what `before` returned; None where nothing was changed."""

    found: str | None
    copy: Path | None = None


def current(connection: Connection) -> str | None:
    """The revision the database is at; None for a database without our tables."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
    return str(row[0]) if row else None


def ensure_current(engine: Engine, *, upgrade: bool = True) -> None:
    """Make a new ledger; upgrade an older SQLite one, after a copy of it was made.

    Raises LedgerUnreachable where the schema is newer than this program, and where it is older
    and `upgrade` is False or the database is a server's: several machines share that one, and a
    person says when all of them change.
    """
    with engine.connect() as connection:
        if current(connection) == HEAD:
            return
    raise_to_head(engine, by_itself=upgrade and engine.dialect.name == "sqlite")


def raise_to_head(
    engine: Engine,
    *,
    by_itself: bool = True,
    before: Callable[[str], Path | None] | None = None,
) -> Upgrade:
    """Bring the schema to HEAD in one transaction, whoever else tries to at the same moment.

    `by_itself` False: an older ledger is refused; only an empty database is filled. `before`: is
    called with the old revision while nobody can write, and makes the copy to go back to; where it
    raises, nothing is changed. Raises LedgerUnreachable, Busy.
    """
    begun = time.monotonic()
    copy = before or partial(_copy, engine)
    while True:
        wait = _GIVE_WAY if time.monotonic() - begun < GENTLE_SECONDS else _INSIST
        try:
            return _attempt(engine, copy, wait, by_itself=by_itself)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) not in _LOCKED:
                raise
        if time.monotonic() - begun > PATIENCE_SECONDS:
            raise Busy(
                "other processes keep the ledger's tables in use; nothing was changed",
                hint="a dump of the database, or a command that reads long? Try again after it",
                code="ledger-in-use",
            )
        time.sleep(0.2)


def _attempt(
    engine: Engine, before: Callable[[str], Path | None], wait: str, *, by_itself: bool
) -> Upgrade:
    with engine.connect() as raw:
        connection = raw.execution_options(retention_begin="BEGIN IMMEDIATE")
        with connection.begin():
            if engine.dialect.name == "postgresql":
                # Whoever comes second waits, for as long as the first one needs.
                connection.execute(text("SET LOCAL lock_timeout = 0"))
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_UPGRADE_LOCK})"))
            found = current(connection)
            if found == HEAD:
                return Upgrade(found)
            if found is None:
                _create(connection)
                return Upgrade(None)
            known(found)
            if not by_itself:
                raise LedgerUnreachable(
                    f"the ledger's schema is at revision {found}, this program needs {HEAD}",
                    hint="run `retention upgrade` once, when all machines may change",
                    code="ledger-older",
                )
            if engine.dialect.name == "postgresql":
                _alone(connection, wait)
            copied = before(found)
            _upgrade(connection)
            return Upgrade(found, copied)


def _alone(connection: Connection, wait: str) -> None:
    """Wait for the end of every transaction that uses our tables, and let no new one begin.

    First of all the table that says which revision this is: who looked there before taking on work
    is finished when we go on, who looks there now will see the new revision. Then `run`, with which
    nearly every transaction begins, so that few hold what comes after it and wait for it.
    """
    there = set(inspect(connection).get_table_names()).intersection(metadata.tables)
    ours = ["alembic_version", run.name, *sorted(there - {run.name})]
    quoted = ", ".join(map(connection.dialect.identifier_preparer.quote, ours))
    connection.execute(text(f"SET LOCAL lock_timeout = '{wait}'"))
    connection.execute(text(f"LOCK TABLE {quoted} IN ACCESS EXCLUSIVE MODE"))


def _copy(engine: Engine, found: str) -> Path | None:
    """The copy that precedes an upgrade which nobody asked for, beside a SQLite ledger."""
    database = engine.url.database
    if engine.dialect.name != "sqlite" or not database or database == ":memory:":
        return None
    ledger = Path(database)
    target = backup.free_name(backup.folder_of(ledger), f"before-upgrade-{found}-to-{HEAD}")
    backup.copy(ledger, target)
    return target


def _create(connection: Connection) -> None:
    metadata.create_all(connection)
    connection.execute(
        text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    )
    connection.execute(text("INSERT INTO alembic_version (version_num) VALUES (:v)"), {"v": HEAD})


def known(found: str) -> None:
    """Raises LedgerUnreachable for a revision that this program has never heard of."""
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    try:
        ScriptDirectory.from_config(config()).get_revision(found)
    except CommandError:
        raise LedgerUnreachable(
            f"the ledger's schema is at revision {found}, which this program does not know",
            hint="it was written by a newer version; install that version",
            code="ledger-newer",
        ) from None


def _upgrade(connection: Connection) -> None:
    from alembic import command

    settings = config()
    settings.attributes["connection"] = connection
    command.upgrade(settings, HEAD)


def config() -> Config:
    """Alembic's settings, without a file: the scripts lie beside this module."""
    from alembic.config import Config

    settings = Config()
    settings.set_main_option(
        "script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%")
    )
    return settings
