"""The statute catalogue, and what a policy's `mandate` takes from it.

The rows stand in `statutes.yaml` beside this file, each with its source and how well it was
checked. Not legal advice.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from enum import StrEnum
from functools import lru_cache
from importlib import resources

from retention.policy import document
from retention.policy.model import Cutoff, PeriodField, Policy, Strict
from retention.policy.periods import Period, last_day

CHECKED = date(2026, 11, 22)
"""When the rows were last compared with their sources, where a row does not say otherwise."""


class Mark(StrEnum):
    """How well a row is founded."""

    PRIMARY = "P"
    SECONDARY = "S"
    GENERAL = "G"


class Statute(Strict):
    """One row: what the law wants kept, how long, counted from when, and who says so."""

    id: str
    country: str
    statute: str
    section: str
    documents: str
    period: PeriodField
    cutoff: Cutoff | None = None
    in_force_from: date | None = None
    in_force_to: date | None = None
    source: str
    mark: Mark
    superseded_by: str | None = None
    checked: date = CHECKED
    note: str | None = None

    @property
    def verified(self) -> bool:
        """False for what is only general knowledge."""
        return self.mark is not Mark.GENERAL

    def superseded(self, on: date | None = None) -> bool:
        """True where another text has taken its place, or it is out of force on that day."""
        ended = on is not None and self.in_force_to is not None and self.in_force_to < on
        return self.superseded_by is not None or ended


class MandateError(ValueError):
    """A policy contradicts its mandate; `field` is the policy's field that does."""

    def __init__(self, message: str, *, code: str, field: str, hint: str) -> None:
        super().__init__(message)
        self.code = code
        self.field = field
        self.hint = hint


@lru_cache(maxsize=1)
def catalogue() -> Mapping[str, Statute]:
    """Every statute by its id."""
    text = resources.files(__package__).joinpath("statutes.yaml").read_text("utf-8")
    read = document.read(text)
    if read.problems or len(read.roots) != 1:
        raise ValueError("the statute catalogue is damaged")
    rows = document.plain(read.roots[0])
    return {name: Statute.model_validate({"id": name, **row}) for name, row in rows.items()}


def resolve(policy: Policy, statute: Statute) -> Policy:
    """The policy with cutoff and minimum filled from its mandate; a longer minimum stays.

    Raises MandateError where the policy says less than the statute or another closing point.
    """
    if policy.keep_at_least is not None and not covers(policy.keep_at_least, statute.period):
        raise MandateError(
            f"{policy.keep_at_least} is shorter than the {statute.period} of {statute.id}",
            code="mandate-shorter",
            field="keep_at_least",
            hint="leave keep_at_least out, or say a longer one",
        )
    if None not in (policy.cutoff, statute.cutoff) and policy.cutoff is not statute.cutoff:
        raise MandateError(
            f"{statute.id} counts from the end of the {_words(statute.cutoff)}, "
            f"not of the {_words(policy.cutoff)}",
            code="mandate-cutoff",
            field="cutoff",
            hint="leave cutoff out",
        )
    return policy.model_copy(
        update={
            "cutoff": statute.cutoff or policy.cutoff,
            "keep_at_least": policy.keep_at_least or statute.period,
        }
    )


def _words(cutoff: Cutoff | None) -> str:
    return str(cutoff).replace("_", " ")


def covers(longer: Period, shorter: Period) -> bool:
    """True where `longer` never ends before `shorter`, whichever day both start."""
    if longer.days == shorter.days and longer.hours == shorter.hours:
        return _months(longer) >= _months(shorter)
    if _months(longer) == _months(shorter):
        return _hours(longer) >= _hours(shorter)
    return all(
        (last_day(day, longer) - last_day(day, shorter)) * 24
        >= timedelta(days=shorter.hours - longer.hours)
        for day in _FOUR_YEARS
    )


def _months(period: Period) -> int:
    return period.years * 12 + period.months


def _hours(period: Period) -> int:
    return period.days * 24 + period.hours


_FOUR_YEARS = tuple(date(2023, 1, 1) + timedelta(n) for n in range(4 * 365 + 1))
"""Every day of a leap cycle. A period that spans 1900 or 2100 differs by at most the same day."""
