"""Redis: the broker of the many-machines mode."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Sequence
from typing import Self

from tests.servers.process import HOST, Server, program


class Redis(Server):
    """`with Redis.start() as redis: redis.new_database()`."""

    name = "redis"

    def __init__(self, *, options: Sequence[str] = ()) -> None:
        super().__init__()
        self.options = tuple(options)
        self._numbers = itertools.count()

    @classmethod
    def start(cls, *, options: Sequence[str] = ()) -> Self:
        """Boot one. `options`: further command-line options, such as `--maxmemory 10mb`."""
        return cls(options=options).launch()

    def command(self) -> Sequence[str]:
        # The append-only file is what lets a broker remember its queue over a crash.
        settings = f"--port {self.port} --bind {HOST} --databases 512 --appendonly yes --save"
        fixed = [*settings.split(), "", "--dir", str(self.folder)]
        return [program("redis-server"), *fixed, *self.options]

    def answers(self) -> bool:
        with socket.create_connection((HOST, self.port), timeout=2) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def new_database(self) -> str:
        """URL of a database of its own, `redis://127.0.0.1:…/7`; the first ever is 1."""
        return f"redis://{HOST}:{self.port}/{1 + next(self._numbers) % 511}"
