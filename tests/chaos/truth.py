"""What a world knows about its records, and what was seen of it at the end: plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Place = tuple[str, str]
"""(location, native key)."""


@dataclass(frozen=True, slots=True)
class Item:
    """One record. `due`: its policy's period has passed and no minimum protects it."""

    location: str
    key: str
    subject: str
    due: bool
    why: str

    @property
    def place(self) -> Place:
        return self.location, self.key


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold that was in force when the command returned; `number` as it was printed."""

    number: int
    subject: str


@dataclass(slots=True)
class Seen:
    """A world at rest, looked at from outside."""

    items: Mapping[Place, Item]
    left: set[Place]
    """Records that are in their store."""
    deletions: Counter[Place]
    """How often each was deleted, as counted by the SQL stores themselves."""
    counted: frozenset[str]
    """Locations whose store counts deletions."""
    entries: list[dict[str, Any]]
    """The exported log, in order."""
    pseudonyms: Mapping[str, Place]
    holds: Sequence[Hold]
    policies: frozenset[str]
    """Policies that fire every minute."""
    held_leases: int = 0
    open_runs: int = 0
    open_alarms: list[tuple[str, str]] = field(default_factory=list)
    """(policy, kind)."""
    verifications: list[tuple[str, bool, str]] = field(default_factory=list)
    """(checkpoint compared with, ok, what was said)."""
    complaints: list[str] = field(default_factory=list)
    """Tracebacks and exits that no fault explains."""
