"""daemon · status · doctor · freeze · thaw: the service and how it is."""

from __future__ import annotations

from typing import Annotated

import typer

from retention.cli import opening
from retention.cli.app import App, By, Json
from retention.cli.output import count, put, put_json, say, table
from retention.cli.standing import Zone, as_json, show
from retention.errors import ExitCode


def register(app: App) -> None:
    """Add this file's commands."""
    app.command("daemon")(daemon)
    app.command("status")(status)
    app.command("metrics")(metrics)
    app.command("doctor")(doctor)
    app.command("freeze")(freeze)
    app.command("thaw")(thaw)


def daemon(
    once: Annotated[
        bool, typer.Option("--once", help="Do what is owed, then end: for cron.")
    ] = False,
) -> int:
    """Schedule and work in one process. SIGTERM ends after the batch; SIGHUP reloads policies."""
    from retention.cli.loop import Daemon

    with opening.home_of("worker") as home:
        service = Daemon(home)
        return service.once() if once else service.forever()


def status(
    check: Annotated[
        bool,
        typer.Option("--check", help="One line for monitoring; 7 if overdue, 1 if ill."),
    ] = False,
    json: Json = False,
) -> int:
    """Print how each policy and the service stand, from the ledger alone."""
    from retention.run.status import ILL
    from retention.run.status import alarms as alarms_of
    from retention.run.status import status as status_of
    from retention.watch.reading import service as service_of

    with opening.home() as home:
        now = home.ctx.clock.now()
        rows = status_of(home.ctx.ledger, home.in_force, home.jobs, now)
        alarms = alarms_of(home.ctx.ledger)
        service = service_of(home)
        zone = home.in_force.bundle.organisation.timezone
    ill = [row for row in rows if row.state in ILL]
    overdue = sum(row.overdue for row in rows)
    if json:
        put_json(as_json(rows, service, alarms, now))
    elif check:
        word = "OVERDUE" if overdue else "ILL" if ill or alarms else "OK"
        put(
            f"{word}: {count(len(rows), 'policy')}, "
            f"{count(overdue, 'overdue record')}, {count(len(alarms), 'alarm')}"
            + "".join(f"; {row.policy} {row.state}" for row in ill)
            + ("; frozen" if service.frozen else "")
        )
    else:
        show(rows, service, alarms, Zone(zone, now))
    if not check:
        return ExitCode.OK
    if overdue:
        return ExitCode.OVERDUE
    return ExitCode.CHECK_FAILED if ill or alarms else ExitCode.OK


def metrics() -> None:
    """Print the metrics once, as Prometheus reads them: for a textfile collector."""
    from retention.errors import UsageError

    try:
        from retention.watch.metrics import text
    except ImportError:
        raise UsageError(
            "prometheus-client is not installed",
            hint="pip install 'retention[watch]'",
            code="setting",
        ) from None
    with opening.home() as home:
        put(text(home).rstrip("\n"))


def doctor(json: Json = False) -> int:
    """Check systems, home, keys, ledger and log, with hints."""
    from retention.cli.checks import examine_everything

    with opening.home() as home:
        checks, code = examine_everything(home)
    if json:
        put_json([check.to_json() for check in checks])
    else:
        bad = [check for check in checks if not check.ok]
        table(
            ("", "where", "check", "found", "what to do"),
            (
                (
                    ("ok", "green") if c.ok else ("NO", "bold red"),
                    c.where,
                    c.check,
                    c.detail,
                    c.hint,
                )
                for c in checks
            ),
            footer=f"{count(len(checks), 'check')}, {len(bad)} not ok",
        )
    return code


def freeze(
    reason: Annotated[str, typer.Option(metavar="T", help="Why; shown wherever disposal stops.")],
    by: By = None,
) -> None:
    """Stop every disposal at the next batch, whatever policy it is of."""
    from retention.run.orders import freeze as order

    text = opening.text("--reason", reason)
    with opening.home(by) as home:
        order(home.ctx, text)
    say("frozen: nothing is disposed of until `retention thaw`")


def thaw(by: By = None) -> None:
    """Let disposal go on."""
    from retention.run.orders import thaw as order

    with opening.home(by) as home:
        order(home.ctx)
    say("thawed: disposal goes on")
