"""From policies to jobs. The same policies give the same jobs, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import islice
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import rfc8785

from retention.policy.counting import zone_of
from retention.policy.model import Bundle, Organisation, Policy
from retention.schedule.age import readings, worst_case
from retention.schedule.fields import CronError
from retention.schedule.fires import moments
from retention.schedule.grammar import parse_schedule
from retention.schedule.model import Job, quiet_hour_of


def compile_jobs(bundle: Bundle, digests: Mapping[str, str], now: datetime) -> tuple[Job, ...]:
    """A job for each policy, sorted by name. `digests`: policy → digest; all must be there.

    A minimum and a cutoff that come from a mandate must stand in the bundle's policies already;
    without them the worst-case age knows nothing of them.

    Of `now` only the local year counts: it begins the eight years over which worst cases are
    looked for. Raises CronError for the first schedule that cannot be taken (`facts_for_bundle`
    names them all), KeyError for a missing digest.
    """
    organisation = bundle.organisation
    return tuple(
        compile_job(name, bundle.policies[name], organisation, digests[name], now)
        for name in sorted(bundle.policies)
    )


def compile_job(
    name: str, policy: Policy, organisation: Organisation, digest: str, now: datetime
) -> Job:
    """One policy as a job. Raises CronError."""
    zone = zone_named(organisation.timezone)
    schedule = parse_schedule(name, policy)
    year = now.astimezone(zone).year
    age = worst_case(policy, schedule, organisation, zone, year)
    return Job(
        policy=name,
        digest=digest,
        schedule=schedule,
        timezone=organisation.timezone,
        worst_case_age_days=age.days if age else None,
        readings=readings(schedule, zone, year),
        misfire=policy.misfire,
        maximum=str(policy.delete_at_latest) if policy.delete_at_latest else None,
        overrun_days=age.late if age else 0,
    )


def zone_named(name: str) -> ZoneInfo:
    """The organisation's time zone. Raises CronError (`timezone`)."""
    try:
        return zone_of(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CronError(
            f"no time zone is called `{name}`",
            hint="use a name of the IANA list, e.g. Europe/Oslo",
            code="timezone",
        ) from None


def rows(
    jobs: Iterable[Job],
    now: datetime,
    count: int = 5,
    last_fires: Mapping[str, datetime] = MappingProxyType({}),
) -> list[dict[str, Any]]:
    """What `compile --json` prints: one object a job, `next` being the `count` fires after `now`.

    Instants are ISO 8601 with the offset of the job's zone. `readings` is there for `last_of`
    only. `last_fires`: policy → its last scheduled firing, from which `every …` and `last_of`
    count; without it they start anew.
    """
    return [_row(job, now, count, last_fires.get(job.policy)) for job in jobs]


def to_json(jobs: Iterable[Job]) -> bytes:
    """The jobs as canonical JSON (RFC 8785): equal jobs give equal bytes."""
    return rfc8785.dumps([_plain(job) for job in jobs])


def _row(job: Job, now: datetime, count: int, last_fire: datetime | None) -> dict[str, Any]:
    coming = islice(moments(job.schedule, job.zone, last_fire, now), count)
    row: dict[str, Any] = {
        "policy": job.policy,
        "digest": job.digest,
        "cron": job.cron,
        "timezone": job.timezone,
        "next": [moment.astimezone(job.zone).isoformat() for moment in coming],
        "worst_case_age_days": job.worst_case_age_days,
    }
    if job.readings:
        row["readings"] = dict(job.readings)
    return row


def _plain(job: Job) -> dict[str, Any]:
    return {
        "policy": job.policy,
        "digest": job.digest,
        "cron": job.cron,
        "quiet_hour": quiet.text if (quiet := quiet_hour_of(job.schedule)) else None,
        "timezone": job.timezone,
        "worst_case_age_days": job.worst_case_age_days,
        "readings": dict(job.readings),
        "misfire": job.misfire.value,
        "start_deadline_seconds": (
            int(job.start_deadline.total_seconds()) if job.start_deadline is not None else None
        ),
        "maximum": job.maximum,
        "overrun_days": job.overrun_days,
    }
