"""The entries that a run appends to the log, each in the transaction of what it describes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from retention.audit.entries import Entry
from retention.connectors.base import Level
from retention.ledger import tables as t
from retention.ledger.store import stamp
from retention.run.batches import Batch, Item
from retention.run.claim import Claim
from retention.run.context import Context

FINDING = "finding:"
"""Prefix of a count that says how many records had a finding."""

OUTCOMES = {
    Level.GONE: "verified",
    Level.CLEAN: "verified",
    Level.ATTESTED: "verified",
    Level.BIN: "pending_vendor",
    Level.VENDOR: "pending_vendor",
    Level.PRESENT: "still_there",
    Level.MARKED: "still_there",
    Level.UNKNOWN: "unknown",
}
"""What a look proves, in the words of the log and of a run's counts."""


Seen = tuple[Level, str, datetime | None]
"""What a look found: the level, its route, and until when the system itself still has it."""


def _common(claim: Claim, batch: Batch, system: str) -> dict[str, Any]:
    return {
        "policy": batch.how.policy,
        "digest": batch.how.digest,
        "run": claim.root,
        "firing": claim.due_at,
        "batch": batch.no,
        "system": system,
        "location": batch.location,
        "action": str(batch.how.action),
    }


def intended(
    ctx: Context, tx: Connection, claim: Claim, batch: Batch, system: str, at: datetime
) -> None:
    """Before the act: which records, by pseudonym, and because of which rule and dates."""
    first_earliest, last_earliest, first_due, last_due = batch.span
    because = [*batch.because]
    if first_earliest:
        because.append(f"earliest from {first_earliest} to {last_earliest}")
    if first_due:
        because.append(f"due from {first_due} to {last_due}")
    ctx.log.append(
        tx,
        at,
        "batch.intended",
        actor=ctx.actor,
        **_common(claim, batch, system),
        because=because or None,
        attempt=batch.attempts + 1,
        into=batch.how.copy_to,
        records=[item.pseudonym for item in batch.items],
    )


def done(
    ctx: Context,
    tx: Connection,
    claim: Claim,
    batch: Batch,
    system: str,
    at: datetime,
    outcomes: Iterable[tuple[Item, str, str]],
) -> None:
    """After the act: one entry for each outcome that occurred. (item, outcome, code)."""
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for item, outcome, code in outcomes:
        groups[outcome, code].append(item.pseudonym)
    ctx.log.append_many(
        tx,
        at,
        [
            Entry(
                "batch.done",
                ctx.actor,
                None,
                {
                    **_common(claim, batch, system),
                    "outcome": outcome,
                    "kind": code or None,
                    "records": records,
                },
            )
            for (outcome, code), records in sorted(groups.items())
        ],
    )


def verified(
    ctx: Context,
    tx: Connection,
    claim: Claim,
    system: str,
    at: datetime,
    looked: Iterable[tuple[Batch, Mapping[Seen, list[str]]]],
) -> None:
    """After the look: an entry for each batch and level."""
    ctx.log.append_many(
        tx,
        at,
        [
            Entry(
                "batch.verified",
                ctx.actor,
                None,
                {
                    **_common(claim, batch, system),
                    "outcome": OUTCOMES[level],
                    "proof": str(level),
                    "because": [f"looked again: {route}"],
                    "until": until,
                    "records": records,
                },
            )
            for batch, found in looked
            for (level, route, until), records in sorted(found.items(), key=repr)
        ],
    )


def alarm(ctx: Context, tx: Connection, policy: str, kind: str, detail: str) -> None:
    """Raise an alarm, once until it is cleared. `detail` holds no personal data."""
    open_one = tx.execute(
        select(t.alarm.c.id).where(
            t.alarm.c.policy == policy, t.alarm.c.kind == kind, t.alarm.c.cleared_at.is_(None)
        )
    ).first()
    if open_one is not None:
        return
    at = ctx.clock.now()
    tx.execute(insert(t.alarm).values(policy=policy, kind=kind, detail=detail, raised_at=stamp(at)))
    ctx.log.append(
        tx,
        at,
        "alarm.raised",
        actor=ctx.actor,
        policy=policy or None,
        kind=kind,
        because=[detail] if detail else None,
    )


def clear_alarms(ctx: Context, tx: Connection, policy: str, kinds: Iterable[str]) -> None:
    """What was wrong is right again."""
    tx.execute(
        update(t.alarm)
        .where(
            t.alarm.c.policy == policy,
            t.alarm.c.kind.in_(list(kinds)),
            t.alarm.c.cleared_at.is_(None),
        )
        .values(cleared_at=stamp(ctx.clock.now()))
    )


def planned(ctx: Context, tx: Connection, claim: Claim, counts: Mapping[str, int]) -> None:
    """Every record of the run is decided."""
    _about(ctx, tx, claim, "run.planned", counts, findings=_findings(counts))


def stopped(
    ctx: Context, tx: Connection, claim: Claim, counts: Mapping[str, int], reasons: list[str]
) -> None:
    """The run ended before its first act."""
    _about(ctx, tx, claim, "run.stopped", counts, because=reasons)


def finished(
    ctx: Context, tx: Connection, claim: Claim, counts: Mapping[str, int], state: str
) -> None:
    """The run ended."""
    _about(ctx, tx, claim, "run.finished", counts, state=state)


def _about(
    ctx: Context,
    tx: Connection,
    claim: Claim,
    kind: str,
    counts: Mapping[str, int],
    **facts: Any,
) -> None:
    ctx.log.append(
        tx,
        ctx.clock.now(),
        kind,
        actor=ctx.actor,
        policy=claim.policy,
        digest=claim.digest,
        run=claim.root,
        firing=claim.due_at,
        kind=claim.kind,
        counts={n: c for n, c in sorted(counts.items()) if c and FINDING not in n},
        **facts,
    )


def _findings(counts: Mapping[str, int]) -> list[str] | None:
    codes = sorted(n.removeprefix(FINDING) for n, c in counts.items() if c and FINDING in n)
    return codes or None
