"""Wrappers that are connectors: redaction, rate limit, retry. A connector itself has none of them.

They nest as `Retrying(RateLimited(Redacting(connector)))`: what a driver raises is reduced to a
cause first, so that retry sees clean errors; every retry pays its own token.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Lock
from typing import Any, Protocol, TypeVar

import stamina
from stamina.instrumentation import LoggingOnRetryHook, set_on_retry_hooks

from retention.connectors.base import (
    Arrival,
    Connector,
    Content,
    Divisible,
    Manifest,
    Outcome,
    Page,
    Probe,
    Proof,
    Receiving,
    Record,
    Ref,
    Scalar,
    Target,
)
from retention.errors import ConnectorError, PermanentFailure, RetentionError, TemporaryFailure

# Where structlog happens to be installed, stamina would print retries to stdout, among the data.
set_on_retry_hooks([LoggingOnRetryHook])

T = TypeVar("T")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


class Bucket(Protocol):
    """What says when the next request to a vendor's account may be made."""

    def take(self) -> None:
        """Wait until a request may be made, and count it."""


Buckets = Callable[[str, str], Bucket]
"""The bucket of an account (a system's name) at a rate (`4/s`), shared by all its sessions."""


def wrapped(
    connector: Connector, *, system: str, rate: str | None = None, buckets: Buckets | None = None
) -> Connector:
    """The connector in its usual wrappers. `rate` (`4/s`) is shared by all sessions of `system`.

    `buckets`: shared by more than this process; without it, by this process alone.
    """
    clean: Connector = Redacting(connector, system)
    if rate is not None:
        clean = RateLimited(clean, (buckets or bucket_of)(system, rate))
    return Retrying(clean)


class Wrapper:
    """Passes every call on; wrappers override what they change."""

    def __init__(self, inner: Connector) -> None:
        self.inner = inner

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.inner.describe().kind})"

    def _call(self, ask: Callable[[], T]) -> T:
        """Every call that gives one answer passes here."""
        return ask()

    def _stream(self, ask: Callable[[], Iterator[T]]) -> Iterator[T]:
        """Every call that gives a stream passes here; `ask` starts it (again)."""
        return ask()

    def describe(self) -> Manifest:
        return self.inner.describe()

    def probe(self, targets: Sequence[Target]) -> Iterator[Probe]:
        return self._stream(lambda: self.inner.probe(targets))

    def containers(self, target: Target) -> tuple[str, ...]:
        return self._call(lambda: self.inner.containers(target))

    def count(self, target: Target) -> int | None:
        return self._call(lambda: self.inner.count(target))

    def spans(self, target: Target, most: int, least: int) -> tuple[str | None, ...]:
        inner = self.inner
        if not isinstance(inner, Divisible):
            return (None,)
        return self._call(lambda: inner.spans(target, most, least))

    def find(self, target: Target, cursor: str | None = None) -> Iterator[Page]:
        return self._stream(lambda: self.inner.find(target, cursor))

    def recheck(self, target: Target, keys: Sequence[str]) -> Iterator[Record]:
        return self._stream(lambda: self.inner.recheck(target, keys))

    def erase(self, target: Target, refs: Sequence[Ref]) -> Iterator[Outcome]:
        return self._stream(lambda: self.inner.erase(target, refs))

    def mask(
        self, target: Target, refs: Sequence[Ref], values: Mapping[str, Scalar]
    ) -> Iterator[Outcome]:
        return self._stream(lambda: self.inner.mask(target, refs, values))

    def read(self, target: Target, refs: Sequence[Ref]) -> Iterator[Content]:
        return self._stream(lambda: self.inner.read(target, refs))

    def receive(self, target: Target, arrivals: Sequence[Arrival]) -> Iterator[Outcome]:
        inner = self.inner
        if not isinstance(inner, Receiving):
            kind = self.describe().kind
            raise PermanentFailure(f"`{kind}` takes in no copies of records", code="unsupported")
        return self._stream(lambda: inner.receive(target, arrivals))

    def verify(
        self,
        target: Target,
        refs: Sequence[Ref],
        control: Ref | None,
        masked: Mapping[str, Scalar] | None = None,
    ) -> Iterator[Proof]:
        return self._stream(lambda: self.inner.verify(target, refs, control, masked))

    def close(self) -> None:
        self.inner.close()


