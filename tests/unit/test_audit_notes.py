"""Signed notes: what is signed verifies, and no byte of a note can change."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tlog_scales import signing, tlog

from retention.audit.checkpoint import (
    Checkpoint,
    Note,
    NoteError,
    SignerKey,
    VerifierKey,
    decode,
    encode,
    sign,
)

POINT = Checkpoint("example.org/retention/2026", 1042, bytes(range(32)))
OLD, NEW, OTHER = (SignerKey(POINT.origin, bytes([n]) * 32) for n in (1, 2, 3))
WITNESS = SignerKey("witness.example.com", b"w" * 32)
NOTE = sign(POINT, [OLD])


def test_a_note_of_two_keys_verifies_with_either() -> None:
    """After a rotation, whoever knows the old key or the new one can verify the note."""
    note = Note.parse(sign(POINT, [NEW, OLD]).encode())
    assert note.signers([OLD.verifier]) == [OLD.verifier]
    assert note.signers([NEW.verifier]) == [NEW.verifier]
    assert note.signers([OLD.verifier, NEW.verifier], only=True) == [NEW.verifier, OLD.verifier]


def test_tlog_scales_verifies_our_notes_and_keys() -> None:
    """Another program reads the verifier key and accepts the note, or refuses another key's."""
    theirs = tlog.Checkpoint.from_text(sign(POINT, [NEW, OLD]))
    assert (theirs.origin, theirs.size, theirs.root_hash) == (POINT.origin, 1042, POINT.root)
    for key in (OLD, NEW):
        theirs.verify(signing.Vkey.from_string(str(key.verifier)))
    with pytest.raises(RuntimeError, match="no signature"):
        theirs.verify(signing.Vkey.from_string(str(OTHER.verifier)))


def test_unknown_signers_are_passed_over_unless_the_note_is_ours() -> None:
    """A witness's line does not disturb a verifier that does not know it; our files have none."""
    note = Note.parse(sign(POINT, [WITNESS, OLD]).encode())
    assert note.signers([OLD.verifier]) == [OLD.verifier]
    with pytest.raises(NoteError, match="not known"):
        note.signers([OLD.verifier], only=True)


def test_a_note_of_an_unknown_key_is_refused() -> None:
    """Somebody else's signature proves nothing."""
    with pytest.raises(NoteError, match="not signed by a key"):
        Note.parse(NOTE.encode()).signers([OTHER.verifier])


def test_a_known_key_with_a_wrong_signature_refuses_the_whole_note() -> None:
    """A forged line next to a good one is not passed over."""
    forged = Note.parse(sign(Checkpoint(POINT.origin, 1043, POINT.root), [NEW]).encode())
    mixed = Note(POINT, (*Note.parse(NOTE.encode()).signatures, *forged.signatures))
    with pytest.raises(NoteError, match="wrong"):
        mixed.signers([OLD.verifier, NEW.verifier])


@settings(deadline=None, max_examples=400)
@given(st.integers(0, len(NOTE.encode()) - 1), st.integers(1, 255))
def test_no_byte_of_a_note_can_change(place: int, mask: int) -> None:
    """Every changed byte is refused by the parser or by the signature."""
    data = bytearray(NOTE.encode())
    data[place] ^= mask
    with pytest.raises(NoteError):
        Note.parse(bytes(data)).signers([OLD.verifier])


@settings(deadline=None, max_examples=200)
@given(st.integers(0, len(NOTE.encode()) - 1))
def test_a_note_cut_anywhere_is_refused(length: int) -> None:
    """A note that a full disk cut short is no note."""
    with pytest.raises(NoteError):
        Note.parse(NOTE.encode()[:length]).signers([OLD.verifier])


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("carriage returns", NOTE.replace("\n", "\r\n")),
        ("a leading zero", NOTE.replace("\n1042\n", "\n01042\n")),
        ("a sign", NOTE.replace("\n1042\n", "\n+1042\n")),
        ("another digit", NOTE.replace("\n1042\n", "\n١٠٤٢\n")),
        ("an extension line", NOTE.replace("\n\n", "\nmore\n\n")),
        ("a hyphen for the dash", NOTE.replace("—", "-")),
        ("no signature", NOTE[: NOTE.index("—")]),
        ("text after the end", NOTE + "x"),
        ("two blank lines", NOTE.replace("\n\n", "\n\n\n")),
        ("a byte order mark", "\ufeff" + NOTE),
        ("a short root", NOTE.replace(encode(POINT.root), encode(POINT.root[:31]))),
    ],
)
def test_a_note_has_one_spelling(what: str, text: str) -> None:
    """Whatever another program might read alike is refused, so that bytes mean one thing."""
    with pytest.raises(NoteError):
        Note.parse(text.encode()).signers([OLD.verifier])
    assert what


def test_base64_has_one_spelling() -> None:
    """The spare bits at the end of base64 hide nothing."""
    assert decode(encode(b"\0")) == b"\0"
    for text in ("AB==", "AA", "AA==\n", "A A==", "_w=="):
        with pytest.raises(NoteError):
            decode(text)


def test_a_verifier_key_cannot_change() -> None:
    """A verifier key carries its own check: name, id and key belong together."""
    text = str(OLD.verifier)
    assert VerifierKey.parse(text) == OLD.verifier
    for place in range(len(text)):
        changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        with pytest.raises(NoteError):
            VerifierKey.parse(changed)
    with pytest.raises(NoteError, match="Ed25519"):
        VerifierKey.parse(f"a+00000000+{b64encode(bytes([2]) + bytes(32)).decode()}")


def test_a_signing_key_does_not_print_its_seed() -> None:
    """Logs and tracebacks show which key it is, never the key."""
    assert repr(OLD) == f"SignerKey('{POINT.origin}', {OLD.verifier.key_id.hex()})"


def test_names_with_spaces_or_plus_cannot_sign() -> None:
    """The format's separators cannot be part of a name."""
    for name in ("a b", "a+b", "a\u00a0b", "", "a\nb"):
        key = SignerKey(name, bytes(32))
        with pytest.raises(NoteError):
            sign(Checkpoint(name, 1, bytes(32)), [key])
