"""Redis forgets, goes away, or falls silent."""

from __future__ import annotations

import shutil
import socket

from tests.chaos.faults.base import Fault, Steps
from tests.chaos.stage import Stage
from tests.chaos.wakeups import WakeUps
from tests.servers.redis import Redis


class _RedisFault(Fault):
    touches = "redis"
    weight = 2

    def __init__(self, redis: Redis, wakeups: WakeUps) -> None:
        self.redis = redis
        self.wakeups = wakeups


class RedisFlushed(_RedisFault):
    """Somebody clears Redis: every message, every binding."""

    name = "redis flushed"

    def strike(self, stage: Stage) -> Steps:
        stage.note(self.name)
        stage.excuse_workers()
        with socket.create_connection((self.redis.host, self.redis.port), timeout=5) as redis:
            redis.sendall(b"FLUSHALL\r\n")
            redis.recv(16)
        yield 0.1


class RedisEmptied(_RedisFault):
    """Redis dies and comes back without its data."""

    name = "redis restarted empty"

    def strike(self, stage: Stage) -> Steps:
        stage.note(self.name)
        stage.excuse_workers()
        self.redis.kill()
        shutil.rmtree(self.redis.folder / "appendonlydir", ignore_errors=True)
        yield 0.5
        self.redis.boot()
        stage.excuse_workers()


class RedisAway(_RedisFault):
    """Redis is not there for a while; the ledger is polled."""

    name = "redis away"

    def strike(self, stage: Stage) -> Steps:
        stage.note(self.name)
        stage.excuse_workers()
        self.redis.stop()
        yield 4 + 4 * stage.chance.random()
        self.redis.boot()
        stage.excuse_workers()
        stage.note(f"{self.name}: it is back")


class RedisHalfOpen(_RedisFault):
    """Every connection to Redis stays open and says nothing any more, and nobody is told."""

    name = "redis half-open"

    def strike(self, stage: Stage) -> Steps:
        stage.note(self.name)
        stage.excuse_workers()
        self.wakeups.fall_silent()
        yield 6 + 6 * stage.chance.random()
        self.wakeups.speak()
        stage.excuse_workers()
        stage.note(f"{self.name}: new connections work")
