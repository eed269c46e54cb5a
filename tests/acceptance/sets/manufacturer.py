"""The manufacturer: MariaDB, PostgreSQL, a CSV, log files."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.sets.stores import Database, keys_in_csv, write_csv, write_file
from tests.acceptance.sets.world import World, copied, withdraw
from tests.servers.mariadb import MariaDB
from tests.servers.postgres import Postgres

LEAVES, STAYS = "ada@example.com", "bo@example.com"
NAMES = "name VARCHAR(40), email VARCHAR(80)"


def manufacturer(to: Path, mariadb: MariaDB, postgres: Postgres) -> World:
    """Accounts, comments and orders are emptied of people; a child's account is shown to one."""
    folder = copied("manufacturer", to, ("path: /var/log/web", "path: ../logs"))
    shop, billing = Database(mariadb.new_database()), Database(postgres.new_database())
    shop.fill(
        "accounts",
        f"id INT PRIMARY KEY, registered_on DATE, last_login DATE, born_on DATE, {NAMES}, "
        "phone VARCHAR(20)",
        (1, "2019-01-01", "2023-01-01", None, "Ada", LEAVES, "1"),
        (2, "2019-01-01", "2026-09-01", "1980-01-01", "Bo", STAYS, "2"),
        (3, "2026-06-01", "2026-09-01", "2016-01-01", "Cia", "cia@example.com", "3"),
        (4, "2015-01-01", "2026-09-01", None, "Dag", "dag@example.com", "4"),
    )
    shop.fill(
        "comments",
        "id INT PRIMARY KEY, posted_at DATETIME, author VARCHAR(40), email VARCHAR(80), "
        "words VARCHAR(80)",
        (1, "2025-01-01 10:00:00", "Ada", LEAVES, "Fine letters."),
        (2, "2026-08-01 10:00:00", "Bo", STAYS, "A little dark."),
    )
    shop.fill(
        "carts",
        "id INT PRIMARY KEY, made_at DATETIME, changed_at DATETIME, email VARCHAR(80)",
        (1, "2026-06-01 10:00:00", "2026-07-01 10:00:00", LEAVES),
        (2, "2026-09-01 10:00:00", "2026-09-14 10:00:00", STAYS),
    )
    shop.fill(
        "orders",
        f"id INT PRIMARY KEY, delivered_on DATE, {NAMES}, address VARCHAR(80)",
        (1, "2024-01-10", "Ada", LEAVES, "Havnegade 1"),
        (2, "2025-06-10", "Bo", STAYS, "Havnegade 2"),
    )
    shop.fill(
        "access_log",
        "id INT PRIMARY KEY, at DATETIME, ip VARCHAR(40)",
        (1, "2026-05-01 10:00:00", "192.0.2.1"),
        (2, "2026-09-01 10:00:00", "192.0.2.2"),
    )
    shop.fill(
        "subscribers",
        f"id INT PRIMARY KEY, created_at DATETIME, {NAMES}",
        (1, "2025-01-01 10:00:00", "Ada", LEAVES),
        (2, "2025-01-01 10:00:00", "Bo", STAYS),
    )
    billing.fill(
        "invoices",
        "number TEXT PRIMARY KEY, dated DATE, email TEXT, pdf TEXT",
        ("2020-1", "2020-02-01", LEAVES, "2020-1.pdf"),
        ("2021-1", "2021-02-01", LEAVES, "2021-1.pdf"),
    )
    papers = folder / "data" / "invoices"
    papers.mkdir(parents=True)
    for name in ("2020-1.pdf", "2021-1.pdf"):
        (papers / name).write_bytes(b"%PDF")
    feed = folder / "data" / "partner-feed.csv"
    write_csv(
        feed,
        "id,since,name,email",
        f"p1,2025-01-01,Ada,{LEAVES}",
        f"p2,2025-01-01,Bo,{STAYS}",
    )
    logs = to / "logs"
    for name, day in (
        ("web.log", "2026-05-01"),
        ("web.log.1", "2026-09-01"),
        ("web.log.2.gz", "2025-06-01"),
    ):
        write_file(logs / name, day)
    return World(
        folder,
        {"MANUFACTURER_SHOP_DB": shop.url, "MANUFACTURER_BILLING_DB": billing.url},
        seen=lambda: {
            "account 1": shop.row("accounts", 1, "name, email, phone"),
            "accounts": shop.column("accounts", "email"),
            "comment 1": shop.row("comments", 1, "author, email, words"),
            "comments": shop.column("comments", "author"),
            "carts": shop.column("carts"),
            "order 1": shop.row("orders", 1, "name, email, address"),
            "order 2": shop.row("orders", 2, "name, email"),
            "access_log": shop.column("access_log"),
            "subscribers": shop.column("subscribers"),
            "feed": keys_in_csv(feed),
            "invoices": billing.column("invoices", "number"),
            "papers": {p.name for p in papers.iterdir()},
            "logs": {p.name for p in logs.iterdir()},
        },
        left={
            "account 1": (None, None, None),
            # The backstop is counted from 2015: ten years are over, whoever still comes back.
            "accounts": {None, STAYS, "cia@example.com"},
            "comment 1": ("anonymous", None, "Fine letters."),
            "comments": {"anonymous", "Bo"},
            "carts": {2},
            "order 1": (None, None, None),
            "order 2": ("Bo", STAYS),
            "access_log": {2},
            "subscribers": {2},
            "feed": {"p2"},
            "invoices": {"2021-1"},
            "papers": {"2021-1.pdf"},
            "logs": {"web.log", "web.log.1"},
        },
        orders=lambda home: withdraw(home, LEAVES, "newsletter"),
        # One account: every run through its table meets it.
        review={"accounts-anonymised": 1, "no-children": 1},
        suppressing={"newsletter-consent"},
    )
