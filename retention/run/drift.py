"""What a plan file named and `apply` left alone, told by the keys that stand in the file."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import NamedTuple

from retention.connectors.base import Result
from retention.run.context import Context
from retention.run.in_force import InForce
from retention.run.plan import PlanFile

LEFT = (Result.CHANGED, Result.ALREADY_ABSENT, "held")


class Drifted(NamedTuple):
    """One record that is no longer what the plan saw. `outcome`: changed, already_absent, held."""

    location: str
    key: str
    outcome: str


def drifted(
    ctx: Context, in_force: InForce, plan: PlanFile, runs: Collection[int]
) -> list[Drifted]:
    """Records of the plan that these runs found changed, gone or held, in the plan's order.

    The ledger forgets keys when a run ends; the log knows pseudonyms, the plan file the keys.
    """
    outcomes: dict[str, str] = {}
    for policy in plan.policies:
        for line in ctx.log.query(type="batch.done", policy=policy, since=plan.at):
            entry = json.loads(line)
            if entry["run"] in runs and entry["outcome"] in LEFT:
                outcomes.update(dict.fromkeys(entry["records"], entry["outcome"]))
    if not outcomes:
        return []
    out = []
    for policy in plan.policies:
        for item in plan.disposals(policy):
            location = item["location"]
            system = in_force.bundle.location(location).system
            name = ctx.log.pseudonymiser(system, location, ctx.clock.now()).of(item["key"])
            if name in outcomes:
                out.append(Drifted(location, item["key"], str(outcomes[name])))
    return out
