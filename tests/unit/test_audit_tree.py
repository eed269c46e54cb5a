"""The tree is RFC 6962's, as a second implementation and the check values say."""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree  # type: ignore[import-untyped]  # it ships no types
from tlog_scales import tlog

from retention.audit.checkpoint import Note, SignerKey, VerifierKey, sign
from retention.audit.proof import ConsistencyProof, InclusionProof
from retention.audit.tree import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    consistency_ranges,
    inclusion_proof,
    leaf_hash,
    leaf_hashes,
    range_roots,
    root_of,
    verify_consistency,
    verify_inclusion,
)

VECTOR = Path(__file__).parents[1] / "golden" / "audit"
LEAVES = leaf_hashes(str(n).encode() for n in range(300))


def plain_root(leaves: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word by word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    left, right = plain_root(leaves[:split]), plain_root(leaves[split:])
    return sha256(b"\1" + left + right).digest()


def test_every_byte_of_the_check_values_is_reproduced() -> None:
    """Notes, key, root and proofs come out as the contract's check values, byte for byte."""
    lines = (VECTOR / "entries.jsonl").read_bytes().splitlines()
    leaves = leaf_hashes(lines)
    signer = SignerKey("example.org/retention/audit", bytes(range(32)))
    assert f"{signer.verifier}\n" == (VECTOR / "vkey").read_text()
    assert VerifierKey.parse((VECTOR / "vkey").read_text().rstrip("\n")) == signer.verifier
    for name, size in (("checkpoint", 3), ("checkpoint.2", 2)):
        data = (VECTOR / name).read_bytes()
        note = Note.parse(data)
        assert note.checkpoint.size == size
        assert note.checkpoint.root == root_of(leaves[:size])
        assert sign(note.checkpoint, [signer]).encode() == data
        assert note.signers([signer.verifier]) == [signer.verifier]
    inclusion = InclusionProof(1, 3, tuple(inclusion_proof(leaves, 1)))
    assert inclusion.text == (VECTOR / "proof.json").read_text()
    consistency = ConsistencyProof(2, 3, tuple(consistency_proof(leaves, 2)))
    assert consistency.text == (VECTOR / "consistency.json").read_text()
    assert InclusionProof.parse((VECTOR / "proof.json").read_bytes()) == inclusion
    assert ConsistencyProof.parse((VECTOR / "consistency.json").read_bytes()) == consistency


def test_the_check_values_hold_what_they_say() -> None:
    """The proof files alone are enough to check an entry and the growth of the log."""
    new = Note.parse((VECTOR / "checkpoint").read_bytes()).checkpoint
    old = Note.parse((VECTOR / "checkpoint.2").read_bytes()).checkpoint
    line = (VECTOR / "entries.jsonl").read_bytes().splitlines()[1]
    proof = json.loads((VECTOR / "proof.json").read_text())
    assert (
        proof["hashes"][0]
        == b64encode(leaf_hash((VECTOR / "entries.jsonl").read_bytes().splitlines()[0])).decode()
    ), "the leaf's sibling comes first"
    parsed = InclusionProof.parse((VECTOR / "proof.json").read_bytes())
    assert verify_inclusion(leaf_hash(line), 1, 3, parsed.hashes, new.root)
    grown = ConsistencyProof.parse((VECTOR / "consistency.json").read_bytes())
    assert verify_consistency(2, 3, old.root, new.root, grown.hashes)


def test_roots_and_inclusion_proofs_agree_with_pymerkle() -> None:
    """pymerkle, which nobody here wrote, computes the same roots and the same proofs."""
    theirs = InmemoryTree(algorithm="sha256")
    for size in range(1, 65):
        theirs.append_entry(str(size - 1).encode())
        ours = LEAVES[:size]
        assert theirs.get_root() == root_of(ours)
        for index in range(size):
            their_path = theirs.prove_inclusion(index + 1, size).path
            assert their_path == [ours[index], *inclusion_proof(ours, index)]


def test_tlog_scales_accepts_every_proof() -> None:
    """tlog-scales, a reader of C2SP logs, accepts our proofs of both kinds."""
    for size in (1, 2, 3, 7, 8, 31, 64, 100):
        root = root_of(LEAVES[:size])
        for index in range(size):
            nodes = inclusion_proof(LEAVES, index, size)
            tlog.InclusionProof(index, size, nodes).check(LEAVES[index], root)
        for old in range(1, size):
            nodes = consistency_proof(LEAVES, old, size)
            tlog.ConsistencyProof(old, size, nodes).check(root_of(LEAVES[:old]), root)


def test_every_small_tree_has_the_root_of_the_definition() -> None:
    """The fast root equals the recursive definition for every size, the empty tree included."""
    for size in range(150):
        assert root_of(LEAVES[:size]) == plain_root(LEAVES[:size])
    assert root_of([]) == EMPTY_ROOT


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 70), max_size=8))
def test_a_frontier_grows_alike_in_any_portions(portions: list[int]) -> None:
    """One by one, in groups, or stored and read back between groups: the tree is the same."""
    singly, grouped, done = Frontier(), Frontier(), 0
    for portion in portions:
        part = LEAVES[done : done + portion]
        done = min(done + portion, len(LEAVES))
        for leaf in part:
            singly.append(leaf)
        grouped = Frontier.from_bytes(grouped.size, grouped.to_bytes())
        grouped.extend(part)
        assert (grouped.size, grouped.to_bytes()) == (singly.size, singly.to_bytes())
        assert grouped.root() == plain_root(LEAVES[:done])


