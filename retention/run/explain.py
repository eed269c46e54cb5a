"""One record: what would become of it, and why; read from its system now."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from retention.connectors.base import Record
from retention.decide.model import Rules, Verdict
from retention.errors import UsageError
from retention.policy.words import did_you_mean
from retention.run.context import Context
from retention.run.links import Links
from retention.run.moments import Moments
from retention.run.sessions import Sessions
from retention.run.survey import Survey
from retention.schedule.model import Job


class Explained(NamedTuple):
    """A record's fate, and the policies that speak of its location."""

    record: Record
    verdict: Verdict
    policies: tuple[str, ...]


def explain(
    ctx: Context,
    rules: Rules,
    jobs: Mapping[str, Job],
    location: str,
    key: str,
    at: datetime | None = None,
) -> Explained:
    """Read one record again and judge it. `at`: as of another moment; None is now.

    Raises UsageError where the location or the record is not there, ConnectorError.
    """
    bundle = rules.bundle
    known = bundle.locations()
    if location not in known:
        raise UsageError(
            f"there is no location `{location}`",
            hint=did_you_mean(location, known),
            code="location-unknown",
        )
    links = Links()
    with Sessions(ctx, bundle) as sessions:
        try:
            survey = Survey(
                ctx,
                sessions,
                rules,
                bundle,
                location,
                policy=None,
                moment=Moments(ctx, jobs, at),
                links=links,
            )
            if survey.decider.links:
                links.read(ctx, sessions, bundle, survey.decider.links)
            found = [r for r in survey.acting.recheck(survey.target, [key]) if r.ref.key == key]
            if not found:
                raise UsageError(
                    "there is no such record",
                    place=location,
                    hint="keys stand in `retention plan --all`",
                    code="record-unknown",
                )
            with ctx.ledger.read() as tx:
                verdict = survey.judge(tx, found[:1])[0]
        finally:
            links.close()
    policies = tuple(
        name for name, said in bundle.policies.items() if location in bundle.locations_of(said)
    )
    return Explained(found[0], verdict, policies)
