"""Keys of people: normalised, then kept as keyed hashes only.

The same person must hash alike wherever the key was typed: NFKC, trimmed, lower case, the
domain of an e-mail address in IDNA, telephone numbers in E.164. Dots and plus signs of a mailbox
name stay: they are different mailboxes at most hosts.
"""

from __future__ import annotations

import hmac
import os
import secrets
import unicodedata
from base64 import urlsafe_b64encode
from pathlib import Path

import idna
from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from retention.errors import AuditUnwritable, RetentionError, UsageError
from retention.ledger.tables import meta

KEY_CHECK = "subjects_key"
"""Row of `meta` that tells whether a machine holds the same key, and nothing else about it."""
_DIGEST_BYTES = 16


def normalise(kind: str, value: str, country: str) -> str:
    """One spelling for one key. `country` (ISO 3166 alpha-2) reads national telephone numbers."""
    text = unicodedata.normalize("NFKC", value).strip()
    if kind == "email" or (kind != "phone" and "@" in text):
        return _email(text)
    if kind == "phone":
        return _phone(text, country)
    return text.casefold()


def _email(text: str) -> str:
    local, at, domain = text.lower().rpartition("@")
    if not at:
        return text.lower()
    if domain.isascii():
        return f"{local}@{domain.rstrip('.')}"
    try:
        return f"{local}@{idna.encode(domain, uts46=True).decode('ascii')}"
    except idna.IDNAError:
        return f"{local}@{domain}"


def _phone(text: str, country: str) -> str:
    import phonenumbers

    try:
        number = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        return "".join(c for c in text if c.isdigit() or c == "+")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def parse(text: str) -> tuple[str, str]:
    """A key as typed on the command line: `KIND:VALUE`, an e-mail address, or +telephone.

    Raises UsageError for anything else: a guessed kind would protect or forget nobody.
    """
    kind, colon, value = text.partition(":")
    if colon and kind.isidentifier() and value.strip():
        return kind, value.strip()
    if "@" in text:
        return "email", text.strip()
    if text.startswith("+") and any(c.isdigit() for c in text):
        return "phone", text.strip()
    raise UsageError(
        "a subject key needs its kind",
        hint="write KIND:VALUE as in the location's `subject`, e.g. email:anna@example.org, "
        "phone:+4790000000 or customer_number:1042",
        code="subject-key",
    )


class SubjectHasher:
    """Keyed hashes of people's keys and of single records, stable over the ledger's whole life.

    Other than the pseudonyms of the log (one key a log) these must match across years: a hold
    set in December protects in January. The key lies in the home, mode 0600.
    """

    def __init__(self, key: bytes, country: str) -> None:
        self._key = key
        self._country = country

    @classmethod
    def open(cls, keys: Path, country: str) -> SubjectHasher:
        """Read the key, or make one. Raises RetentionError when others may read it."""
        path = keys / "subjects.key"
        if not path.exists():
            _create(path)
        if path.stat().st_mode & 0o077:
            raise RetentionError(
                "the key of subject hashes can be read by other accounts",
                place="keys/subjects.key",
                hint="make it readable by its owner only: chmod 600",
                code="key-exposed",
            )
        return cls(path.read_bytes(), country)

    def fits(self, tx: Connection) -> None:
        """Compare the key with the one that this ledger was begun with, or note that it begins.

        Under another key no hold and no withdrawal would be found again, so that what they keep
        would go. Raises AuditUnwritable.
        """
        mine = hmac.digest(self._key, b"retention subject key", "sha256")[:8].hex()
        asked = select(meta.c.value).where(meta.c.key == KEY_CHECK)
        kept = tx.execute(asked).scalar_one_or_none()
        if kept is None:
            make = postgresql.insert if tx.dialect.name == "postgresql" else sqlite.insert
            tx.execute(make(meta).values(key=KEY_CHECK, value=mine).on_conflict_do_nothing())
            kept = tx.execute(asked).scalar_one()
        if kept != mine:
            raise AuditUnwritable(
                "the keys folder does not hold the key of people's hashes that this ledger uses",
                hint="every machine needs the keys folder that the ledger was begun with; after "
                "a restore too",
                code="keys-differ",
            )

    def subject(self, kind: str, value: str) -> str:
        """Keyed hash of a person's key, 22 characters. Kinds are told apart."""
        text = f"{kind}\0{normalise(kind, value, self._country)}"
        return self._hash(b"subject\0" + text.encode())

    def record(self, system: str, location: str, key: str) -> str:
        """Keyed hash of one record, 22 characters."""
        return self._hash(b"record\0" + f"{system}\0{location}\0{key}".encode())

    def _hash(self, data: bytes) -> str:
        digest = hmac.digest(self._key, data, "sha256")[:_DIGEST_BYTES]
        return urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        os.write(descriptor, secrets.token_bytes(32))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    try:
        path.hardlink_to(fresh)
    except FileExistsError:
        pass  # another process made the key first: that one counts
    finally:
        fresh.unlink()
