"""A system that lives in this process: for tests of everything above connectors, and for demos.

It passes the same contract suite as the real ones, so it cannot drift from them. Stores are
shared by name: every session with the same `store` sees the same records, as sessions with a
real system do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from hashlib import sha256
from itertools import pairwise
from typing import Any, cast

from pydantic import BaseModel, ConfigDict, Field

from retention.connectors.base import (
    Arrival,
    Cap,
    Condition,
    Connector,
    Content,
    Level,
    Manifest,
    Op,
    Opened,
    Outcome,
    Page,
    Probe,
    Proof,
    Record,
    Ref,
    Result,
    Scalar,
    Target,
    Value,
    When,
)
from retention.errors import CredentialsRefused, PermanentFailure, TemporaryFailure

Row = dict[str, Any]
"""One record: source name → value. The key is not part of it."""


class MemorySystem(BaseModel):
    """Settings of a system."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    store: str = Field(default="default", description="Sessions of one name share records.")
    page: int = Field(default=500, ge=1)


class MemoryLocation(BaseModel):
    """Settings of a location."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: str


@dataclass(slots=True)
class Fault:
    """One planned failure: at the `at`-th record of a call named `op`, once (or `times` times)."""

    op: str
    at: int
    error: Callable[[], BaseException]
    """Raised before the record is touched (so records before it are done)."""
    after: bool = False
    """Raised after the record was acted upon: the answer was lost on the way."""
    times: int = 1


@dataclass(slots=True)
class Store:
    """The records of one named store, and what shall go wrong with it."""

    tables: dict[str, dict[str, Row]] = field(default_factory=dict, repr=False)
    faults: list[Fault] = field(default_factory=list)
    denied: bool = False
    """The permission is lost: finding and acting refuse; a look does not even see a control."""
    results: dict[str, Result] = field(default_factory=dict, repr=False)
    """Key → what an act answers instead of acting (locked by law, failed for good, …)."""
    log: list[tuple[str, str]] = field(default_factory=list, repr=False)
    """(op, key) of every record acted upon, in order; proves that nothing was done twice."""

    def table(self, name: str) -> dict[str, Row]:
        """The records of a table, made when first used."""
        return self.tables.setdefault(name, {})

    def put(self, table: str, key: str, **values: Any) -> None:
        """Write one record."""
        self.table(table)[key] = dict(values)

    def fail(
        self,
        op: str,
        *,
        at: int = 0,
        after: bool = False,
        times: int = 1,
        error: Callable[[], BaseException] | None = None,
    ) -> None:
        """Plan a failure; the default is a temporary one."""
        self.faults.append(Fault(op, at, error or lost, after=after, times=times))


def lost() -> BaseException:
    """The usual temporary failure."""
    return TemporaryFailure("the connection was lost", code="connection")


_stores: dict[str, Store] = {}


def store(name: str = "default") -> Store:
    """The store of that name, made when first used."""
    return _stores.setdefault(name, Store())


def forget(name: str | None = None) -> None:
    """Empty one store, or all of them."""
    if name is None:
        _stores.clear()
    else:
        _stores.pop(name, None)


manifest = Manifest(
    kind="memory",
    title="Records in the memory of this process",
    capabilities=Cap.DELETE
    | Cap.MASK
    | Cap.READ
    | Cap.CONDITIONAL
    | Cap.PUSH_DOWN
    | Cap.SHARDS
    | Cap.RECEIVE,
    system_settings=MemorySystem,
    location_settings=MemoryLocation,
    notes=("For tests and demonstrations: nothing outlives the process.",),
    patterned=lambda _: False,
)


def connect(opened: Opened) -> Connector:
    """A new session with a store."""
    return MemoryConnector(opened.system, cast(MemorySystem, opened.settings))


class MemoryConnector:
    """One session with one store."""

    def __init__(self, system: str, settings: MemorySystem) -> None:
        self._system = system
        self._page = settings.page
        self._store = store(settings.store)

    def describe(self) -> Manifest:
        return manifest

    def probe(self, targets: Sequence[Target]) -> Iterator[Probe]:
        yield Probe("rights", not self._store.denied, "may find, read, delete and change")
        for target in targets:
            there = self._name(target) in self._store.tables
            yield Probe(f"location {target.name}", there, "exists" if there else "has no table")

    def containers(self, target: Target) -> tuple[str, ...]:
        name = self._name(target)
        if name not in self._store.tables:
            raise PermanentFailure(
                f"there is no table `{name}`",
                hint=f"there are {', '.join(sorted(self._store.tables)) or 'none'}",
                place=target.name,
                code="missing",
            )
        return (name,)

    def count(self, target: Target) -> int | None:
        self._refuse_when_denied()
        self._step("count", 0)
        return len(self._rows(target))

    def spans(self, target: Target, most: int, least: int) -> tuple[str | None, ...]:
        self._refuse_when_denied()
        keys = sorted(self._rows(target))
        number = min(most, len(keys) // max(1, least))
        if number < 2:
            return (None,)
        cuts = [None, *(keys[len(keys) * n // number] for n in range(1, number)), None]
        return tuple(json.dumps(span) for span in pairwise(cuts))

    def find(self, target: Target, cursor: str | None = None) -> Iterator[Page]:
        self._refuse_when_denied()
        after = json.loads(cursor)["after"] if cursor else None
        first, end = json.loads(target.span) if target.span else (None, None)
        keys = sorted(
            key
            for key in self._rows(target)
            if (after is None or key > after)
            and (first is None or key >= first)
            and (end is None or key < end)
        )
        for number, start in enumerate(range(0, len(keys), self._page)):
            chunk = keys[start : start + self._page]
            self._step("find", number)
            rows = self._rows(target)
            records = [
                self._record(target, key, rows[key])
                for key in chunk
                if key in rows and _may_match(rows[key], target)
            ]
            yield Page(records, json.dumps({"after": chunk[-1]}), len(chunk))

    def recheck(self, target: Target, keys: Sequence[str]) -> Iterator[Record]:
        self._refuse_when_denied()
        rows = self._rows(target)
        for number, key in enumerate(keys):
            self._step("recheck", number)
            if (row := rows.get(key)) is not None:
                yield self._record(target, key, row)

    def erase(self, target: Target, refs: Sequence[Ref]) -> Iterator[Outcome]:
        rows = self._rows(target)

        def act(key: str) -> None:
            del rows[key]

        return self._act("erase", target, refs, act)

    def mask(
        self, target: Target, refs: Sequence[Ref], values: Mapping[str, Scalar]
    ) -> Iterator[Outcome]:
        rows = self._rows(target)

        def act(key: str) -> None:
            rows[key] = {**rows[key], **values}

        return self._act("mask", target, refs, act, values)

    def read(self, target: Target, refs: Sequence[Ref]) -> Iterator[Content]:
        self._refuse_when_denied()
        rows = self._rows(target)
        for number, ref in enumerate(refs):
            self._step("read", number)
            if (row := rows.get(ref.key)) is not None:
                data = json.dumps({"key": ref.key, **row}, default=_text, ensure_ascii=False)
                name = sha256(ref.key.encode()).hexdigest()[:16]
                yield Content(ref.key, "application/json", f"{name}.json", data.encode())

    def receive(self, target: Target, arrivals: Sequence[Arrival]) -> Iterator[Outcome]:
        self._refuse_when_denied()
        rows = self._rows(target)
        for number, arrival in enumerate(arrivals):
            self._step("receive", number)
            if arrival.key not in rows:
                rows[arrival.key] = dict(arrival.values)
                self._store.log.append(("receive", arrival.key))
            self._step("receive", number, after=True)
            yield Outcome(arrival.key, Result.RECEIVED)

    def verify(
        self,
        target: Target,
        refs: Sequence[Ref],
        control: Ref | None,
        masked: Mapping[str, Scalar] | None = None,
    ) -> Iterator[Proof]:
        rows = {} if self._store.denied else self._rows(target)
        if self._store.denied and control is None:
            raise CredentialsRefused("reading is not allowed", place=self._system)
        trusted = control is None or control.key in rows
        for number, ref in enumerate(refs):
            self._step("verify", number)
            yield Proof(ref.key, _level(rows.get(ref.key), trusted, masked), "lookup by key")

    def close(self) -> None:
        """Nothing to end."""

    # --- inner ------------------------------------------------------------------------------

    def _act(
        self,
        op: str,
        target: Target,
        refs: Sequence[Ref],
        act: Callable[[str], None],
        values: Mapping[str, Scalar] | None = None,
    ) -> Iterator[Outcome]:
        self._refuse_when_denied()
        rows = self._rows(target)
        for number, ref in enumerate(refs):
            self._step(op, number)
            row = rows.get(ref.key)
            if row is None:
                yield Outcome(ref.key, Result.ALREADY_ABSENT)
            elif (result := self._store.results.get(ref.key)) is not None:
                yield Outcome(ref.key, result, "planned")
            elif _version(target, row) != ref.version:
                done = values is not None and all(row.get(k) == v for k, v in values.items())
                yield Outcome(ref.key, Result.ALREADY_ABSENT if done else Result.CHANGED)
            else:
                act(ref.key)
                self._store.log.append((op, ref.key))
                self._step(op, number, after=True)
                yield Outcome(ref.key, Result.DISPOSED)

    def _name(self, target: Target) -> str:
        return cast(MemoryLocation, target.settings).table

    def _rows(self, target: Target) -> dict[str, Row]:
        return self._store.tables.get(self._name(target), {})

    def _record(self, target: Target, key: str, row: Row) -> Record:
        return Record(
            Ref(self._name(target), key, _version(target, row)),
            {name: _when(row.get(name)) for name in target.dates},
            {name: cast(Value, row.get(name)) for name in target.fields},
        )

    def _refuse_when_denied(self) -> None:
        if self._store.denied:
            raise CredentialsRefused(
                "the system refuses these credentials",
                hint="grant reading and deleting",
                place=self._system,
            )

    def _step(self, op: str, number: int, *, after: bool = False) -> None:
        """Let a planned failure happen."""
        for fault in self._store.faults:
            if (fault.op, fault.at, fault.after) == (op, number, after) and fault.times > 0:
                fault.times -= 1
                error = fault.error()
                raise error


def _when(value: Any) -> When:
    """Dates as the protocol wants them; anything else is no date, and never due."""
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    return value if isinstance(value, date) else None


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def _version(target: Target, row: Row) -> str:
    """Fingerprint of what the decision rests on: the dates and fields that the target reads."""
    read = [[name, _text(row.get(name))] for name in (*target.dates, *target.fields)]
    return sha256(json.dumps(read).encode()).hexdigest()[:24]


def _level(row: Row | None, trusted: bool, masked: Mapping[str, Scalar] | None) -> Level:
    if not trusted:
        return Level.UNKNOWN
    if row is None:
        return Level.GONE
    if masked is not None and all(row.get(k) == v for k, v in masked.items()):
        return Level.GONE
    return Level.PRESENT


def _may_match(row: Row, target: Target) -> bool:
    for bound in target.bounds:
        when = _when(row.get(bound.source))
        # Civil dates are left to the engine: which instant they end at depends on its time zone.
        if isinstance(when, datetime) and when >= bound.instant:
            return False
    return all(_holds(row, condition) for condition in target.where)


def _holds(row: Row, condition: Condition) -> bool:
    value, wanted = row.get(condition.source), condition.value
    match condition.op:
        case Op.IN:
            return bool(value in wanted)
        case Op.NOT_IN:
            return bool(value not in wanted)
        case Op.EMPTY:
            return bool((value is None or value in ("", ())) == wanted)
        case Op.MATCHES:
            return re.search(wanted, str(value or "")) is not None
        case _:
            # Civil days depend on the organisation's time zone: the engine compares them.
            return True
