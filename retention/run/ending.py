"""The ends that a run can come to: stopped by a limit, waiting for approval, finished.

The same for a run that one process works off and for one that was spread over shards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from sqlalchemy import Connection, select, update

from retention.errors import ExitCode
from retention.ledger import tables as t
from retention.ledger.store import stamp
from retention.policy.model import Approval
from retention.run import batches, evidence, fates, tally
from retention.run.claim import FINAL, Claim, RunState
from retention.run.context import Context
from retention.run.in_force import InForce
from retention.run.limits import exceeded
from retention.run.tally import Trouble


def over_limits(ctx: Context, in_force: InForce, claim: Claim) -> list[str]:
    """The limits that the whole plan breaks, in plain words; empty where it may go on."""
    with ctx.ledger.read() as tx:
        sizes = tally.sizes(tx, claim.run_id)
        history = tally.history(tx, claim)
    policy = in_force.policy(claim.policy)
    organisation = in_force.bundle_of(claim.policy).organisation
    return exceeded(policy.limits, organisation.limits, sizes, history)


def must_wait(in_force: InForce, claim: Claim, counts: Mapping[str, int]) -> bool:
    """Whether a person has to approve this plan before the first act."""
    policy = in_force.policy(claim.policy)
    return (
        policy.approval is Approval.EACH_RUN
        and counts.get("due", 0) > 0
        and claim.approved_by is None
    )


def wait(ctx: Context, claim: Claim, counts: Mapping[str, int]) -> str:
    """The plan waits for a person; another run of the policy may begin meanwhile."""
    claim.state = RunState.WAITING
    with ctx.ledger.write() as tx:
        claim.fence(
            ctx,
            tx,
            state=str(RunState.WAITING),
            counts=dict(counts),
            active=None,
            not_before=None,
            note="waits for approval",
        )
        claim.let_go(tx)
    return (
        f"{counts['due']} records are due and wait for approval: retention approve {claim.policy}"
    )


def stop(ctx: Context, claim: Claim, counts: Mapping[str, int], reasons: list[str]) -> None:
    """The plan is larger than its limits: nothing of it is carried out."""
    with ctx.ledger.write() as tx:
        _close(ctx, claim, tx, RunState.STOPPED, counts, "; ".join(reasons))
        evidence.stopped(ctx, tx, claim, counts, reasons)
        evidence.alarm(ctx, tx, claim.policy, "limit", "; ".join(reasons))
        claim.let_go(tx)
    ctx.log.checkpoint(ctx.clock.now())


def finish(
    ctx: Context, claim: Claim, counts: Counter[str], troubles: Collection[Trouble]
) -> tuple[RunState, ExitCode]:
    """All is done that could be done: evidence, alarms, and native keys forgotten.

    Adds to `counts` the people of whom something was left behind.
    """
    state, code = tally.verdict(claim, counts, troubles)
    note = "; ".join(sorted(trouble.said for trouble in troubles))
    with ctx.ledger.write() as tx:
        left = fates.settle(tx, claim, ctx.clock.now())
        if left:
            counts["partly_disposed"] = sum(left.values())
        _close(ctx, claim, tx, state, counts, note)
        evidence.finished(ctx, tx, claim, counts, str(state))
        tally.alarms(ctx, tx, claim.policy, state, counts, troubles, left)
        claim.let_go(tx)
    ctx.log.checkpoint(ctx.clock.now())
    return state, code


def _close(
    ctx: Context,
    claim: Claim,
    tx: Connection,
    state: RunState,
    counts: Mapping[str, int],
    note: str,
) -> None:
    """The row's last state, and that of shards that did nothing more."""
    at = stamp(ctx.clock.now())
    claim.fence(
        ctx, tx, state=str(state), finished_at=at, counts=dict(counts), note=note, active=None
    )
    batches.blank(tx, claim.run_id)
    open_shards = (
        t.run.c.parent_id == claim.run_id,
        t.run.c.state.not_in([str(s) for s in FINAL]),
    )
    for shard in tx.execute(select(t.run.c.id).where(*open_shards)).scalars().all():
        batches.blank(tx, shard)
    tx.execute(update(t.run).where(*open_shards).values(state=str(state), finished_at=at))
