"""Limits: a plan that is larger than expected stops before its first act. Pure.

Zero means zero: `records: 0` stops every disposal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

from retention.policy.model import LimitsModel

HISTORY = 10
"""Runs that `growth` is measured against."""
ENOUGH_HISTORY = 3
"""With fewer finished runs there is no usual size to compare with."""


class Size(NamedTuple):
    """How much of one location a plan would dispose of. `total` None: the system cannot tell."""

    due: int
    scanned: int
    total: int | None


def exceeded(
    own: LimitsModel | None,
    default: LimitsModel,
    sizes: Mapping[str, Size],
    history: Sequence[int],
) -> list[str]:
    """Every limit that this plan breaks, in plain words; empty where it may go on.

    A policy's own limits replace the organisation's one by one. `history`: records disposed of
    by the policy's last finished runs, newest first.
    """
    limits = _effective(own, default)
    due = sum(size.due for size in sizes.values())
    if due == 0:
        return []
    out = []
    if limits.records is not None and due > limits.records:
        out.append(f"{due} records are due, the limit is {limits.records}")
    if limits.share is not None:
        out += _shares(float(limits.share.rstrip("% ")), sizes)
    if limits.growth is not None and len(history) >= ENOUGH_HISTORY:
        usual = median(history[:HISTORY])
        factor = float(limits.growth.rstrip("x "))
        # A usual run of none is counted as one, else the first record after a quiet year stops.
        if due > factor * max(usual, 1):
            out.append(
                f"{due} records are due, more than {factor:g} times the usual {usual:g}"
                f" of the last {len(history[:HISTORY])} runs"
            )
    return out


def _effective(own: LimitsModel | None, default: LimitsModel) -> LimitsModel:
    if own is None:
        return default
    said = own.model_dump(exclude_none=True)
    # A policy that limits itself at all keeps none of the organisation's other limits by
    # accident: each missing one is taken from there.
    return LimitsModel(**{**default.model_dump(exclude_none=True), **said})


def _shares(percent: float, sizes: Mapping[str, Size]) -> list[str]:
    out = []
    for location, size in sizes.items():
        # Where the system cannot count, what was looked at is the smallest possible total, so
        # the share errs on the side of stopping.
        total = size.total if size.total is not None else size.scanned
        share = 100.0 * size.due / total if total else 100.0
        if size.due and share > percent:
            out.append(
                f"{size.due} of {total} records of {location} are due ({share:.1f} %),"
                f" the limit is {percent:g} %"
            )
    return out
