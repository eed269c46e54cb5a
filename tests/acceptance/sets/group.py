"""The group: PostgreSQL, MariaDB, a workbook; mail and chat wait for a period."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from tests.acceptance.sets.stores import Database, keys_in_workbook, write_workbook
from tests.acceptance.sets.world import World, copied
from tests.servers.mariadb import MariaDB
from tests.servers.postgres import Postgres

ADA, BO = "ada@example.com", "bo@example.com"


def group(to: Path, mariadb: MariaDB, postgres: Postgres) -> World:
    """What has no period stays, however old; the rest goes by its rules."""
    folder = copied("group", to)
    crm, payroll = Database(postgres.new_database()), Database(postgres.new_database())
    chat = Database(mariadb.new_database())
    crm.fill(
        "contacts",
        "id INT PRIMARY KEY, ended_on DATE, email TEXT",
        (1, "2009-01-01", ADA),
        (2, None, BO),
    )
    crm.fill(
        "invoices",
        "number TEXT PRIMARY KEY, dated DATE, email TEXT",
        ("2019-1", "2019-02-01", ADA),
        ("2025-1", "2025-02-01", BO),
    )
    crm.fill(
        "engagement_files",
        "id INT PRIMARY KEY, closed_on DATE, email TEXT",
        (1, "2019-05-01", ADA),
        (2, "2022-05-01", BO),
    )
    crm.fill(
        "telemetry",
        "id INT PRIMARY KEY, seen_on DATE, user_name TEXT",
        (1, "2026-01-10", "ada"),
        (2, "2025-05-01", "ada"),
        (3, "2026-09-01", "bo"),
    )
    payroll.fill(
        "timesheets",
        "id INT PRIMARY KEY, worked_on DATE, employee_no TEXT",
        (1, "2022-05-01", "e1"),
        (2, "2023-05-01", "e1"),
    )
    payroll.fill(
        "applicants",
        "id INT PRIMARY KEY, decided_on DATE, email TEXT, outcome TEXT",
        (1, "2026-01-10", ADA, "refused"),
        (2, "2020-01-10", BO, "hired"),
        (3, "2026-08-10", BO, "refused"),
    )
    chat.fill(
        "chats",
        "id INT PRIMARY KEY, ended_at DATETIME, email VARCHAR(80)",
        (1, "2010-01-01 10:00:00", ADA),
    )
    surveys = folder / "data" / "surveys.xlsx"
    write_workbook(
        surveys,
        {
            "Entries": [
                ("No", "Closed", "E-mail", "Won"),
                (1, date(2026, 5, 1), ADA, "no"),
                (2, date(2026, 5, 1), BO, "yes"),
                (3, date(2024, 1, 1), BO, "yes"),
                (4, date(2026, 9, 1), ADA, "no"),
            ]
        },
    )
    return World(
        folder,
        {
            "GROUP_CRM_DB": crm.url,
            "GROUP_PAYROLL_DB": payroll.url,
            "GROUP_CHAT_DB": chat.url,
            "GROUP_MAIL_PASSWORD": "not used",
        },
        seen=lambda: {
            "contacts": crm.column("contacts"),
            "chats": chat.column("chats"),
            "invoices": crm.column("invoices", "number"),
            "engagements": crm.column("engagement_files"),
            "telemetry": crm.column("telemetry"),
            "users": crm.column("telemetry", "user_name"),
            "timesheets": payroll.column("timesheets"),
            "applicants": payroll.column("applicants"),
            "entries": keys_in_workbook(surveys, "Entries"),
        },
        left={
            "contacts": {1, 2},
            "chats": {1},
            "invoices": {"2019-1", "2025-1"},
            "engagements": {2},
            "telemetry": {1, 3},
            "users": {None, "bo"},
            "timesheets": {2},
            "applicants": {2, 3},
            "entries": {2, 4},
        },
        review={"invoices-at-least-five-years": 1},
    )