# --- redaction --------------------------------------------------------------------------------


class Redacting(Wrapper):
    """What a driver raises leaves here as a cause and a class name: vendor text never passes."""

    def __init__(self, inner: Connector, system: str) -> None:
        super().__init__(inner)
        self.system = system

    def _call(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except Exception as error:  # noqa: BLE001 -- the very point: nothing unknown may pass
            failure = self._clean(error)
        # Raised outside the handler, so that the original does not travel along as its context.
        raise failure

    def _stream(self, ask: Callable[[], Iterator[T]]) -> Iterator[T]:
        try:
            yield from ask()
            return
        except Exception as error:  # noqa: BLE001 -- as above
            failure = self._clean(error)
        raise failure

    def close(self) -> None:
        try:
            self.inner.close()
        except Exception as error:  # noqa: BLE001 -- as above
            failure = self._clean(error)
        else:
            return
        raise failure

    def _clean(self, error: Exception) -> RetentionError:
        if isinstance(error, RetentionError):
            error.__context__ = error.__cause__ = None
            if isinstance(error, ConnectorError) and not error.place:
                error.place = self.system
            return error
        name = type(error).__name__
        if isinstance(error, ConnectionError | TimeoutError | InterruptedError):
            return TemporaryFailure(f"the connection failed ({name})", place=self.system)
        frames = traceback.extract_tb(error.__traceback__)
        where = f"{frames[-1].name}, line {frames[-1].lineno}" if frames else "unknown place"
        return PermanentFailure(
            f"the connector failed unexpectedly ({name} in {where})",
            hint="please report this as a bug of the connector",
            place=self.system,
            code="unexpected",
        )


# --- rate limit -------------------------------------------------------------------------------


class TokenBucket:
    """At most `n` requests in any stretch of `seconds`, on average; bursts of up to `n`.

    `monotonic` and `sleep` are parameters so that tests need not wait.
    """

    def __init__(
        self,
        n: int,
        seconds: float,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._size = float(n)
        self._per_second = n / seconds
        self._tokens = float(n)
        self._monotonic = monotonic
        self._sleep = sleep
        self._at = monotonic()
        self._lock = Lock()

    def take(self) -> None:
        """Wait until a request may be made, and count it."""
        with self._lock:
            now = self._monotonic()
            self._tokens = min(self._size, self._tokens + (now - self._at) * self._per_second)
            self._at = now
            # Going below zero books the future: the next caller waits behind this one.
            self._tokens -= 1.0
            wait = -self._tokens / self._per_second
        if wait > 0:
            self._sleep(wait)


_buckets: dict[str, tuple[str, TokenBucket]] = {}
_buckets_lock = Lock()


def bucket_of(account: str, rate: str) -> TokenBucket:
    """The bucket that all sessions of this account share in this process. `rate`: `N/(s|min|h)`."""
    number, _, unit = rate.partition("/")
    with _buckets_lock:
        known = _buckets.get(account)
        if known is None or known[0] != rate:
            known = (rate, TokenBucket(int(number), _SECONDS[unit]))
            _buckets[account] = known
        return known[1]


class RateLimited(Wrapper):
    """Takes a token before every call, and before every further page of `find`."""

    def __init__(self, inner: Connector, bucket: Bucket) -> None:
        super().__init__(inner)
        self.bucket = bucket

    def _call(self, ask: Callable[[], T]) -> T:
        self.bucket.take()
        return ask()

    def _stream(self, ask: Callable[[], Iterator[T]]) -> Iterator[T]:
        self.bucket.take()
        yield from ask()

    def find(self, target: Target, cursor: str | None = None) -> Iterator[Page]:
        pages = self.inner.find(target, cursor)
        while True:
            self.bucket.take()
            page = next(pages, None)
            if page is None:
                return
            yield page


# --- retry ------------------------------------------------------------------------------------

_END: Any = object()


def _temporary(error: Exception) -> bool | float:
    """Stamina's question: try again? A number is the wait that the system itself asked for."""
    if not isinstance(error, TemporaryFailure):
        return False
    return error.retry_after if error.retry_after is not None else True


class Retrying(Wrapper):
    """Repeats looks after temporary failures, never acts.

    After a failure in the middle of an act nobody knows what the system did: the engine looks
    before anything is tried again. A stream goes on where it stopped: `find` from the last page's
    cursor, the others with what has not been answered yet.
    """

    def __init__(
        self,
        inner: Connector,
        *,
        attempts: int = 5,
        timeout: float = 120.0,
        wait_initial: float = 0.2,
        wait_max: float = 20.0,
    ) -> None:
        super().__init__(inner)
        self._policy: dict[str, Any] = {
            "attempts": attempts,
            "timeout": timeout,
            "wait_initial": wait_initial,
            "wait_max": wait_max,
        }

    def _call(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except TemporaryFailure as error:
            return self._again(error, ask)

    def _again(self, first: TemporaryFailure, ask: Callable[[], T]) -> T:
        """Wait as the first failure asks for, then try until it works or patience ends."""
        failed: list[TemporaryFailure] = [first]
        answer: T = _END
        # The context form, because the decorator would put arguments (keys) into its log line.
        for attempt in stamina.retry_context(on=_temporary, **self._policy):
            with attempt:
                if failed:
                    raise failed.pop()
                answer = ask()
        return answer

    def _stream(self, ask: Callable[[], Iterator[T]]) -> Iterator[T]:
        stream = ask()
        while True:
            try:
                yield from stream
                return
            except TemporaryFailure as error:
                # Patience is counted from the last item that arrived, not from the start.
                first, stream = self._again(error, lambda: _peek(ask()))
            if first is _END:
                return
            yield first

    def erase(self, target: Target, refs: Sequence[Ref]) -> Iterator[Outcome]:
        return self.inner.erase(target, refs)

    def mask(
        self, target: Target, refs: Sequence[Ref], values: Mapping[str, Scalar]
    ) -> Iterator[Outcome]:
        return self.inner.mask(target, refs, values)

    def receive(self, target: Target, arrivals: Sequence[Arrival]) -> Iterator[Outcome]:
        if not isinstance(self.inner, Receiving):
            return super().receive(target, arrivals)
        return self.inner.receive(target, arrivals)

    def probe(self, targets: Sequence[Target]) -> Iterator[Probe]:
        # Findings told twice would confuse; a probe is short, so it is repeated as a whole.
        return iter(self._call(lambda: list(self.inner.probe(targets))))

    def find(self, target: Target, cursor: str | None = None) -> Iterator[Page]:
        at = cursor

        def ask() -> Iterator[Page]:
            nonlocal at
            for page in self.inner.find(target, at):
                at = page.cursor
                yield page

        return self._stream(ask)

    def recheck(self, target: Target, keys: Sequence[str]) -> Iterator[Record]:
        seen: set[str] = set()

        def ask() -> Iterator[Record]:
            for record in self.inner.recheck(target, _unseen(keys, seen)):
                seen.add(record.ref.key)
                yield record

        return self._stream(ask)

    def read(self, target: Target, refs: Sequence[Ref]) -> Iterator[Content]:
        seen: set[str] = set()

        def ask() -> Iterator[Content]:
            for content in self.inner.read(target, [r for r in refs if r.key not in seen]):
                seen.add(content.key)
                yield content

        return self._stream(ask)

    def verify(
        self,
        target: Target,
        refs: Sequence[Ref],
        control: Ref | None,
        masked: Mapping[str, Scalar] | None = None,
    ) -> Iterator[Proof]:
        seen: set[str] = set()

        def ask() -> Iterator[Proof]:
            left = refs if not seen else [r for r in refs if r.key not in seen]
            for proof in self.inner.verify(target, left, control, masked):
                seen.add(proof.key)
                yield proof

        return self._stream(ask)


def _unseen(keys: Sequence[str], seen: set[str]) -> Sequence[str]:
    return keys if not seen else [key for key in keys if key not in seen]


def _peek(stream: Iterator[T]) -> tuple[T, Iterator[T]]:
    return next(stream, _END), stream
