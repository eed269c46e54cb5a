"""Answer deadlines to people who ask (GDPR Art. 12(3)). Retention periods never roll; these do.

One month from receipt; with an extension two more. When the last day is a weekend day or a public
holiday of the country, the deadline moves to the next working day (Regulation 1182/71 art. 3(4)).
Of two readings of the extension the earlier holds: three months from receipt, or two months from
the end of the first.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache

import holidays

from retention.policy.periods import Period, last_day

ONE_MONTH = Period(months=1)
TWO_MONTHS = Period(months=2)
THREE_MONTHS = Period(months=3)
_DE_FACTO = frozenset({"SE"})
"""Countries where some eves are days off by custom and count as such (24 and 31 December)."""
_SATURDAY, _SUNDAY = 5, 6


def answer_deadline(received: date, country: str, *, extended: bool = False) -> tuple[date, date]:
    """The last day to answer by the calendar, and the same rolled to a working day.

    Aim for the first. A country without a known list of holidays rolls over weekends only.
    """
    nominal = last_day(received, ONE_MONTH)
    if extended:
        nominal = min(last_day(received, THREE_MONTHS), last_day(nominal, TWO_MONTHS))
    rolled = nominal
    while not is_working_day(rolled, country):
        rolled += timedelta(days=1)
    return nominal, rolled


def is_working_day(day: date, country: str) -> bool:
    """Whether offices in that country (ISO 3166, two letters) are open."""
    free, weekend = _calendar(country, day.year)
    return day.weekday() not in weekend and day not in free


@lru_cache(maxsize=256)
def _calendar(country: str, year: int) -> tuple[frozenset[date], frozenset[int]]:
    try:
        kind = type(holidays.country_holidays(country))
    except NotImplementedError:
        return frozenset(), frozenset({_SATURDAY, _SUNDAY})
    wanted = {holidays.PUBLIC}
    if country in _DE_FACTO:
        wanted.add(holidays.DE_FACTO)
    known = tuple(sorted(wanted & set(kind.supported_categories)))
    free = holidays.country_holidays(country, years=year, categories=known)
    return frozenset(free), frozenset(free.weekend)
