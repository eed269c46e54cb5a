"""The in-memory connector keeps the contract, so tests that use it tell the truth."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest

from retention.connectors import memory
from retention.connectors.base import Bound, Condition, Connector, Opened, Result, Target
from retention.connectors.memory import MemoryLocation, MemorySystem
from retention.errors import PermanentFailure, TemporaryFailure
from retention.testing.contract import ConnectorContract
from retention.testing.world import Plan, World


class MemoryWorld(World):
    """One named store."""

    def __init__(self) -> None:
        memory.forget("contract")
        self.store = memory.store("contract")
        self.rows = self.store.table("records")

    def open(self) -> Connector:
        settings = MemorySystem(store="contract", page=self.page)
        return memory.connect(Opened("test", settings, "."))

    def target(
        self, *, where: tuple[Condition, ...] = (), bounds: tuple[Bound, ...] = ()
    ) -> Target:
        settings = MemoryLocation(table="records")
        return Target("c/records", settings, ("received",), ("status", "email"), where, bounds)

    def missing(self) -> Target:
        return Target("c/none", MemoryLocation(table="none"))

    def put(self, plans: Sequence[Plan]) -> list[str]:
        for plan in plans:
            self.store.put(
                "records",
                plan.name,
                received=plan.received,
                status=plan.status,
                email=plan.email,
            )
        return [plan.name for plan in plans]

    def raw(self) -> Mapping[str, bytes]:
        return {k: json.dumps(row, default=str).encode() for k, row in self.rows.items()}

    def change(self, key: str) -> None:
        self.rows[key] = {**self.rows[key], "status": "changed"}

    def remove(self, key: str) -> None:
        del self.rows[key]

    @contextmanager
    def denied(self) -> Iterator[None]:
        self.store.denied = True
        yield
        self.store.denied = False

    @contextmanager
    def temporary(self) -> Iterator[None]:
        self.store.fail("erase", times=99)
        yield
        self.store.faults.clear()

    @contextmanager
    def permanent(self) -> Iterator[None]:
        self.store.fail("erase", times=99, error=lambda: PermanentFailure("no such table"))
        yield
        self.store.faults.clear()

    @contextmanager
    def answer_lost(self) -> Iterator[None]:
        self.store.fail("erase", after=True)
        yield
        self.store.faults.clear()

    def close(self) -> None:
        memory.forget("contract")


class TestMemory(ConnectorContract):
    @pytest.fixture
    def world(self) -> Iterator[World]:
        world = MemoryWorld()
        yield world
        world.close()


def test_failures_happen_where_they_are_planned() -> None:
    """A planned failure at k leaves the records before k done and the others untouched."""
    world = MemoryWorld()
    keys = world.put([Plan(f"r{n}") for n in range(4)])
    connector = world.open()
    refs = [r.ref for page in connector.find(world.target()) for r in page.records]
    world.store.fail("erase", at=2)
    with pytest.raises(TemporaryFailure):
        list(connector.erase(world.target(), refs))
    assert sorted(world.rows) == keys[2:]
    assert world.store.log == [("erase", keys[0]), ("erase", keys[1])]


def test_results_can_be_planned() -> None:
    """A record that the vendor locks is left alone and named so."""
    world = MemoryWorld()
    world.put([Plan("a")])
    world.store.results["a"] = Result.LOCKED_BY_VENDOR
    connector = world.open()
    refs = [r.ref for page in connector.find(world.target()) for r in page.records]
    (outcome,) = connector.erase(world.target(), refs)
    assert outcome.result is Result.LOCKED_BY_VENDOR
    assert "a" in world.rows
