"""plan · approve · apply · run: from what would happen to what happens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from retention.cli import opening
from retention.cli.app import App, At, By, Json
from retention.cli.failures import worst
from retention.cli.output import count, put, put_json, say, table
from retention.errors import ExitCode

if TYPE_CHECKING:
    from retention.run.approval import Approval
    from retention.run.drift import Drifted


def register(app: App) -> None:
    """Add this file's commands."""
    app.command("plan")(plan)
    app.command("approve")(approve)
    app.command("apply")(apply)
    app.command("run")(run)


def plan(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="POLICY…", help="Default: every policy.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="F", help="Write a plan file that `apply` takes."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="List the records that are kept, too.")
    ] = False,
    at: At = None,
    json: Json = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="End with 8 if anything would be disposed of.")
    ] = False,
) -> int:
    """Print what would happen to which record and why. Deletes nothing."""
    from retention.cli.planning import Planning

    with opening.home() as home:
        planning = Planning.of(home, names or (), at, everything=everything)
        planning.print(as_json=json, out=out)
        return planning.exit_code(changes=exit_code, named=bool(names))


def approve(
    what: Annotated[
        str, typer.Argument(metavar="(POLICY|F)", help="A policy by name, or a plan file.")
    ],
    by: By = None,
    json: Json = False,
) -> None:
    """Let a policy act as it stands now, or approve a plan file.

    A plan file is approved with the policies in it, at the digests in the file.
    """
    from retention.run.approval import approve_plan, approve_policy
    from retention.run.plan import PlanFile

    with opening.home(by) as home:
        ctx, in_force = home.ctx, home.in_force
        path = Path(what)
        if what not in in_force.names() and what not in in_force.broken and path.is_file():
            file = PlanFile.read(path)
            done = approve_plan(ctx, in_force, file, by=ctx.actor)
        else:
            opening.known_policy(home, what)
            done = [approve_policy(ctx, in_force, what, by=ctx.actor)]
    if json:
        put_json([{"policy": a.policy, "digest": a.digest, "runs": list(a.runs)} for a in done])
        return
    for approval in done:
        say(_approved(approval))


def _approved(approval: Approval) -> str:
    words = {
        "approved": "was approved before",
        "new": "is approved",
        "changed": "is approved as changed",
        "removed": "is removed: nothing is enforced any more",
    }
    said = f"{approval.policy} {words[approval.standing]} ({approval.digest})"
    if approval.runs:
        said += f"; {count(len(approval.runs), 'waiting run')} may go on"
    return said


def apply(
    path: Annotated[Path, typer.Argument(metavar="F", help="A plan file of `plan --out F`.")],
    by: By = None,
    json: Json = False,
) -> int:
    """Do exactly what a plan file says.

    What drifted since is left alone and listed.
    """
    from retention.cli.reports import as_json, sentence
    from retention.run.apply_file import prepare
    from retention.run.drift import drifted
    from retention.run.plan import PlanFile

    with opening.home(by) as home:
        file = PlanFile.read(path)
        executor = home.executor()
        reports = []
        for run_id in prepare(home.ctx, home.in_force, file):
            report = executor.finish(run_id)
            reports.append(report)
            say(sentence(report))
            for problem in report.problems:
                say(f"error: {problem}")
        left = drifted(home.ctx, home.in_force, file, [r.run_id for r in reports])
    if json:
        put_json(
            {
                "plan": file.id,
                "runs": [as_json(r) for r in reports],
                "drifted": [d._asdict() for d in left],
            }
        )
    elif left:
        table(
            ("location", "key", "left alone because it is"),
            ((d.location, d.key, d.outcome.replace("_", " ")) for d in left),
            footer=f"{count(len(left), 'record')} of the plan left alone",
        )
    if not reports:
        say("the plan disposes of nothing")
    return worst([*(r.exit_code for r in reports), *_codes(left)])


def _codes(left: list[Drifted]) -> set[ExitCode]:
    return {ExitCode.WITHHELD if d.outcome == "held" else ExitCode.STALE for d in left}


def run(
    name: Annotated[str, typer.Argument(metavar="POLICY", help="An approved policy.")],
    by: By = None,
    json: Json = False,
) -> int:
    """One firing of an approved policy, now, in the foreground."""
    from retention.cli.reports import as_json, sentence

    with opening.home(by) as home:
        opening.known_policy(home, name)
        report = home.executor().run_now(name)
    for problem in report.problems:
        say(f"error: {problem}")
    if json:
        put_json(as_json(report))
    else:
        put(sentence(report))
    return report.exit_code
