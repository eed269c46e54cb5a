"""Does the log in the ledger still give the roots that were signed?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from retention.audit import heads
from retention.audit.checkpoint import Note, NoteError, VerifierKey
from retention.audit.heads import Head, Stored
from retention.audit.trail import LineCheck, Problems, Target, Trail
from retention.audit.tree import Frontier
from retention.errors import AuditUnwritable
from retention.ledger.store import Ledger

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


@dataclass(frozen=True)
class Examined:
    """A log as it was found, and (where `full`) what its lines say of years and keys."""

    head: Head
    check: LineCheck


def examine(
    ledger: Ledger, log: str, problems: Problems, *, full: bool, more: Sequence[Target] = ()
) -> Examined:
    """Hash a log's lines again and add a problem for whatever does not fit.

    In the ordinary case from the last verified checkpoint that is at least WINDOW entries back:
    its stored frontier is trusted because its root is signed. `full` starts at the first entry
    and reads every line's form as well. `more`: roots that were kept elsewhere. Others may append
    and sign meanwhile: notes are read before the head, so that none can be ahead of it.
    """
    base = None if full else _base(ledger, log, problems)
    start = Frontier.from_bytes(base.size, base.frontier_bytes) if base else Frontier()
    notes = list(heads.checkpoints(ledger, log, start.size - 1))
    check = LineCheck(log, lambda count: f"{log} entry {count}", problems)
    with ledger.read() as tx:
        head = heads.find(tx, log)
        if head is None:
            raise AuditUnwritable("the audit log is gone", place=log)
        targets = [
            Target(stored.size, root, _place(log, stored))
            for stored in notes
            if (root := signed_root(stored, head, problems)) is not None
        ]
        if head.dropped:
            return Examined(head, check)
        trail = Trail([*targets, *more], start, problems)
        for chunk in heads.lines_in(tx, log, start.size, head.size):
            if any(seq != n for n, (seq, _) in enumerate(chunk, trail.frontier.size)):
                problems.add(f"{log} entry {trail.frontier.size}", "missing, or out of order")
                return Examined(head, check)
            lines = [line for _, line in chunk]
            if full:
                check.feed(lines)
            trail.feed(lines)
        beyond = heads.count_beyond(tx, log)
    trail.finish()
    if trail.frontier.to_bytes() != head.frontier.to_bytes() or trail.frontier.size != head.size:
        problems.add(log, f"the entries do not give the state kept for {head.size} entries")
    if beyond:
        problems.add(log, f"{beyond} entries stand after the end of the log")
    return Examined(head, check)


def signed_root(stored: Stored, head: Head, problems: Problems) -> bytes | None:
    """The root that a stored note signs; None, and a problem, where note or row were changed."""
    place = _place(head.log, stored)
    try:
        checkpoint = own_note(stored.note.encode(), head.log, head.vkeys)[0].checkpoint
        kept = Frontier.from_bytes(stored.size, stored.frontier_bytes).root()
    except (NoteError, ValueError) as error:
        problems.add(place, error.message if isinstance(error, NoteError) else "its row is damaged")
        return None
    if checkpoint.size != stored.size or checkpoint.root != kept:
        problems.add(place, "its row does not fit the note")
        return None
    return checkpoint.root


def own_note(
    data: bytes, log: str, vkeys: Sequence[VerifierKey]
) -> tuple[Note, frozenset[VerifierKey]]:
    """A note of this log and who signed it: its keys and nobody else. Raises NoteError."""
    note = Note.parse(data)
    if note.checkpoint.origin != log:
        raise NoteError("a note of another log")
    return note, frozenset(note.signers(vkeys, only=True))


def _base(ledger: Ledger, log: str, problems: Problems) -> Stored | None:
    with ledger.read() as tx:
        head = heads.find(tx, log)
        limit = min(head.verified_size, head.size - WINDOW) if head else 0
        base = heads.checkpoint_at(tx, log, limit) if limit > 0 else None
    if head is None or base is None or signed_root(base, head, problems) is None:
        return None
    return base


def _place(log: str, stored: Stored) -> str:
    return f"{log} checkpoint {stored.size}"
