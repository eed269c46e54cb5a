"""explain · due · forecast: read-only looks at records and their dates."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from retention.cli import opening
from retention.cli.app import App, At, Json
from retention.cli.output import clean, count, put, put_json, say, table
from retention.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    from retention.decide.model import Verdict
    from retention.run.explain import Explained
    from retention.run.plan import Planned


def register(app: App) -> None:
    """Add this file's commands."""
    app.command("explain")(explain)
    app.command("due")(due)
    app.command("forecast")(forecast)


def explain(
    location: Annotated[str, typer.Argument(metavar="LOCATION", help="cluster/location")],
    key: Annotated[str, typer.Argument(metavar="KEY", help="As `plan --all` prints it.")],
    at: At = None,
    json: Json = False,
) -> None:
    """Print one record's fate, every reason, and its policies in words."""
    from retention.cli.planning import moment
    from retention.policy.explain import explain as in_words
    from retention.run.explain import explain as explain_record

    with opening.home() as home:
        rules = home.in_force.wishes()
        found = explain_record(home.ctx, rules, home.jobs, location, key, moment(home, at))
        words = {name: in_words(rules.bundle, name) for name in found.policies}
        standings = {name: str(home.in_force.standing(name)) for name in found.policies}
    if json:
        put_json(_as_json(location, found, standings, words))
        return
    for line in _lines(found.verdict):
        put(clean(line))
    for name, text in words.items():
        put("")
        if standings[name] != "approved":
            put(f"({standings[name]}: not approved as it stands)")
        for line in text.splitlines():
            put(clean(line))


def _as_json(
    location: str, found: Explained, standings: dict[str, str], words: dict[str, str]
) -> dict[str, Any]:
    verdict = found.verdict
    return {
        "location": location,
        "key": found.record.ref.key,
        "action": str(verdict.action),
        "policy": verdict.policy,
        "digest": verdict.digest,
        "earliest": _iso(verdict.earliest),
        "due": _iso(verdict.due),
        "because": list(verdict.because),
        "would_change_if": verdict.would_change_if,
        "changes_on": _iso(verdict.changes_on),
        "findings": list(verdict.findings),
        "overdue_days": verdict.overdue_days,
        "holds": list(verdict.holds),
        "policies": [
            {"policy": name, "standing": standings[name], "words": words[name]} for name in words
        ],
    }


def _iso(day: date | None) -> str | None:
    return day.isoformat() if day else None


def _lines(verdict: Verdict) -> Iterator[str]:
    yield f"action:      {str(verdict.action).replace('_', ' ')}"
    if verdict.policy:
        yield f"policy:      {verdict.policy}"
    yield f"earliest:    {_iso(verdict.earliest) or 'no minimum is known'}"
    yield f"due:         {_iso(verdict.due) or 'no maximum is known'}"
    if verdict.overdue_days:
        yield f"overdue:     {count(verdict.overdue_days, 'day')}"
    for number, reason in enumerate(verdict.because):
        yield f"{'because:' if number == 0 else '':<12} {reason}"
    if verdict.would_change_if:
        yield f"changes if:  {verdict.would_change_if}"
    if verdict.changes_on:
        yield f"changes on:  {_iso(verdict.changes_on)}"
    for finding in verdict.findings:
        yield f"finding:     {finding}"


def due(
    overdue: Annotated[
        bool, typer.Option("--overdue", help="Only what is past its date; 7 if there is any.")
    ] = False,
    at: At = None,
    json: Json = False,
) -> int:
    """List the records that the next firings would act upon."""
    from retention.cli.failures import worst
    from retention.cli.planning import Planning, local, problem_code, row, tell_problems
    from retention.run.plan import as_json

    with opening.home() as home:
        planning = Planning.of(home, (), at)
        found = [p for p in planning.items() if _shown(p, only_overdue=overdue)]
        found.sort(key=lambda p: (-p.verdict.overdue_days, p.location, p.record.ref.key))
        late = sum(p.verdict.overdue_days > 0 for p in found)
        if json:
            put_json([{**as_json(p), "overdue_days": p.verdict.overdue_days} for p in found])
        else:
            table(
                ("location", "key", "action", "due", "policy", "why", "days overdue"),
                ((*row(p), p.verdict.overdue_days or "") for p in found),
                right=("days overdue",),
                footer=f"{count(len(found), 'record')}, {late} overdue · "
                f"as of {local(home, planning.plan.at)}",
            )
        tell_problems(planning.plan.problems)
    codes = [problem_code(planning.plan.problems)]
    if overdue and late:
        codes.append(ExitCode.OVERDUE)
    return worst(codes)


def _shown(planned: Planned, *, only_overdue: bool) -> bool:
    verdict = planned.verdict
    if only_overdue:
        return verdict.overdue_days > 0 and verdict.action != "held"
    return verdict.action not in ("keep", "held", "blocked")


def forecast(
    until: Annotated[
        str | None, typer.Option(metavar="DATE", help="Default: a year after the look.")
    ] = None,
    at: At = None,
    json: Json = False,
) -> int:
    """Print how many records become due in which month."""
    from datetime import timedelta

    from retention.cli.dates import instant_of
    from retention.cli.planning import Planning, local, problem_code, tell_problems, zone
    from retention.ledger.store import stamp

    with opening.home() as home:
        planning = Planning.of(home, (), at, everything=True)
        start = planning.plan.at or home.ctx.clock.now()
        local_zone = zone(home)
        last = (
            instant_of(until, local_zone, end_of_day=True)
            if until is not None
            else start + timedelta(days=365)
        )
        book = _Book(start.astimezone(local_zone).date(), last.astimezone(local_zone).date())
        for planned in planning.items():
            book.add(planned)
        rows = sorted((policy, month, number) for (policy, month), number in book.months.items())
        if json:
            put_json(
                {
                    "at": stamp(start),
                    "until": stamp(last),
                    "timezone": home.in_force.bundle.organisation.timezone,
                    "months": [
                        {"policy": p, "month": m, "records": number} for p, m, number in rows
                    ],
                    "later": dict(sorted(book.later.items())),
                    "undated": dict(sorted(book.undated.items())),
                }
            )
        else:
            table(
                ("policy", "month", "records"),
                rows,
                right=("records",),
                footer=f"{count(sum(book.months.values()), 'record')} until {book.last}, "
                f"{sum(book.later.values())} later, {sum(book.undated.values())} without a date · "
                f"as of {local(home, planning.plan.at)}",
            )
        tell_problems(planning.plan.problems)
        for name in planning.broken:
            say(f"error: {name}: left out, the policy has errors: retention validate")
    return problem_code(planning.plan.problems)


class _Book:
    """Records by policy and by the month in which they become due."""

    def __init__(self, first: date, last: date) -> None:
        self.first, self.last = first, last
        self.months: Counter[tuple[str, str]] = Counter()
        self.later: Counter[str] = Counter()
        self.undated: Counter[str] = Counter()

    def add(self, planned: Planned) -> None:
        day = planned.verdict.due
        if day is None:
            self.undated[planned.policy] += 1
        elif day > self.last:
            self.later[planned.policy] += 1
        else:
            # What is overdue is owed in the first month.
            self.months[planned.policy, f"{max(day, self.first):%Y-%m}"] += 1
