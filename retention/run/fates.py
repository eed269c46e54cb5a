"""Copies of one record in several locations: gone from one, left in another.

A cluster's decision reaches every location of it. Where one of them fails, what is left there is
*partly disposed*: written down by keyed hash, alarmed, and tried again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection, Select, delete, func, insert, or_, select, update

from retention.ledger import tables as t
from retention.ledger.store import stamp
from retention.run.claim import Claim

_CHUNK = 400


def expect(tx: Connection, claim: Claim, location: str, people: Iterable[tuple[str, str]]) -> None:
    """These records are to go. (pseudonym, keyed hash by which their copies are known)."""
    rows = [
        {
            "run_id": claim.run_id,
            "record": record,
            "subject": subject,
            "location": location,
            "gone": False,
        }
        for record, subject in people
        if subject
    ]
    for start in range(0, len(rows), _CHUNK):
        some = rows[start : start + _CHUNK]
        same = t.fate.c.record.in_([row["record"] for row in some])
        known = set(
            tx.execute(
                select(t.fate.c.record).where(t.fate.c.run_id == claim.run_id, same)
            ).scalars()
        )
        if fresh := [row for row in some if row["record"] not in known]:
            tx.execute(insert(t.fate), fresh)


def forget(tx: Connection, claim: Claim, location: str) -> None:
    """The location is read anew: what was expected of it before counts no more."""
    tx.execute(delete(t.fate).where(t.fate.c.run_id == claim.run_id, t.fate.c.location == location))


def gone(tx: Connection, claim: Claim, records: Sequence[str]) -> None:
    """These are gone from where they lay, by pseudonym."""
    for start in range(0, len(records), _CHUNK):
        tx.execute(
            update(t.fate)
            .where(
                t.fate.c.run_id == claim.run_id,
                t.fate.c.record.in_(records[start : start + _CHUNK]),
            )
            .values(gone=True)
        )


def settle(tx: Connection, claim: Claim, now: datetime) -> dict[str, int]:
    """The run ends: location → people of whom something is gone elsewhere and left there.

    What an earlier run left behind is forgotten where this one has read the location to its end,
    and kept where it has not.
    """
    runs = _of(claim)
    subjects = select(t.fate.c.subject).where(t.fate.c.run_id.in_(runs), t.fate.c.gone.is_(True))
    left = {
        (row.location, row.subject)
        for row in tx.execute(
            select(t.fate.c.location, t.fate.c.subject).where(
                t.fate.c.run_id.in_(runs),
                t.fate.c.gone.is_(False),
                t.fate.c.subject.in_(subjects),
            )
        )
    }
    read, unread = _scanned(tx, runs)
    for name in unread:
        # Nobody knows what it holds of them, so it may hold something of each.
        cluster = f"{name.partition('/')[0]}/"
        here = subjects.where(t.fate.c.location.startswith(cluster, autoescape=True))
        left |= {(name, subject) for subject in tx.execute(here.distinct()).scalars()}
    since = {
        (row.location, row.subject): row.since
        for row in tx.execute(select(t.partly).where(t.partly.c.policy == claim.policy))
    }
    # A plan file names some records only: it has read no location to its end.
    whole = set() if claim.kind.startswith("plan") else read - unread
    kept = {key for key in since if key[0] not in whole}
    tx.execute(delete(t.partly).where(t.partly.c.policy == claim.policy))
    counts: dict[str, int] = {}
    rows = []
    for location, subject in sorted(left | kept):
        counts[location] = counts.get(location, 0) + 1
        rows.append(
            {
                "policy": claim.policy,
                "location": location,
                "subject": subject,
                "since": since.get((location, subject), stamp(now)),
            }
        )
    if rows:
        tx.execute(insert(t.partly), rows)
    tx.execute(delete(t.fate).where(t.fate.c.run_id.in_(runs)))
    return counts


def _of(claim: Claim) -> Select[tuple[int]]:
    return select(t.run.c.id).where(
        or_(t.run.c.id == claim.run_id, t.run.c.parent_id == claim.run_id)
    )


def _scanned(tx: Connection, runs: Select[tuple[int]]) -> tuple[set[str], set[str]]:
    """Locations that were read to their end, and those that were not."""
    rows = tx.execute(select(t.scan.c.location, t.scan.c.state).where(t.scan.c.run_id.in_(runs)))
    read: set[str] = set()
    unread: set[str] = set()
    for row in rows:
        (read if row.state == "read" else unread).add(row.location)
    return read, unread


def partly(tx: Connection) -> dict[str, int]:
    """Policy → people of whom something is left behind in some location."""
    rows = tx.execute(
        select(
            t.partly.c.policy, func.count(t.partly.c.subject.distinct()).label("people")
        ).group_by(t.partly.c.policy)
    )
    return {row.policy: row.people for row in rows}
