"""Approvals that set work in motion: of policies, of runs that wait, and of plan files."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import select, update

from retention.ledger import tables as t
from retention.run.apply_file import mark_approved
from retention.run.claim import RunState
from retention.run.context import Context
from retention.run.in_force import InForce, Standing, approve
from retention.run.plan import PlanFile


class Approval(NamedTuple):
    """What an approval of one policy did."""

    policy: str
    digest: str
    standing: Standing
    """How it stood before: `approved` means that there was nothing to approve in the files."""
    runs: tuple[int, ...]
    """Runs that waited and go on now."""


def approve_policy(ctx: Context, in_force: InForce, name: str, *, by: str) -> Approval:
    """Approve what the files say of a policy now, and let its waiting runs go on.

    Raises UsageError for unknown and broken policies.
    """
    standing = in_force.standing(name)
    if standing is Standing.APPROVED:
        digest = in_force.digests[name]
    else:
        digest = approve(ctx, in_force, name, by=by)
    return Approval(name, digest, standing, _release_runs(ctx, name, digest, by))


def approve_plan(ctx: Context, in_force: InForce, plan: PlanFile, *, by: str) -> list[Approval]:
    """Approve a plan file and every policy in it, at the digests in the file.

    Raises PlanStale where the plan has expired or a policy is another now.
    """
    plan.check(in_force, ctx.clock.now())
    done = []
    for name in plan.policies:
        standing = in_force.standing(name)
        if standing is not Standing.APPROVED:
            approve(ctx, in_force, name, by=by)
        # Runs that wait planned another set of records: this plan says nothing about theirs.
        done.append(Approval(name, plan.policies[name], standing, ()))
    mark_approved(ctx, plan, by)
    return done


def _release_runs(ctx: Context, name: str, digest: str, by: str) -> tuple[int, ...]:
    with ctx.ledger.write() as tx:
        waiting = tx.execute(
            select(t.run.c.id)
            .where(
                t.run.c.policy == name,
                t.run.c.digest == digest,
                t.run.c.state == str(RunState.WAITING),
            )
            .with_for_update()
        ).scalars()
        runs = tuple(waiting)
        for run_id in runs:
            tx.execute(
                update(t.run)
                .where(t.run.c.id == run_id, t.run.c.state == str(RunState.WAITING))
                .values(state=str(RunState.APPLYING), approved_by=by, not_before=None, note="")
            )
            ctx.log.append(
                tx,
                ctx.clock.now(),
                "policy.approved",
                actor=by,
                policy=name,
                digest=digest,
                kind="this run",
                run=run_id,
            )
    return runs
