"""Proofs of single entries: checked with the line, the proof and the note alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tlog_scales import tlog

from retention.audit.checkpoint import NoteError
from retention.audit.proof import (
    ConsistencyProof,
    InclusionProof,
    proof_for_seq,
    proof_of_consistency,
    proofs_for,
    verify_entry,
    verify_growth,
)
from retention.audit.tree import leaf_hash
from retention.errors import UsageError
from tests.unit.audit_samples import AT, NAME, exported, grow, open_log

NEXT_YEAR = AT.replace(year=2027)


def test_every_entry_is_proved_against_the_newest_checkpoint(tmp_path: Path) -> None:
    """Line, proof file and note are enough, for us and for another program."""
    log, folder = exported(tmp_path)
    note = (folder / "checkpoint").read_bytes()
    vkeys = log.logs()[-1].vkeys
    for seq in range(13):
        made = proof_for_seq(log, seq)
        proof = InclusionProof.parse(made.proof.text.encode())
        assert (proof.index, proof.size, made.note.encode()) == (seq, 13, note)
        assert verify_entry(made.found.line, proof, note, vkeys).checkpoint.size == 13
        root = tlog.Checkpoint.from_text(made.note).root_hash
        nodes = [*proof.hashes]
        tlog.InclusionProof(seq, 13, nodes).check(leaf_hash(made.found.line), root)


def test_a_proof_is_for_its_entry_only(tmp_path: Path) -> None:
    """Another line, a changed line, another note or another key is refused."""
    log, folder = exported(tmp_path)
    vkeys = log.logs()[-1].vkeys
    made = proof_for_seq(log, 5)
    note = made.note.encode()
    for line in (log.entry(6).line, made.found.line + b" ", b""):
        with pytest.raises(NoteError, match="does not lead"):
            verify_entry(line, made.proof, note, vkeys)
    older = (folder / "checkpoints" / "8").read_bytes()
    with pytest.raises(NoteError, match="another size"):
        verify_entry(made.found.line, made.proof, older, vkeys)
    with pytest.raises(NoteError, match="not signed"):
        verify_entry(made.found.line, made.proof, note, [])


def test_a_record_is_proved_in_every_year(tmp_path: Path) -> None:
    """All entries that name a record, each with its proof, log by log."""
    log, _ = exported(tmp_path)
    grow(log, 2, NEXT_YEAR)
    log.checkpoint(NEXT_YEAR)
    found = log.find_key("website", "enquiries/form", "row-1")
    proofs = proofs_for(log, found)
    assert [p.found for p in proofs] == found
    assert {p.found.log for p in proofs} == {head.log for head in log.logs()}
    vkeys = [key for head in log.logs() for key in head.vkeys]
    for made in proofs:
        fields = json.loads(json.dumps(made.as_json()))
        assert list(fields) == ["log", "entry", "index", "size", "hashes", "checkpoint"]
        verify_entry(fields["entry"].encode(), made.proof, fields["checkpoint"].encode(), vkeys)


def test_an_entry_that_nothing_covers_has_no_proof_yet(tmp_path: Path) -> None:
    """A proof leads to a signed root; before there is one, the user is told what to do."""
    log, _ = exported(tmp_path)
    grow(log, 1)
    with pytest.raises(UsageError, match="no checkpoint covers"):
        proof_for_seq(log, 13)
    with pytest.raises(UsageError, match="no entry"):
        proof_for_seq(log, 14)
    assert proof_for_seq(log, 12).proof.size == 13


def test_growth_is_proved_between_any_two_checkpoints(tmp_path: Path) -> None:
    """The proof and two notes show that the newer log begins with the older one."""
    log, folder = exported(tmp_path)
    vkeys = log.logs()[-1].vkeys
    notes = {n: (folder / "checkpoints" / str(n)).read_bytes() for n in (4, 8, 13)}
    for old, new in ((4, 8), (4, 13), (8, 13), (13, 13)):
        proof = proof_of_consistency(log, NAME, old, new)
        assert ConsistencyProof.parse(proof.text.encode()) == proof
        verify_growth(proof, notes[old], notes[new], vkeys)
        ours = tlog.Checkpoint.from_text(notes[old].decode()).root_hash
        theirs = tlog.Checkpoint.from_text(notes[new].decode()).root_hash
        tlog.ConsistencyProof(old, new, [*proof.hashes]).check(ours, theirs)
    with pytest.raises(NoteError, match="other checkpoints"):
        verify_growth(proof_of_consistency(log, NAME, 4, 8), notes[4], notes[13], vkeys)
    with pytest.raises(NoteError, match="does not begin"):
        verify_growth(ConsistencyProof(4, 8, ()), notes[4], notes[8], vkeys)
    for old, new in ((8, 4), (4, 99), (-1, 4)):
        with pytest.raises(UsageError):
            proof_of_consistency(log, NAME, old, new)


def test_the_same_proof_in_the_format_of_c2sp(tmp_path: Path) -> None:
    """tlog-proof: a header, the index, one hash a line, a blank line, the note as it is."""
    log, _ = exported(tmp_path)
    made = proof_for_seq(log, 5)
    lines, note = made.proof.tlog(made.note).split("\n\n", 1)
    head, index, *hashes = lines.split("\n")
    assert (head, index) == ("c2sp.org/tlog-proof@v1", "index 5")
    assert hashes == json.loads(made.proof.text)["hashes"]
    assert note == made.note


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"index": 1, "size": 3}',
        '{"index": true, "size": 3, "hashes": []}',
        '{"index": -1, "size": 3, "hashes": []}',
        '{"index": 1.0, "size": 3, "hashes": []}',
        '{"index": 1, "size": 3, "hashes": {}}',
        '{"index": 1, "size": 3, "hashes": [1]}',
        '{"index": 1, "size": 3, "hashes": ["AAAA"]}',
        '{"index": 1, "size": 3, "hashes": ["%"]}',
        '{"index": 1, "size": 3, "hashes": [], "more": 1}',
    ],
)
def test_rubbish_is_no_proof(text: str) -> None:
    """A proof file comes from outside: anything but a proof is refused with a sentence."""
    with pytest.raises(NoteError):
        InclusionProof.parse(text.encode())


def test_an_empty_log_has_nothing_to_prove(tmp_path: Path) -> None:
    """Before the first entry there is no entry 0."""
    with pytest.raises(UsageError, match="no entry 0"):
        proof_for_seq(open_log(tmp_path), 0)
