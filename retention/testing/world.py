"""One throw-away system, as the contract suite sees it: what a connector's author fills in.

Everything here works *without* the connector under test: it writes and reads by another route
(a driver, a file, another client), so that the suite can tell what the connector really did.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import ClassVar, NamedTuple

from retention.connectors.base import Bound, Condition, Connector, Target, When

ODD_NAMES: tuple[str, ...] = (
    "o'hara",
    'dou"ble',
    "per%cent",
    "%s %(key)s",
    "under_score",
    "back\\slash",
    "'; DROP TABLE records; --",
    "{curly} {0}",
    ":colon",
    "=1+1",
    "  spaces  ",
    "tab\tin it",
    "new\nline",
    "naïve ærø ÅÄÖ",
    "日本語",
    "key 🗝",
    "x" * 180,
)
"""Names that have broken other programs."""


class Plan(NamedTuple):
    """A record to be written: `name` is unique and becomes the key where keys can be chosen."""

    name: str
    received: datetime | None = None
    status: str = "new"
    email: str = "someone@example.org"


class World(ABC):
    """One system with one location. Make a fresh one for each test; `close` it after."""

    date: ClassVar[str] = "received"
    """Source name of the records' date."""
    status: ClassVar[str] = "status"
    """Source name of a text field that can be filtered on (and masked, where there is MASK)."""
    email: ClassVar[str] = "email"
    """Source name of the subject's address."""
    page: ClassVar[int] = 5
    """Records a page at most; open the connector with such small pages."""
    undated: ClassVar[bool] = True
    """Whether a record can lack its date."""
    changeable: ClassVar[bool] = True
    """Whether a record can change and stay the same record (mail cannot)."""
    odd_names: ClassVar[Sequence[str]] = ODD_NAMES
    """Override to leave out what the system cannot hold at all."""
    secrets: ClassVar[Sequence[str]] = ()
    """Passwords in use; the suite greps for them."""

    # --- the connector under test ---

    @abstractmethod
    def open(self) -> Connector:
        """A new session, not wrapped, with pages of `page` records."""

    @abstractmethod
    def target(
        self, *, where: tuple[Condition, ...] = (), bounds: tuple[Bound, ...] = ()
    ) -> Target:
        """The location, reading `date` as date and `status`, `email` as fields."""

    @abstractmethod
    def missing(self) -> Target:
        """A location whose container (table, folder, sheet) does not exist."""

    # --- the other route ---

    @abstractmethod
    def put(self, plans: Sequence[Plan]) -> list[str]:
        """Write these records; give their keys (`Ref.key`) in the same order."""

    @abstractmethod
    def raw(self) -> Mapping[str, bytes]:
        """Every record of the location now: key → everything the system stores of it."""

    @abstractmethod
    def change(self, key: str) -> None:
        """Alter a record's status behind the connector's back. Called where `changeable`."""

    @abstractmethod
    def remove(self, key: str) -> None:
        """Delete a record behind the connector's back."""

    # --- trouble; lasts as long as the context, for sessions that are opened inside it ---

    @abstractmethod
    def denied(self) -> AbstractContextManager[None]:
        """Our account loses its rights to the location."""

    @abstractmethod
    def temporary(self) -> AbstractContextManager[None]:
        """Acts fail for a reason that passes (locked, unreachable)."""

    @abstractmethod
    def permanent(self) -> AbstractContextManager[None]:
        """Acts fail for a reason that stays (the container has vanished)."""

    @abstractmethod
    def answer_lost(self) -> AbstractContextManager[None]:
        """The system carries out an act, but its answer never reaches the connector."""

    # --- the rest has defaults ---

    def seen(self, received: datetime | None) -> When:
        """What the connector should report for a record written with that date."""
        return received

    def drop(self, connector: Connector) -> None:
        """End a session as a killed process would: nothing is finished properly."""
        connector.close()

    def close(self) -> None:  # noqa: B027 -- most worlds live in a temporary folder
        """Clean up."""
