"""Where a Celery worker starts and ends our hands, and how its processes are told to end."""

from __future__ import annotations

import os
from typing import Any

import billiard.pool
from celery import bootsteps, signals

from retention.errors import UsageError
from retention.worker import tasks
from retention.worker.bell import Bell
from retention.worker.hand import Crew, Terms
from retention.worker.names import (
    RUNS,
    canary_queue,
    known_systems,
    queue_of,
    systems_of,
)
from retention.worker.presence import Presence
from retention.worker.queues import own_queue, work_queue

SECONDS_TO_END = 14.0
"""Within the soft shutdown time that the application sets."""

TENTHS_FOR_RESULTS = 10

_terms: Terms | None = None


class Work(bootsteps.StartStopStep):  # type: ignore[misc]  # Celery has no types
    """Made before the pool forks, started after it; a prefork pool's hands live in its children."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **_: Any) -> None:
        global _terms  # noqa: PLW0603  # a forked child finds here what its main process has made
        settings = worker.app.retention_settings
        if settings.broker_url is None:
            raise UsageError(
                "a worker needs Redis",
                hint="set RETENTION_BROKER_URL, or work in one process: retention daemon",
                code="no-broker",
            )
        queues = worker.app.amqp.queues
        systems = choose_queues(queues, settings)
        queues.select_add(own_queue(canary_queue(worker.hostname)))
        bell = Bell(worker.hostname, concurrency=worker.concurrency)
        worker.app.retention_bell = bell
        facts = {
            "node": worker.hostname,
            "queues": sorted(q for q in queues.consume_from if q != canary_queue(worker.hostname)),
            "pool": worker.pool_cls.__module__.rpartition(".")[2],
            "concurrency": worker.concurrency,
        }
        _terms = Terms(settings, bell, Presence(bell.name, "worker", facts), systems)
        self._forks = facts["pool"] == "prefork"
        self._threads = worker.concurrency if facts["pool"] == "thread" else 1
        self._ready = worker.app.retention_ready
        signals.worker_shutdown.connect(_exit_code, sender=worker, weak=False)
        super().__init__(worker, **_)

    def start(self, _worker: Any) -> None:
        """The pool has started; the broker may still be away."""
        if not self._forks and _terms is not None:
            # A task of the solo pool would hold up the main process, so it does not wait.
            tasks.take_on(Crew(_terms, self._threads), wait=self._threads > 1)
        self._ready()

    def stop(self, _worker: Any) -> None:
        """Before the pool ends."""
        tasks.dismiss(SECONDS_TO_END)


def choose_queues(queues: Any, settings: Any) -> frozenset[str] | None:
    """Consume from the queues of all systems, or of those that were named; which systems these are.

    None: work on all. Runs that are of no single system are everybody's.
    """
    named = queues._consume_from  # noqa: SLF001  # the only place where Celery keeps what -Q said
    if named is None:
        for system in known_systems(settings):
            queues.select_add(work_queue(queue_of(system)))
        return None
    systems = systems_of(named)
    queues.select_add(work_queue(RUNS))
    return systems


# --- a prefork pool's children ---------------------------------------------------------------


def _child_begins(**_: Any) -> None:
    if _terms is not None and not _terms.bell.here:
        _terms.bell.in_child()
        # A message that ends just as the main process stops reading keeps its child for half a
        # minute by default, to save a result. We have none.
        billiard.pool.GUARANTEE_MESSAGE_CONSUMPTION_RETRY_LIMIT = TENTHS_FOR_RESULTS
        tasks.take_on(Crew(_terms), wait=True)


def _child_ends(**_: Any) -> None:
    tasks.dismiss(SECONDS_TO_END)


def _ending(**_: Any) -> None:
    """In a signal handler of the main process: children see that a pipe was closed."""
    if _terms is not None and _terms.bell.main_pid == os.getpid():
        _terms.bell.stop()


def _exit_code(sender: Any, **_: Any) -> None:
    """A hand that gave up says with which code."""
    if _terms is not None and (code := _terms.bell.given_up()) is not None:
        sender.exitcode = code


def _ctrl_c_is_gentle(**_: Any) -> None:
    """Celery's own handler cuts off what is under way; ours waits for the batch."""
    import signal

    if _terms is not None and _terms.bell.here:
        signal.signal(signal.SIGINT, signal.getsignal(signal.SIGTERM))


signals.worker_process_init.connect(_child_begins)
signals.worker_process_shutdown.connect(_child_ends)
signals.worker_shutting_down.connect(_ending)
signals.worker_ready.connect(_ctrl_c_is_gentle)
