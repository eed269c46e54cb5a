"""Jobs as lines of a crontab, for machines where cron is all there is."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from retention.schedule.cron import Cron
from retention.schedule.model import Job, OnEvent, quiet_hour_of

_SWEEP = "15 3 * * *"


def crontab(jobs: Iterable[Job]) -> str:
    """The text of a crontab, ending in a newline.

    A job whose schedule every cron reads alike gets a line with `retention run POLICY`. All
    others share what cron cannot say: a daily `retention daemon --once`, which does what the
    ledger says is owed.
    """
    lines: list[str] = []
    zone = None
    for job in sorted(jobs, key=lambda job: (job.timezone, job.policy)):
        if job.timezone != zone:
            zone = job.timezone
            lines += [
                f"# Times are local in {zone}. A cron that does not know CRON_TZ (Debian's) takes",
                "# the machine's zone instead; set that alike, or use `retention daemon`.",
                f"CRON_TZ={zone}",
            ]
        lines += _lines(job)
    return "\n".join(lines) + "\n" if lines else ""


def _lines(job: Job) -> list[str]:
    if isinstance(job.schedule, Cron) and job.schedule.standard:
        # A percent sign is a line break to cron, even inside quotes.
        name = shlex.quote(job.policy).replace("%", r"\%")
        return [f"{job.cron} retention run {name}"]
    why = (
        "cron knows no events: a daily look instead of within a minute"
        if isinstance(job.schedule, OnEvent)
        else f"cron cannot say `{job.cron}`: a daily look, and the ledger says whether it is owed"
    )
    daily = quiet_hour_of(job.schedule)
    return [
        f"# {_one_line(job.policy)}: {why}",
        f"{daily.text if daily else _SWEEP} retention daemon --once",
    ]


def _one_line(text: str) -> str:
    return " ".join(text.split())
