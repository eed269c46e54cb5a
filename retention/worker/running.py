"""Our own commands: the same worker and the same scheduler as Celery's commands start."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event
from typing import Any

from retention.errors import ExitCode, UsageError
from retention.settings import Settings
from retention.watch import logs
from retention.worker.app import application
from retention.worker.names import known_systems, queue_of, systems_of
from retention.worker.ringing import Ringer
from retention.worker.ticking import Ticker

_PREFIX = queue_of("")


def run_worker(
    settings: Settings,
    *,
    pool: str | None = None,
    concurrency: int | None = None,
    systems: Sequence[str] = (),
    ready: Callable[[], None] = lambda: None,
) -> int:
    """A Celery worker in this process until a signal ends it. Returns its exit code.

    `systems`: only work on these, by name or by queue. Raises UsageError without a broker, and for
    a system that no policy file names.
    """
    queues = [s if s.startswith(_PREFIX) else queue_of(s) for s in systems]
    known = known_systems(settings) if queues else ()
    if strangers := systems_of(queues) - set(known):
        raise UsageError(
            f"there is no system `{min(strangers)}`",
            hint=f"the policy files name: {', '.join(known)}",
            code="system-unknown",
        )
    app = application(settings, ready=ready)
    worker: Any = app.Worker(
        # A forked child of a program with threads may hang on macOS.
        pool=pool or ("prefork" if sys.platform == "linux" else "threads"),
        concurrency=concurrency,
        queues=queues or None,
        loglevel="WARNING",
        quiet=True,
        # Nodes that greet each other and count each other are of no use here.
        without_mingle=True,
        without_gossip=True,
        optimization="fair",
    )
    logs.get().info(
        "started",
        node=worker.hostname,
        pool=worker.pool_cls.__module__.rpartition(".")[2],
        concurrency=worker.concurrency,
        queues=sorted(app.amqp.queues.consume_from),
    )
    worker.start()
    logs.get().info("ended")
    return int(worker.exitcode or 0)


def run_scheduler(
    settings: Settings,
    *,
    ready: Callable[[], None] = lambda: None,
    alive: Callable[[], None] = lambda: None,
) -> int:
    """Tick until a signal ends it; without a broker workers find what is owed by looking.

    Raises LedgerMoved, AuditUnwritable, PolicyError, and LedgerUnreachable at the start.
    """
    logs.configure(settings.log_format)
    ringer = Ringer(application(settings)) if settings.broker_url is not None else None
    ticker = Ticker(settings, ringer or (lambda _waiting: None))
    with _until_a_signal() as ended:
        try:
            ticker.begin()
            logs.get().info("started", wakes=ringer is not None)
            ready()
            while not ended.is_set():
                alive()
                ended.wait(ticker.round())
        finally:
            ticker.end()
            if ringer is not None:
                ringer.close()
    logs.get().info("ended")
    return ExitCode.OK


@contextmanager
def _until_a_signal() -> Iterator[Event]:
    ended = Event()
    wanted = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: ended.set()) for number in wanted]
    try:
        yield ended
    finally:
        for number, handler in zip(wanted, before, strict=True):
            signal.signal(number, handler)
