"""What a decision may depend on, and nothing else: one record reduced to a small hashable value.

Two records with equal facts have the same fate at the same moment, which is what makes it safe
to remember verdicts: `judge` sees facts only, never the record.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import NamedTuple

from retention.decide.model import LinkedStart
from retention.policy.model import Scalar

When = datetime | date | None
Value = Scalar | tuple[str, ...] | date | datetime


class People(NamedTuple):
    """What is known about a record's subjects, reduced to what some rule asks for.

    `events` and `linked` are aligned with the names in `Asked`; `withdrawn` with the claims.
    """

    events: tuple[datetime | None, ...] = ()
    linked: tuple[LinkedStart | None, ...] = ()
    withdrawn: tuple[datetime | None, ...] = ()
    erased: datetime | None = None
    restricted: bool = False
    access_open: bool = False


class Asked(NamedTuple):
    """The questions that a container's rules ask of a record: positions in `Facts` and `People`."""

    dates: Mapping[str, int]
    events: Mapping[str, int]
    links: Mapping[tuple[str, str], int]


class Facts(NamedTuple):
    """One record, reduced. `dates`: civil dates, or instants where a rule counts hours.

    `future`: sources whose date lies after now. `where`: an answer for each set of filters.
    `masked`: for each mask, whether the record already looks like that.
    """

    asked: Asked
    dates: tuple[When, ...]
    future: tuple[str, ...]
    where: tuple[bool | None, ...]
    masked: tuple[bool, ...]
    people: People

    def when(self, source: str) -> When:
        """The record's date of that source; None where it has none."""
        return self.dates[self.asked.dates[source]]

    def event(self, name: str) -> datetime | None:
        """When that event of its subjects last happened."""
        found = self.people.events
        return found[self.asked.events[name]] if found else None

    def linked(self, link: tuple[str, str]) -> LinkedStart | None:
        """What that date of another cluster is for its subjects; None where nobody looked."""
        found = self.people.linked
        return found[self.asked.links[link]] if found else None

    def withdrawn(self, claim: int) -> datetime | None:
        """When consent was withdrawn, or an objection made, for the purpose of that claim."""
        found = self.people.withdrawn
        return found[claim] if found else None

    def known_dates(self, sources: tuple[str, ...]) -> list[date | datetime]:
        """Those of these dates that the record has."""
        return [d for s in sources if (d := self.when(s)) is not None]
