"""What the policy check wants to know about schedules: facts with a code, a message and a hint.

Codes: `bad-cron`, `both-day-fields`, `never-fires`, `bad-schedule`, `timezone` (the schedule
cannot be taken), `cadence-too-slow` (the promise cannot be kept), `day-missing-in-some-months`,
`worst-case-age` (the readings of a `last_of`, for information).
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from retention.policy.model import Bundle, Organisation, Policy
from retention.schedule.compile import compile_job
from retention.schedule.cron import Cron
from retention.schedule.fields import CronError
from retention.schedule.model import Every, Job, LastOfAll, crons_of

_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]


class Fact(NamedTuple):
    """One thing found. `policy` is the name; the caller knows the place in the file."""

    policy: str
    code: str
    message: str
    hint: str


def facts_for_bundle(bundle: Bundle, now: datetime) -> Iterator[Fact]:
    """All facts of all policies, by name; a schedule that cannot be taken is a fact too."""
    for name in sorted(bundle.policies):
        yield from facts_for_policy(name, bundle.policies[name], bundle.organisation, now)


def facts_for_policy(
    name: str, policy: Policy, organisation: Organisation, now: datetime
) -> Iterator[Fact]:
    """The facts of one policy, compiled or not."""
    try:
        job = compile_job(name, policy, organisation, "", now)
    except CronError as error:
        yield Fact(name, error.code, error.message, error.hint)
        return
    yield from facts_for_check(job)


def facts_for_check(job: Job) -> Iterator[Fact]:
    """The facts of a compiled job."""
    if job.overrun_days:
        yield Fact(
            job.policy,
            "cadence-too-slow",
            f"in the worst case a record goes {_days(job.overrun_days)} after its maximum of "
            f"{job.maximum} has ended; worst-case age: {_days(job.worst_case_age_days)}",
            "let it run more often, or promise a longer period",
        )
    for cron in crons_of(job.schedule):
        yield from _missing_days(job.policy, cron)
    if job.readings and isinstance(job.schedule, LastOfAll):
        said = "; ".join(
            f"{_in_words(k, job.schedule)}: {_days(v)}" for k, v in job.readings.items()
        )
        yield Fact(
            job.policy,
            "worst-case-age",
            f"worst-case age by reading: {said}",
            "what runs is the reading per run; see docs/explanation/schedules.md",
        )


def _missing_days(policy: str, cron: Cron) -> Iterator[Fact]:
    """Days that are named one by one and that some of the months named do not have."""
    monthdays, months, _ = cron.days.split(" ")
    said = [int(day) for day in monthdays.split(",") if day.isdigit()]
    for day in said:
        lacking = [m for m in _months(months) if monthrange(2025, m)[1] < day]
        if lacking:
            names = ", ".join(_MONTHS[m - 1] for m in lacking)
            yield Fact(
                policy,
                "day-missing-in-some-months",
                f"day {day} does not exist in {names}"
                + (" of common years" if lacking == [2] and day == 29 else "")
                + f": `{cron.text}` does not fire then",
                "write `L` for the last day of the month, or a day up to 28",
            )


def _months(text: str) -> list[int]:
    found: set[int] = set()
    for item in text.split(","):
        span = re.fullmatch(r"(?:\*|(\d+)(?:-(\d+))?)(?:/(\d+))?", item)
        if span is not None:
            low = int(span[1] or 1)
            high = int(span[2] or (low if span[1] else 12))
            found.update(range(low, high + 1, int(span[3] or 1)))
    return sorted(found)


def _days(count: int | None) -> str:
    return f"{count} day{'s' if count != 1 else ''}"


def _in_words(reading: str, schedule: LastOfAll) -> str:
    intervals = " and ".join(str(p) for p in schedule.parts if isinstance(p, Every))
    return {
        "per record": f"per record ({intervals})",
        "per run": f"per run (last run + {intervals.replace('every ', '')}, then the next fire)"
        if intervals
        else "per run",
    }.get(reading, reading)