def test_a_frontier_that_does_not_fit_its_size_is_refused() -> None:
    """A stored frontier with a hash too few, too many or cut short is never used."""
    good = Frontier()
    good.extend(LEAVES[:7])
    for data in (good.to_bytes()[:-1], good.to_bytes()[32:], good.to_bytes() + b"\0" * 32):
        with pytest.raises(ValueError, match="frontier"):
            Frontier.from_bytes(7, data)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_inclusion_proofs_hold_for_their_leaf_only(data: st.DataObject) -> None:
    """A proof verifies, and fails for another leaf, index, size, root or any changed hash."""
    size = data.draw(st.integers(1, 200))
    index = data.draw(st.integers(0, size - 1))
    proof, root = inclusion_proof(LEAVES, index, size), root_of(LEAVES[:size])
    leaf = LEAVES[index]
    assert verify_inclusion(leaf, index, size, proof, root)
    assert not verify_inclusion(LEAVES[index + 1], index, size, proof, root)
    assert not verify_inclusion(leaf, index, size, proof, root_of(LEAVES[: size + 1]))
    assert not verify_inclusion(leaf, size, size, proof, root)
    assert not verify_inclusion(leaf, index, size, [*proof, root], root)
    if proof:
        assert not verify_inclusion(leaf, index, size, proof[:-1], root)
        place = data.draw(st.integers(0, len(proof) - 1))
        bent = [*proof[:place], bytes(32), *proof[place + 1 :]]
        assert not verify_inclusion(leaf, index, size, bent, root)
    other = data.draw(st.integers(0, size - 1))
    if other != index:
        assert not verify_inclusion(leaf, other, size, proof, root)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_consistency_proofs_hold_for_a_prefix_only(data: st.DataObject) -> None:
    """A proof verifies, and fails for a log that changed anything before the old size."""
    new = data.draw(st.integers(1, 200))
    old = data.draw(st.integers(0, new))
    proof = consistency_proof(LEAVES, old, new)
    old_root, new_root = root_of(LEAVES[:old]), root_of(LEAVES[:new])
    assert verify_consistency(old, new, old_root, new_root, proof)
    assert not verify_consistency(old, new, old_root, new_root, [*proof, new_root])
    if old:
        changed = data.draw(st.integers(0, old - 1))
        forked = [*LEAVES[:changed], bytes(32), *LEAVES[changed + 1 : new]]
        forked_proof = consistency_proof(forked, old, new)
        assert not verify_consistency(old, new, old_root, root_of(forked), forked_proof)
    if 0 < old < new:
        assert not verify_consistency(old, new, bytes(32), new_root, proof)
        assert not verify_consistency(old, new, old_root, bytes(32), proof)
        assert not verify_consistency(old, new, old_root, new_root, proof[:-1])


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 250), st.data())
def test_roots_of_ranges_come_from_one_pass_in_any_chunks(size: int, data: st.DataObject) -> None:
    """Proofs of a stored log are made from a stream, whatever its chunks are."""
    width = data.draw(st.integers(1, 40))
    chunks = [LEAVES[at : min(at + width, size)] for at in range(0, size, width)]
    ranges = consistency_ranges(data.draw(st.integers(1, size)), size)
    roots = range_roots(chunks, ranges)
    assert all(roots[low, high] == plain_root(LEAVES[low:high]) for low, high in ranges)


def test_a_stream_that_ends_early_gives_no_proof() -> None:
    """A log that lost entries gives an error, not a proof."""
    with pytest.raises(ValueError, match="smaller"):
        range_roots([LEAVES[:3]], [(0, 4)])
