"""Applying a plan file: exactly that set of records, no more; what drifted is skipped and named."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, insert, select

from retention.decide.model import Action
from retention.errors import Busy, LimitExceeded, Withheld
from retention.ledger import tables as t
from retention.policy.model import Approval
from retention.run import batches
from retention.run.batches import Batch, How, Item, Way
from retention.run.claim import RunState
from retention.run.context import Context
from retention.run.in_force import InForce, Standing, remember
from retention.run.limits import Size, exceeded
from retention.run.plan import PlanFile
from retention.run.tick import new_run


def mark_approved(ctx: Context, plan: PlanFile, by: str) -> None:
    """Remember who approved this plan; `approval: each_run` asks for it."""
    with ctx.ledger.write() as tx:
        remember(tx, f"plan:{plan.id}", by)


def prepare(ctx: Context, in_force: InForce, plan: PlanFile) -> list[int]:
    """Turn a plan file into runs that are ready to be worked off, one a policy.

    Raises PlanStale (expired, policy changed), Withheld (policy not approved), LimitExceeded,
    Busy (this plan was applied before). Nothing is written unless all of it can be.
    """
    now = ctx.clock.now()
    plan.check(in_force, now)
    wanted = {policy: plan.disposals(policy) for policy in plan.policies}
    for policy, items in wanted.items():
        if in_force.standing(policy) is not Standing.APPROVED:
            raise Withheld(
                f"the policy `{policy}` is not approved as it stands",
                hint="retention approve FILE approves the plan and its policies",
                code="not-approved",
            )
        _check_limits(in_force, plan, policy, items)
    with ctx.ledger.write() as tx:
        by = tx.execute(
            select(t.meta.c.value).where(t.meta.c.key == f"plan:{plan.id}")
        ).scalar_one_or_none()
        for policy in wanted:
            if by is None and in_force.policy(policy).approval is Approval.EACH_RUN:
                raise Withheld(
                    f"the policy `{policy}` asks for an approval of each plan",
                    hint="retention approve FILE approves this one",
                    code="not-approved",
                )
        return [
            _spool(ctx, tx, in_force, plan, policy, items, by)
            for policy, items in wanted.items()
            if items
        ]


def _check_limits(
    in_force: InForce, plan: PlanFile, policy: str, items: list[dict[str, Any]]
) -> None:
    due: dict[str, int] = {}
    for item in items:
        due[item["location"]] = due.get(item["location"], 0) + 1
    sizes = {
        location: Size(number, number, int(plan.data["sizes"].get(location, number)))
        for location, number in due.items()
    }
    broken = exceeded(
        in_force.policy(policy).limits, in_force.bundle.organisation.limits, sizes, ()
    )
    if broken:
        raise LimitExceeded("; ".join(broken), place=policy, hint="nothing was done")


def _spool(
    ctx: Context,
    tx: Connection,
    in_force: InForce,
    plan: PlanFile,
    policy: str,
    items: list[dict[str, Any]],
    by: str | None,
) -> int:
    digest = in_force.digests[policy]
    now = ctx.clock.now()
    run_id = new_run(
        tx,
        policy,
        digest,
        plan.at,
        f"plan:{plan.id}",
        now,
        state=RunState.APPLYING,
        approved_by=by,
        system=in_force.only_system(policy),
    )
    if run_id is None:
        raise Busy(f"the plan {plan.id} was applied before", place=policy)
    groups: dict[tuple[str, Way], tuple[How, list[Item], list[str]]] = {}
    pseudonyms = {}
    for item in items:
        location = item["location"]
        if location not in pseudonyms:
            system = in_force.bundle.location(location).system
            pseudonyms[location] = ctx.log.pseudonymiser(system, location, now)
            tx.execute(
                insert(t.scan).values(run_id=run_id, location=location, state="read", totals={})
            )
        how = How(
            Action(item["action"]),
            policy,
            digest,
            item["mask"],
            item["hand_over_to"],
            item.get("copy_to"),
            tuple(item["suppress"]),
        )
        _, members, _ = groups.setdefault((location, how.key()), (how, [], item["because"]))
        members.append(
            Item(
                item["container"],
                item["key"],
                item["version"],
                item["trace"],
                pseudonyms[location].of(item["key"]),
            )
        )
    number = 0
    size = ctx.pace.batch_records
    for (location, _), (how, members, because) in groups.items():
        cut = [
            Batch(
                run_id,
                number + n,
                location,
                how,
                tuple(members[i : i + size]),
                because=tuple(because),
            )
            for n, i in enumerate(range(0, len(members), size))
        ]
        number += len(cut)
        batches.add(tx, cut)
    return run_id
