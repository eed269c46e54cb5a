"""Object lock: what the vendor keeps whatever we say. Never bypassed, not even where we might."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from retention.connectors.s3.client import Client, Refused
from retention.connectors.s3.listing import Listing, Version
from retention.errors import TemporaryFailure


class Lock(NamedTuple):
    """Why a version cannot go. `until`: None for a legal hold, which has no end."""

    code: str
    until: datetime | None


class Locks:
    """The locks of one bucket."""

    def __init__(self, client: Client, listing: Listing) -> None:
        self._client = client
        self._listing = listing
        self._possible: bool | None = None

    @property
    def possible(self) -> bool:
        """Whether versions may be locked here; True where nobody says."""
        if self._possible is None:
            bucket = self._listing.bucket
            try:
                self._client.attempt(
                    "get_object_lock_configuration", "asking for locks", Bucket=bucket
                )
                self._possible = True
            except Refused as refused:
                none = ("ObjectLockConfigurationNotFoundError", "NotImplemented", "NoSuchBucket")
                self._possible = refused.code not in none and refused.status != 501
            except TemporaryFailure:
                # Some servers fail on this question for good: then each version is asked.
                self._possible = True
        return self._possible

    def of(self, key: str, version: Version, now: datetime) -> Lock | None:
        """The lock on a version, if it holds now; None also where the server does not tell."""
        if version.marker:
            return None
        at: dict[str, Any] = {"Bucket": self._listing.bucket, "Key": key}
        if version.id:
            at["VersionId"] = version.id
        said = self._ask("head_object", at)
        hold = said.get("ObjectLockLegalHoldStatus")
        mode, until = said.get("ObjectLockMode"), said.get("ObjectLockRetainUntilDate")
        if hold is None:
            hold = self._ask("get_object_legal_hold", at).get("LegalHold", {}).get("Status")
        if mode is None:
            kept = self._ask("get_object_retention", at).get("Retention", {})
            mode, until = kept.get("Mode"), kept.get("RetainUntilDate")
        if hold == "ON":
            return Lock("legal_hold", None)
        if mode and until is not None and until > now:
            return Lock(str(mode).lower()[:12], until)
        return None

    def _ask(self, operation: str, at: dict[str, Any]) -> dict[str, Any]:
        try:
            return dict(self._client.attempt(operation, "asking for a lock", **at))
        except (Refused, TemporaryFailure):
            # No lock, no right to ask, or a server that fails on the question for good: then the
            # act itself is refused, and nothing is lost by trying.
            return {}
