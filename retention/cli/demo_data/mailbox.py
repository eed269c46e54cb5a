"""A Maildir: what a small mail server keeps on disk."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import NamedTuple

from retention.cli.demo_data.people import ASKED_NOW, LEFT, POST, STAYS, SUED, Person

FOLDERS = ("INBOX", "Customers/Nordby", "Customers/Fjellvik", "Customers/Strand", "Sent", "Trash")


class _Mail(NamedTuple):
    folder: str
    sender: Person
    to: Person
    days: int
    about: str


MAILS = (
    _Mail("INBOX", ASKED_NOW[0], POST, 0, "A question"),
    _Mail("Customers/Nordby", LEFT, POST, 520, "Our first session"),
    _Mail("Customers/Nordby", LEFT, POST, 470, "Thank you"),
    _Mail("Customers/Fjellvik", SUED, POST, 700, "Our agreement"),
    _Mail("Customers/Fjellvik", SUED, POST, 650, "I do not agree with the invoice"),
    _Mail("Customers/Strand", STAYS, POST, 60, "Next week"),
    _Mail("Customers/Strand", STAYS, POST, 30, "Moved to Friday?"),
    _Mail("Sent", POST, LEFT, 515, "Your notes"),
    _Mail("Sent", POST, SUED, 645, "About the invoice"),
    _Mail("Sent", POST, STAYS, 29, "Friday it is"),
    _Mail("Trash", LEFT, POST, 468, "Out of office"),
)


def mailbox(root: Path, now: datetime) -> None:
    """Write every message into its folder (Maildir++)."""
    for folder in FOLDERS:
        for part in ("cur", "new", "tmp"):
            (directory(root, folder) / part).mkdir(parents=True, exist_ok=True)
    for number, mail in enumerate(MAILS, 1):
        at = now - timedelta(days=mail.days)
        file = directory(root, mail.folder) / "cur" / f"{int(at.timestamp())}.M{number}.demo:2,S"
        file.write_bytes(_message(mail, number, at))
        os.utime(file, (at.timestamp(), at.timestamp()))


def directory(root: Path, folder: str) -> Path:
    """Where a folder's messages lie: `Customers/Strand` is `.Customers.Strand`."""
    return root if folder == "INBOX" else root / f".{folder.replace('/', '.')}"


def _message(mail: _Mail, number: int, at: datetime) -> bytes:
    message = EmailMessage()
    message["From"] = f"{mail.sender.name} <{mail.sender.email}>"
    message["To"] = f"{mail.to.name} <{mail.to.email}>"
    message["Subject"] = mail.about
    message["Date"] = format_datetime(at)
    message["Message-ID"] = f"<{number}@demo.example>"
    message.set_content("Invented for a demonstration.")
    return message.as_bytes()
