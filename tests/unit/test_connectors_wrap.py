"""The wrappers: what they repeat, what they never repeat, how they wait, what they let through."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
import stamina

from retention.connectors import memory
from retention.connectors.base import (
    Connector,
    Opened,
    Outcome,
    Page,
    Proof,
    Record,
    Ref,
    Result,
    Scalar,
    Target,
)
from retention.connectors.memory import MemoryLocation, MemorySystem
from retention.connectors.wrap import (
    RateLimited,
    Redacting,
    Retrying,
    TokenBucket,
    bucket_of,
    wrapped,
)
from retention.errors import CredentialsRefused, PermanentFailure, TemporaryFailure

TARGET = Target("c/t", MemoryLocation(table="t"))


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    stamina.set_testing(True, attempts=4)
    yield
    stamina.set_testing(False)


@pytest.fixture
def shelf() -> Iterator[memory.Store]:
    memory.forget("wrap")
    store = memory.store("wrap")
    for n in range(10):
        store.put("t", f"k{n}")
    yield store
    memory.forget("wrap")


def session(page: int = 3) -> Connector:
    return memory.connect(Opened("s", MemorySystem(store="wrap", page=page), "."))


def refs(connector: Connector) -> list[Ref]:
    return [r.ref for page in connector.find(TARGET) for r in page.records]


class Clock:
    """Monotonic time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


# --- retry ------------------------------------------------------------------------------------


def test_finding_goes_on_where_it_stopped(shelf: memory.Store) -> None:
    """A page that failed is asked for again; earlier pages are not."""
    shelf.fail("find", at=1)
    found = refs(Retrying(session()))
    assert [r.key for r in found] == [f"k{n}" for n in range(10)]
    shelf.fail("find", at=0, times=2)
    assert len(refs(Retrying(session()))) == 10


def test_patience_ends(shelf: memory.Store) -> None:
    """What keeps failing is handed on as temporary, after a bounded number of tries."""
    shelf.fail("find", at=0, times=99)
    with pytest.raises(TemporaryFailure):
        refs(Retrying(session()))
    assert shelf.faults[0].times == 99 - 4


def test_patience_is_counted_from_the_last_success(shelf: memory.Store) -> None:
    """A long search over a shaky line goes on as long as it gets somewhere."""
    for at in (0, 1):
        shelf.fail("find", at=at, times=3)
    assert len(refs(Retrying(session()))) == 10


def test_looks_are_repeated_for_what_is_missing_only(shelf: memory.Store) -> None:
    """Recheck, read and verify answer once for each record, whatever fails in between."""
    connector = Retrying(session())
    some = refs(connector)
    for op in ("recheck", "read", "verify"):
        shelf.fail(op, at=4)
    keys = [r.key for r in some]
    assert [r.ref.key for r in connector.recheck(TARGET, keys)] == keys
    assert [c.key for c in connector.read(TARGET, some)] == keys
    assert [p.key for p in connector.verify(TARGET, some, some[0])] == keys
    assert all(fault.times == 0 for fault in shelf.faults)


def test_single_answers_are_repeated(shelf: memory.Store) -> None:
    """A count is harmless to ask for twice."""
    shelf.fail("count")
    assert Retrying(session()).count(TARGET) == 10


@pytest.mark.parametrize("after", [False, True])
def test_acts_are_never_repeated(shelf: memory.Store, after: bool) -> None:
    """After a failure in an act nobody knows what happened: the engine looks first."""
    connector = Retrying(session())
    some = refs(connector)
    for op in ("erase", "mask"):
        shelf.fail(op, at=2, after=after)
    told: list[Outcome] = []
    with pytest.raises(TemporaryFailure):
        told.extend(connector.mask(TARGET, some, {"a": 1}))
    with pytest.raises(TemporaryFailure):
        told.extend(connector.erase(TARGET, some))
    done = 3 if after else 2
    assert [op for op, _ in shelf.log] == ["mask"] * done + ["erase"] * done
    assert len(set(shelf.log)) == len(shelf.log)


def test_permanent_failures_are_not_repeated(shelf: memory.Store) -> None:
    """Trying again cannot help."""
    shelf.fail("find", times=9, error=lambda: PermanentFailure("no such table"))
    with pytest.raises(PermanentFailure):
        refs(Retrying(session()))
    assert shelf.faults[0].times == 8


