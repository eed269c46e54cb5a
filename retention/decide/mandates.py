"""The statute behind a policy: fills its minimum and cutoff where the policy names a mandate."""

from __future__ import annotations

from retention.policy.model import Policy, Then, ThenModel
from retention.policy.statutes import MandateError, catalogue, resolve


def with_mandate(policy: Policy) -> Policy:
    """The policy with its mandate's figures; what is filled in already stays as it was approved.

    A mandate that the catalogue does not know gives no period: then the policy only protects,
    for as long as it stands.
    """
    if policy.mandate is None:
        return policy
    statute = catalogue().get(policy.mandate)
    if statute is None:
        if policy.keep_at_least is not None:
            return policy
        return policy.model_copy(update={"then": ThenModel(kind=Then.KEEP)})
    try:
        return resolve(policy, statute)
    except MandateError:
        return policy
