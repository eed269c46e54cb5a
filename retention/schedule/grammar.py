"""From what a policy says under `schedule:` to a schedule."""

from __future__ import annotations

import re
from typing import cast

from retention.policy.model import LastOf, Policy
from retention.schedule.cron import Cron, parse
from retention.schedule.fields import CronError
from retention.schedule.model import Every, LastOfAll, OnEvent, Schedule, Unit

ON_EVENT = "on_event"
_EVERY = re.compile(r"every\s+(?:(?P<count>\d{1,4})\s+)?(?P<unit>day|week|month|year)s?", re.ASCII)


def parse_schedule(name: str, policy: Policy) -> Schedule:
    """The schedule of the policy called `name`. Raises CronError with the policy as its place."""
    try:
        said = policy.schedule
        if not isinstance(said, LastOf):
            return _single(name, said, both_day_fields=policy.both_day_fields)
        parts = tuple(
            _single(name, part, both_day_fields=policy.both_day_fields) for part in said.last_of
        )
        if any(isinstance(part, OnEvent) for part in parts):
            raise CronError(
                "an event has no next time, so it cannot be a part of `last_of`",
                hint="use cron expressions and `every N months` there",
                code="bad-schedule",
            )
        return LastOfAll(cast("tuple[Cron | Every, ...]", parts), quiet_hour(name))
    except CronError as error:
        error.place = error.place or name
        raise


def quiet_hour(name: str) -> Cron:
    """Daily between 03:00 and 03:59 local, at a minute that the policy's name decides."""
    return parse("H 3 * * *", name=name)


def _single(name: str, said: str, *, both_day_fields: bool) -> Schedule:
    text = said.strip()
    if text == ON_EVENT:
        return OnEvent(quiet_hour(name))
    if text.lower().startswith("every"):
        return _every(name, text)
    return parse(text, name=name, both_day_fields=both_day_fields)


def _every(name: str, text: str) -> Every:
    found = _EVERY.fullmatch(text.lower())
    count = int(found["count"] or 1) if found else 0
    if found is None or count == 0:
        raise CronError(
            f"`{text}` is no interval",
            hint="`every 3 months`: a number and days, weeks, months or years",
            code="bad-schedule",
        )
    return Every(count, cast("Unit", found["unit"]), quiet_hour(name))
