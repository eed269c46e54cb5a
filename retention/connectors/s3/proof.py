"""Looking again: every version, marker and upload of each key, and whether a replica has it too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from retention.connectors.base import Level, Proof, Ref
from retention.connectors.s3.client import Client, Refused
from retention.connectors.s3.listing import Listing, Object
from retention.errors import TemporaryFailure


def prove(
    client: Client,
    listing: Listing,
    refs: Sequence[Ref],
    control: Ref | None,
    *,
    replica_listed: bool,
) -> Iterator[Proof]:
    """One proof per ref. Raises ConnectorErrors, which prove nothing."""
    if control is not None and listing.exactly(control.key) is None:
        yield from (Proof(ref.key, Level.UNKNOWN, "control read failed") for ref in refs)
        return
    elsewhere = not replica_listed and bool(replicas(client, listing.bucket))
    looked = "list of versions" if listing.versioned else "list of keys"
    for ref in refs:
        found = listing.exactly(ref.key)
        if found is not None:
            yield _still(ref.key, found)
        elif elsewhere:
            yield Proof(ref.key, Level.VENDOR, f"{looked}; a replica is out of sight")
        else:
            more = " + uploads" if listing.sees_uploads else ", uploads not visible"
            yield Proof(ref.key, Level.GONE, looked + more)


def _still(key: str, found: Object) -> Proof:
    if found.newest is not None and found.newest.marker:
        return Proof(key, Level.MARKED, "a delete marker is there")
    if found.newest is None:
        return Proof(key, Level.PRESENT, "an unfinished upload is there")
    return Proof(key, Level.PRESENT, "it is listed")


def replicas(client: Client, bucket: str) -> list[Any] | None:
    """The replication rules in force; None where these keys may not ask."""
    try:
        said = client.attempt("get_bucket_replication", "asking for replication", Bucket=bucket)
    except Refused as refused:
        none = ("ReplicationConfigurationNotFoundError", "NotImplemented", "MethodNotAllowed")
        return [] if refused.code in none or refused.status in (404, 405, 501) else None
    except TemporaryFailure:
        return None
    rules = said.get("ReplicationConfiguration", {}).get("Rules", ())
    return [rule for rule in rules if rule.get("Status") == "Enabled"]
