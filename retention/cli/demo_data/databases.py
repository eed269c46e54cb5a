"""Two SQLite files: what a web site and an accounting program would hold."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from retention.cli.demo_data.people import (
    ASKED_LONG_AGO,
    ASKED_NOW,
    LEFT,
    READERS,
    STAYS,
    SUED,
)


def website(path: Path, now: datetime) -> None:
    """Questions of the contact form and subscribers. `now` is in the organisation's zone."""
    long_ago = [now - timedelta(days=d) for d in (96, 71, 67)]
    _fill(
        path,
        "contact_form (id INTEGER PRIMARY KEY, received_at TEXT, name TEXT, email TEXT, text TEXT)",
        (
            (number, _stamp(at), person.name, person.email, "Do you have time in spring?")
            for number, (person, at) in enumerate(
                zip(
                    (*ASKED_LONG_AGO, *ASKED_NOW),
                    (*long_ago, *_this_month(now, len(ASKED_NOW))),
                    strict=True,
                ),
                1,
            )
        ),
    )
    _fill(
        path,
        "subscribers (id INTEGER PRIMARY KEY, since TEXT, name TEXT, email TEXT)",
        (
            (number, f"{now.year - 1}-0{number}-15", person.name, person.email)
            for number, person in enumerate(READERS, 1)
        ),
    )


def _this_month(now: datetime, count: int) -> list[datetime]:
    """Moments since the month began: the form is emptied at its end, so these stay."""
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return [now - (now - first) * number / (count + 1) for number in range(count)]


def accounts(path: Path, now: datetime) -> None:
    """Customers, two of whom left, and invoices of several years."""
    ended = (now - timedelta(days=430), now - timedelta(days=640))
    _fill(
        path,
        "customers"
        " (id INTEGER PRIMARY KEY, name TEXT, email TEXT, ended_on TEXT, last_invoice_on TEXT)",
        (
            (1, LEFT.name, LEFT.email, f"{ended[0]:%Y-%m-%d}", f"{now.year - 2}-03-14"),
            (2, SUED.name, SUED.email, f"{ended[1]:%Y-%m-%d}", f"{now.year - 2}-01-20"),
            (3, STAYS.name, STAYS.email, None, f"{now.year}-01-01"),
        ),
    )
    dated = ((7, LEFT), (2, LEFT), (2, SUED), (1, STAYS))
    _fill(
        path,
        "invoices (number TEXT PRIMARY KEY, dated TEXT, name TEXT, email TEXT, amount INTEGER)",
        (
            (f"{now.year - years}-{number:03}", f"{now.year - years}-03-14", *person, 12_000)
            for number, (years, person) in enumerate(dated, 1)
        ),
    )


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def _fill(path: Path, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    name, _, columns = table.partition(" ")
    places = ", ".join("?" * (columns.count(",") + 1))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE {table}")
        connection.executemany(f"INSERT INTO {name} VALUES ({places})", rows)
