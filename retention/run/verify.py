"""Looking again, on another session and by another route than the act's own answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from retention.connectors.base import Level, Proof, Ref, Result
from retention.errors import ConnectorError
from retention.run import batches, discover, evidence
from retention.run.batches import Batch, Item, State
from retention.run.claim import Claim
from retention.run.context import Context
from retention.run.survey import Survey

CHUNK = 10
"""Batches looked at in one call: a look that walks through folders is paid once for all."""

_GONE_RESULTS = {Result.DISPOSED, Result.ALREADY_ABSENT}


def verify(
    ctx: Context,
    claim: Claim,
    survey: Survey,
    group: Sequence[Batch],
    count: Callable[[str, int], None],
) -> None:
    """Prove or disprove every disposal of these batches (one location, one way).

    A look that fails proves nothing: its records are `unknown`, never gone. Raises FenceLost.
    """
    wanted = [item for batch in group for item in _gone(batch)]
    proofs = _look(ctx, claim, survey, group[0], wanted)
    record(ctx, claim, survey.system, group, proofs, count)


def record(
    ctx: Context,
    claim: Claim,
    system: str,
    group: Sequence[Batch],
    proofs: Mapping[str, Proof],
    count: Callable[[str, int], None],
) -> None:
    """Write what the look found. Records without a proof are `unknown`. Raises FenceLost."""
    with ctx.ledger.write() as tx:
        claim.fence(ctx, tx)
        at = ctx.clock.now()
        looked = []
        for batch in group:
            found: dict[evidence.Seen, list[str]] = {}
            for item in _gone(batch):
                proof = proofs.get(item.key)
                seen: evidence.Seen = (
                    (proof.level, proof.how, proof.until)
                    if proof
                    else (Level.UNKNOWN, "no answer", None)
                )
                found.setdefault(seen, []).append(item.pseudonym)
            for (level, *_), records in found.items():
                count(evidence.OUTCOMES[level], len(records))
            batches.mark(tx, batch, State.VERIFIED, at)
            looked.append((batch, found))
        evidence.verified(ctx, tx, claim, system, at, looked)


def _gone(batch: Batch) -> list[Item]:
    """The records of a batch that should be gone by its results."""
    return [
        item
        for item, result in zip(batch.items, batch.results, strict=True)
        if result in _GONE_RESULTS
    ]


def _look(
    ctx: Context, claim: Claim, survey: Survey, batch: Batch, items: Sequence[Item]
) -> dict[str, Proof]:
    if not items:
        return {}
    aim = replace(survey.target, where=(), bounds=())
    refs = [item.ref for item in items]
    try:
        control, lost = _control(ctx, claim, survey)
        if lost:
            return {}
        proofs = {p.key: p for p in survey.looking.verify(aim, refs, control, batch.how.mask)}
    except ConnectorError:
        return {}
    return proofs


def _control(ctx: Context, claim: Claim, survey: Survey) -> tuple[Ref | None, bool]:
    """A record that must be readable, and whether all that we knew of can no longer be read."""
    with ctx.ledger.read() as tx:
        known = discover.controls(tx, claim, survey.location)
    if not known:
        return None, False
    aim = replace(survey.target, where=(), bounds=())
    for ref in known:
        for record in survey.acting.recheck(aim, [ref.key]):
            return record.ref, False
    return None, True
