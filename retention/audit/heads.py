"""The rows of the log in the ledger: heads, entries and checkpoints. No keys, no rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from retention.audit.checkpoint import NoteError, VerifierKey
from retention.audit.tree import Frontier
from retention.errors import AuditUnwritable
from retention.ledger.store import Ledger, one_at_a_time, stamp
from retention.ledger.tables import audit_checkpoint, audit_entry, audit_head

PAGE = 2_000
PAGE_BYTES = 4_000_000

# Built once: every entry needs these three.
_FIND = select(audit_head).where(audit_head.c.log == bindparam("named"))
_ADD = insert(audit_entry)
_ADVANCE = (
    update(audit_head)
    .where(audit_head.c.log == bindparam("named"), audit_head.c.size == bindparam("before"))
    .values(size=bindparam("after"), frontier=bindparam("edge"))
)


@dataclass(frozen=True)
class Head:
    """One log as the ledger knows it. `vkeys`: all that ever signed it, the one in use last."""

    log: str
    frontier: Frontier
    vkeys: tuple[VerifierKey, ...]
    pseudonym_check: str
    closed: bool = False
    dropped: bool = False
    verified_size: int = 0
    verified_at: str | None = None

    @property
    def size(self) -> int:
        return self.frontier.size

    @property
    def year(self) -> int:
        return int(self.log[-4:])


@dataclass(frozen=True)
class Stored:
    """A stored checkpoint: the note's text and the frontier that it was signed over."""

    size: int
    at: str
    note: str
    frontier_bytes: bytes


def raw(value: object) -> bytes:
    """A stored blob. SQLite hands back text where somebody edited the row with text functions;
    whether that is still the same line is for the hashes to say."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    return bytes(value) if isinstance(value, bytes | memoryview) else b""


def lock(tx: Connection, origin: str) -> None:
    """One writer at a time. On SQLite the caller's BEGIN IMMEDIATE has seen to that."""
    if tx.dialect.name == "postgresql":
        key = int.from_bytes(sha256(f"audit {origin}".encode()).digest()[:8], "big", signed=True)
        one_at_a_time(tx, key)


def find(tx: Connection, log: str) -> Head | None:
    """One log by its full name."""
    row = tx.execute(_FIND, {"named": log}).first()
    return _head(row) if row else None


def every(tx: Connection, origin: str) -> list[Head]:
    """All logs of an origin, the oldest first."""
    rows = tx.execute(
        select(audit_head)
        .where(audit_head.c.log.startswith(f"{origin}/", autoescape=True))
        .order_by(audit_head.c.log)
    )
    found = [_head(row) for row in rows]
    return [h for h in found if h.log[:-4] == f"{origin}/" and h.log[-4:].isdigit()]


def create(tx: Connection, log: str, vkey: VerifierKey, pseudonym_check: str, at: datetime) -> Head:
    """The row of a log that begins."""
    tx.execute(
        insert(audit_head).values(
            log=log,
            size=0,
            frontier=b"",
            vkeys=str(vkey),
            pseudonym_check=pseudonym_check,
            opened_at=stamp(at),
            verified_size=0,
        )
    )
    return Head(log, Frontier(), (vkey,), pseudonym_check)


def advance(tx: Connection, head: Head, rows: Sequence[dict[str, object]], after: Frontier) -> None:
    """Store entries and the frontier after them. Raises AuditUnwritable if another came first."""
    if rows:
        tx.execute(_ADD, list(rows))
    changed = tx.execute(
        _ADVANCE,
        {"named": head.log, "before": head.size, "after": after.size, "edge": after.to_bytes()},
    )
    if changed.rowcount != 1:
        raise AuditUnwritable("somebody else wrote to the audit log in between")


def amend(tx: Connection, log: str, **columns: object) -> None:
    """Set columns of a head's row."""
    tx.execute(update(audit_head).where(audit_head.c.log == log).values(**columns))


