"""Checkpoints as signed notes (C2SP signed-note and tlog-checkpoint), Ed25519 only.

Parsing is strict: what `Note.text` would not write again, byte for byte, is refused. So no byte
of a stored note can change without notice.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as BadBase64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from retention.audit.tree import HASH_SIZE
from retention.errors import ExitCode, RetentionError

_ED25519 = b"\x01"
_DASH = "— "
_NAME = re.compile(r"[^\s+\x00-\x1f\x7f]{1,250}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,17}")
_MAX_NOTE = 100_000
_MAX_SIGNATURES = 100


class NoteError(RetentionError):
    """A note, a verifier key or a proof that is malformed, or that its keys did not sign."""

    exit_code = ExitCode.CHECK_FAILED
    code = "note"


def valid_name(name: str) -> bool:
    """True for a key name: not empty, no spaces, no `+`, no control characters."""
    return _NAME.fullmatch(name) is not None


def encode(data: bytes) -> str:
    """Standard base64 with padding."""
    return b64encode(data).decode("ascii")


def decode(text: str) -> bytes:
    """Standard base64 in its one canonical spelling. Raises NoteError."""
    try:
        data = b64decode(text, validate=True)
    except (BadBase64, ValueError):
        raise NoteError("not base64") from None
    if encode(data) != text:
        raise NoteError("not canonical base64")
    return data


@dataclass(frozen=True)
class VerifierKey:
    """A public key and its name. `str()` gives the verifier key line that others are handed."""

    name: str
    public: bytes

    @cached_property
    def key_id(self) -> bytes:
        """First four bytes of SHA-256(name ‖ 0A ‖ 01 ‖ public key)."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{encode(_ED25519 + self.public)}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """One verifier key line, without its newline. Raises NoteError."""
        name, _, rest = text.partition("+")
        claimed, _, material = rest.partition("+")
        if not valid_name(name):
            raise NoteError("not a verifier key: bad name")
        data = decode(material)
        if len(data) != 1 + HASH_SIZE or data[:1] != _ED25519:
            raise NoteError("not a verifier key: only Ed25519 is known here")
        key = cls(name, data[1:])
        if str(key) != text:
            raise NoteError(f"not a verifier key: its id is not {claimed[:8]}")
        return key

    def verifies(self, body: bytes, signature: bytes) -> bool:
        """True where this key signed exactly these bytes."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, body)
        except (InvalidSignature, ValueError):
            return False
        return True


class SignerKey:
    """A private key and its name. Never prints its seed."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = VerifierKey(name, self._key.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"SignerKey({self.verifier.name!r}, {self.verifier.key_id.hex()})"

    def sign(self, body: bytes) -> bytes:
        """The 64 bytes of Ed25519."""
        return self._key.sign(body)


@dataclass(frozen=True)
class Checkpoint:
    """What a note says: this log had so many entries and this root (32 bytes)."""

    origin: str
    size: int
    root: bytes

    @property
    def body(self) -> str:
        """The text that is signed, its last newline included."""
        return f"{self.origin}\n{self.size}\n{encode(self.root)}\n"


@dataclass(frozen=True)
class Signature:
    """One signature line: who says to have signed, and the bytes."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"{_DASH}{self.name} {encode(self.key_id + self.signature)}\n"

    def is_by(self, key: VerifierKey) -> bool:
        """True where name and key id are this key's; says nothing on validity."""
        return (self.name, self.key_id) == (key.name, key.key_id)


@dataclass(frozen=True)
class Note:
    """A checkpoint and the signatures under it, parsed, not yet verified."""

    checkpoint: Checkpoint
    signatures: tuple[Signature, ...]

    @property
    def text(self) -> str:
        """The note as it is stored and published."""
        return f"{self.checkpoint.body}\n{''.join(map(str, self.signatures))}"

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """A note's bytes. Raises NoteError for anything that is not exactly a note."""
        if len(data) > _MAX_NOTE:
            raise NoteError("longer than a note can be")
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            raise NoteError("not UTF-8") from None
        body, blank, tail = text.partition("\n\n")
        lines = body.split("\n")
        if not blank or len(lines) != 3:
            raise NoteError("not a checkpoint: three lines, a blank one, and signatures")
        origin, size, root = lines
        if not valid_name(origin):
            raise NoteError("bad origin line")
        if not _SIZE.fullmatch(size):
            raise NoteError("bad size line")
        digest = decode(root)
        if len(digest) != HASH_SIZE:
            raise NoteError("bad root line")
        note = cls(Checkpoint(origin, int(size), digest), _signatures(tail))
        if note.text.encode() != data:
            raise NoteError("not in the one spelling that a note has")
        return note

    def signers(self, keys: Iterable[VerifierKey], *, only: bool = False) -> list[VerifierKey]:
        """The known keys that signed this note; signatures by unknown keys are passed over.

        `only` refuses unknown keys and repeated signatures as well: the rule for our own files.
        Raises NoteError where a known key's signature is wrong, and where no known key signed.
        """
        body = self.checkpoint.body.encode()
        known, found = list(keys), []
        for line in self.signatures:
            key = next((k for k in known if line.is_by(k)), None)
            if key is None:
                if only:
                    raise NoteError("signed by a key that is not known here")
            elif not key.verifies(body, line.signature):
                raise NoteError(f"the signature of key {key.key_id.hex()} is wrong")
            elif key in found and only:
                raise NoteError("signed twice by the same key")
            else:
                found.append(key)
        if not found:
            raise NoteError("not signed by a key that is known here")
        return found


def _signatures(tail: str) -> tuple[Signature, ...]:
    lines = tail.split("\n")
    if lines.pop() != "" or not 1 <= len(lines) <= _MAX_SIGNATURES:
        raise NoteError("a note ends with its signature lines")
    found = []
    for line in lines:
        name, _, material = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or not valid_name(name):
            raise NoteError("bad signature line")
        data = decode(material)
        if len(data) <= 4:
            raise NoteError("a signature line is too short")
        found.append(Signature(name, data[:4], data[4:]))
    return tuple(found)


def sign(checkpoint: Checkpoint, signers: Sequence[SignerKey]) -> str:
    """The note, one signature line a signer in the order given. Raises NoteError."""
    if not signers:
        raise NoteError("a note needs a signature")
    body = checkpoint.body.encode()
    note = Note(
        checkpoint,
        tuple(Signature(k.verifier.name, k.verifier.key_id, k.sign(body)) for k in signers),
    )
    return Note.parse(note.text.encode()).text
