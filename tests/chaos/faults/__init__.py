"""What goes wrong, one class each, and which installation can meet what."""

from __future__ import annotations

from tests.chaos.faults.base import Fault
from tests.chaos.faults.ledger import (
    DiskFull,
    LedgerRestartedFast,
    LedgerRestartedImmediately,
    PowerCut,
)
from tests.chaos.faults.processes import (
    ClockAhead,
    ClockBehind,
    KillDaemon,
    KillPoolChild,
    KillScheduler,
    KillWorker,
    Suspended,
)
from tests.chaos.faults.queue import RedisAway, RedisEmptied, RedisFlushed, RedisHalfOpen
from tests.chaos.faults.systems import DatabaseAnswerCut, MailAnswerCut
from tests.chaos.ledgers import Ledger
from tests.chaos.wakeups import WakeUps
from tests.servers.redis import Redis

__all__ = [
    "ClockAhead",
    "ClockBehind",
    "DatabaseAnswerCut",
    "DiskFull",
    "Fault",
    "KillDaemon",
    "KillPoolChild",
    "KillScheduler",
    "KillWorker",
    "LedgerRestartedFast",
    "LedgerRestartedImmediately",
    "MailAnswerCut",
    "PowerCut",
    "RedisAway",
    "RedisEmptied",
    "RedisFlushed",
    "RedisHalfOpen",
    "Suspended",
    "for_all",
    "of_daemons",
    "of_workers",
]


def for_all(ledger: Ledger, *roles: str) -> list[Fault]:
    """What any installation over this ledger can meet whose processes have these roles."""
    found: list[Fault] = [
        Suspended(*roles),
        ClockAhead(*roles),
        ClockBehind(*roles),
        PowerCut(),
        DatabaseAnswerCut(),
        MailAnswerCut(),
    ]
    if ledger.disk.real:
        found.append(DiskFull())
    if ledger.kind == "postgresql":
        found += [LedgerRestartedFast(), LedgerRestartedImmediately()]
    return found


def of_daemons(ledger: Ledger) -> list[Fault]:
    """Every fault of the small installation."""
    return [KillDaemon(), *for_all(ledger, "daemon")]


def of_workers(ledger: Ledger, redis: Redis, wakeups: WakeUps) -> list[Fault]:
    """Every fault of the installation with Celery."""
    return [
        KillWorker(),
        KillPoolChild(),
        KillScheduler(),
        RedisFlushed(redis, wakeups),
        RedisEmptied(redis, wakeups),
        RedisAway(redis, wakeups),
        RedisHalfOpen(redis, wakeups),
        *for_all(ledger, "worker", "scheduler"),
    ]
