"""The Celery application: `celery -A retention.worker.app worker | beat | status | inspect …`.

Celery distributes; the ledger decides what is true. So a message is acknowledged before it is
looked at, nothing is retried, scheduled or counted in Redis, and no result is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery, signals

from retention.settings import Settings, load
from retention.watch import logs
from retention.worker import tasks
from retention.worker.canary import Canary
from retention.worker.hand import SLICES
from retention.worker.names import RUNS, key_prefix
from retention.worker.queues import work_queue
from retention.worker.steps import Work

TRANSPORT = {
    "socket_timeout": 10,
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 25,
}
NOWHERE = "memory://"


def application(settings: Settings, *, ready: Callable[[], None] = lambda: None) -> Any:
    """A Celery application over these settings. `ready`: called when its pool has started.

    Without a broker it can tick, and nothing else.
    """
    app = Celery("retention", set_as_current=True)
    app.retention_settings = settings
    app.retention_ready = ready
    app.retention_bell = None
    app.conf.update(
        broker_url=settings.broker_url or NOWHERE,
        broker_transport_options={**TRANSPORT, "global_keyprefix": key_prefix(settings)},
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        result_backend=None,
        task_ignore_result=True,
        accept_content=["json"],
        task_serializer="json",
        event_serializer="json",
        task_acks_late=False,
        task_publish_retry=False,
        task_default_queue=RUNS,
        task_queues=[work_queue(RUNS)],
        task_routes={"retention.*": {"queue": RUNS}},
        task_send_sent_event=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_soft_shutdown_timeout=15,
        # Concerns late acknowledgement only; said so that Celery does not warn at reconnections.
        worker_cancel_long_running_tasks_on_connection_loss=True,
        worker_send_task_events=True,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        # Children are forked, because they share the main process's bell.
        worker_pool_start_method="fork",
        beat_schedule={},
        beat_scheduler="retention.worker.scheduler:Scheduler",
        beat_max_loop_interval=1,
    )
    # Above what a task waits for at most, so that the limit only meets what hangs.
    tasks.register(app, time_limit=SLICES * settings.slice_seconds + 300)
    app.steps["worker"].add(Work)
    app.steps["consumer"].add(Canary)
    signals.setup_logging.connect(_log_as_we_do(settings), weak=False, dispatch_uid="retention")
    return app


def _log_as_we_do(settings: Settings) -> Callable[..., None]:
    def configure(**_: Any) -> None:
        logs.configure(settings.log_format)

    return configure


def __getattr__(name: str) -> Any:
    """`app`, made when Celery's own commands ask for it."""
    if name != "app":
        raise AttributeError(name)
    globals()["app"] = application(load())
    return globals()["app"]
