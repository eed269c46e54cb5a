"""Find everything and decide everything into the ledger, before the first act.

Acting while paging skips records silently, so nothing is disposed of until the whole location
has been read. A crash resumes at the saved cursor; the cursor is only ever saved together with
the batches that it covers.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, insert, or_, select, update

from retention.connectors.base import Record, Ref
from retention.decide.model import DISPOSALS, Action, Verdict
from retention.errors import ConnectorError
from retention.ledger import tables as t
from retention.run import batches, fates
from retention.run.batches import Gathering, How, Item, Way, item, way
from retention.run.claim import Claim
from retention.run.context import Context
from retention.run.evidence import FINDING
from retention.run.survey import Judged, Survey
from retention.run.tally import Trouble

CONTROLS = 3
"""Kept records remembered per location: verification must still be able to read one."""


@dataclass(slots=True)
class Found:
    """What discovery learnt of one location; survives a crash as the `scan` row."""

    scanned: int = 0
    total: int | None = None
    totals: Counter[str] = field(default_factory=Counter)
    controls: list[Ref] = field(default_factory=list)
    cursor: str | None = None


def discover(
    ctx: Context, claim: Claim, survey: Survey, policy: str, paused: Callable[[], None]
) -> None:
    """Read one location to its end. Raises ConnectorError, FenceLost, or what `paused` raises."""
    found = _begin(ctx, claim, survey)
    gathered: dict[Way, Gathering] = {}
    pseudonyms = ctx.log.pseudonymiser(survey.system, survey.location, ctx.clock.now())
    people: list[tuple[str, str]] = []
    whose = survey.whose if survey.copied else None
    for page in survey.pages(found.cursor):
        people += _sort(page, policy, gathered, found, pseudonyms.of, whose)
        found.scanned += page.scanned
        found.cursor = page.cursor
        if sum(len(g.items) for g in gathered.values()) >= ctx.pace.batch_records:
            _flush(ctx, claim, survey.location, gathered, found, people, state="reading")
            paused()
        else:
            # A page without records says that the system is still being read.
            claim.keep(ctx)
    _flush(ctx, claim, survey.location, gathered, found, people, state="read")


def _sort(
    page: Judged,
    policy: str,
    gathered: dict[Way, Gathering],
    found: Found,
    pseudonym: Callable[[str], str],
    whose: Callable[[Record], str] | None,
) -> list[tuple[str, str]]:
    """Gather what is due. Returns (pseudonym, keyed hash) of what has copies elsewhere."""
    # Records with the same facts share one verdict, so most is done once for all of them.
    shared: dict[int, Alike] = {}
    people: list[tuple[str, str]] = []
    for record, verdict in zip(page.records, page.verdicts, strict=True):
        ref = record.ref
        alike = shared.get(id(verdict))
        if alike is None:
            alike = shared[id(verdict)] = Alike(verdict, _items_for(verdict, policy, gathered))
        alike.number += 1
        if alike.items is not None:
            name = pseudonym(ref.key)
            alike.items.append(item((*ref, name)))
            if whose is not None:
                people.append((name, whose(record)))
        elif len(alike.some) < CONTROLS:
            alike.some.append(ref)
    for alike in shared.values():
        _count(alike, found)
    return people


@dataclass(slots=True)
class Alike:
    """Records of one page with the same verdict."""

    verdict: Verdict
    items: list[Item] | None
    """Where they are gathered; None: this run does not act upon them."""
    number: int = 0
    some: list[Ref] = field(default_factory=list)


def _items_for(verdict: Verdict, policy: str, gathered: dict[Way, Gathering]) -> list[Item] | None:
    if verdict.action not in DISPOSALS or verdict.policy != policy:
        return None
    key = way(verdict)
    if key not in gathered:
        gathered[key] = Gathering(How.of(verdict))
    gathered[key].note(verdict)
    return gathered[key].items


def _count(alike: Alike, found: Found) -> None:
    verdict, number, totals = alike.verdict, alike.number, found.totals
    action = verdict.action
    if verdict.overdue_days > 0 and action is not Action.HELD:
        totals["overdue"] += number
    totals["oldest_overdue_days"] = max(totals["oldest_overdue_days"], verdict.overdue_days)
    if alike.items is not None:
        totals["due"] += number
    elif action in DISPOSALS:
        # Another policy's run disposes of these, under that policy's limits and approval.
        totals["other_policy"] += number
    else:
        totals[str(action)] += number
        for finding in verdict.findings:
            totals[FINDING + finding.partition(":")[0]] += number
        if action is Action.KEEP:
            found.controls += alike.some[: CONTROLS - len(found.controls)]


def _begin(ctx: Context, claim: Claim, survey: Survey) -> Found:
    with ctx.ledger.read() as tx:
        row = tx.execute(_this(claim, survey.location)).first()
    if row is not None and row.cursor is not None:
        return Found(row.scanned, row.total, Counter(row.totals), _load(row.controls), row.cursor)
    # Of a span nobody needs the total: the run has asked for the whole location.
    total = survey.total() if survey.target.span is None else None
    with ctx.ledger.write() as tx:
        claim.fence(ctx, tx)
        fates.forget(tx, claim, survey.location)
        tx.execute(
            delete(t.batch).where(
                t.batch.c.run_id == claim.run_id, t.batch.c.location == survey.location
            )
        )
        tx.execute(
            delete(t.scan).where(
                t.scan.c.run_id == claim.run_id, t.scan.c.location == survey.location
            )
        )
        tx.execute(
            insert(t.scan).values(
                run_id=claim.run_id, location=survey.location, state="reading", total=total
            )
        )
    return Found(total=total)


def _flush(
    ctx: Context,
    claim: Claim,
    location: str,
    gathered: dict[Way, Gathering],
    found: Found,
    people: list[tuple[str, str]],
    *,
    state: str,
) -> None:
    with ctx.ledger.write() as tx:
        claim.fence(ctx, tx)
        number = claim.next_batch(tx)
        for gathering in gathered.values():
            cut = gathering.batches(claim.run_id, number, location, ctx.pace.batch_records)
            number += len(cut)
            batches.add(tx, cut)
        fates.expect(tx, claim, location, people)
        tx.execute(
            update(t.scan)
            .where(t.scan.c.run_id == claim.run_id, t.scan.c.location == location)
            .values(
                state=state,
                cursor=found.cursor,
                scanned=found.scanned,
                totals=dict(found.totals),
                controls=json.dumps(found.controls).encode(),
            )
        )
    gathered.clear()
    people.clear()


def failed(ctx: Context, claim: Claim, location: str, error: ConnectorError) -> None:
    """A location that cannot be read: written down, the others go on."""
    with ctx.ledger.write() as tx:
        claim.fence(ctx, tx)
        # Without a cursor the next try starts at the beginning: what was found is dropped below.
        values: dict[str, Any] = {"state": "failed", "cursor": None, "totals": {}}
        values |= {"error": str(error), "cause": Trouble.of(error).cause}
        changed = tx.execute(
            update(t.scan)
            .where(t.scan.c.run_id == claim.run_id, t.scan.c.location == location)
            .values(**values)
        )
        if changed.rowcount == 0:
            tx.execute(insert(t.scan).values(run_id=claim.run_id, location=location, **values))
        fates.forget(tx, claim, location)
        # What was found before the failure is not the whole: none of it is acted upon.
        tx.execute(
            delete(t.batch).where(
                t.batch.c.run_id == claim.run_id,
                t.batch.c.location == location,
                t.batch.c.state == str(batches.State.PLANNED),
            )
        )


def controls(tx: Connection, claim: Claim, location: str) -> list[Ref]:
    """Records of a location that were kept, so that a look can prove that it sees anything.

    Those that other shards of the same run met will do as well.
    """
    rows = tx.execute(
        select(t.scan.c.controls)
        .where(
            t.scan.c.location == location,
            t.scan.c.run_id.in_(
                select(t.run.c.id).where(
                    or_(t.run.c.id == claim.root, t.run.c.parent_id == claim.root)
                )
            ),
        )
        .order_by((t.scan.c.run_id == claim.run_id).desc())
    )
    return [ref for row in rows for ref in _load(row.controls)][:CONTROLS]


def _load(text: bytes | None) -> list[Ref]:
    return [Ref(*ref) for ref in json.loads(text)] if text else []


def _this(claim: Claim, location: str):  # type: ignore[no-untyped-def]  # SQLAlchemy's Select is generic over its columns
    return select(t.scan).where(t.scan.c.run_id == claim.run_id, t.scan.c.location == location)