def checkpoint_at(tx: Connection, log: str, size: int) -> Stored | None:
    """The newest checkpoint of at most this size."""
    row = tx.execute(
        select(audit_checkpoint)
        .where(audit_checkpoint.c.log == log, audit_checkpoint.c.size <= size)
        .order_by(audit_checkpoint.c.size.desc())
        .limit(1)
    ).first()
    return Stored(row.size, row.at, str(row.note), raw(row.frontier)) if row else None


def checkpoints(ledger: Ledger, log: str, after: int = -1) -> Iterator[Stored]:
    """All checkpoints of a log larger than `after`, in order."""
    while True:
        with ledger.read() as tx:
            rows = tx.execute(
                select(audit_checkpoint)
                .where(audit_checkpoint.c.log == log, audit_checkpoint.c.size > after)
                .order_by(audit_checkpoint.c.size)
                .limit(PAGE)
            ).all()
        if not rows:
            return
        yield from (Stored(row.size, row.at, str(row.note), raw(row.frontier)) for row in rows)
        after = rows[-1].size


def add_checkpoint(tx: Connection, log: str, at: datetime, note: str, frontier: Frontier) -> None:
    """Keep a checkpoint for as long as the log is known."""
    tx.execute(
        insert(audit_checkpoint).values(
            log=log, size=frontier.size, at=stamp(at), note=note, frontier=frontier.to_bytes()
        )
    )


def lines_in(tx: Connection, log: str, start: int, end: int) -> Iterator[list[tuple[int, bytes]]]:
    """Entries `start` up to, not including, `end`, as (seq, line), in chunks of flat memory."""
    rows = PAGE
    while start < end:
        found = tx.execute(
            select(audit_entry.c.seq, audit_entry.c.line)
            .where(
                audit_entry.c.log == log,
                audit_entry.c.seq >= start,
                audit_entry.c.seq < end,
            )
            .order_by(audit_entry.c.seq)
            .limit(rows)
        ).all()
        if not found:
            return
        chunk = [(row.seq, raw(row.line)) for row in found]
        yield chunk
        start = chunk[-1][0] + 1
        average = max(1, sum(len(line) for _, line in chunk) // len(chunk))
        rows = max(50, min(PAGE * 5, PAGE_BYTES // average))


def drop_entries(tx: Connection, log: str, last: int) -> None:
    """Delete a log's entries, and its checkpoints but the last."""
    tx.execute(delete(audit_entry).where(audit_entry.c.log == log))
    tx.execute(
        delete(audit_checkpoint).where(
            audit_checkpoint.c.log == log, audit_checkpoint.c.size < last
        )
    )


def count_beyond(tx: Connection, log: str) -> int:
    """Rows of entries behind the end of a log, by one statement: others may be appending."""
    end = select(audit_head.c.size).where(audit_head.c.log == log).scalar_subquery()
    return int(
        tx.execute(
            select(func.count())
            .select_from(audit_entry)
            .where(audit_entry.c.log == log, audit_entry.c.seq >= end)
        ).scalar_one()
    )


@lru_cache(maxsize=64)
def _vkeys(lines: str) -> tuple[VerifierKey, ...]:
    return tuple(VerifierKey.parse(line) for line in lines.splitlines())


def _head(row: Row[Any]) -> Head:
    try:
        frontier = Frontier.from_bytes(row.size, raw(row.frontier))
        vkeys = _vkeys(row.vkeys)
    except (NoteError, ValueError, TypeError, AttributeError):
        # SQLite keeps whatever an editor wrote into a column, of any type.
        raise AuditUnwritable("the audit log's head is damaged", place=row.log) from None
    return Head(
        row.log,
        frontier,
        vkeys,
        row.pseudonym_check,
        closed=row.closed_at is not None,
        dropped=row.dropped_at is not None,
        verified_size=row.verified_size,
        verified_at=row.verified_at,
    )
