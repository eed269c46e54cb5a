"""backup · restore: the ledger's copies. The keys folder is kept apart, on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retention.cli import opening
from retention.cli.app import App, By, Json
from retention.cli.output import count, put, put_json, say
from retention.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from retention.settings import Settings

NAME = "ledger"


def register(app: App) -> None:
    """Add this file's commands."""
    app.command("backup")(backup)
    app.command("restore")(restore)


def backup(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Must not exist. Default: in `backups` of the home."),
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Of those made without FILE keep the newest N."),
    ] = None,
    json: Json = False,
) -> None:
    """Copy the ledger while the service runs, and check the copy. Prints its path.

    SQLite: whole, checked, its log verified. PostgreSQL: by pg_dump. The keys are not in it.
    """
    from retention.cli.copies import checked_copy
    from retention.cli.dumps import dump
    from retention.ledger.backup import free_name

    if file is not None and keep is not None:
        raise UsageError("--keep counts backups that were made without FILE", code="usage")
    chosen = opening.settings()
    ledger = opening.ledger_file(chosen)
    if ledger is not None and not ledger.exists():
        raise UsageError("there is no ledger yet", code="ledger-missing")
    ending = "dump" if ledger is None else "db"
    name = f"{NAME}-{_moment(opening.now())}"
    target = file or free_name(_folder(chosen, ledger), name, ending)
    if ledger is None:
        dump(chosen.ledger_url, target)
        found = {"file": str(target), "kind": "postgresql"}
    else:
        seen = checked_copy(chosen, ledger, target)
        found = {"file": str(target), "kind": "sqlite", "root": seen.root}
        say(f"{count(seen.entries, 'entry')}, root {seen.root}: whole, and the log verifies")
    if keep is not None:
        _thin_out(target.parent, ending, keep)
    if json:
        put_json(found)
    else:
        put(str(target))
    say(f"not in it: the keys in {chosen.state / 'keys'}; keep a copy of them in another place")


def _folder(chosen: Settings, ledger: Path | None) -> Path:
    from retention.ledger.backup import folder_of

    if ledger is None:
        chosen.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder_of(ledger or chosen.state / NAME)


def _moment(at: datetime) -> str:
    """As it stands in a file's name: sorts as time does."""
    from datetime import UTC

    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _thin_out(folder: Path, ending: str, keep: int) -> None:
    made = sorted(folder.glob(f"{NAME}-*.{ending}"), key=lambda path: path.stat().st_mtime_ns)
    for old in made[:-keep]:
        old.unlink()


def restore(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="As `retention backup` wrote it.")
    ] = None,
    already_done: Annotated[
        bool,
        typer.Option("--already-done", help="The database was put back by other means."),
    ] = False,
    by: By = None,
) -> None:
    """Put a backup in the ledger's place, and freeze: nothing goes until `retention thaw`.

    Stop the service first. What is damaged, another's, or of other keys is refused. The present
    ledger stays beside it. Enter again what people ordered since the backup; then thaw.
    """
    from retention.cli.restoring import already_restored, put_back

    chosen = opening.settings()
    actor = opening.actor(by)
    ledger = opening.ledger_file(chosen)
    if already_done == (file is not None):
        raise UsageError("name a file, or --already-done", code="usage")
    if file is None:
        until = already_restored(chosen, actor)
    elif ledger is None:
        from retention.cli.dumps import pg_restore_line

        raise UsageError(
            "a PostgreSQL ledger is put back by pg_restore",
            hint=f"stop every service; {pg_restore_line(chosen.ledger_url, file)}; "
            "then retention restore --already-done",
            code="restore-by-hand",
        )
    else:
        until = put_back(chosen, ledger, file, actor, _moment(opening.now()))
    say(f"the ledger is as it was at {until}; disposal is frozen")
    say("next: enter again the holds, events and withdrawals since then; look at `retention plan`;")
    say("`retention thaw` lets disposal go on")
