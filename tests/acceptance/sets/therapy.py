"""The therapy practice: Maildir, PostgreSQL, SQLite."""

from __future__ import annotations

from pathlib import Path

from retention.run.home import Home
from tests.acceptance.sets.stores import Database, names_in_maildir, noon, write_maildir
from tests.acceptance.sets.world import World, copied, fire, withdraw
from tests.servers.postgres import Postgres

REGISTRATION = (
    "id INT PRIMARY KEY, held_on DATE, invoiced_on DATE, participant TEXT, email TEXT, phone TEXT, "
    "diet TEXT, payer TEXT, amount INT"
)
ADA, BO, CIA, DAG = (f"{name}@example.com" for name in ("ada", "bo", "cia", "dag"))


def therapy(to: Path, postgres: Postgres) -> World:
    """Ada's and Bo's relationships ended; Bo wants a copy. Dag leaves the newsletter."""
    folder = copied("therapy", to)
    mail, handed = folder / "data" / "mail", folder / "handed-over"
    write_maildir(
        mail,
        [
            ("Enquiries", "old", "2026-02-01"),
            ("Trash", "old and trashed", "2026-01-01"),
            ("Enquiries", "new", "2026-08-01"),
            ("Enquiries", "newer", "2026-09-01"),
        ],
    )
    practice = Database(postgres.new_database())
    practice.fill(
        "clients",
        "id INT PRIMARY KEY, email TEXT, wants TEXT, name TEXT",
        (1, ADA, "nothing", "Ada"),
        (2, BO, "copy", "Bo"),
        (3, CIA, "copy", "Cia"),
        (4, DAG, "nothing", "Dag"),
    )
    practice.fill(
        "notes",
        "id INT PRIMARY KEY, client_id INT, words TEXT",
        *((number, number, "…") for number in range(1, 5)),
    )
    practice.fill(
        "invoices",
        "number TEXT PRIMARY KEY, dated DATE, email TEXT",
        ("2018-1", "2018-03-01", ADA),
        ("2019-1", "2019-03-01", ADA),
        ("2026-1", "2026-03-01", CIA),
    )
    practice.fill(
        "registrations",
        REGISTRATION,
        (1, "2026-05-01", "2026-05-02", "Ada", ADA, "1", "vegan", "Ada", 900),
        (2, "2026-09-01", "2026-09-02", "Bo", BO, "2", "", "Bo", 900),
        (3, "2018-04-01", "2018-04-02", "Cia", CIA, "3", "", "Cia", 700),
        (4, "2026-08-30", "2026-08-30", "Dag", DAG, "4", "", "Dag", 900),
    )
    practice.fill(
        "web_sessions",
        "id INT PRIMARY KEY, last_seen TIMESTAMPTZ, cookie_id TEXT",
        (1, "2026-09-13T08:00:00Z", "s1"),
        (2, "2026-09-15T09:30:00Z", "s2"),
        (3, "2026-09-15T08:00:00Z", "s3"),
        (4, "2026-09-15T09:00:00Z", "s4"),
    )
    letters = Database(f"sqlite:///{to / 'newsletter.db'}")
    letters.fill(
        "subscribers",
        "id INTEGER PRIMARY KEY, created_at TEXT, email TEXT",
        (1, "2025-01-01", DAG),
        (2, "2025-01-01", CIA),
    )

    def orders(home: Home) -> None:
        for email in (ADA, BO):
            fire(home, "relationship_ended", "email", email, noon("2026-08-01"))
        fire(home, "browser_closed", "visitor", "s3", noon("2026-09-13"))
        withdraw(home, DAG, "newsletter")

    return World(
        folder,
        {"THERAPY_PRACTICE_DB": practice.url, "THERAPY_NEWSLETTER_DB": letters.url},
        seen=lambda: {
            "mail": names_in_maildir(mail),
            "clients": practice.column("clients"),
            "notes": practice.column("notes", "client_id"),
            "handed over": [
                ("Bo" in p.read_text(), "Ada" in p.read_text()) for p in _files(handed)
            ],
            "invoices": practice.column("invoices", "number"),
            "registrations": practice.column("registrations"),
            "registration 1": practice.row("registrations", 1, "participant, email, payer, amount"),
            "registration 2": practice.row("registrations", 2, "participant, email, payer, amount"),
            "sessions": practice.column("web_sessions"),
            "subscribers": letters.column("subscribers"),
        },
        left={
            "mail": {"new", "newer"},
            "clients": {3, 4},
            "notes": {3, 4},
            "handed over": [(True, False)],
            "invoices": {"2019-1", "2026-1"},
            "registrations": {1, 2, 4},
            "registration 1": (None, None, "Ada", 900),
            "registration 2": ("Bo", BO, "Bo", 900),
            "sessions": {2, 4},
            "subscribers": {2},
        },
        orders=orders,
        suppressing={"newsletter-consent"},
    )


def _files(folder: Path) -> list[Path]:
    return [p for p in folder.glob("**/*") if p.is_file() and p.name != "index.jsonl"]
