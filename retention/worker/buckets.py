"""Rate limits that are handed out by Redis, and never more of them than the ledger has booked.

A process books a few seconds' worth of places in the ledger and lays that stretch down in Redis,
where every process takes its next place. Redis may forget (flushed, restarted, failed over): then
the next stretch is booked behind all that went before, so at most the rest of the old stretch is
lost, and no place is given out twice. A Redis that comes back with yesterday's memory is known by
its run id, which is new at every start. Without Redis each process books for itself.

Only the ledger's time is used, which every process knows; the clock of Redis does not matter.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Lock
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from retention.connectors.wrap import Buckets
from retention.ledger.store import Ledger
from retention.run.rates import (
    SECOND,
    Booker,
    Booking,
    LedgerBucket,
    LedgerTime,
    Line,
    buckets,
    wait_for,
)

log = logging.getLogger("retention.worker")

STRETCH = 3
"""Seconds' worth of places that are booked in the ledger at once."""
AWAY = 5 * SECOND
"""How long a Redis that failed is left alone."""
TIMEOUT = 1.0
KEEP_MS = 3_600_000

# Numbers are written with a format: Lua's own would round microseconds. The server is asked who
# it is in the same breath, so that no answer can come from before a restart.
_TAKE = """
local id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local at = redis.call('HMGET', KEYS[1], 'last', 'end', 'server')
if not at[1] or at[3] ~= id then return false end
local first = math.max(tonumber(at[1]) + tonumber(ARGV[1]), tonumber(ARGV[2]))
if first > tonumber(at[2]) then return false end
redis.call('HSET', KEYS[1], 'last', string.format('%.0f', first))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return string.format('%.0f', first)
"""
_LAY = """
local id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local at = redis.call('HMGET', KEYS[1], 'end', 'server')
if at[1] and at[2] == id and tonumber(at[1]) >= tonumber(ARGV[1]) then return 0 end
local last = string.format('%.0f', tonumber(ARGV[1]) - tonumber(ARGV[3]))
redis.call('HSET', KEYS[1], 'last', last, 'end', ARGV[2], 'server', id)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
"""


class Shelf:
    """The places that lie ready in Redis. Raises redis.RedisError."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self._prefix = prefix
        self._take: Any = client.register_script(_TAKE)
        self._lay: Any = client.register_script(_LAY)

    def take(self, account: str, line: Line, now: int) -> int | None:
        """The next place; None where nothing is laid down, or it is used up."""
        place = self._take(keys=[self._key(account)], args=[line.step, now - line.back, KEEP_MS])
        return None if place is None else int(place)

    def lay(self, account: str, line: Line, stretch: Booking) -> None:
        """Lay down places that were booked in the ledger, behind which nobody has booked more."""
        end = stretch.first + (stretch.many - 1) * line.step
        self._lay(keys=[self._key(account)], args=[stretch.first, end, line.step, KEEP_MS])

    def _key(self, account: str) -> str:
        return f"{self._prefix}bucket:{account}"


class RedisBucket:
    """A rate limit that all processes share through Redis; through the ledger while it is away."""

    def __init__(
        self,
        shelf: Shelf,
        booker: Booker,
        fallback: LedgerBucket,
        *,
        sleep: Callable[[float], None] = time.sleep,
        stretch: float = STRETCH,
    ) -> None:
        self._shelf = shelf
        self._booker = booker
        self._fallback = fallback
        self._sleep = sleep
        self._count = max(1, int(stretch * SECOND) // booker.line.step)
        self._away_until = 0

    def take(self) -> None:
        """Wait until a request may be made, and count it."""
        wait_for(self.reserve, self._booker, self._sleep)

    def reserve(self) -> Booking:
        """One place of our own, now or later; or how long to wait before asking again."""
        now = self._booker.now()
        if now < self._away_until:
            return self._fallback.reserve()
        try:
            return self._from_redis(now)
        except redis.RedisError as error:
            # Only the class: a message of the client may name the address.
            log.warning("rate limit without Redis for a while: %s", type(error).__name__)
            self._away_until = now + AWAY
            return self._fallback.reserve()

    def _from_redis(self, now: int) -> Booking:
        booker = self._booker
        place = self._shelf.take(booker.account, booker.line, now)
        if place is None:
            stretch = booker.book(self._count)
            if stretch.many == 0:
                return stretch
            self._shelf.lay(booker.account, booker.line, stretch)
            place = self._shelf.take(booker.account, booker.line, booker.now())
        # Others may have taken the whole stretch at once.
        return Booking(now, 0, 0) if place is None else Booking(place, 1)


def connect(url: str) -> redis.Redis:
    """A client that gives up at once: there is another way. Raises ValueError for other schemes."""
    client: redis.Redis = redis.Redis.from_url(
        url,
        socket_timeout=TIMEOUT,
        socket_connect_timeout=TIMEOUT,
        retry=Retry(NoBackoff(), 0),
    )
    return client


def shared_buckets(ledger: Ledger, broker_url: str, prefix: str) -> Buckets:
    """Buckets over Redis and one ledger; over the ledger alone where the broker is not Redis."""
    by_ledger = buckets(ledger)
    try:
        shelf = Shelf(connect(broker_url), prefix)
    except ValueError:
        return by_ledger
    known: dict[tuple[str, str], RedisBucket] = {}
    lock = Lock()
    at = LedgerTime()

    def bucket(account: str, rate: str) -> RedisBucket:
        with lock:
            if (account, rate) not in known:
                booker = Booker(ledger, account, Line.at(rate), at)
                known[account, rate] = RedisBucket(shelf, booker, LedgerBucket(booker))
            return known[account, rate]

    return bucket
