"""validate · schema · compile · diff: what the policy files say, without touching any system."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retention.cli import opening
from retention.cli.app import App, Json
from retention.cli.output import Cell, count, put_json, say, table
from retention.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from retention.policy.changes import Change
    from retention.policy.model import Bundle
    from retention.schedule.model import Job


class ReportFormat(StrEnum):
    """Forms of `validate`."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"


class JobFormat(StrEnum):
    """Forms of `compile`."""

    TABLE = "table"
    JSON = "json"
    CRONTAB = "crontab"


def register(app: App) -> None:
    """Add this file's commands."""
    app.command("validate")(validate)
    app.command("schema")(schema)
    app.command("compile")(compile_)
    app.command("diff")(diff)


def validate(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="Default: the policies of the settings.")
    ] = None,
    form: Annotated[
        ReportFormat, typer.Option("--format", help="How the findings are printed.")
    ] = ReportFormat.TEXT,
    json: Json = False,
) -> int:
    """Check the policy files; every finding at once.

    Ends with 1 if any finding is an error.
    """
    import sys

    from retention.policy.render import FORMATS

    found = opening.examined(folder)
    chosen = ReportFormat.JSON if json else form
    sys.stdout.write(FORMATS[chosen](found.findings))
    return ExitCode.CHECK_FAILED if found.errors else ExitCode.OK


def schema(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A part of the files, e.g. policy.")
    ] = None,
) -> None:
    """Print the JSON Schema of policy files, for editors."""
    from retention.policy.schema import schema as schema_of

    put_json(schema_of(name))


def compile_(
    form: Annotated[
        JobFormat, typer.Option("--format", help="How the jobs are printed.")
    ] = JobFormat.TABLE,
    json: Json = False,
) -> int:
    """Print the jobs: schedule, next firings, worst-case age."""
    from retention.schedule.compile import rows
    from retention.schedule.crontab import crontab

    found = opening.examined()
    bundle = opening.sound(found)
    jobs = [found.jobs[name] for name in sorted(found.jobs)]
    now = opening.now()
    match JobFormat.JSON if json else form:
        case JobFormat.JSON:
            # The readings of `last_of` are for people: the table and `validate` show them.
            put_json([{k: v for k, v in r.items() if k != "readings"} for r in rows(jobs, now)])
        case JobFormat.CRONTAB:
            import sys

            sys.stdout.write(crontab(jobs))
        case JobFormat.TABLE:
            coming = {row["policy"]: row["next"] for row in rows(jobs, now, 1)}
            table(
                ("policy", "schedule", "next firing", "oldest at worst"),
                ((j.policy, j.cron, _next(coming[j.policy]), _ages(j)) for j in jobs),
                footer=f"{count(len(jobs), 'job')} · times in {bundle.organisation.timezone}",
            )
    for finding in found.errors:
        say(f"error: {finding}")
    return ExitCode.CHECK_FAILED if found.errors else ExitCode.OK


def _next(coming: list[str]) -> str:
    return coming[0][:16].replace("T", " ") if coming else "when an event comes"


def _ages(job: Job) -> str:
    if job.worst_case_age_days is None:
        return "no period"
    said = [count(job.worst_case_age_days, "day")]
    said += [f"{name}: {count(days, 'day')}" for name, days in job.readings.items()]
    return "; ".join(said)


def diff(
    old: Annotated[str, typer.Argument(metavar="REV", help="A commit, tag or branch of git.")],
    new: Annotated[
        str | None, typer.Argument(metavar="REV", help="Default: the files as they are.")
    ] = None,
    json: Json = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="End with 8 if anything changes.")
    ] = False,
) -> int:
    """Print what changes for whom between two states of the files.

    Protective changes act at once, weakening ones only after an approval.
    """
    from retention.cli.revisions import bundle_at
    from retention.policy.changes import compare

    folder = opening.settings().policies
    before, after = bundle_at(folder, old), bundle_at(folder, new)
    changes = compare(before, after)
    if json:
        put_json([change.to_json() for change in changes])
    elif changes:
        kinds = [change.kind for change in changes]
        said = [f"{n} {k}" for k in dict.fromkeys(kinds) if (n := kinds.count(k))]
        table(
            ("policy", "kind", "what", "before", "after", "records", "of whom"),
            _changes(changes, before, after),
            footer=f"{count(len(changes), 'change')}: {', '.join(said)}"
            " · protective ones act at once, weakening ones after `retention approve`",
        )
    else:
        say("nothing changes")
    return ExitCode.CHANGES if changes and exit_code else ExitCode.OK


def _changes(changes: list[Change], before: Bundle, after: Bundle) -> Iterator[tuple[Cell, ...]]:
    styles = {"protective": "green", "weakening": "yellow"}
    for change in changes:
        clusters = dict.fromkeys(name.partition("/")[0] for name in change.affects)
        people = dict.fromkeys(
            known.subjects or name
            for name in clusters
            if (known := after.clusters.get(name) or before.clusters.get(name))
        )
        promise = " (keeps longer than was promised)" if change.weakens_promise else ""
        yield (
            change.policy,
            (f"{change.kind}{promise}", styles.get(change.kind, "")),
            change.what,
            change.before,
            change.after,
            ", ".join(change.affects),
            ", ".join(people),
        )
