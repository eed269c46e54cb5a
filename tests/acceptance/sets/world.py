"""What a test of one example set is made of."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from retention.run.home import Home
from retention.run.orders import add_hold, fire_event, withdraw_consent
from retention.subjects.holds import Scope

NOW = datetime(2026, 9, 15, 10, 0, tzinfo=UTC)
"""The day of all these tests; the data is dated around it."""
POLICIES = Path(__file__).resolve().parents[3] / "policies"


@dataclass(frozen=True)
class Still:
    """A clock that stands still."""

    at: datetime = NOW

    def now(self) -> datetime:
        return self.at


@dataclass(frozen=True)
class World:
    """Real stores for a set.

    `env`: secrets of its systems. `seen` reads what is left in each place, without connectors;
    `left` is what must be left. `orders`: events and holds that come before the runs.
    """

    folder: Path
    env: Mapping[str, str]
    seen: Callable[[], dict[str, Any]]
    left: Mapping[str, Any]
    orders: Callable[[Home], None] = lambda _home: None
    review: Mapping[str, int] = field(default_factory=dict)
    """Policy → records that a person must look at."""
    suppressing: AbstractSet[str] = frozenset()
    """Policies whose disposals leave keyed hashes behind."""


def copied(name: str, to: Path, *replaced: tuple[str, str]) -> Path:
    """A copy of a set, with lines that name a server replaced."""
    folder = to / name
    shutil.copytree(POLICIES / name, folder)
    file = folder / "organisation.yaml"
    text = file.read_text(encoding="utf-8")
    for old, new in replaced:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    file.write_text(text, encoding="utf-8")
    return folder


def withdraw(home: Home, email: str, purpose: str) -> None:
    """As `consent withdraw` does."""
    mark = home.ctx.hasher.subject("email", email)
    withdraw_consent(home.ctx, mark, purpose, happened=None)


def fire(home: Home, event: str, kind: str, key: str, happened: datetime) -> None:
    """As `event fire` does."""
    fire_event(home.ctx, event, home.ctx.hasher.subject(kind, key), happened=happened)


def hold(home: Home, email: str) -> None:
    """As `hold add --subject` does, for a court order."""
    add_hold(
        home.ctx,
        Scope(subject=home.ctx.hasher.subject("email", email)),
        case="2026-0815",
        reason="court order",
        owner="legal",
        review_by=NOW + timedelta(days=90),
    )
