"""PostgreSQL: a system that holds records, and the ledger of the many-machines mode."""

from __future__ import annotations

import itertools
import pwd
import secrets
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Self

import psycopg
from psycopg import sql

from tests.servers.process import HOST, Server, as_root, program, run

_LOCALE = "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"
_RULES = f"""
local all postgres trust
host all postgres {HOST}/32 trust
host all all {HOST}/32 scram-sha-256
"""
_QUICK = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Postgres(Server):
    """`with Postgres.start() as server: url = server.new_database()`.

    The superuser `postgres` needs no password; every other login does.
    """

    name = "pg"
    stop_signal = signal.SIGINT

    def __init__(self, *, durable: bool = False, settings: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.data = self.folder / "data"
        self.settings = ({} if durable else _QUICK) | dict(settings or {})
        self._numbers = itertools.count(1)

    @classmethod
    def start(cls, *, durable: bool = False, settings: Mapping[str, str] | None = None) -> Self:
        """Create a cluster and boot it. `durable`: fsync as in production, for benchmarks."""
        return cls(durable=durable, settings=settings).launch()

    def prepare(self) -> None:
        if user := self.run_as():
            shutil.chown(self.folder, user)
        options = ["-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", f"--locale={_LOCALE}"]
        run([program("initdb"), "-D", str(self.data), *options], self.folder, self.run_as())
        (self.data / "pg_hba.conf").write_text(_RULES, encoding="utf-8")

    def run_as(self) -> str | None:
        """PostgreSQL refuses to run as root; Debian's package makes this account."""
        return pwd.getpwnam("postgres").pw_name if as_root() else None

    def command(self) -> Sequence[str]:
        fixed = {
            "listen_addresses": HOST,
            "unix_socket_directories": str(self.folder),
            "max_connections": "100",
        }
        options = [f"-c{name}={value}" for name, value in (fixed | self.settings).items()]
        return [program("postgres"), "-D", str(self.data), "-p", str(self.port), *options]

    def answers(self) -> bool:
        try:
            self._admin().close()
        except psycopg.OperationalError:
            return False
        return True

    def _admin(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(
            host=HOST,
            port=self.port,
            user="postgres",
            dbname=database,
            autocommit=True,
            connect_timeout=10,
        )

    def url(self, database: str, login: str = "postgres", password: str = "") -> str:
        who = f"{login}:{password}" if password else login
        return f"postgresql+psycopg://{who}@{HOST}:{self.port}/{database}"

    def new_database(self) -> str:
        """SQLAlchemy URL of an empty database; its login, with password, owns it."""
        name = f"db{next(self._numbers)}"
        with self._admin() as admin:
            login, password = self._new_login(admin, name)
            owner = sql.Identifier(login)
            admin.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), owner)
            )
        return self.url(name, login, password)

    def new_login(self, database_url: str) -> str:
        """URL of the same database for a login without any right on its tables; the test grants."""
        database = database_url.rsplit("/", 1)[1]
        with self._admin() as admin:
            login, password = self._new_login(admin, f"guest{next(self._numbers)}")
        return self.url(database, login, password)

    def admin_url(self, database_url: str) -> str:
        """URL of the same database for the superuser."""
        return self.url(database_url.rsplit("/", 1)[1])

    def _new_login(self, admin: psycopg.Connection, name: str) -> tuple[str, str]:
        password = secrets.token_hex(8)
        # PostgreSQL takes no parameters here; the password is ours and hexadecimal.
        admin.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                sql.Identifier(name), sql.Literal(password)
            )
        )
        return name, password

    def drop_connections(self, database_url: str) -> int:
        """Cut every session of a database, as a failing network would; how many there were."""
        database = database_url.rsplit("/", 1)[1]
        with self._admin() as admin:
            cut = admin.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE datname = %s AND pid <> pg_backend_pid()",
                [database],
            )
            return len(cut.fetchall())
