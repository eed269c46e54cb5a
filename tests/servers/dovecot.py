"""Dovecot: a real IMAP server with as many throw-away users as a test asks for."""

from __future__ import annotations

import itertools
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.servers.certificate import write_certificate
from tests.servers.dovecot_config import configuration
from tests.servers.mailbox import Mailbox
from tests.servers.process import HOST, Server, as_root, free_port, program

_PASSWORD_FILE_SECONDS = 1.2
"""Dovecot looks at a password file's time at most once a second, hence a file for each user."""


class Dovecot(Server):
    """`with Dovecot.start() as server: mailbox = server.user()`.

    `port` speaks plain text and STARTTLS, `tls_port` TLS from the start; a client that trusts
    `ca_file` accepts both as 127.0.0.1 and as localhost. A refused password is answered at once.
    """

    name = "imap"

    def __init__(
        self,
        *,
        storage: str = "maildir",
        capability: str = "",
        separator: str = "/",
        durable: bool = False,
        config: str = "",
    ) -> None:
        super().__init__()
        self.tls_port = free_port()
        self.ca_file = self.folder / "certificate.pem"
        self.storage = storage
        self.separator = separator
        self.durable = durable
        self.config = config
        if capability:
            self.config += f"\nimap_capability = {capability}\n"
        self._numbers = itertools.count(1)
        self._passwords = self.folder / "passwords"
        self._app_passwords = self.folder / "app-passwords"

    @classmethod
    def start(
        cls,
        *,
        storage: str = "maildir",
        capability: str = "",
        separator: str = "/",
        durable: bool = False,
        config: str = "",
    ) -> Self:
        """Boot one.

        `storage`: maildir, mdbox or sdbox. `capability`: all that the server admits to be able to
        (`IMAP4rev1 UIDPLUS`; it still understands the rest), `+X` adds. `config`: further settings
        in Dovecot's syntax. `durable`: fsync as in production, for benchmarks.
        """
        return cls(
            storage=storage,
            capability=capability,
            separator=separator,
            durable=durable,
            config=config,
        ).launch()

    def prepare(self) -> None:
        mail = self.folder / "mail"
        mail.mkdir()
        if as_root():
            shutil.chown(mail, "mail", "mail")
        for folder in (self._passwords, self._app_passwords):
            folder.mkdir()
            folder.chmod(0o755)
        key = self.folder / "key.pem"
        write_certificate(self.ca_file, key)
        text = configuration(
            _version(),
            self.folder,
            port=self.port,
            tls_port=self.tls_port,
            certificate=self.ca_file,
            key=key,
            storage=self.storage,
            separator=self.separator,
            durable=self.durable,
        )
        (self.folder / "conf").write_text(text + self.config, encoding="utf-8")

    def command(self) -> Sequence[str]:
        return [program("dovecot"), "-F", "-c", str(self.folder / "conf")]

    def answers(self) -> bool:
        with socket.create_connection((HOST, self.port), timeout=2) as connection:
            return connection.recv(64).startswith(b"* OK")

    def user(self, name: str = "", *, password: str = "", app_password: str = "") -> Mailbox:
        """A fresh user with an empty mailbox. `app_password` is valid beside the password.

        Without a name an address that no other test has, such as `user7@example.org`.
        """
        name = name or f"user{next(self._numbers)}@example.org"
        password = password or f"secret-of-{name.partition('@')[0]}"
        self._write_password(self._passwords / name, password)
        if app_password:
            self._write_password(self._app_passwords / name, app_password)
        return Mailbox(
            host=HOST,
            port=self.port,
            username=name,
            password=password,
            home=self.folder / "mail" / name,
            separator=self.separator,
        )

    def set_password(self, name: str, password: str) -> None:
        """From now on, the user's only password. Takes over a second."""
        self._write_password(self._passwords / name, password)
        (self._app_passwords / name).unlink(missing_ok=True)
        time.sleep(_PASSWORD_FILE_SECONDS)

    def _write_password(self, file: Path, password: str) -> None:
        file.write_text(f"{file.name}:{{PLAIN}}{password}\n", encoding="utf-8")
        file.chmod(0o644)


def _version() -> str:
    told = subprocess.run(
        [program("dovecot"), "--version"], check=True, capture_output=True, text=True
    )
    return told.stdout
