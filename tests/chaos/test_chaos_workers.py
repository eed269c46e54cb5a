"""Schedulers and Celery workers under faults, in brief; `make chaos` is the long form."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from tests.chaos import faults
from tests.chaos.installations import Order, celery
from tests.chaos.world import Size
from tests.servers.dovecot import Dovecot
from tests.servers.postgres import Postgres

SMALL = Size(start=150, mails=40, arrival=40, batch=8)


def test_workers_over_redis_lose_and_double_nothing(
    tmp_path: Path, postgres: Postgres, dovecot: Dovecot
) -> None:
    """Processes die, Redis forgets, goes and falls silent, wake-ups are lost: all rules hold."""
    only = {
        faults.KillWorker,
        faults.KillPoolChild,
        faults.KillScheduler,
        faults.RedisFlushed,
        faults.RedisEmptied,
        faults.RedisAway,
        faults.RedisHalfOpen,
    }
    order = Order(folder=tmp_path, seed=13, kills=3, size=SMALL, only=only)
    with ExitStack() as stack:
        story = celery(stack, order, postgres, dovecot, 2)
        told = story.run()
        assert told.broken == [], told.report()
        assert set(told.figures.faults) >= {fault.name for fault in story.faults}
        assert told.figures.wakeups > 0
