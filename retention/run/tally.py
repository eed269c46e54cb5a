"""What a run adds up to: totals of its discovery, its history, its verdict and its alarms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, select

from retention.errors import ConnectorError, CredentialsRefused, ExitCode
from retention.ledger import tables as t
from retention.run import evidence
from retention.run.claim import Claim, RunState
from retention.run.context import Context
from retention.run.limits import HISTORY, Size

OLDEST = "oldest_overdue_days"
UNCLEAN = ("still_there", "unknown", "failed_temporary", "failed_permanent")
"""Counts that make a finished run partial."""


def counts_of(tx: Connection, run_id: int) -> Counter[str]:
    """What a run has counted so far."""
    return Counter(tx.execute(select(t.run.c.counts).where(t.run.c.id == run_id)).scalar_one())


def discovered(tx: Connection, run_id: int) -> dict[str, int]:
    """Totals over all locations that were read; of the days overdue the most."""
    totals: Counter[str] = Counter()
    oldest = 0
    for row in tx.execute(select(t.scan).where(t.scan.c.run_id == run_id)):
        totals["scanned"] += row.scanned
        totals.update({name: n for name, n in row.totals.items() if name != OLDEST})
        oldest = max(oldest, row.totals.get(OLDEST, 0))
    return {**totals, OLDEST: oldest}


def sizes(tx: Connection, run_id: int) -> dict[str, Size]:
    """How much of each location the plan would dispose of."""
    rows = tx.execute(select(t.scan).where(t.scan.c.run_id == run_id))
    return {row.location: Size(row.totals.get("due", 0), row.scanned, row.total) for row in rows}


def history(tx: Connection, claim: Claim) -> list[int]:
    """Records disposed of by this policy's last finished runs, newest first."""
    rows = tx.execute(
        select(t.run.c.counts)
        .where(
            t.run.c.policy == claim.policy,
            t.run.c.state == str(RunState.DONE),
            t.run.c.id != claim.run_id,
        )
        .order_by(t.run.c.finished_at.desc())
        .limit(HISTORY)
    ).scalars()
    return [counts.get("disposed", 0) for counts in rows]


def verdict(
    claim: Claim, counts: Mapping[str, int], problems: Iterable[ConnectorError]
) -> tuple[RunState, ExitCode]:
    """How a finished run ended, and the exit code that says so."""
    errors = list(problems)
    if any(isinstance(e, CredentialsRefused) for e in errors):
        return RunState.PARTIAL, ExitCode.REFUSED
    if errors or any(counts.get(name) for name in UNCLEAN):
        return RunState.PARTIAL, ExitCode.UNVERIFIED
    drifted = counts.get("changed") or counts.get("already_absent")
    if claim.kind.startswith("plan") and drifted:
        return RunState.DONE, ExitCode.STALE
    return RunState.DONE, ExitCode.OK


def alarms(
    ctx: Context,
    tx: Connection,
    policy: str,
    state: RunState,
    counts: Mapping[str, int],
    problems: Iterable[ConnectorError],
) -> None:
    """Raise what a finished run shows to be wrong, and clear what it shows to be right again."""
    causes = "; ".join(sorted({e.code for e in problems})) or "some records failed"
    wrong = {
        "limit": "",
        "missed": "",
        "bug": "",
        "still-there": _records(counts.get("still_there", 0)),
        "unverified": _records(counts.get("unknown", 0)),
        "partial": causes if state is RunState.PARTIAL else "",
    }
    for kind, detail in wrong.items():
        if detail:
            evidence.alarm(ctx, tx, policy, kind, detail)
        else:
            evidence.clear_alarms(ctx, tx, policy, (kind,))


def _records(number: int) -> str:
    return f"{number} records" if number else ""
