"""Copying records into another location, and looking at the copies, before they are deleted here.

A copy has a key that only depends on the record, so that a crash between the copy and the deletion
leaves a copy that the next try finds, and never a second one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple

from retention.connectors.base import (
    Arrival,
    Connector,
    Outcome,
    Receiving,
    Record,
    Result,
    Target,
    Value,
)
from retention.errors import ConnectorError, PermanentFailure
from retention.policy.counting import civil_day, zone_of
from retention.policy.model import CopyTo
from retention.run.batches import Item
from retention.run.context import Context
from retention.run.sessions import target
from retention.run.survey import Survey

_SAME_INSTANT = timedelta(seconds=1)
"""Systems keep whole seconds."""


class Copied(NamedTuple):
    """What may go, and what stays and why."""

    ready: list[Item]
    stays: list[Outcome]


@dataclass(slots=True)
class Copying:
    """Copies from one location into the one that its policy names."""

    ctx: Context
    survey: Survey
    said: CopyTo

    def transfer(self, items: Sequence[Item], records: Mapping[str, Record]) -> Copied:
        """Copy each, look at each copy on another session, and say which may be deleted now.

        `records`: by key, as they were read a moment ago. Raises ConnectorError where the other
        system fails as a whole; the records stay.
        """
        survey, there = self.survey, self.said.location
        system = survey.bundle.location(there).system
        aim = self._aim()
        wanted = {self._key(item): self._values(records[item.key]) for item in items}
        try:
            known = {r.ref.key for r in survey.sessions.acting(system).recheck(aim, [*wanted])}
            said = self._receive(survey.sessions.acting(system), aim, wanted, known)
            found = {r.ref.key: r for r in survey.sessions.looking(system).recheck(aim, [*wanted])}
        except ConnectorError:
            survey.sessions.drop(system)
            raise
        out = Copied([], [])
        for item, (key, values) in zip(items, wanted.items(), strict=True):
            copy = found.get(key)
            if copy is not None and self._same(values, copy):
                out.ready.append(item)
            else:
                out.stays.append(_left(item, said.get(key), there=copy is not None))
        return out

    def _receive(
        self,
        session: Connector,
        aim: Target,
        wanted: Mapping[str, Mapping[str, Value]],
        known: Collection[str],
    ) -> dict[str, Outcome]:
        arrivals = [Arrival(key, values) for key, values in wanted.items() if key not in known]
        if not arrivals:
            return {}
        if not isinstance(session, Receiving):
            raise PermanentFailure(
                "the system takes in no copies of records",
                hint="name another location in copy_to",
                place=self.said.location,
                code="unsupported",
            )
        return {outcome.key: outcome for outcome in session.receive(aim, arrivals)}

    def _key(self, item: Item) -> str:
        return self.ctx.hasher.record(self.survey.system, self.survey.location, item.key)

    def _aim(self) -> Target:
        """The other location, with the columns that are copied: those of dates read as dates."""
        dates: list[str] = []
        fields: list[str] = []
        for column, name in self.said.values.items():
            (dates if name in self.survey.model.dates else fields).append(column)
        return target(
            self.survey.bundle, self.said.location, dates=tuple(dates), fields=tuple(fields)
        )

    def _values(self, record: Record) -> dict[str, Value]:
        model = self.survey.model
        return {
            column: record.dates.get(model.dates[name])
            if name in model.dates
            else _joined([record.fields.get(source) for source in model.sources_of(name)])
            for column, name in self.said.values.items()
        }

    def _same(self, values: Mapping[str, Value], copy: Record) -> bool:
        return all(
            self._same_date(value, copy.dates[column])
            if column in copy.dates
            else _text(value) == _text(copy.fields.get(column))
            for column, value in values.items()
        )

    def _same_date(self, here: Value, there: datetime | date | None) -> bool:
        if here is None or there is None:
            return here is there
        organisation = self.survey.bundle.organisation
        if isinstance(here, datetime) and isinstance(there, datetime):
            zone = zone_of(organisation.timezone)
            # What keeps clock time only cannot tell the two hours of an autumn night apart.
            clocks = [when.astimezone(zone).replace(tzinfo=None) for when in (here, there)]
            return min(abs(here - there), abs(clocks[0] - clocks[1])) < _SAME_INSTANT
        return isinstance(here, date) and (
            civil_day(here, organisation) == civil_day(there, organisation)
        )


def _left(item: Item, said: Outcome | None, *, there: bool) -> Outcome:
    if there:
        # Somebody changed it, or the system stored something else: a person has to look.
        return Outcome(item.key, Result.FAILED_PERMANENT, "copy_differs")
    if said is not None and said.result is Result.FAILED_PERMANENT:
        return Outcome(item.key, Result.FAILED_PERMANENT, said.code or "not_copied")
    return Outcome(item.key, Result.FAILED_TEMPORARY, "not_copied")


def _joined(values: Sequence[Value]) -> Value:
    """One value: several addresses stand side by side, each once."""
    texts = [v for value in values for v in (value if isinstance(value, tuple) else (value,))]
    if len(texts) == 1 and not isinstance(values[0], tuple):
        return texts[0]
    return ", ".join(dict.fromkeys(str(v) for v in texts if v not in (None, "")))


def _text(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "\n".join(str(value).splitlines()).strip()
