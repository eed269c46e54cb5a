"""daemon · status · doctor · freeze · thaw: the service and how it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from retention.cli import opening
from retention.cli.app import App, By, Json
from retention.cli.output import Cell, count, put, put_json, say, table
from retention.errors import ExitCode

if TYPE_CHECKING:
    from retention.run.home import Home
    from retention.run.status import PolicyStatus


def register(app: App) -> None:
    """Add this file's commands."""
    app.command("daemon")(daemon)
    app.command("status")(status)
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
    """Print how each policy stands, from the ledger alone."""
    from retention.run.status import alarms
    from retention.run.status import status as status_of

    with opening.home() as home:
        rows = status_of(home.ctx.ledger, home.in_force, home.jobs, home.ctx.clock.now())
        open_alarms = alarms(home.ctx.ledger)
        log = _log(home)
        zone = home.in_force.bundle.organisation.timezone
    ill = [row for row in rows if row.state in ("broken", "failing", "late", "stopped")]
    overdue = sum(row.overdue for row in rows)
    if json:
        put_json(
            {
                "policies": [row.to_json() for row in rows],
                "log": log,
            }
        )
    elif check:
        word = "OVERDUE" if overdue else "ILL" if ill or open_alarms else "OK"
        put(
            f"{word}: {count(len(rows), 'policy')}, "
            f"{count(overdue, 'overdue record')}, {count(len(open_alarms), 'alarm')}"
            + "".join(f"; {row.policy} {row.state}" for row in ill)
        )
    else:
        _print(rows, open_alarms, log, zone)
    if not check:
        return ExitCode.OK
    if overdue:
        return ExitCode.OVERDUE
    return ExitCode.CHECK_FAILED if ill or open_alarms else ExitCode.OK


def _log(home: Home) -> dict[str, Any]:
    """The newest log: its size, root, and when it was last compared with its checkpoints."""
    from retention.audit.checkpoint import encode

    newest = next(reversed(home.ctx.log.logs()), None)
    if newest is None:
        return {"size": 0, "root": None, "verified_at": None}
    return {
        "size": newest.size,
        "root": encode(newest.frontier.root()),
        "verified_at": newest.verified_at,
    }


_STYLES = {
    "ok": "green",
    "running": "green",
    "broken": "bold red",
    "failing": "bold red",
    "late": "bold red",
    "stopped": "bold red",
    "frozen": "cyan",
}


def _print(
    rows: list[PolicyStatus],
    open_alarms: list[tuple[str, str, str, str]],
    log: dict[str, Any],
    zone: str,
) -> None:
    from retention.policy.counting import zone_of

    def when(text: str | None) -> str:
        from retention.ledger.store import instant

        return f"{instant(text).astimezone(zone_of(zone)):%Y-%m-%d %H:%M}" if text else ""

    def cells(row: PolicyStatus) -> tuple[Cell, ...]:
        late = f"{row.overdue} (oldest {row.oldest_overdue_days} days)" if row.overdue else "0"
        return (
            row.policy,
            (row.state, _STYLES.get(row.state, "yellow")),
            when(row.last_run),
            when(row.next_fire),
            (late, "bold red" if row.overdue else ""),
            row.held,
            row.review,
        )

    verified = when(log["verified_at"])
    table(
        ("policy", "state", "last run", "next firing", "overdue", "held", "review"),
        map(cells, rows),
        right=("held", "review"),
        footer=f"{count(len(rows), 'policy')}, {sum(r.overdue for r in rows)} records overdue, "
        f"{sum(r.held for r in rows)} held · log of {log['size']} entries, "
        f"{f'checked {verified}' if verified else 'never checked'} · times in {zone}",
    )
    if open_alarms:
        table(
            ("alarm", "policy", "detail", "since"),
            (
                ((kind, "bold red"), policy, detail, when(at))
                for policy, kind, detail, at in open_alarms
            ),
            footer=f"{count(len(open_alarms), 'open alarm')} · times in {zone}",
        )


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
