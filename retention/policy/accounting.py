"""Accounting years and closing points: the day a cutoff moves a starting point to.

An accounting year is a list of year ends, not a constant: it may deviate from the calendar year
and it may change (law.md, counting rule 4).
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from itertools import pairwise

from dateutil.relativedelta import relativedelta

from retention.policy.model import Cutoff, Organisation, YearEnds

_MONTH_DAY = re.compile(r"(\d{2})-(\d{2})")
_LONGEST_YEAR = relativedelta(months=18)
"""No country in the catalogue lets an accounting year run longer than eighteen months."""


@dataclass(frozen=True, slots=True)
class MonthDay:
    """A day that recurs every year. In February the 28th and the 29th both mean its last day."""

    month: int
    day: int

    @classmethod
    def parse(cls, text: str) -> MonthDay:
        """Read `MM-DD`. Raises ValueError."""
        found = _MONTH_DAY.fullmatch(text.strip())
        if found is None:
            raise ValueError("expected a month and a day, MM-DD, e.g. 12-31")
        month, day = int(found[1]), int(found[2])
        if not 1 <= month <= 12 or not 1 <= day <= monthrange(2024, month)[1]:
            raise ValueError("there is no such day in any year")
        return cls(month, day)

    def of(self, year: int) -> date:
        """This day in that year."""
        last = monthrange(year, self.month)[1]
        if self.month == 2 and self.day >= 28:
            return date(year, 2, last)
        return date(year, self.month, self.day)

    def on_or_after(self, day: date) -> date:
        """The first such day that is not before `day`; `date.max` where there is none."""
        this = self.of(day.year)
        if this >= day:
            return this
        return self.of(day.year + 1) if day.year < date.max.year else date.max


@dataclass(frozen=True, slots=True)
class AccountingYears:
    """The year ends of one organisation.

    `ends` are the explicit ones, ascending and complete among themselves; before the first of
    them the same month and day applies, after the last of them `then`.
    """

    ends: tuple[date, ...]
    then: MonthDay

    def year_end_on_or_after(self, day: date) -> date:
        """The end of the accounting year that `day` lies in."""
        if self.ends and day <= self.ends[0]:
            first = self.ends[0]
            return min(first, MonthDay(first.month, first.day).on_or_after(day))
        for end in self.ends:
            if day <= end:
                return end
        return self.then.on_or_after(day)


@lru_cache(maxsize=256)
def accounting_years(said: str | YearEnds) -> AccountingYears:
    """What `accounting_year_ends` means. Raises ValueError with what is wrong."""
    if isinstance(said, str):
        return AccountingYears((), MonthDay.parse(said))
    try:
        ends = tuple(date.fromisoformat(text) for text in said.ends)
    except ValueError:
        raise ValueError("year ends are dates, YYYY-MM-DD") from None
    if not ends:
        raise ValueError("`ends` is empty: name each year end that differs")
    for earlier, later in pairwise(ends):
        if later <= earlier:
            raise ValueError("year ends must ascend")
        if later > earlier + _LONGEST_YEAR:
            raise ValueError("more than 18 months between two year ends: name each one")
    return AccountingYears(ends, MonthDay.parse(said.then))


def year_end_on_or_after(day: date, organisation: Organisation) -> date:
    """The end of the organisation's accounting year that `day` lies in."""
    return accounting_years(organisation.accounting_year_ends).year_end_on_or_after(day)


def cutoff_end(day: date, cutoff: Cutoff, organisation: Organisation) -> date:
    """The closing point on or after `day`; the period runs from 00:00 of the day after it."""
    match cutoff:
        case Cutoff.MONTH:
            return _month_end(day.year, day.month)
        case Cutoff.QUARTER:
            return _month_end(day.year, (day.month + 2) // 3 * 3)
        case Cutoff.YEAR:
            return date(day.year, 12, 31)
        case Cutoff.ACCOUNTING_YEAR:
            return year_end_on_or_after(day, organisation)
        case Cutoff.YEAR_OF_ACCOUNTING_YEAR:
            return date(year_end_on_or_after(day, organisation).year, 12, 31)


def _month_end(year: int, month: int) -> date:
    return date(year, month, monthrange(year, month)[1])
