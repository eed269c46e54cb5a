"""The audit log: the one door through which evidence is written and read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, and_, or_, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from retention.audit import heads
from retention.audit.checkpoint import encode, valid_name
from retention.audit.entries import Entry, type_of
from retention.audit.export import export_logs
from retention.audit.heads import Head
from retention.audit.integrity import Integrity, examine
from retention.audit.keys import KeyFolder
from retention.audit.pseudonym import Pseudonymiser
from retention.audit.trail import Problems
from retention.audit.tree import EMPTY_ROOT
from retention.audit.writer import Writer
from retention.errors import AuditBlocked, AuditUnwritable, LedgerUnreachable, UsageError
from retention.ledger.store import Ledger, stamp, unreachable
from retention.ledger.tables import audit_entry


@dataclass(frozen=True)
class Found:
    """One entry and where it stands."""

    log: str
    seq: int
    line: bytes


class AuditLog:
    """One log a calendar year (UTC), named `origin/year`, each with its own keys.

    Methods that take `tx` work in the caller's `ledger.write()` transaction; the others open
    their own and must not be called inside one.
    """

    def __init__(self, ledger: Ledger, keys_folder: Path, origin: str) -> None:
        if not valid_name(origin) or origin.endswith("/") or len(origin) > 200:
            raise UsageError(
                "the audit log's origin must be a name without spaces and `+`",
                hint="for example example.org/retention",
            )
        self.ledger = ledger
        self.keys = KeyFolder(keys_folder)
        self.origin = origin
        self._writer = Writer(self.keys, origin)

    # --- writing ---------------------------------------------------------------------------

    def append(
        self,
        tx: Connection,
        at: datetime,
        entry_type: str,
        /,
        *,
        actor: str,
        policy: str | None = None,
        **facts: Any,
    ) -> int:
        """Append one entry and return its seq. Facts that are None are left out.

        Raises AuditUnwritable for what is no entry, AuditBlocked where the disk is full,
        LedgerUnreachable: the caller's transaction must then roll back. No audit, no act.
        """
        return self.append_many(tx, at, [Entry(entry_type, actor, policy, facts)])[0]

    def append_many(self, tx: Connection, at: datetime, entries: Sequence[Entry]) -> range:
        """Append entries in order, at one price for the group, and return their seqs."""
        try:
            head = self._writer.current(tx, at)
            after = self._writer.append(tx, head, at, entries)
        except SQLAlchemyError as error:
            raise _unwritable(error) from None
        return range(head.size, after.size)

    def pseudonymiser(self, system: str, location: str, at: datetime) -> Pseudonymiser:
        """For the records of one location, in the log that is in use at this instant.

        Raises AuditUnwritable where this machine does not hold that log's key.
        """
        with self.ledger.read() as tx:
            name = self._writer.name(at)
            newest = next(reversed(heads.every(tx, self.origin)), None)
        if newest is not None and newest.log >= name:
            key = self.keys.pseudonym_key(newest.log, newest.pseudonym_check)
        else:
            key = self.keys.pseudonym_key(name, None)
        return Pseudonymiser(key, system, location)

    def checkpoint(self, at: datetime) -> str:
        """Sign the log as it is and return the note; the same note while nothing is appended."""
        with self.ledger.write() as tx:
            return self.checkpoint_in(tx, at)

    def checkpoint_in(self, tx: Connection, at: datetime) -> str:
        """`checkpoint` within the caller's transaction."""
        try:
            return self._writer.seal(tx, self._writer.current(tx, at), at)
        except SQLAlchemyError as error:
            raise _unwritable(error) from None

    def rotate_key(self, at: datetime, *, actor: str) -> str:
        """Sign with a new key from now on; returns the note that the old key signed as well."""
        with self.ledger.write() as tx:
            return self._writer.rotate(tx, at, actor)

    def drop(self, year: int, at: datetime, *, actor: str) -> None:
        """End a closed log: entries and pseudonym key go, the last checkpoint stays."""
        with self.ledger.write() as tx:
            self._writer.drop(tx, year, at, actor)
        self.keys.destroy_pseudonym_key(f"{self.origin}/{year:04d}")

    # --- checking --------------------------------------------------------------------------

    def logs(self) -> list[Head]:
        """All logs of this origin, the oldest first."""
        with self.ledger.read() as tx:
            return heads.every(tx, self.origin)

    def check(self, at: datetime, *, full: bool = False) -> Integrity:
        """Recompute the root against the checkpoints, and remember that it was done.

        Ordinarily the newest log from its last verified checkpoint on; `full`: every entry of
        every log. Raises AuditUnwritable on any mismatch: nothing may be disposed of then.
        """
        found, problems = self.logs(), Problems()
        if not found:
            return Integrity(self._writer.name(at), 0, encode(EMPTY_ROOT), 0, stamp(at))
        for log in found if full else found[-1:]:
            head = examine(self.ledger, log.log, problems, full=full).head
        if problems:
            first, *others = problems.sentences()
            raise AuditUnwritable(
                f"the audit log does not fit its checkpoints: {first}"
                + (f" (and {len(others)} more)" if others else ""),
                hint="nothing is disposed of until `retention audit verify` finds no problem",
            )
        with self.ledger.write() as tx:
            last = heads.checkpoint_at(tx, head.log, head.size)
            sealed = last.size if last else 0
            heads.amend(tx, head.log, verified_size=sealed, verified_at=stamp(at))
        return Integrity(head.log, head.size, encode(head.frontier.root()), sealed, stamp(at))

    def standing(self) -> Integrity | None:
        """What the last check left: for showing, never for deciding. None before the first."""
        newest = next(reversed(self.logs()), None)
        if newest is None or newest.verified_at is None:
            return None
        root = encode(newest.frontier.root())
        return Integrity(newest.log, newest.size, root, newest.verified_size, newest.verified_at)

    # --- reading ---------------------------------------------------------------------------

    def query(
        self,
        *,
        type: str | None = None,  # noqa: A002 - the word of the format and of the command line
        policy: str | None = None,
        since: datetime | None = None,
    ) -> Iterator[bytes]:
        """Lines in order, the oldest first, of all logs. `type` may be a family: `request.*`."""
        for found in self.find(type=type, policy=policy, since=since):
            yield found.line

    def find(
        self,
        *,
        type: str | None = None,  # noqa: A002 - the word of the format and of the command line
        policy: str | None = None,
        since: datetime | None = None,
        after: tuple[str, int] = ("", -1),
    ) -> Iterator[Found]:
        """`query` with each entry's place; `after` (log, seq) goes on from an earlier answer."""
        if type is not None and not type.endswith(".*") and type_of(type) is None:
            raise UsageError(f"{type!r} is not a type of entry")
        column = audit_entry.c
        wanted = select(column.log, column.seq, column.line).order_by(column.log, column.seq)
        wanted = wanted.where(column.log.in_([head.log for head in self.logs()]))
        if type is not None:
            family = type.endswith(".*")
            wanted = wanted.where(
                column.type.startswith(type[:-1], autoescape=True)
                if family
                else column.type == type
            )
        if policy is not None:
            wanted = wanted.where(column.policy == policy)
        if since is not None:
            wanted = wanted.where(column.at >= stamp(since))
        log, seq = after
        while True:
            further = or_(column.log > log, and_(column.log == log, column.seq > seq))
            with self.ledger.read() as tx:
                rows = tx.execute(wanted.where(further).limit(500)).all()
            for row in rows:
                log, seq = row.log, row.seq
                yield Found(log, seq, heads.raw(row.line))
            if not rows:
                return

    def entry(self, seq: int, *, log: str | None = None) -> Found:
        """One entry by its number, of the newest log if none is named. Raises UsageError."""
        with self.ledger.read() as tx:
            newest = next(reversed(heads.every(tx, self.origin)), None)
            name = log or (newest.log if newest else "")
            chunks = heads.lines_in(tx, name, seq, seq + 1)
            for (number, line), *_ in chunks:
                return Found(name, number, line)
        raise UsageError(f"the audit log has no entry {seq}")

    def find_record(self, pseudonym: str) -> list[Found]:
        """The entries that name a record by its pseudonym, the oldest first."""
        return self._naming([f'"{pseudonym}"'.encode()])

    def find_key(self, system: str, location: str, native_key: str) -> list[Found]:
        """The entries on a record, by its native key, in every log whose pseudonym key is here."""
        names = [
            Pseudonymiser(self.keys.pseudonym_key(head.log, head.pseudonym_check), system, location)
            for head in self.logs()
            if not head.dropped
        ]
        return self._naming([f'"{name.of(native_key)}"'.encode() for name in names])

    def _naming(self, needles: Sequence[bytes]) -> list[Found]:
        return [f for f in self.find() if any(needle in f.line for needle in needles)]

    def export(self, folder: Path, at: datetime) -> Path:
        """Seal the log and write all of it as files that other tools verify; returns the folder."""
        self.checkpoint(at)
        export_logs(self.ledger, self.logs(), folder)
        return folder


def _unwritable(error: SQLAlchemyError) -> LedgerUnreachable:
    """The driver's error by its class only: its text may hold values."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return unreachable(error)
    cause = getattr(error, "orig", None) or error
    return AuditBlocked(
        f"the audit log cannot be written ({type(cause).__name__})",
        hint="no audit, no act: free the disk or bring the database back; then work goes on",
    )
