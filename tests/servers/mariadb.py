"""MariaDB: where most small web sites keep their forms."""

from __future__ import annotations

import itertools
import secrets
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Self

import pymysql

from tests.servers.process import HOST, Server, account, program, run, wait_until

_QUICK = {"innodb-flush-log-at-trx-commit": "0", "sync-binlog": "0", "innodb-doublewrite": "OFF"}


class MariaDB(Server):
    """`with MariaDB.start() as server: url = server.new_database()`."""

    name = "maria"

    def __init__(self, *, durable: bool = False, settings: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.data = self.folder / "data"
        self.socket = self.folder / "sock"
        self.settings = ({} if durable else _QUICK) | dict(settings or {})
        self._numbers = itertools.count(1)

    @classmethod
    def start(cls, *, durable: bool = False, settings: Mapping[str, str] | None = None) -> Self:
        """Create the data and boot. `durable`: flush at every commit, for benchmarks."""
        return cls(durable=durable, settings=settings).launch()

    def prepare(self) -> None:
        options = [
            "--no-defaults",
            f"--datadir={self.data}",
            f"--user={account()}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ]
        run([program("mariadb-install-db"), *options], self.folder)

    def command(self) -> Sequence[str]:
        fixed = {
            "user": account(),
            "datadir": str(self.data),
            "port": str(self.port),
            "bind-address": HOST,
            "socket": str(self.socket),
            "pid-file": str(self.folder / "pid"),
            "character-set-server": "utf8mb4",
            "innodb-buffer-pool-size": "128M",
        }
        options = [f"--{name}={value}" for name, value in (fixed | self.settings).items()]
        return [program("mariadbd"), "--no-defaults", "--skip-name-resolve", *options]

    def answers(self) -> bool:
        with socket.create_connection((HOST, self.port), timeout=2) as connection:
            return connection.recv(5)[4:] == b"\n"

    def _admin(self) -> pymysql.Connection[Any]:
        return pymysql.connect(
            unix_socket=str(self.socket), user="root", autocommit=True, connect_timeout=10
        )

    def _execute(self, *statements: str) -> None:
        with self._admin() as admin, admin.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def url(self, database: str, login: str, password: str) -> str:
        return f"mysql+pymysql://{login}:{password}@{HOST}:{self.port}/{database}?charset=utf8mb4"

    def new_database(self) -> str:
        """SQLAlchemy URL of an empty database; its login, with password, has all rights on it."""
        name, password = f"db{next(self._numbers)}", secrets.token_hex(8)
        self._execute(
            f"CREATE DATABASE {name}",
            f"CREATE USER {name}@'{HOST}' IDENTIFIED BY '{password}'",
            f"GRANT ALL ON {name}.* TO {name}@'{HOST}'",
        )
        return self.url(name, name, password)

    def new_login(self, database_url: str, *rights: str) -> str:
        """URL of the same database for a login with only these rights.

        `new_login(url, "SELECT", "DELETE")`.
        """
        database = database_url.rsplit("/", 1)[1].partition("?")[0]
        name, password = f"guest{next(self._numbers)}", secrets.token_hex(8)
        granted = ", ".join(rights) or "USAGE"
        on = f"{database}.*" if rights else "*.*"
        self._execute(
            f"CREATE USER {name}@'{HOST}' IDENTIFIED BY '{password}'",
            f"GRANT {granted} ON {on} TO {name}@'{HOST}'",
        )
        return self.url(database, name, password)

    def drop_connections(self, database_url: str) -> int:
        """Cut every session of a database, as a failing network would; how many there were."""
        database = database_url.rsplit("/", 1)[1].partition("?")[0]
        with self._admin() as admin, admin.cursor() as cursor:

            def sessions() -> set[int]:
                cursor.execute(
                    "SELECT id FROM information_schema.processlist WHERE db = %s", [database]
                )
                return {row[0] for row in cursor.fetchall()}

            cut = sessions()
            for session in cut:
                cursor.execute("KILL %s", [session])
            # The server ends them in its own time.
            wait_until(lambda: not cut & sessions())
        return len(cut)
