"""The limits that hold for a policy: its own, and its organisation's where it says nothing."""

from __future__ import annotations

from typing import NamedTuple

from retention.policy.model import LimitsModel, Organisation, Policy


class Effective(NamedTuple):
    """Limits as numbers. `records`: count; `share`: 0 to 1; `growth`: factor. None: no limit."""

    records: int | None
    share: float | None
    growth: float | None


def effective(policy: Policy, organisation: Organisation) -> Effective:
    """A policy that sets some limits keeps the organisation's others. Zero means zero."""
    own = policy.limits or LimitsModel()
    default = organisation.limits

    def either(name: str) -> str | None:
        said: str | None = getattr(own, name)
        return said if said is not None else getattr(default, name)

    share, growth = either("share"), either("growth")
    return Effective(
        own.records if own.records is not None else default.records,
        float(share.rstrip("% ").strip()) / 100 if share is not None else None,
        float(growth.rstrip("x ").strip()) if growth is not None else None,
    )
