"""Writing to the log of the year: opening, appending, sealing, turning the year, changing keys.

Every function works in the caller's transaction, so that an entry commits together with the
state that it describes, or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Connection

from retention.audit import heads
from retention.audit.checkpoint import Checkpoint, SignerKey, encode, sign
from retention.audit.entries import Entry, line
from retention.audit.heads import Head
from retention.audit.integrity import signed_root
from retention.audit.keys import KeyFolder, check_value
from retention.audit.trail import Problems
from retention.audit.tree import Frontier, leaf_hash, leaf_hashes
from retention.errors import AuditUnwritable, UsageError
from retention.ledger.store import stamp


class Writer:
    """Appends to the newest log of one origin. Callers hold the ledger's write transaction."""

    def __init__(self, keys: KeyFolder, origin: str) -> None:
        self.keys = keys
        self.origin = origin

    def name(self, at: datetime) -> str:
        """The log of an instant's UTC year."""
        return f"{self.origin}/{at.astimezone(UTC).year:04d}"

    def current(self, tx: Connection, at: datetime) -> Head:
        """The log to append to, opened or turned over if need be.

        A clock that went back does not reopen a closed log: the newest one goes on.
        """
        heads.lock(tx, self.origin)
        name = self.name(at)
        head = heads.find(tx, name)
        if head is not None and not head.closed:
            return head
        newest = next(reversed(heads.every(tx, self.origin)), None)
        if newest is None:
            return self._open(tx, name, at, None)
        if newest.log < name:
            return self._turn(tx, newest, name, at)
        if newest.closed:
            raise AuditUnwritable("the newest audit log is closed", place=newest.log)
        return newest

    def append(self, tx: Connection, head: Head, at: datetime, entries: Sequence[Entry]) -> Head:
        """Add entries to this log. Raises AuditUnwritable; the caller must then roll back."""
        frontier = head.frontier.copy()
        rows: list[dict[str, object]] = []
        for entry in entries:
            data = line(frontier.size, at, entry)
            rows.append(
                {
                    "log": head.log,
                    "seq": frontier.size,
                    "at": stamp(at),
                    "type": entry.type,
                    "policy": entry.policy or entry.facts.get("policy"),
                    "line": data,
                }
            )
            frontier.append(leaf_hash(data))
        heads.advance(tx, head, rows, frontier)
        return replace(head, frontier=frontier)

    def seal(self, tx: Connection, head: Head, at: datetime, also: Sequence[SignerKey] = ()) -> str:
        """The signed note for the log as it is, stored. The same note where it was sealed before.

        The tail since the last checkpoint is hashed again from the stored lines first: what was
        changed in the database behind our back is never signed.
        """
        last = heads.checkpoint_at(tx, head.log, head.size)
        if last is not None:
            problems = Problems()
            if signed_root(last, head, problems) is None:
                raise AuditUnwritable(problems.sentences()[0])
            if last.size == head.size:
                return last.note
        frontier = Frontier.from_bytes(last.size, last.frontier_bytes) if last else Frontier()
        for chunk in heads.lines_in(tx, head.log, frontier.size, head.size):
            if any(seq != n for n, (seq, _) in enumerate(chunk, frontier.size)):
                break
            frontier.extend(leaf_hashes(data for _, data in chunk))
        if frontier.to_bytes() != head.frontier.to_bytes() or frontier.size != head.size:
            raise AuditUnwritable(
                f"the entries since the checkpoint of {last.size if last else 0} were changed; "
                "nothing is signed",
                hint="`retention audit verify` says which; restore the ledger from its backup",
                place=head.log,
            )
        signer = self.keys.signer(head.vkeys[-1])
        note = sign(Checkpoint(head.log, head.size, frontier.root()), [signer, *also])
        heads.add_checkpoint(tx, head.log, at, note, frontier)
        return note

    def rotate(self, tx: Connection, at: datetime, actor: str) -> str:
        """Sign with a new key from now on. Returns the note that both keys signed.

        A new seed is on disk before the ledger names it; one that a crash left behind is used.
        """
        head = self.current(tx, at)
        old = self.keys.signer(head.vkeys[-1])
        spare = [k for k in self.keys.signers(head.log) if k.verifier not in head.vkeys]
        new = spare[-1] if spare else self.keys.add_signer(head.log)
        vkeys = (*head.vkeys, new.verifier)
        facts = {"vkey": str(new.verifier), "previous": old.verifier.key_id.hex()}
        head = self.append(tx, head, at, [Entry("key.rotated", actor, None, facts)])
        heads.amend(tx, head.log, vkeys="\n".join(map(str, vkeys)))
        return self.seal(tx, replace(head, vkeys=vkeys), at, also=[old])

    def drop(self, tx: Connection, year: int, at: datetime, actor: str) -> None:
        """End a closed log whose own period is over: its entries and its pseudonym key go.

        The last checkpoint stays. Raises UsageError where that log is not there or still open.
        The key file goes last, after the caller's commit: see `AuditLog.drop`.
        """
        head = heads.find(tx, f"{self.origin}/{year:04d}")
        if head is None or head.dropped:
            raise UsageError(f"there is no audit log of {year}")
        if not head.closed:
            raise UsageError(f"the audit log of {year} is still open")
        facts = {"log": head.log, "size": head.size, "root": encode(head.frontier.root())}
        self.append(tx, self.current(tx, at), at, [Entry("log.dropped", actor, None, facts)])
        heads.drop_entries(tx, head.log, head.size)
        heads.amend(tx, head.log, dropped_at=stamp(at))

    def _turn(self, tx: Connection, old: Head, name: str, at: datetime) -> Head:
        """Close the old year's log, seal it, and open the next one with its last root."""
        if not old.closed:
            following = self._signer(name).verifier
            facts = {"next": name, "next_vkey": str(following)}
            old = self.append(tx, old, at, [Entry("log.closed", "system", None, facts)])
            self.seal(tx, old, at)
            heads.amend(tx, old.log, closed_at=stamp(at))
        return self._open(tx, name, at, old)

    def _open(self, tx: Connection, name: str, at: datetime, previous: Head | None) -> Head:
        vkey = self._signer(name).verifier
        check = check_value(self.keys.pseudonym_key(name, None))
        facts: dict[str, object] = {"log": name, "vkey": str(vkey)}
        if previous is not None:
            facts["previous"] = previous.log
            facts["previous_size"] = previous.size
            facts["previous_root"] = encode(previous.frontier.root())
        head = heads.create(tx, name, vkey, check, at)
        return self.append(tx, head, at, [Entry("log.opened", "system", None, facts)])

    def _signer(self, name: str) -> SignerKey:
        found = self.keys.signers(name)
        return found[-1] if found else self.keys.add_signer(name)
