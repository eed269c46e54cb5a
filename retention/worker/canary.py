"""A worker that writes to itself, and notices when its own letters stop coming.

A connection can be half-open: the other end is gone, nothing says so, and the consumer waits for
ever while the process looks healthy. So every `PERIOD` seconds the main process sends a message
over a new connection to a queue that only it reads. When for three periods none came back although
Redis took each of them, the consumer's sockets are cut, which makes Celery connect anew, and an
alarm is raised through a child (bell.py says why not here).
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Any

from celery import bootsteps, signals
from celery.worker import state

from retention.watch import logs
from retention.worker.bell import Word
from retention.worker.names import CANARY, canary_queue
from retention.worker.queues import own_queue

PERIOD = 30.0
PATIENCE = 3
"""Periods without a letter."""
TIMEOUT = 2.0
"""For one letter: this runs in the consumer's loop."""


class Canary(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """A step of the consumer: started again at every reconnection."""

    requires = ("celery.worker.consumer.tasks:Tasks",)
    period = PERIOD

    def __init__(self, consumer: Any, **options: Any) -> None:
        self._timer: Any = None
        self._queue = canary_queue(consumer.hostname)
        self._sent = 0
        self._since = time.monotonic()
        self._silent = False
        # Whatever alarm an earlier life of this worker left open ends with the first letter.
        self._doubt = True
        signals.task_received.connect(self._received, weak=False)
        super().__init__(consumer, **options)

    def start(self, c: Any) -> None:
        """Connected: listen for a while before judging."""
        self._since = time.monotonic()
        self._sent = 0
        self._timer = c.timer.call_repeatedly(self.period, self._beat, (c,))

    def stop(self, _c: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _received(self, request: Any = None, **_: Any) -> None:
        if request is None or request.name != CANARY:
            return
        self._since = time.monotonic()
        self._sent = 0
        if self._silent or self._doubt:
            if self._silent:
                logs.get().info("the queue speaks again")
            self._silent = self._doubt = False
            self._ring(request.app, Word.HEARD)

    def _beat(self, c: Any) -> None:
        if len(state.reserved_requests) >= c.pool.num_processes:
            # All hands are full: a letter would not be fetched, and that says nothing.
            self._since = time.monotonic()
            self._sent = 0
            return
        if self._sent >= PATIENCE and time.monotonic() - self._since >= PATIENCE * self.period:
            self._restart(c)
        if self._write(c.app):
            self._sent += 1
        else:
            # Redis itself is away: the consumer will find that out, and polling goes on.
            self._sent = 0
            self._since = time.monotonic()

    def _write(self, app: Any) -> bool:
        """Over a connection of its own, whose greeting is a PING. Never raises."""
        options = {
            **app.conf.broker_transport_options,
            "socket_timeout": TIMEOUT,
            "socket_connect_timeout": TIMEOUT,
            "max_retries": 0,
        }
        try:
            with app.connection_for_write(transport_options=options) as connection:
                connection.connect()
                app.send_task(
                    CANARY,
                    queue=own_queue(self._queue),
                    connection=connection,
                    expires=PATIENCE * self.period,
                    retry=False,
                )
                # What a node that went away has not read goes by itself.
                connection.default_channel.client.pexpire(self._queue, 3_600_000)
        except Exception as error:  # noqa: BLE001  # whatever it is, no letter was sent
            logs.get().info("no letter to ourselves", error=type(error).__name__)
            return False
        return True

    def _restart(self, c: Any) -> None:
        self._silent = True
        self._sent = 0
        self._since = time.monotonic()
        logs.get().error("nothing comes through the queue; connecting anew")
        self._ring(c.app, Word.SILENT)
        for channel in list(c.connection.connection.channels):
            for name in ("client", "subclient"):
                # Both are made at first use, and must not be made here.
                holder = channel.__dict__.get(name)
                _cut(getattr(getattr(holder, "connection", None), "_sock", None))

    @staticmethod
    def _ring(app: Any, word: Word) -> None:
        if app.retention_bell is not None:
            app.retention_bell.ring(word)


def _cut(sock: socket.socket | None) -> None:
    """End it for whoever reads it: a closed connection is an error, a silent one is none."""
    if sock is not None:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
