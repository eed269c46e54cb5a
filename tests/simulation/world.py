"""A world that dies at any step: the real run protocol over a memory system and a real ledger.

Every ledger statement and every connector call passes through `Fate.step`, which may let the
process die there (an exception that nobody catches, as kill -9 leaves no chance to clean up), and
which lets things happen in between: a hold arrives, another scheduler ticks, a wake-up is lost.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, create_engine, event, insert

from retention.audit.log import AuditLog
from retention.connectors import memory
from retention.connectors.base import (
    Arrival,
    Connector,
    Content,
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
from retention.connectors.memory import Store
from retention.connectors.registry import open_connector
from retention.ledger import tables as t
from retention.ledger.store import Ledger, stamp
from retention.policy.model import Bundle
from retention.run.context import Context, Pace
from retention.run.executor import Executor
from retention.run.in_force import approve, register
from retention.schedule.compile import compile_jobs
from retention.subjects.keys import SubjectHasher

T = TypeVar("T")
START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


class Died(BaseException):
    """The process was killed here."""


@dataclass
class SettableClock:
    """A clock that tests move."""

    at: datetime = START

    def now(self) -> datetime:
        return self.at

    def forward(self, **delta: float) -> None:
        self.at += timedelta(**delta)


@dataclass
class Fate:
    """Counts steps; dies at one of them; runs what is due to happen between two steps."""

    die_at: int | None = None
    steps: int = 0
    happenings: dict[int, Callable[[], None]] = field(default_factory=dict)
    armed: bool = True
    trail: list[str] = field(default_factory=list)

    def step(self, name: str, *, quiet: bool = False) -> None:
        """A point at which the process can die. `quiet`: in a transaction, nothing else happens."""
        if not self.armed:
            return
        self.steps += 1
        self.trail.append(name)
        if not quiet:
            for when in sorted(self.happenings):
                if when <= self.steps:
                    self.armed = False
                    self.happenings.pop(when)()
                    self.armed = True
        if self.steps == self.die_at:
            self.armed = False
            raise Died(name)


_COMPILED: Any = create_engine("sqlite://")._compiled_cache


class MortalLedger(Ledger):
    """The real ledger; the process can die around every statement and every commit."""

    fate: Fate

    @classmethod
    def over(cls, url: str, fate: Fate) -> MortalLedger:
        opened = Ledger.open(url)
        mortal = cls(opened.engine)
        mortal.fate = fate
        # Thousands of short lives: what the statements look like is learnt once.
        mortal.engine._compiled_cache = _COMPILED
        event.listen(mortal.engine, "connect", _without_fsync)
        mortal.engine.dispose()
        event.listen(mortal.engine, "before_cursor_execute", mortal._before)
        event.listen(mortal.engine, "after_cursor_execute", mortal._after)
        return mortal

    @contextmanager
    def write(self) -> Iterator[Connection]:
        self.fate.step("before transaction")
        with super().write() as tx:
            yield tx
            self.fate.step("before commit", quiet=True)
        self.fate.step("after commit")

    def _before(self, _c: Any, _cur: Any, statement: str, *_: Any) -> None:
        if statement.split(None, 1)[0] in ("INSERT", "UPDATE", "DELETE"):
            self.fate.step(f"before {statement[:40]}", quiet=True)

    def _after(self, _c: Any, _cur: Any, statement: str, *_: Any) -> None:
        if statement.split(None, 1)[0] in ("INSERT", "UPDATE", "DELETE"):
            self.fate.step(f"after {statement[:40]}", quiet=True)


def _without_fsync(dbapi: Any, _record: Any) -> None:
    # Processes die here, not the machine: what was written stays written.
    dbapi.execute("PRAGMA synchronous=OFF")


class MortalConnector:
    """A connector during whose every call the process can die."""

    def __init__(self, inner: Connector, fate: Fate, seen: list[tuple[str, str]]) -> None:
        self._inner = inner
        self._fate = fate
        self._seen = seen

    def describe(self) -> Manifest:
        return self._inner.describe()

    def probe(self, targets: Sequence[Target]) -> Iterator[Probe]:
        return self._inner.probe(targets)

    def containers(self, target: Target) -> tuple[str, ...]:
        self._fate.step("before containers")
        return self._inner.containers(target)

    def count(self, target: Target) -> int | None:
        self._fate.step("before count")
        return self._inner.count(target)

    def find(self, target: Target, cursor: str | None = None) -> Iterator[Page]:
        yield from self._each("find", self._inner.find(target, cursor))

    def recheck(self, target: Target, keys: Sequence[str]) -> Iterator[Record]:
        yield from self._each("recheck", self._inner.recheck(target, keys))

    def erase(self, target: Target, refs: Sequence[Ref]) -> Iterator[Outcome]:
        self._seen.extend(("erase", ref.key) for ref in refs)
        yield from self._each("erase", self._inner.erase(target, refs))

    def mask(
        self, target: Target, refs: Sequence[Ref], values: Mapping[str, Scalar]
    ) -> Iterator[Outcome]:
        self._seen.extend(("mask", ref.key) for ref in refs)
        yield from self._each("mask", self._inner.mask(target, refs, values))

    def read(self, target: Target, refs: Sequence[Ref]) -> Iterator[Content]:
        yield from self._each("read", self._inner.read(target, refs))

    def receive(self, target: Target, arrivals: Sequence[Arrival]) -> Iterator[Outcome]:
        assert isinstance(self._inner, Receiving)
        yield from self._each("receive", self._inner.receive(target, arrivals))

    def verify(
        self,
        target: Target,
        refs: Sequence[Ref],
        control: Ref | None,
        masked: Mapping[str, Scalar] | None = None,
    ) -> Iterator[Proof]:
        yield from self._each("verify", self._inner.verify(target, refs, control, masked))

    def close(self) -> None:
        self._inner.close()

    def _each(self, name: str, items: Iterator[T]) -> Iterator[T]:
        self._fate.step(f"before {name}")
        for item in items:
            self._fate.step(f"during {name}")
            yield item
        self._fate.step(f"after {name}")


@dataclass
class World:
    """One organisation with one memory system; processes come and die, this stays."""

    folder: Path
    bundle: Bundle
    store: str
    clock: SettableClock = field(default_factory=SettableClock)
    fate: Fate = field(default_factory=Fate)
    acts: list[tuple[str, str]] = field(default_factory=list)
    """(op, key) of every record that was handed to an act, in order."""
    pace: Pace = field(default_factory=lambda: Pace(batch_records=3))

    @property
    def data(self) -> Store:
        return memory.store(self.store)

    def process(self) -> Context:
        """A new process: nothing in memory, only what is durable."""
        ledger = MortalLedger.over(f"sqlite:///{self.folder / 'ledger.db'}", self.fate)
        return Context(
            ledger=ledger,
            log=AuditLog(ledger, self.folder / "keys", "example.org/simulation"),
            hasher=SubjectHasher.open(self.folder / "keys", "NO"),
            clock=self.clock,
            open=self._open,
            folder=self.folder,
            pace=self.pace,
        )

    def _open(self, bundle: Bundle, system: str) -> Connector:
        inner = open_connector(
            system, bundle.systems[system], str(self.folder), lambda _: "", bare=True
        )
        return MortalConnector(inner, self.fate, self.acts)

    @contextmanager
    def quietly(self) -> Iterator[Context]:
        """A process of the same world in which nothing dies: for preparing and for looking."""
        armed, self.fate.armed = self.fate.armed, False
        ctx = self.process()
        try:
            yield ctx
        finally:
            ctx.ledger.close()
            self.fate.armed = armed

    def prepare(self) -> None:
        """Approve every policy and let the schedule know them."""
        with self.quietly() as ctx:
            in_force = register(ctx, self.bundle, broken={})
            for name in self.bundle.policies:
                approve(ctx, in_force, name, by="user:tester")
            self._executor(ctx).once()

    def _executor(self, ctx: Context) -> Executor:
        in_force = register(ctx, self.bundle, broken={})
        jobs = compile_jobs(self.bundle, in_force.digests, self.clock.now())
        return Executor(ctx, in_force, {job.policy: job for job in jobs})

    def live(self) -> bool:
        """One life of the daemon: ticks and works until nothing is owed. False: it was killed."""
        ctx = self.process()
        try:
            self._executor(ctx).once()
        except Died:
            died = True
        else:
            died = False
        finally:
            ctx.ledger.close()
        if died:
            # A killed process holds no lock; here an unread cursor in the dead frames would.
            gc.collect()
        return not died

    def slice(self) -> None:
        """Another process ticks, claims what is free and works on it for one slice."""
        ctx = self.process()
        try:
            executor = self._executor(ctx)
            executor.tick()
            executor.slice()
        finally:
            ctx.ledger.close()

    def hold(self, **scope: Any) -> int:
        """A hold arrives, as the command line would write it."""
        with self.quietly() as ctx, ctx.ledger.write() as tx:
            row = tx.execute(
                insert(t.hold)
                .values(
                    case="C-1",
                    reason="a claim",
                    owner="legal",
                    added_at=stamp(self.clock.now()),
                    **scope,
                )
                .returning(t.hold.c.id)
            ).one()
            ctx.log.append(
                tx, self.clock.now(), "hold.added", actor="user:tester", hold=row.id, case="C-1"
            )
            return int(row.id)

    def entries(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The log as a reviewer reads it."""
        with self.quietly() as ctx:
            return [json.loads(line) for line in ctx.log.query(type=kind)]
