"""Sending wake-ups, in a thread of its own: a dead or silent Redis must not delay the next tick."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Thread
from typing import Any

from retention.run.claim import Waiting
from retention.watch import logs
from retention.worker.names import WAKE, queue_of
from retention.worker.queues import own_queue

OUTSTANDING = 100
"""Messages in one queue beyond which no more are sent: whoever reads them finds all work anyway."""
TICKS = 3
"""A message that nobody has read for so many ticks is dropped: the run was rung for again."""


class Ringer:
    """Takes lists of runs and publishes a message for each. Never blocks, never raises."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._expires = max(5.0, TICKS * app.retention_settings.tick_seconds)
        self._lists: Queue[Sequence[Waiting] | None] = Queue(maxsize=10)
        self._connection: Any = None
        self._away = False
        self._thread = Thread(target=self._live, name="retention-ringer", daemon=True)
        self._thread.start()

    def __call__(self, waiting: Sequence[Waiting]) -> None:
        # Full: Redis has been silent for a while. What is not rung for now is rung for again.
        with suppress(Full):
            self._lists.put_nowait(waiting)

    def close(self, seconds: float = 2.0) -> None:
        """What was given is sent, if that is quick."""
        with suppress(Full):
            self._lists.put_nowait(None)
        self._thread.join(seconds)

    def _live(self) -> None:
        while (waiting := self._lists.get()) is not None:
            try:
                self._publish(waiting)
                self._well()
            except Exception as error:  # noqa: BLE001  # whatever it is: the ledger is polled anyway
                self._ill(type(error).__name__)
        self._drop()

    def _publish(self, waiting: Sequence[Waiting]) -> None:
        if self._connection is None:
            options = {**self._app.conf.broker_transport_options, "max_retries": 0}
            self._connection = self._app.connection_for_write(transport_options=options)
            self._connection.connect()
        channel = self._connection.default_channel
        room: dict[str, int] = {}
        for run in waiting:
            queue = queue_of(run.system)
            if queue not in room:
                room[queue] = OUTSTANDING - channel.client.llen(queue)
            if room[queue] <= 0:
                continue
            room[queue] -= 1
            # Straight into the queue: nobody need have declared it.
            self._app.send_task(
                WAKE,
                args=(run.run_id,),
                queue=own_queue(queue),
                connection=self._connection,
                expires=self._expires,
                retry=False,
            )

    def _ill(self, error: str) -> None:
        """Once, not at every tick."""
        self._drop()
        with suppress(Empty):
            # What piled up meanwhile is old.
            while self._lists.queue and self._lists.queue[0] is not None:
                self._lists.get_nowait()
        if not self._away:
            self._away = True
            logs.get().warning("no wake-ups: workers find their work by looking", error=error)

    def _well(self) -> None:
        if self._away:
            self._away = False
            logs.get().info("wake-ups are sent again")

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.release()
