"""A compiled job and the four kinds of schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from retention.policy.counting import zone_of
from retention.policy.model import Misfire
from retention.schedule.cron import Cron

Unit = Literal["day", "week", "month", "year"]


@dataclass(frozen=True, slots=True)
class Every:
    """So many days, weeks, months or years after the last firing, at the anchor's time of day.

    `anchor` is a daily cron; it also gives the first firing of all.
    """

    count: int
    unit: Unit
    anchor: Cron

    def __str__(self) -> str:
        return f"every {self.count} {self.unit}{'s' if self.count != 1 else ''}"


@dataclass(frozen=True, slots=True)
class LastOfAll:
    """Not before every part is reached, then at the next moment at which a cron part fires.

    `anchor` gives the time of day where no part is a cron.
    """

    parts: tuple[Cron | Every, ...]
    anchor: Cron

    @property
    def crons(self) -> tuple[Cron, ...]:
        return tuple(part for part in self.parts if isinstance(part, Cron))

    @property
    def intervals(self) -> tuple[Every, ...]:
        return tuple(part for part in self.parts if isinstance(part, Every))

    def __str__(self) -> str:
        said = (p.text if isinstance(p, Cron) else str(p) for p in self.parts)
        return f"last_of({'; '.join(said)})"


@dataclass(frozen=True, slots=True)
class OnEvent:
    """As soon as an event asks for it; `sweep` is the daily look for what arrived later."""

    sweep: Cron

    def __str__(self) -> str:
        return "on_event"


Schedule = Cron | Every | LastOfAll | OnEvent


def crons_of(schedule: Schedule) -> tuple[Cron, ...]:
    """The cron expressions that stand in the policy file for this schedule."""
    if isinstance(schedule, Cron):
        return (schedule,)
    return schedule.crons if isinstance(schedule, LastOfAll) else ()


def quiet_hour_of(schedule: Schedule) -> Cron | None:
    """The daily cron that a schedule falls back on, where it has one."""
    match schedule:
        case OnEvent():
            return schedule.sweep
        case Every() | LastOfAll():
            return schedule.anchor
        case Cron():
            return None


@dataclass(frozen=True, slots=True)
class Job:
    """One policy, ready to be fired.

    `worst_case_age_days`: see `age`; None where the policy has no period. `readings`: for
    `last_of`, reading → days. `maximum`: the period of `delete_at_latest` in words. `overrun_days`:
    how long after its maximum a record goes in the worst case; above zero the promise cannot be
    kept.
    """

    policy: str
    digest: str
    schedule: Schedule
    timezone: str
    worst_case_age_days: int | None = None
    readings: Mapping[str, int] = field(default_factory=dict, hash=False)
    misfire: Misfire = Misfire.COALESCE
    start_deadline: timedelta | None = None
    maximum: str | None = None
    overrun_days: int = 0

    @property
    def cron(self) -> str:
        """The schedule for people and tables: plain cron, `every …`, `last_of(…)`, `on_event`."""
        return self.schedule.text if isinstance(self.schedule, Cron) else str(self.schedule)

    @property
    def zone(self) -> ZoneInfo:
        return zone_of(self.timezone)
