"""Proofs that single entries are in the log, and that a log grew only at its end."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from retention.audit import heads
from retention.audit.checkpoint import Note, NoteError, VerifierKey, decode
from retention.audit.tree import (
    HASH_SIZE,
    consistency_ranges,
    inclusion_ranges,
    leaf_hash,
    leaf_hashes,
    range_roots,
    verify_consistency,
    verify_inclusion,
)
from retention.errors import UsageError

if TYPE_CHECKING:
    from retention.audit.log import AuditLog, Found


@dataclass(frozen=True)
class InclusionProof:
    """Entry `index` is in the log of `size` entries; `hashes`: the leaf's sibling first."""

    index: int
    size: int
    hashes: tuple[bytes, ...]

    @property
    def text(self) -> str:
        """The proof file: one line of JSON."""
        return _json({"index": self.index, "size": self.size, "hashes": self.hashes})

    @classmethod
    def parse(cls, data: bytes) -> InclusionProof:
        """A proof file. Raises NoteError."""
        fields = _parse(data, ("index", "size"))
        return cls(fields["index"], fields["size"], fields["hashes"])

    def tlog(self, note: str) -> str:
        """The same proof with its checkpoint, in the format of C2SP tlog-proof."""
        hashes = "".join(f"{b64encode(h).decode()}\n" for h in self.hashes)
        return f"c2sp.org/tlog-proof@v1\nindex {self.index}\n{hashes}\n{note}"


@dataclass(frozen=True)
class ConsistencyProof:
    """The log of `old_size` entries is the beginning of that of `size`."""

    old_size: int
    size: int
    hashes: tuple[bytes, ...]

    @property
    def text(self) -> str:
        """The proof file: one line of JSON."""
        return _json({"old_size": self.old_size, "size": self.size, "hashes": self.hashes})

    @classmethod
    def parse(cls, data: bytes) -> ConsistencyProof:
        """A proof file. Raises NoteError."""
        fields = _parse(data, ("old_size", "size"))
        return cls(fields["old_size"], fields["size"], fields["hashes"])


@dataclass(frozen=True)
class RecordProof:
    """One entry on a record, its proof, and the checkpoint that the proof leads to."""

    found: Found
    proof: InclusionProof
    note: str

    def as_json(self) -> dict[str, Any]:
        """Log, entry (the line as text), the three fields of the proof, and the checkpoint."""
        return {
            "log": self.found.log,
            "entry": self.found.line.decode("utf-8"),
            **json.loads(self.proof.text),
            "checkpoint": self.note,
        }


def proof_for_seq(log: AuditLog, seq: int, *, name: str | None = None) -> RecordProof:
    """Prove one entry against the newest checkpoint of its log (the newest log by default).

    Raises UsageError where there is no such entry, or no checkpoint covers it yet.
    """
    return proofs_for(log, [log.entry(seq, log=name)])[0]


def proofs_for(log: AuditLog, entries: Sequence[Found]) -> list[RecordProof]:
    """Prove entries, such as those that `AuditLog.find_key` found, one pass a log."""
    proved: dict[tuple[str, int], RecordProof] = {}
    for head in log.logs():
        wanted = [found for found in entries if found.log == head.log]
        if not wanted:
            continue
        with log.ledger.read() as tx:
            last = heads.checkpoint_at(tx, head.log, head.size)
            size = last.size if last else 0
            if last is None or max(found.seq for found in wanted) >= size:
                raise UsageError(
                    "no checkpoint covers this entry yet", hint="run `retention audit checkpoint`"
                )
            paths = {found.seq: inclusion_ranges(found.seq, size) for found in wanted}
            every = {wanted_range for path in paths.values() for wanted_range in path}
            roots = range_roots(_leaves(log, head.log, size), every)
        for found in wanted:
            hashes = tuple(roots[node] for node in paths[found.seq])
            proof = InclusionProof(found.seq, size, hashes)
            proved[found.log, found.seq] = RecordProof(found, proof, last.note)
    return [proved[found.log, found.seq] for found in entries]


def proof_of_consistency(log: AuditLog, name: str, old_size: int, size: int) -> ConsistencyProof:
    """Prove that a log only grew between two sizes. Raises UsageError."""
    try:
        ranges = consistency_ranges(old_size, size)
        roots = range_roots(_leaves(log, name, size), ranges)
    except ValueError:
        raise UsageError("the log never had these two sizes in this order") from None
    return ConsistencyProof(old_size, size, tuple(roots[node] for node in ranges))


def verify_entry(
    line: bytes, proof: InclusionProof, note: bytes, vkeys: Iterable[VerifierKey]
) -> Note:
    """Check that the entry (without its newline) is in the log that the note is of.

    Needs no log and no ledger. Raises NoteError; returns the note.
    """
    parsed = Note.parse(note)
    parsed.signers(vkeys)
    point = parsed.checkpoint
    if proof.size != point.size:
        raise NoteError("the proof is for another size than the checkpoint's")
    if not verify_inclusion(leaf_hash(line), proof.index, point.size, proof.hashes, point.root):
        raise NoteError("the proof does not lead from this entry to the checkpoint's root")
    return parsed


def verify_growth(
    proof: ConsistencyProof, old: bytes, new: bytes, vkeys: Iterable[VerifierKey]
) -> None:
    """Check that the log of the new note only adds to that of the old one. Raises NoteError."""
    known = list(vkeys)
    before, after = Note.parse(old), Note.parse(new)
    before.signers(known)
    after.signers(known)
    first, second = before.checkpoint, after.checkpoint
    if (first.origin, first.size, second.size) != (second.origin, proof.old_size, proof.size):
        raise NoteError("the proof is for other checkpoints")
    if not verify_consistency(first.size, second.size, first.root, second.root, proof.hashes):
        raise NoteError("the newer log does not begin with the older one")


def _leaves(log: AuditLog, name: str, size: int) -> Iterator[list[bytes]]:
    with log.ledger.read() as tx:
        for chunk in heads.lines_in(tx, name, 0, size):
            yield leaf_hashes(line for _, line in chunk)


def _json(fields: dict[str, Any]) -> str:
    hashes = [b64encode(value).decode("ascii") for value in fields["hashes"]]
    return json.dumps({**fields, "hashes": hashes}) + "\n"


def _parse(data: bytes, numbers: tuple[str, ...]) -> dict[str, Any]:
    try:
        fields = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise NoteError("not a proof: not JSON") from None
    if not isinstance(fields, dict) or fields.keys() != {*numbers, "hashes"}:
        raise NoteError(f"not a proof: {', '.join(numbers)} and hashes")
    if any(type(fields[number]) is not int or fields[number] < 0 for number in numbers):
        raise NoteError("not a proof: sizes and indexes are whole numbers")
    hashes = fields["hashes"]
    if not isinstance(hashes, list) or not all(isinstance(text, str) for text in hashes):
        raise NoteError("not a proof: hashes are base64")
    decoded = tuple(decode(text) for text in hashes)
    if any(len(value) != HASH_SIZE for value in decoded):
        raise NoteError("not a proof: a hash has 32 bytes")
    return {**fields, "hashes": decoded}
