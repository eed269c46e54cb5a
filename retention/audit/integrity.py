"""Does the log in the ledger still give the roots that were signed?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from retention.audit import heads
from retention.audit.checkpoint import Note, NoteError, VerifierKey
from retention.audit.heads import Head, Stored
from retention.audit.trail import LineCheck, Problems, Target, Trail
from retention.audit.tree import Frontier
from retention.ledger.store import Ledger
from retention.ledger.tables import audit_entry

WINDOW = 5_000
"""So many of the newest entries are always hashed again, however often they were before."""


@dataclass(frozen=True)
class Integrity:
    """A log that fits its checkpoints. `root` is base64; `sealed` is the last checkpoint's size."""

    log: str
    size: int
    root: str
    sealed: int
    verified_at: str


def examine(
    ledger: Ledger, head: Head, problems: Problems, *, full: bool, more: Sequence[Target] = ()
) -> LineCheck:
    """Hash the log's lines again and add a problem for whatever does not fit.

    In the ordinary case from the last verified checkpoint that is at least WINDOW entries back:
    its stored frontier is trusted because its root is signed. `full` starts at the first entry
    and reads every line's form as well. `more`: roots that were kept elsewhere. Returns what the
    lines said of the log's beginning and end (where `full`).
    """
    base = None if full else _base(ledger, head, problems)
    start = Frontier.from_bytes(base.size, base.frontier_bytes) if base else Frontier()
    targets = [
        Target(stored.size, root, _place(head, stored))
        for stored in heads.checkpoints(ledger, head.log, start.size - 1)
        if (root := signed_root(stored, head, problems)) is not None
    ]
    check = LineCheck(head.log, lambda count: f"{head.log} entry {count}", problems)
    if head.dropped:
        return check
    trail = Trail([*targets, *more], start, problems)
    with ledger.read() as tx:
        for chunk in heads.lines_in(tx, head.log, start.size, head.size):
            lines = [line for _, line in chunk]
            if any(seq != n for n, (seq, _) in enumerate(chunk, trail.frontier.size)):
                problems.add(f"{head.log} entry {trail.frontier.size}", "missing, or out of order")
                return check
            trail.feed(lines)
            if full:
                check.feed(lines)
        beyond = _rows_beyond(tx, head)
    trail.finish()
    if trail.frontier.to_bytes() != head.frontier.to_bytes() or trail.frontier.size != head.size:
        problems.add(head.log, f"the entries do not give the state kept for {head.size} entries")
    if beyond:
        problems.add(head.log, f"{beyond} entries stand after the end of the log")
    return check


def signed_root(stored: Stored, head: Head, problems: Problems) -> bytes | None:
    """The root that a stored note signs; None, and a problem, where note or row were changed."""
    place = _place(head, stored)
    try:
        checkpoint = own_note(stored.note.encode(), head.log, head.vkeys).checkpoint
        kept = Frontier.from_bytes(stored.size, stored.frontier_bytes).root()
    except (NoteError, ValueError) as error:
        problems.add(place, error.message if isinstance(error, NoteError) else "its row is damaged")
        return None
    if checkpoint.size != stored.size or checkpoint.root != kept:
        problems.add(place, "its row does not fit the note")
        return None
    return checkpoint.root


def own_note(data: bytes, log: str, vkeys: Sequence[VerifierKey]) -> Note:
    """A note of this log, signed by its keys and by nobody else. Raises NoteError."""
    note = Note.parse(data)
    if note.checkpoint.origin != log:
        raise NoteError("a note of another log")
    note.signers(vkeys, only=True)
    return note


def _base(ledger: Ledger, head: Head, problems: Problems) -> Stored | None:
    with ledger.read() as tx:
        limit = min(head.verified_size, head.size - WINDOW)
        base = heads.checkpoint_at(tx, head.log, limit) if limit > 0 else None
    return base if base and signed_root(base, head, problems) is not None else None


def _place(head: Head, stored: Stored) -> str:
    return f"{head.log} checkpoint {stored.size}"


def _rows_beyond(tx: Connection, head: Head) -> int:
    return int(
        tx.execute(
            select(func.count())
            .select_from(audit_entry)
            .where(audit_entry.c.log == head.log, audit_entry.c.seq >= head.size)
        ).scalar_one()
    )
