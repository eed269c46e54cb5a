"""Reducing a record to the facts that its rules ask for: the part that runs for every record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, tzinfo
from typing import Any

from retention.decide.facts import Facts, People, Value, When
from retention.decide.idle import SOME_DAY, idle_dates
from retention.decide.model import NOBODY, SubjectState
from retention.decide.rules import View
from retention.policy.counting import zone_of
from retention.policy.where import matches

REMEMBERED = 40_000
"""Verdicts (and filter answers) kept at most, about a kilobyte each; then it starts anew."""
_NOTHING = People()


def facts_of(
    view: View,
    dates: Mapping[str, When],
    fields: Mapping[str, Value],
    state: SubjectState,
    time: tuple[datetime, date],
    *,
    remember: bool,
) -> Facts:
    """The facts of one record. `time`: now, as an instant and as a civil day."""
    now, today = time
    zone = zone_of(view.zones[0])
    answers = _answers(view, dates, fields, remember=remember) if view.filters else ()
    idle = view.idle.get(answers) if remember else frozenset()
    if idle is None:
        idle = view.idle[answers] = idle_dates(view, answers)
    days: list[When] = []
    future: tuple[str, ...] = ()
    for source in view.asked.dates:
        when = dates.get(source)
        if isinstance(when, datetime):
            if when.tzinfo is None:
                # Nobody knows which instant it names: no date at all.
                when = None
            else:
                if when > now:
                    future = (*future, source)
                if source in idle:
                    when = SOME_DAY
                elif source not in view.exact:
                    when = _civil_day(when, zone)
        elif when is not None:
            if when > today:
                future = (*future, source)
            if source in idle:
                when = SOME_DAY
        days.append(when)
    return Facts(
        view.asked,
        tuple(days),
        future,
        answers,
        tuple([m.worn_by(fields) for m in view.masks]) if view.masks else (),
        _NOTHING if state is NOBODY else _people(view, state),
    )


def _civil_day(when: datetime, zone: tzinfo) -> date:
    try:
        return when.astimezone(zone).date()
    except OverflowError:
        return when.date()  # the first or last day of the calendar, on either side of the world


def _people(view: View, state: SubjectState) -> People:
    asked = view.asked
    withdrawn = state.withdrawn
    return People(
        events=tuple([state.events.get(name) for name in asked.events]),
        linked=tuple([state.linked.get(link) for link in asked.links]),
        withdrawn=tuple([_latest([withdrawn.get(s) for s in c.scopes]) for c in view.claims])
        if withdrawn
        else (None,) * len(view.claims),
        erased=state.erasure_verified,
        restricted=state.restricted,
        access_open=state.access_open,
    )


def _latest(instants: Sequence[datetime | None]) -> datetime | None:
    return max((i for i in instants if i is not None), default=None)


def _answers(
    view: View, dates: Mapping[str, When], fields: Mapping[str, Value], *, remember: bool
) -> tuple[bool | None, ...]:
    values = {
        s: fields[s] if s in fields else dates[s]
        for s in view.where_fields
        if s in fields or s in dates
    }
    if not remember:
        return _ask(view, values)
    key = tuple([(s, type(v), v if type(v) in _PLAIN else repr(v)) for s, v in values.items()])
    found = view.answers.get(key)
    if found is None:
        if len(view.answers) >= REMEMBERED:
            view.answers.clear()
        found = view.answers[key] = _ask(view, values)
    return found


_PLAIN = (str, int, bool, type(None), date)
"""Types whose equal values are the same to every filter; others are told apart by their text."""


def _ask(view: View, values: Mapping[str, Any]) -> tuple[bool | None, ...]:
    zone = zone_of(view.organisation.timezone)
    return tuple(matches(filters, values, zone) for filters in view.filters)
