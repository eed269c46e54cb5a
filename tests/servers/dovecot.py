"""Dovecot: a real IMAP server with as many throw-away users as a test asks for."""

from __future__ import annotations

import grp
import itertools
import os
import shutil
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.servers.mailbox import Mailbox
from tests.servers.process import HOST, Server, account, as_root, program

# Dovecot 2.3's syntax. With root: its own accounts, and mail belongs to `mail`; else all is ours.
_CONFIG = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = {host}
ssl = no
disable_plaintext_auth = no
auth_failure_delay = 0
mail_max_userip_connections = 100
default_internal_user = {internal}
default_internal_group = {internal_group}
default_login_user = {login}
mail_uid = {mail_uid}
mail_gid = {mail_gid}
first_valid_uid = 1
first_valid_gid = 0
last_valid_uid = 0
last_valid_gid = 0
mail_home = {folder}/mail/%u
mail_location = {location}
mail_fsync = {fsync}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {folder}/passwords/%u
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {folder}/app-passwords/%u
}}
userdb {{
  driver = static
  args = home={folder}/mail/%u
}}
namespace inbox {{
  inbox = yes
  separator = {separator}
  mailbox Sent {{
    auto = create
    special_use = \\Sent
  }}
  mailbox Trash {{
    auto = create
    special_use = \\Trash
  }}
  mailbox Drafts {{
    auto = create
    special_use = \\Drafts
  }}
  mailbox Junk {{
    auto = create
    special_use = \\Junk
  }}
}}
{extra}
"""
_LOCATIONS = {"maildir": "maildir:~/Maildir", "mdbox": "mdbox:~/mdbox", "sdbox": "sdbox:~/sdbox"}
_PASSWORD_FILE_SECONDS = 1.2
"""Dovecot looks at a password file's time at most once a second, hence a file for each user."""


class Dovecot(Server):
    """`with Dovecot.start() as server: mailbox = server.user()`.

    TLS is off: clients use `tls: none`. A refused password is answered at once.
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
        self.location = _LOCATIONS[storage]
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
        internal = "dovecot" if as_root() else account()
        (self.folder / "conf").write_text(
            _CONFIG.format(
                folder=self.folder,
                host=HOST,
                port=self.port,
                internal=internal,
                internal_group="dovecot" if as_root() else grp.getgrgid(os.getegid()).gr_name,
                login="dovenull" if as_root() else account(),
                mail_uid="mail" if as_root() else os.geteuid(),
                mail_gid="mail" if as_root() else os.getegid(),
                location=self.location,
                separator=self.separator,
                fsync="optimized" if self.durable else "never",
                extra=self.config,
            ),
            encoding="utf-8",
        )

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
        file.write_text(f"{file.name}:{password}\n", encoding="utf-8")
        file.chmod(0o644)
