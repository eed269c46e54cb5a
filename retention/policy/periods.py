"""Calendar periods and how they are counted (Regulation (EEC, Euratom) 1182/71 art. 3; law.md).

The day of the event is not counted; a period in months or years ends with the last hour of the
day with the same number, or of the month's last day where it lacks that number. So for a period
that starts with an event on day D:

- it runs *through* `last_day(D, period)`;
- a minimum allows disposal from the day after (`earliest`);
- a maximum requires that the record is gone by the end of that day (`due`).

29 Feb 2020 + 5 years runs through 28 Feb 2025: earliest 1 Mar 2025, due 28 Feb 2025.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from dateutil.relativedelta import relativedelta
from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

_WORDS = re.compile(r"(\d+)\s*(hour|day|week|month|year)s?", re.IGNORECASE)
_ISO = re.compile(r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?)?")
_FORM = "a number and a unit, e.g. `1 month`, `3 years 6 months`, `90 days`, `24 hours` or `P1M`"


@dataclass(frozen=True, slots=True)
class Period:
    """A length of calendar time. Never converted to 30 or 365 days."""

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0

    @classmethod
    def parse(cls, text: object) -> Period:
        """Read `3 years 6 months` or `P3Y6M`. Raises ValueError for anything else, and for zero."""
        if not isinstance(text, str):
            raise ValueError(f"not a period: expected {_FORM}")  # noqa: TRY004 - pydantic's way
        words = text.strip()
        if iso := _ISO.fullmatch(words):
            y, m, w, d, h = (int(g or 0) for g in iso.groups())
            period = cls(years=y, months=m, days=d + 7 * w, hours=h)
        else:
            rest = _WORDS.sub("", words).replace(",", " ").replace(" and ", " ")
            if rest.strip():
                raise ValueError(f"not a period: expected {_FORM}")
            sums = dict.fromkeys(("year", "month", "week", "day", "hour"), 0)
            for number, unit in _WORDS.findall(words):
                sums[unit.lower()] += int(number)
            period = cls(
                years=sums["year"],
                months=sums["month"],
                days=sums["day"] + 7 * sums["week"],
                hours=sums["hour"],
            )
        if period == cls():
            raise ValueError(f"a period must be longer than zero: expected {_FORM}")
        return period

    def __str__(self) -> str:
        parts = (
            (self.years, "year"),
            (self.months, "month"),
            (self.days, "day"),
            (self.hours, "hour"),
        )
        return " ".join(f"{n} {unit}{'s' if n != 1 else ''}" for n, unit in parts if n)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda v: v if isinstance(v, cls) else cls.parse(v),
            serialization=core_schema.plain_serializer_function_ser_schema(str),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string", "examples": ["1 month", "5 years", "90 days", "24 hours", "P1M"]}


def last_day(start: date, period: Period) -> date:
    """The last day that a period of whole days, months or years starting with an event covers.

    Months and years are added to the original date in one step; a missing day becomes the
    month's last. Hours are not counted here (`counting` does).
    """
    return start + relativedelta(years=period.years, months=period.months) + timedelta(period.days)
