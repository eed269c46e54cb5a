"""upgrade: bringing the ledger to what this version of the program needs, when a person says so."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retention.cli import opening
from retention.cli.app import App, Json
from retention.cli.output import put, put_json, say
from retention.errors import ExitCode

if TYPE_CHECKING:
    from retention.ledger.migrate import Upgrade
    from retention.settings import Settings


def register(app: App) -> None:
    """Add this file's command."""
    app.command("upgrade")(upgrade)


def upgrade(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; end with 1 if there is work to do.")
    ] = False,
    json: Json = False,
) -> int:
    """Bring the ledger's schema to this version, after a checked copy of it was made.

    Any number of times, also at once on several machines: one does it, the others find it done.
    """
    from retention.ledger.migrate import HEAD

    chosen = opening.settings()
    found = _found(chosen)
    done = None if check or found == HEAD else _do(chosen)
    if done is not None:
        found = done.found
    needed = check and found not in (None, HEAD)
    if json:
        put_json(
            {
                "ledger": found,
                "program": HEAD,
                "needed": needed,
                "upgraded": done is not None and found != HEAD,
                "copy": str(done.copy) if done is not None and done.copy else None,
            }
        )
    else:
        put(f"ledger: {found or 'not there yet'}, program: {HEAD}")
        say(_sentence(done, needed=needed))
    return ExitCode.CHECK_FAILED if needed else ExitCode.OK


def _sentence(done: Upgrade | None, *, needed: bool) -> str:
    from retention.ledger.migrate import HEAD

    if needed:
        return "an upgrade is needed: retention upgrade"
    if done is None or done.found == HEAD:
        return "nothing to do"
    if done.found is None:
        return f"an empty ledger was made at revision {HEAD}"
    kept = f"; as it was before: {done.copy}" if done.copy else ""
    return f"upgraded from revision {done.found} to {HEAD}{kept}"


def _found(chosen: Settings) -> str | None:
    """The ledger's revision; looking makes neither file nor table. Raises LedgerUnreachable."""
    from sqlalchemy.exc import SQLAlchemyError

    from retention.ledger import migrate
    from retention.ledger.store import engine_of, unreachable

    ledger = opening.ledger_file(chosen)
    if ledger is not None and not ledger.exists():
        return None
    try:
        engine = engine_of(chosen.ledger_url)
        try:
            with engine.connect() as connection:
                found = migrate.current(connection)
        finally:
            engine.dispose()
    except (SQLAlchemyError, OSError) as error:
        raise unreachable(error) from None
    if found is not None:
        migrate.known(found)
    return found


def _do(chosen: Settings) -> Upgrade:
    from sqlalchemy.exc import SQLAlchemyError

    from retention.cli.copies import checked_copy
    from retention.ledger import backup, migrate
    from retention.ledger.store import engine_of, unreachable

    ledger = opening.ledger_file(chosen)

    def before(found: str) -> Path | None:
        if ledger is None:
            return None
        name = f"before-upgrade-{found}-to-{migrate.HEAD}"
        target = backup.free_name(backup.folder_of(ledger), name)
        checked_copy(chosen, ledger, target)
        return target

    engine = engine_of(chosen.ledger_url)
    try:
        return migrate.raise_to_head(engine, before=before)
    except SQLAlchemyError as error:
        raise unreachable(error) from None
    finally:
        engine.dispose()
