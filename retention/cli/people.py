"""hold · event · consent: what protects people's records, and what ends their keeping."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from retention.cli import opening
from retention.cli.app import App, By, Json
from retention.cli.output import count, put, put_json, say, table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Row

    from retention.run.home import Home

Subject = Annotated[
    str,
    typer.Option(
        metavar="KEY", help="KIND:VALUE as in a location's `subject`, an e-mail address, or +phone."
    ),
]
Happened = Annotated[
    str | None,
    typer.Option("--at", metavar="DATE", help="When it happened; default: now."),
]


def register(app: App) -> None:
    """Add this file's groups."""
    holds = App(name="hold", help="Orders that suspend disposal until they are released.")
    holds.command("add")(hold_add)
    holds.command("release")(hold_release)
    holds.command("list")(hold_list)
    app.add_typer(holds)
    events = App(name="event", help="Events of people that start periods.")
    events.command("fire")(event_fire)
    events.command("revoke")(event_revoke)
    app.add_typer(events)
    consents = App(name="consent", help="Consent of people to purposes.")
    consents.command("withdraw")(consent_withdraw)
    consents.command("show")(consent_show)
    app.add_typer(consents)


def hold_add(
    case: Annotated[
        str, typer.Option(metavar="ID", help="Reference of the case; stands in the audit log.")
    ],
    reason: Annotated[str, typer.Option(metavar="T", help="Why; stays out of the audit log.")],
    owner: Annotated[str, typer.Option(metavar="N", help="Who answers for it.")],
    review_by: Annotated[
        str, typer.Option(metavar="D", help="When somebody must look at it again.")
    ],
    subject: Annotated[
        str | None, typer.Option(metavar="KEY", help="Every record of this person.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(metavar="C", help="Every record of this cluster.")
    ] = None,
    location: Annotated[
        str | None, typer.Option(metavar="L", help="Every record of this cluster/location.")
    ] = None,
    record: Annotated[
        str | None, typer.Option(metavar="KEY", help="Only this record of the location.")
    ] = None,
    by: By = None,
    json: Json = False,
) -> None:
    """Suspend disposal of what matches; in force when this returns. Prints the hold's number."""
    from retention.cli.dates import instant_of
    from retention.cli.planning import zone
    from retention.cli.scopes import hold_scope, reference
    from retention.ledger.store import stamp
    from retention.run.orders import add_hold

    named = reference("--case", case)
    why = opening.text("--reason", reason)
    who = opening.text("--owner", owner, 200)
    with opening.home(by) as home:
        scope, pseudonym = hold_scope(home, subject, cluster, location, record)
        review = instant_of(review_by, zone(home))
        number = add_hold(
            home.ctx,
            scope,
            case=named,
            reason=why,
            owner=who,
            review_by=review,
            record=pseudonym,
        )
    if json:
        put_json({"hold": number, "case": named, "scope": scope.kind, "review_by": stamp(review)})
    else:
        put(str(number))


def hold_release(
    number: Annotated[int, typer.Argument(metavar="ID", help="As `hold add` printed it.")],
    reason: Annotated[str, typer.Option(metavar="T", help="Why it ends.")],
    by: By = None,
) -> None:
    """End a hold; after its grace the records go as their policies say."""
    from retention.run.orders import release_hold

    why = opening.text("--reason", reason)
    with opening.home(by) as home:
        until = release_hold(home.ctx, number, reason=why)
    say(f"hold {number} is released" + (f"; it protects until {until:%Y-%m-%d}" if until else ""))


def hold_list(
    everything: Annotated[bool, typer.Option("--all", help="Released ones too.")] = False,
    json: Json = False,
) -> None:
    """Print the holds in force, those whose review is due marked."""
    from retention.cli.planning import zone
    from retention.ledger.store import instant
    from retention.subjects.holds import every

    with opening.home() as home:
        with home.ctx.ledger.read() as tx:
            rows = every(tx, released=everything)
        now, local = home.ctx.clock.now(), zone(home)
        name = home.in_force.bundle.organisation.timezone
    if json:
        put_json([_hold_json(row) for row in rows])
        return

    def day(text: str | None) -> str:
        return f"{instant(text).astimezone(local):%Y-%m-%d}" if text else ""

    late = [r for r in rows if not r.released_at and r.review_by and instant(r.review_by) < now]
    table(
        ("hold", "case", "covers", "owner", "since", "review by", "released", "reason"),
        (
            (
                row.id,
                row.case,
                _covers(row),
                row.owner,
                day(row.added_at),
                (day(row.review_by), "bold red" if row in late else ""),
                day(row.released_at),
                row.reason,
            )
            for row in rows
        ),
        right=("hold",),
        footer=f"{count(len(rows), 'hold')}, {len(late)} past their review · dates in {name}",
    )


def _hold_json(row: Row[Any]) -> dict[str, Any]:
    return {
        "hold": row.id,
        "case": row.case,
        "covers": _covers(row),
        "cluster": row.cluster,
        "location": row.location,
        "owner": row.owner,
        "reason": row.reason,
        "added_at": row.added_at,
        "review_by": row.review_by,
        "released_at": row.released_at,
        "grace_until": row.grace_until,
    }


def _covers(row: Row[Any]) -> str:
    if row.subject:
        return "a person"
    if row.record:
        return f"a record of {row.location}"
    return str(row.location or row.cluster)


def event_fire(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As a policy's starting point says.")],
    subject: Subject,
    at: Happened = None,
    by: By = None,
    json: Json = False,
) -> None:
    """Write down that an event happened to a person; policies that wait for it start counting."""
    from retention.cli.scopes import known_event, person, sole_consent
    from retention.run.orders import fire_event, withdraw_consent
    from retention.subjects.state import WITHDRAWN

    with opening.home(by) as home:
        known_event(home, name)
        mark = person(home, subject)
        happened = _happened(home, at)
        if name == WITHDRAWN:
            number = withdraw_consent(home.ctx, mark, sole_consent(home), happened=happened)
        else:
            number = fire_event(home.ctx, name, mark, happened=happened)
    _recorded(number, name, json=json)


def event_revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As it was fired.")],
    subject: Subject,
    by: By = None,
) -> None:
    """Take back an event that was recorded in error, for this person."""
    from retention.cli.scopes import person
    from retention.run.orders import revoke_event

    with opening.home(by) as home:
        taken = revoke_event(home.ctx, name, person(home, subject))
    say(f"{count(taken, 'event')} {name} taken back")


