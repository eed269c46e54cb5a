"""init · demo: the first minutes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retention.cli.app import App
from retention.cli.output import say

if TYPE_CHECKING:
    from datetime import datetime

AGES = (2, 5, 9, 12, 16, 20, 25, 40, 47, 55, 80)
"""Days ago at which the sample's questions came in: some within the promise, some beyond."""


def register(app: App) -> None:
    """Add this file's commands."""
    app.command("init")(init)
    app.command("demo")(demo)


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Made if need be; nothing is overwritten.")
    ] = Path(),
) -> None:
    """Write a starter policy folder that runs as it is."""
    from retention.cli.opening import now
    from retention.errors import UsageError

    here = Path(__file__).parent / "starter"
    wanted = {
        "policies/contact-form.yaml": (here / "contact-form.yaml").read_text(encoding="utf-8"),
        "README.md": (here / "README.md").read_text(encoding="utf-8"),
        ".gitignore": ".retention/\ndata/\n",
    }
    taken = [name for name in (*wanted, "data/website.db") if (folder / name).exists()]
    if taken:
        raise UsageError(
            f"{folder / taken[0]} is there already, and nothing is overwritten",
            hint="name another folder: retention init DIR",
            code="file-exists",
        )
    try:
        for name, text in wanted.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        _sample(folder / "data" / "website.db", now())
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written to ({type(error).__name__})", code="file-unwritable"
        ) from None
    step = "" if folder == Path() else f"cd {folder} && "
    say(f"ready. Next: {step}retention validate && retention plan")


def _sample(path: Path, now: datetime) -> None:
    """A contact form with a few invented questions."""
    import sqlite3
    from contextlib import closing
    from datetime import timedelta

    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "CREATE TABLE contact_form"
            " (id INTEGER PRIMARY KEY, received_at TEXT, name TEXT, email TEXT, question TEXT)"
        )
        connection.executemany(
            "INSERT INTO contact_form (received_at, name, email, question) VALUES (?, ?, ?, ?)",
            [
                (
                    (now - timedelta(days=age)).strftime("%Y-%m-%dT%H:%M:%SZ"),
                    f"Sample Person {number}",
                    f"person{number}@example.org",
                    "When do you open?",
                )
                for number, age in enumerate(AGES, 1)
            ],
        )


def demo() -> int:
    """The whole story on sample data, in build/demo; no server needed."""
    from retention.cli.demo import demo as story

    story()
    return 0
