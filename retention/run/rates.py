"""Rate limits that several processes share: a time-line of places, kept in the ledger.

An account's requests stand on a line of time, one place every `step`. A place is given out once:
processes book the next ones in a short transaction, and a request is made at its place or a little
later. What was booked and not used in time is lost; it is never made up for. So in any stretch of
time there are at most `burst + rate x time` requests, whatever dies, and in whatever order.

The line is in the ledger's time: the server's on PostgreSQL, so that skewed clocks of machines do
not matter, and this machine's on SQLite. A process knows it to within one round trip.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple, Protocol, Self

from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.dialects import postgresql, sqlite

from retention.clock import SystemClock
from retention.connectors.wrap import Buckets
from retention.ledger import tables as t
from retention.ledger.store import Ledger

SECOND = 1_000_000
"""All times here are whole microseconds."""
_SECONDS = {"s": 1, "min": 60, "h": 3600}
_CLOCK = text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)")


@dataclass(frozen=True, slots=True)
class Line:
    """How an account's places lie: one every `step`, used at most `grace` late.

    `block`: places of about one second. `back`: a process that finds the line idle begins so far
    in the past, which makes the burst. `lead`: nobody books further ahead than this.
    """

    step: int
    grace: int
    back: int

    @classmethod
    def at(cls, rate: str) -> Self:
        """The line of a rate such as `4/s`: bursts of up to four, then four a second."""
        number, _, unit = rate.partition("/")
        n = int(number)
        step = -(-_SECONDS[unit] * SECOND // n)
        if n == 1:
            # A burst of one leaves no room to be late in, so the step pays for it.
            late = step // 20
            return cls(step + late, late, 0)
        return cls(step, (n - 1) * step, (n - 1) * step - step // 2)

    @property
    def block(self) -> int:
        return max(1, SECOND // self.step)

    @property
    def lead(self) -> int:
        return 3 * max(SECOND, self.step)

    def usable(self, place: int, now: int) -> bool:
        """Whether a request may be made at this place now."""
        return place <= now <= place + self.grace


class Booking(NamedTuple):
    """Places from `first` on; or none, and how long to wait before asking again."""

    first: int
    many: int
    wait: int = 0


class Monotonic(Protocol):
    """Seconds that never go back."""

    def __call__(self) -> float: ...


class LedgerTime:
    """The ledger's time, asked for now and then and counted on from there."""

    def __init__(self, monotonic: Monotonic = time.monotonic) -> None:
        self._monotonic = monotonic
        self._offset: int | None = None
        self._asked = 0

    def tell(self, now: int) -> None:
        """What the ledger has just answered. It was earlier, so we are never too early."""
        self._asked = self._local()
        self._offset = now - self._asked

    def now(self, ledger: Ledger) -> int:
        """The ledger's time; asks again when the last answer is a minute old."""
        if self._offset is None or self._local() - self._asked > 60 * SECOND:
            with ledger.read() as tx:
                now = ledger_now(tx)
            self.tell(now)
            return now
        return self._offset + self._local()

    def _local(self) -> int:
        return round(self._monotonic() * SECOND)


def ledger_now(tx: Connection) -> int:
    """The time of the machine that the ledger is on."""
    if tx.dialect.name == "postgresql":
        return int(tx.execute(_CLOCK).scalar_one())
    return int(SystemClock().now().timestamp() * SECOND)


class Booker:
    """Books places on one account's line in the ledger. Raises LedgerUnreachable."""

    def __init__(self, ledger: Ledger, account: str, line: Line, at: LedgerTime) -> None:
        self.ledger = ledger
        self.account = account
        self.line = line
        self.at = at

    def now(self) -> int:
        return self.at.now(self.ledger)

    def book(self, count: int) -> Booking:
        """The next places, in one short transaction."""
        with self.ledger.write() as tx:
            last = self._last(tx)
            # Asked after the row is locked: waiting for it must not make the past longer.
            now = ledger_now(tx)
            booking = booked(self.line, last, now, count)
            if booking.many:
                tx.execute(
                    update(t.bucket)
                    .where(t.bucket.c.account == self.account)
                    .values(horizon=booking.first + (booking.many - 1) * self.line.step)
                )
        self.at.tell(now)
        return booking

    def _last(self, tx: Connection) -> int:
        wanted = (
            select(t.bucket.c.horizon).where(t.bucket.c.account == self.account).with_for_update()
        )
        last = tx.execute(wanted).scalar_one_or_none()
        if last is None:
            fresh = {"account": self.account, "horizon": 0}
            if tx.dialect.name == "postgresql":
                tx.execute(postgresql.insert(t.bucket).values(fresh).on_conflict_do_nothing())
            elif tx.dialect.name == "sqlite":
                tx.execute(sqlite.insert(t.bucket).values(fresh).on_conflict_do_nothing())
            else:
                tx.execute(insert(t.bucket).values(fresh))
            last = tx.execute(wanted).scalar_one()
        return int(last)


def booked(line: Line, last: int, now: int, count: int) -> Booking:
    """The places that follow `last`; none where the line is booked far ahead already."""
    if last > now + 2 * line.lead + 60 * SECOND:
        # Nobody books so far ahead: the ledger's clock was set back, or the rate was far lower.
        last = now
    first = max(last + line.step, now - line.back)
    if first > now + line.lead:
        return Booking(first, 0, first - now - line.lead)
    # Never past the lead, so that the line above can be told from a clock that was set back.
    return Booking(first, max(1, min(count, (now + line.lead - first) // line.step)))


class LedgerBucket:
    """A rate limit that all processes on one ledger share; a transaction a second at most.

    A process books a second's worth of places when it uses them up, and fewer when it does not,
    so that many slow processes do not lose each other's places.
    """

    def __init__(self, booker: Booker, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._booker = booker
        self._sleep = sleep
        self._held: deque[int] = deque()
        self._want = 1
        self._lock = Lock()

    def take(self) -> None:
        """Wait until a request may be made, and count it."""
        wait_for(self.reserve, self._booker, self._sleep)

    def reserve(self) -> Booking:
        """One place of our own, now or later; or how long to wait before asking again."""
        line = self._booker.line
        with self._lock:
            now = self._booker.now()
            while self._held and self._held[0] + line.grace < now:
                self._held.popleft()
                self._want = 1
            if not self._held:
                booking = self._booker.book(self._want)
                self._want = min(line.block, self._want * 2)
                self._held.extend(booking.first + n * line.step for n in range(booking.many))
                if not self._held:
                    return booking
            return Booking(self._held.popleft(), 1)


def wait_for(
    reserve: Callable[[], Booking], booker: Booker, sleep: Callable[[float], None]
) -> None:
    """Take places until one is used in time."""
    while True:
        place, many, wait = reserve()
        if many == 0:
            # Others may give up theirs, or die: ask again before long.
            sleep(min(wait, SECOND) / SECOND)
            continue
        early = place - booker.now()
        if early > 0:
            sleep(early / SECOND)
        # A sleep may end a moment early by the ledger's clock.
        while (early := place - booker.now()) > 0:
            sleep(early / SECOND)
        if booker.line.usable(place, booker.now()):
            return


def buckets(ledger: Ledger) -> Buckets:
    """Buckets over one ledger, one for each account of this process."""
    known: dict[tuple[str, str], LedgerBucket] = {}
    lock = Lock()
    at = LedgerTime()

    def bucket(account: str, rate: str) -> LedgerBucket:
        with lock:
            if (account, rate) not in known:
                booker = Booker(ledger, account, Line.at(rate), at)
                known[account, rate] = LedgerBucket(booker)
            return known[account, rate]

    return bucket