def test_the_wait_that_a_system_asks_for_is_kept(
    shelf: memory.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`retry_after` of an error is how long the next try waits."""
    stamina.set_testing(False)
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    shelf.fail("count", error=lambda: TemporaryFailure("slow down", retry_after=7.0))
    assert Retrying(session()).count(TARGET) == 10
    assert waits == [7.0]


def test_retries_log_no_keys(shelf: memory.Store, caplog: pytest.LogCaptureFixture) -> None:
    """The retry library logs arguments of what it calls; it must never see any."""
    caplog.set_level(logging.DEBUG)
    shelf.fail("recheck", times=2)
    assert len(list(Retrying(session()).recheck(TARGET, ["k1", "k2"]))) == 2
    assert caplog.records
    assert not any("k1" in str(vars(record)) for record in caplog.records)


# --- rate -------------------------------------------------------------------------------------


def test_a_bucket_keeps_the_rate() -> None:
    """A burst up to the number is free; after that each waits its turn."""
    clock = Clock()
    bucket = TokenBucket(4, 1.0, monotonic=clock.monotonic, sleep=clock.sleep)
    times = []
    for _ in range(12):
        bucket.take()
        times.append(clock.now)
    assert times[:4] == [0.0] * 4
    assert times[-1] == pytest.approx(2.0)
    clock.now += 100
    for _ in range(5):
        bucket.take()
    assert clock.now == pytest.approx(102.25)


def test_sessions_of_an_account_share_their_bucket() -> None:
    """Two sessions together are no faster than one; another account has its own."""
    assert bucket_of("crm", "4/s") is bucket_of("crm", "4/s")
    assert bucket_of("crm", "4/s") is not bucket_of("mail", "4/s")
    assert bucket_of("crm", "60/min") is not bucket_of("crm", "4/s")


def test_every_page_and_every_call_takes_a_token(shelf: memory.Store) -> None:
    """Finding is as many requests as it has pages."""
    clock = Clock()
    bucket = TokenBucket(1, 1.0, monotonic=clock.monotonic, sleep=clock.sleep)
    connector = RateLimited(session(page=5), bucket)
    some = refs(connector)
    assert clock.now == pytest.approx(2.0)  # two pages, and the one that says there is no third
    list(connector.erase(TARGET, some))
    connector.count(TARGET)
    assert clock.now == pytest.approx(4.0)


# --- redaction --------------------------------------------------------------------------------

PERSONAL = "canary.person@example.org"


class Leaky:
    """A connector whose driver talks too much."""

    def __init__(self, error: Callable[[], Exception]) -> None:
        self.error = error
        self.inner = session()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def _raise(self) -> Any:
        try:
            raise self.error()
        except Exception as cause:
            raise self.error() from cause

    def containers(self, target: Target) -> tuple[str, ...]:
        return tuple(self._raise())

    def find(self, target: Target, cursor: str | None = None) -> Iterator[Page]:
        yield next(self.inner.find(target))
        self._raise()

    def recheck(self, target: Target, keys: Sequence[str]) -> Iterator[Record]:
        return iter(self._raise())

    def verify(
        self,
        target: Target,
        refs: Sequence[Ref],
        control: Ref | None,
        masked: Mapping[str, Scalar] | None = None,
    ) -> Iterator[Proof]:
        return iter(self._raise())

    def close(self) -> None:
        self._raise()


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (lambda: ValueError(PERSONAL), PermanentFailure),
        (lambda: KeyError(PERSONAL), PermanentFailure),
        (lambda: ConnectionResetError(PERSONAL), TemporaryFailure),
        (lambda: TimeoutError(PERSONAL), TemporaryFailure),
        (lambda: CredentialsRefused("refused"), CredentialsRefused),
    ],
)
def test_a_drivers_words_never_pass(
    shelf: memory.Store, error: Callable[[], Exception], becomes: type[Exception]
) -> None:
    """Only the cause and the class come out, whichever call it was, and nothing in the chain."""
    connector = Redacting(Leaky(error), "crm")
    for ask in (
        lambda: connector.containers(TARGET),
        lambda: list(connector.find(TARGET)),
        lambda: list(connector.recheck(TARGET, ["k1"])),
        lambda: list(connector.verify(TARGET, [], None)),
        connector.close,
    ):
        with pytest.raises(becomes) as caught:
            ask()
        assert type(caught.value) is becomes
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
        assert PERSONAL not in str(caught.value) + repr(caught.value) + repr(vars(caught.value))
        assert "crm" in str(caught.value)


def test_wrapped_is_still_a_connector(shelf: memory.Store) -> None:
    """All wrappers together answer like the connector itself."""
    connector = wrapped(session(), system="s", rate="1000/s")
    assert isinstance(connector, Connector)
    assert connector.describe() is memory.manifest
    assert connector.containers(TARGET) == ("t",)
    assert connector.count(TARGET) == 10
    some = refs(connector)
    assert [o.result for o in connector.erase(TARGET, some[:1])] == [Result.DISPOSED]
    assert list(connector.probe([TARGET]))
    assert "wrap" not in repr(connector)
    connector.close()
