"""worker · scheduler: the daemon's two halves, over Celery and Redis, on as many machines."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Literal

import typer

from retention.cli import opening
from retention.cli.app import App

POOLS = Literal["prefork", "solo", "threads"]


def register(app: App) -> None:
    """Add this file's commands."""
    app.command("worker")(worker)
    app.command("scheduler")(scheduler)


def worker(
    concurrency: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=1000, help="So many runs at once; default: one a core."
        ),
    ] = None,
    queues: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Only work on these systems; default: on all."),
    ] = None,
    pool: Annotated[
        POOLS | None,
        typer.Option(help="Processes, one thread, or threads; default: prefork on Linux."),
    ] = None,
) -> int:
    """Work on what is owed, one of many. Needs Redis; SIGTERM ends after the batch."""
    from retention.cli.notify import Notifier
    from retention.errors import UsageError
    from retention.settings import environment

    _installed()
    settings = opening.settings()
    if settings.broker_url is None:
        raise UsageError(
            "a worker needs Redis",
            hint="set RETENTION_BROKER_URL, or work in one process: retention daemon",
            code="no-broker",
        )
    from retention.worker.running import run_worker

    systems = [name for name in (queues or "").replace(" ", "").split(",") if name]
    return run_worker(
        settings,
        pool=pool,
        concurrency=concurrency,
        systems=systems,
        ready=Notifier(environment()).ready,
    )


def scheduler() -> int:
    """Write down what is owed and wake workers. Several may run; SIGTERM ends it."""
    from retention.cli.notify import Notifier
    from retention.settings import environment

    _installed()
    from retention.worker.running import run_scheduler

    systemd = Notifier(environment())
    return run_scheduler(opening.settings(), ready=systemd.ready, alive=systemd.alive)


def _installed() -> None:
    """Raises UsageError where the extra is missing."""
    from retention.errors import UsageError

    if find_spec("celery") is None or find_spec("redis") is None:
        raise UsageError(
            "Celery is not installed",
            hint="pip install 'retention[worker]', or work in one process: retention daemon",
            code="extra-missing",
        )
