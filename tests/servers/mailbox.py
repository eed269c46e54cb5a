"""One user of the test IMAP server: how a test fills and looks at a mailbox."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from imapclient import IMAPClient, imap_utf7

from tests.servers.process import as_root

_NUMBERS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Mailbox:
    """Where and how to log in, and the user's Maildir on disk."""

    host: str
    port: int
    username: str
    password: str
    home: Path
    separator: str = "/"

    @property
    def maildir(self) -> Path:
        """The inbox's folder (Maildir++; exists after the first login or `write`)."""
        return self.home / "Maildir"

    def with_password(self, password: str) -> Mailbox:
        """The same mailbox as somebody with this password would try to open it."""
        return replace(self, password=password)

    @contextmanager
    def client(self) -> Iterator[Any]:
        """A logged-in IMAPClient."""
        client = IMAPClient(self.host, port=self.port, ssl=False, timeout=60)
        try:
            client.login(self.username, self.password)
            yield client
        finally:
            client.shutdown()

    def create(self, *folders: str) -> None:
        """Make folders over IMAP."""
        with self.client() as client:
            for folder in folders:
                client.create_folder(folder)

    def append(
        self,
        folder: str,
        *messages: bytes,
        received: datetime | None = None,
        flags: Iterable[bytes] = (),
    ) -> list[int]:
        """Put messages into a folder over IMAP, which makes it if it is missing; their UIDs.

        `received`, aware, becomes the internal date.
        """
        with self.client() as client:
            if not client.folder_exists(folder):
                client.create_folder(folder)
            before = client.folder_status(folder, ["UIDNEXT"])[b"UIDNEXT"]
            for message in messages:
                client.append(folder, message, tuple(flags), received)
            client.select_folder(folder, readonly=True)
            return [uid for uid in client.search(["UID", f"{before}:*"]) if uid >= before]

    def uids(self, folder: str) -> list[int]:
        """The UIDs that are in a folder now."""
        with self.client() as client:
            client.select_folder(folder, readonly=True)
            return list(client.search(["ALL"]))

    def write(self, folder: str, messages: Iterable[tuple[bytes, datetime]]) -> int:
        """Put messages straight into the Maildir, as read: fast, for thousands; how many.

        The date becomes the internal date. The server sees them when it next opens the folder.
        """
        where = self._maildir_of(folder)
        count = 0
        for data, received in messages:
            count += 1
            file = where / "cur" / f"{int(received.timestamp())}.M{next(_NUMBERS)}P1.test:2,S"
            file.write_bytes(data)
            os.utime(file, (received.timestamp(), received.timestamp()))
            self._give(file)
        return count

    def _maildir_of(self, folder: str) -> Path:
        where = self.maildir
        if folder.upper() != "INBOX":
            parts = folder.split(self.separator)
            where /= "." + ".".join(imap_utf7.encode(part).decode("ascii") for part in parts)
        for part in (self.home, self.maildir, where, *(where / p for p in ("cur", "new", "tmp"))):
            if not part.is_dir():
                part.mkdir(mode=0o700)
                self._give(part)
        return where

    def _give(self, path: Path) -> None:
        if as_root():
            shutil.chown(path, "mail", "mail")


def message(
    *,
    sender: str = "kari@example.com",
    to: str = "post@example.org",
    cc: str = "",
    subject: str = "A question",
    body: str = "Hello.",
    date: datetime | None = None,
    message_id: str = "",
) -> bytes:
    """A plain message as bytes, CRLF line ends; a Message-ID of its own unless one is given."""
    mail = EmailMessage()
    mail["From"] = sender
    mail["To"] = to
    if cc:
        mail["Cc"] = cc
    mail["Subject"] = subject
    mail["Date"] = format_datetime(date or datetime(2025, 1, 1, tzinfo=UTC))
    mail["Message-ID"] = message_id or f"<{next(_NUMBERS)}.{os.getpid()}@example.com>"
    mail.set_content(body)
    return mail.as_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
