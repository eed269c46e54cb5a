"""What a run adds up to: totals of its discovery, its history, its verdict and its alarms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, or_, select

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


class Trouble(NamedTuple):
    """What went wrong at one location: a stable code, whether it refused us, a sentence."""

    code: str
    refused: bool
    said: str

    @classmethod
    def of(cls, error: ConnectorError) -> Trouble:
        return cls(error.code, isinstance(error, CredentialsRefused), str(error))

    @property
    def cause(self) -> str:
        """As a row of the ledger holds it, beside the sentence."""
        return f"{'refused' if self.refused else 'failed'}:{self.code}"[:64]

    @classmethod
    def read(cls, cause: str, said: str | None) -> Trouble:
        """What `cause` and a sentence beside it say."""
        kind, _, code = cause.partition(":")
        return cls(code, kind == "refused", said or "")


def unread(tx: Connection, run_id: int) -> dict[str, Trouble]:
    """Locations of a run or shard that could not be read, whichever process tried it."""
    rows = tx.execute(
        select(t.scan.c.location, t.scan.c.cause, t.scan.c.error).where(
            t.scan.c.run_id == run_id, t.scan.c.state == "failed"
        )
    )
    return {row.location: Trouble.read(row.cause or "", row.error) for row in rows}


def discovered(tx: Connection, run_id: int) -> dict[str, int]:
    """Totals over all locations that a run and its shards read; of the days overdue the most."""
    totals: Counter[str] = Counter()
    oldest = 0
    for row in tx.execute(_scans(run_id)):
        totals["scanned"] += row.scanned
        totals.update({name: n for name, n in row.totals.items() if name != OLDEST})
        oldest = max(oldest, row.totals.get(OLDEST, 0))
    return {**totals, OLDEST: oldest}


def sizes(tx: Connection, run_id: int) -> dict[str, Size]:
    """How much of each location the plan would dispose of, over the run and its shards."""
    out: dict[str, Size] = {}
    for row in tx.execute(_scans(run_id)):
        before = out.get(row.location, Size(0, 0, None))
        out[row.location] = Size(
            before.due + row.totals.get("due", 0),
            before.scanned + row.scanned,
            before.total if row.total is None else row.total,
        )
    return out


def _scans(run_id: int) -> Select[Any]:
    of_run = select(t.run.c.id).where(or_(t.run.c.id == run_id, t.run.c.parent_id == run_id))
    return select(t.scan).where(t.scan.c.run_id.in_(of_run))


def history(tx: Connection, claim: Claim) -> list[int]:
    """Records disposed of by this policy's last finished runs, newest first."""
    rows = tx.execute(
        select(t.run.c.counts)
        .where(
            t.run.c.policy == claim.policy,
            t.run.c.state == str(RunState.DONE),
            t.run.c.id != claim.root,
            t.run.c.parent_id.is_(None),
        )
        .order_by(t.run.c.finished_at.desc())
        .limit(HISTORY)
    ).scalars()
    return [counts.get("disposed", 0) for counts in rows]


def verdict(
    claim: Claim, counts: Mapping[str, int], troubles: Collection[Trouble]
) -> tuple[RunState, ExitCode]:
    """How a finished run ended, and the exit code that says so."""
    if any(trouble.refused for trouble in troubles):
        return RunState.PARTIAL, ExitCode.REFUSED
    if troubles or any(counts.get(name) for name in UNCLEAN):
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
    troubles: Collection[Trouble],
    left: Mapping[str, int],
) -> None:
    """Raise what a finished run shows to be wrong, and clear what it shows to be right again."""
    causes = "; ".join(sorted({trouble.code for trouble in troubles})) or "some records failed"
    wrong = {
        "limit": "",
        "missed": "",
        "bug": "",
        "still-there": _records(counts.get("still_there", 0)),
        "unverified": _records(counts.get("unknown", 0)),
        "partly-disposed": "; ".join(
            f"of {number} people something is left in {location} that is gone elsewhere"
            for location, number in sorted(left.items())
        ),
        "partial": causes if state is RunState.PARTIAL else "",
    }
    for kind, detail in wrong.items():
        if detail:
            evidence.alarm(ctx, tx, policy, kind, detail)
        else:
            evidence.clear_alarms(ctx, tx, policy, (kind,))


def _records(number: int) -> str:
    return f"{number} records" if number else ""