def consent_withdraw(
    subject: Subject,
    purpose: Annotated[
        str, typer.Option(metavar="P", help="A purpose, or a cluster, as the policies name it.")
    ],
    at: Happened = None,
    by: By = None,
    json: Json = False,
) -> None:
    """A person's consent to a purpose ends: what rests on nothing else is due that day."""
    from retention.cli.scopes import known_purpose, person
    from retention.run.orders import withdraw_consent

    with opening.home(by) as home:
        scope = known_purpose(home, purpose)
        mark = person(home, subject)
        number = withdraw_consent(home.ctx, mark, scope, happened=_happened(home, at))
    _recorded(number, f"consent to {purpose} withdrawn", json=json)


def consent_show(subject: Subject, json: Json = False) -> None:
    """Print what is recorded of a person's withdrawals and objections."""
    from retention.cli.scopes import person
    from retention.subjects.events import of_person
    from retention.subjects.state import OBJECTED, WITHDRAWN

    with opening.home() as home:
        mark = person(home, subject)
        with home.ctx.ledger.read() as tx:
            rows = of_person(tx, mark, (WITHDRAWN, OBJECTED))
    found = list(_withdrawals(rows))
    if json:
        put_json(found)
    else:
        table(
            ("event", "purpose", "at", "revoked"),
            ((f["event"], f["purpose"], f["at"], f["revoked_at"] or "") for f in found),
            footer=f"{count(len(found), 'entry')} · times in UTC",
        )


def _withdrawals(rows: list[Row[Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield {
            "event": row.name,
            "purpose": row.scope,
            "at": row.at,
            "recorded_at": row.recorded_at,
            "revoked_at": row.revoked_at,
        }


def _happened(home: Home, at: str | None) -> Any:
    from retention.cli.dates import past
    from retention.cli.planning import zone

    return None if at is None else past(at, zone(home), home.ctx.clock.now())


def _recorded(number: int, what: str, *, json: bool) -> None:
    if json:
        put_json({"event": number})
    else:
        put(str(number))
        say(f"recorded: {what}")
