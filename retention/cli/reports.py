"""How runs are told: a line for people, an object for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from retention.run.report import Report

_SHOWN = (
    "scanned",
    "due",
    "disposed",
    "verified",
    "already_absent",
    "changed",
    "held",
    "review",
    "blocked",
    "pending_vendor",
    "still_there",
    "partly_disposed",
    "unknown",
    "failed_temporary",
    "failed_permanent",
)


def as_json(report: Report) -> dict[str, Any]:
    """The object that `run --json` and `apply --json` print of a run."""
    return {
        "run": report.run_id,
        "policy": report.policy,
        "state": str(report.state),
        "counts": dict(sorted(report.counts.items())),
        "problems": list(report.problems),
        "exit_code": int(report.exit_code),
    }


def sentence(report: Report) -> str:
    """`run 7 of contact-form-monthly: done; scanned 12, disposed 3, verified 3`"""
    return f"run {report.run_id} of {report.policy}: {report.state}; {numbers(report.counts)}"


def numbers(counts: Mapping[str, int]) -> str:
    """The counts that matter to people, zeros left out."""
    said = [f"{name.replace('_', ' ')} {counts[name]}" for name in _SHOWN if counts.get(name)]
    return ", ".join(said) or "nothing to do"
