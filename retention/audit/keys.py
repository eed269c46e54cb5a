"""Key material: files that only their owner reads, in a folder that only its owner enters.

For each log: numbered signing seeds (`<log>.1.seed`; rotation adds the next number and keeps the
old ones) and one pseudonym key (`<log>.pseudonym`). Nothing of this is ever in the ledger, which
knows public keys and a check value only.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from retention.audit.checkpoint import NoteError, SignerKey, VerifierKey, decode, encode
from retention.errors import AuditUnwritable

_KEY_SIZE = 32


class KeyFolder:
    """The keys of all logs of one home. Every method raises AuditUnwritable on any doubt."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __repr__(self) -> str:
        return "KeyFolder()"

    def signers(self, log: str) -> list[SignerKey]:
        """All signing keys of a log, the oldest first; empty where this folder has none."""
        with self._checked():
            return [SignerKey(log, self._read(path)) for _, path in self._seeds(log)]

    def signer(self, wanted: VerifierKey) -> SignerKey:
        """The private half of a public key."""
        for key in self.signers(wanted.name):
            if key.verifier == wanted:
                return key
        raise AuditUnwritable(
            f"the key folder does not hold the key {wanted.key_id.hex()} that signs {wanted.name}",
            hint="restore the keys folder of the machine that opened the log; never make new ones",
        )

    def add_signer(self, log: str) -> SignerKey:
        """A new signing key after those that are there."""
        with self._checked():
            number = max((n for n, _ in self._seeds(log)), default=0) + 1
            return SignerKey(log, self._create(self._file(log, f"{number}.seed")))

    def pseudonym_key(self, log: str, check: str | None) -> bytes:
        """The key of a log's pseudonyms, 32 bytes.

        `check` is the value that the ledger keeps of it; None where the log is not open yet, and
        then the key is made if need be.
        """
        path = self._file(log, "pseudonym")
        with self._checked():
            if check is None:
                return self._create(path)
            if path.exists() and hmac.compare_digest(check_value(key := self._read(path)), check):
                return key
        raise AuditUnwritable(
            f"the key folder does not hold the pseudonym key of {log}",
            hint="every machine that writes to this log needs the same keys folder",
        )

    def destroy_pseudonym_key(self, log: str) -> None:
        """Cut the links between a log's pseudonyms and records, for ever."""
        with self._checked():
            self._file(log, "pseudonym").unlink(missing_ok=True)
            self._sync()

    def _file(self, log: str, ending: str) -> Path:
        return self.path / f"{quote(log, safe='')}.{ending}"

    def _seeds(self, log: str) -> list[tuple[int, Path]]:
        pattern = re.compile(re.escape(quote(log, safe="")) + r"\.([1-9][0-9]{0,5})\.seed")
        named = ((pattern.fullmatch(path.name), path) for path in self.path.iterdir())
        return sorted((int(match[1]), path) for match, path in named if match)

    @contextmanager
    def _checked(self) -> Iterator[None]:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _refuse_shared(self.path, "the keys folder", "chmod 700")
            yield
        except OSError as error:
            raise AuditUnwritable(
                f"the keys folder cannot be used ({type(error).__name__})",
                hint="it must lie on a local disk that this account may write to",
            ) from None

    def _read(self, path: Path) -> bytes:
        _refuse_shared(path, "a key file", "chmod 600")
        try:
            key = decode(path.read_text("ascii").removesuffix("\n"))
        except (NoteError, UnicodeDecodeError):
            key = b""
        if len(key) != _KEY_SIZE:
            raise AuditUnwritable("a key file is damaged", hint="restore it from its copy")
        return key

    def _create(self, path: Path) -> bytes:
        """Make a key if nobody has; whoever came first wins, and a crash leaves all or nothing."""
        if path.exists():
            return self._read(path)
        draft = self.path / f".{secrets.token_hex(8)}.draft"
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(f"{encode(secrets.token_bytes(_KEY_SIZE))}\n".encode())
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(draft, path)
            self._sync()
        finally:
            draft.unlink(missing_ok=True)
        return self._read(path)

    def _sync(self) -> None:
        handle = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def check_value(key: bytes) -> str:
    """Tells whether two machines hold the same pseudonym key, and nothing else about it."""
    return hmac.digest(key, b"retention pseudonym key", "sha256")[:8].hex()


def _refuse_shared(path: Path, what: str, remedy: str) -> None:
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise AuditUnwritable(f"{what} can be read by others", hint=f"{remedy}, then rotate keys")
