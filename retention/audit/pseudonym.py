"""The keyed hash that stands for a record in all evidence."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Iterable

PSEUDONYM_LENGTH = 22


class Pseudonymiser:
    """Pseudonyms of the records of one location.

    A pseudonym is base64url without padding of the first 16 bytes of
    HMAC-SHA-256(key, system ‖ 00 ‖ location ‖ 00 ‖ native key). Without the key it says nothing;
    with the key and a record's native key anybody can find that record's entries.
    """

    __slots__ = ("_begun",)

    def __init__(self, key: bytes, system: str, location: str) -> None:
        if "\0" in system or "\0" in location:
            raise ValueError("names of systems and locations hold no NUL")
        # What is the same for every record of a location is hashed once, and copied.
        self._begun = hmac.new(key, f"{system}\0{location}\0".encode(), "sha256")

    def __repr__(self) -> str:
        return "Pseudonymiser()"

    def of(self, native_key: str) -> str:
        """The pseudonym of one record: 22 characters of A–Z, a–z, 0–9, `-` and `_`."""
        # Keys made from undecodable file names hold lone surrogates; every key must have a name.
        hashed = self._begun.copy()
        hashed.update(native_key.encode("utf-8", "surrogatepass"))
        return urlsafe_b64encode(hashed.digest()[:16])[:PSEUDONYM_LENGTH].decode("ascii")

    def of_each(self, native_keys: Iterable[str]) -> list[str]:
        """`of` for each, in order."""
        return [self.of(key) for key in native_keys]
