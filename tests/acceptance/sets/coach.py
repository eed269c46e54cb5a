"""The coach: Dovecot, an encrypted workbook, a CSV, signed agreements in a folder."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from tests.acceptance.sets.stores import (
    OURS,
    append,
    keys_in_csv,
    keys_in_workbook,
    subjects,
    write_csv,
    write_file,
    write_workbook,
)
from tests.acceptance.sets.world import World, copied
from tests.servers.dovecot import Dovecot

PASSWORD = "sheet-secret"
FORM, DEALINGS = "Contact form", ("Customers/Ada", "Customers/Bo", "Customers/Cia", "Prospects/Dag")
ADA, BO, CIA, DAG = (f"{name}@example.com" for name in ("ada", "bo", "cia", "dag"))


def coach(to: Path, dovecot: Dovecot) -> World:
    """Ada's row goes, which her mail counts from; Bo ended, Cia stays, Dag ended lately."""
    box = dovecot.user(OURS)
    folder = copied(
        "coach",
        to,
        (
            "host: imap.example.org",
            f"host: {box.host}\n    port: {box.port}\n    tls: none",
        ),
    )
    for number, day in enumerate(("2026-07-20", "2026-08-20", "2026-09-10", "2026-09-12"), 1):
        append(box, FORM, f"form {number}", "eva@example.com", OURS, day)
    append(box, "Customers/Ada", "ada", ADA, OURS, "2021-01-01")
    append(box, "Sent", "to ada", OURS, ADA, "2021-01-02")
    append(box, "Trash", "ada, trashed", ADA, OURS, "2021-01-03")
    append(box, "Customers/Bo", "bo", BO, OURS, "2025-12-01")
    append(box, "Sent", "to bo and cia", OURS, f"{BO}, {CIA}", "2025-12-02")
    append(box, "Customers/Cia", "cia", CIA, OURS, "2019-01-01")
    append(box, "Prospects/Dag", "dag", DAG, OURS, "2026-07-01")
    append(box, "Trash", "stranger", "unknown@example.com", OURS, "2018-01-01")
    workbook, invoices = folder / "data" / "customers.xlsx", folder / "data" / "invoices.csv"
    write_workbook(
        workbook,
        {
            "Customers": [
                ("No", "Name", "E-mail", "Phone", "Ended"),
                (1, "Ada", ADA, "+4790000001", date(2021, 5, 1)),
                (2, "Bo", BO, "+4790000002", date(2026, 1, 10)),
                (3, "Cia", CIA, "+4790000003", None),
                (4, "Dag", DAG, "+4790000004", date(2026, 8, 1)),
            ],
            "Offers": [
                ("No", "E-mail", "Answered"),
                (1, "eva@example.com", date(2021, 8, 1)),
                (2, "finn@example.com", date(2021, 12, 1)),
                (3, "gro@example.com", date(2025, 3, 1)),
            ],
        },
        PASSWORD,
    )
    write_csv(
        invoices,
        "Invoice,Date,E-mail,Amount",
        f"2019-7,2019-04-01,{ADA},900",
        f"2025-3,2025-04-01,{CIA},900",
    )
    agreements = folder / "agreements"
    for name, day in (("ada.pdf", "2021-02-01"), ("bo.pdf", "2024-02-01")):
        write_file(agreements / name, day)
    return World(
        folder,
        {"COACH_MAIL_PASSWORD": box.password, "COACH_SHEET_PASSWORD": PASSWORD},
        seen=lambda: {
            "form": subjects(box, FORM),
            "mail": subjects(box, *DEALINGS, "Sent", "Trash"),
            "customers": keys_in_workbook(workbook, "Customers", PASSWORD),
            "offers": keys_in_workbook(workbook, "Offers", PASSWORD),
            "invoices": keys_in_csv(invoices),
            "agreements": {p.name for p in agreements.iterdir()},
        },
        left={
            "form": {"form 3", "form 4"},
            "mail": {"to bo and cia", "cia", "dag", "stranger"},
            "customers": {2, 3, 4},
            "offers": {2, 3},
            "invoices": {"2019-7", "2025-3"},
            "agreements": {"bo.pdf"},
        },
        review={"invoice-list-august": 1},
        suppressing={"offers-five-years"},
    )
