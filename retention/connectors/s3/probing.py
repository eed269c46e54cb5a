"""What `doctor` should know of a bucket before anybody relies on it. It only asks, never acts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from retention.connectors.base import Probe, Target
from retention.connectors.outgoing import is_loopback
from retention.connectors.s3.client import Client, Refused
from retention.connectors.s3.listing import Listing
from retention.connectors.s3.locks import Locks
from retention.connectors.s3.proof import replicas
from retention.connectors.s3.settings import S3Location
from retention.errors import ConnectorError, TemporaryFailure

_SKEW = 120.0
_NONE = frozenset(
    {
        *("NoSuchLifecycleConfiguration", "NoSuchBucketPolicy", "NoSuchConfiguration"),
        *("NotImplemented", "MethodNotAllowed"),
    }
)


def probe(
    client: Client,
    targets: Sequence[Target],
    listing: Callable[[Target], Listing],
    check: Callable[[Target], None],
    now: datetime,
) -> Iterator[Probe]:
    """Findings in the order in which a person would ask. Raises only what is temporary."""
    yield _protection(client.settings.endpoint)
    seen: set[str] = set()
    for target in targets:
        found = listing(target)
        try:
            if found.bucket not in seen:
                seen.add(found.bucket)
                yield from _bucket(client, found, now)
            check(target)
            yield from _location(target, found)
        except TemporaryFailure:
            raise
        except ConnectorError as error:
            yield Probe(f"location {target.name}", ok=False, detail=error.message, hint=error.hint)
    if targets:
        yield _excess(client)


def _protection(endpoint: str | None) -> Probe:
    split = urlsplit(endpoint or "https://amazonaws.com")
    if split.scheme == "https":
        return Probe("tls", ok=True, detail="protected, certificate checked")
    inside = is_loopback(split.hostname or "")
    return Probe("tls", ok=inside, detail="unprotected, but on this machine only")


def _location(target: Target, listing: Listing) -> Iterator[Probe]:
    check = f"location {target.name}"
    settings = target.settings
    assert isinstance(settings, S3Location)  # noqa: S101 -- for the type checker
    for prefix in settings.prefixes:
        if next(listing.objects(prefix), None) is None:
            yield Probe(
                check,
                ok=not prefix,
                detail="no key begins with one of the prefixes",
                hint="is it spelt as the keys are? upper and lower case differ" if prefix else "",
            )
            return
    yield Probe(check, ok=True, detail=f"{len(settings.prefixes)} prefixes, keys under each")
    if not listing.sees_uploads:
        yield Probe(
            f"{check}: uploads",
            ok=False,
            detail="unfinished uploads cannot be listed, and they hold data",
            hint="grant s3:ListBucketMultipartUploads and s3:AbortMultipartUpload",
        )


def _bucket(client: Client, listing: Listing, now: datetime) -> Iterator[Probe]:
    bucket = listing.bucket
    reply = client.call("list_objects_v2", "listing", Bucket=bucket, MaxKeys=1)
    yield Probe("credentials", ok=True, detail="the keys are accepted; the bucket can be listed")
    yield _skew(reply, now)
    status = listing.versioning
    told = {"Enabled": "on", "Suspended": "suspended, old versions stay"}.get(status, "never on")
    yield Probe(
        "versioning",
        ok=True,
        detail=f"versioning is {told}"
        + ("; every version and delete marker of a due key is removed" if status else ""),
    )
    if listing.mfa_delete:
        yield Probe(
            "mfa delete",
            ok=False,
            detail="deleting a version takes a second factor: every deletion will be refused",
            hint="suspend MFA delete for this bucket, or let a lifecycle rule expire versions",
        )
    if Locks(client, listing).possible:
        yield Probe(
            "object lock",
            ok=True,
            detail="versions may be locked: those are reported as locked by the vendor, with the"
            " day, and never bypassed",
        )
    yield _replication(client, bucket)
    yield from _lifecycle(client, bucket)
    yield from _logging(client, bucket)


def _skew(reply: Mapping[str, Any], now: datetime) -> Probe:
    text = reply.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        apart = abs((parsedate_to_datetime(text) - now).total_seconds())
    except (ValueError, TypeError):
        return Probe("clock", ok=True, detail="the server does not tell its time")
    if apart <= _SKEW:
        return Probe("clock", ok=True, detail="the server's clock agrees with ours")
    return Probe("clock", ok=False, detail=f"it is {int(apart)} s from ours", hint="set the clocks")


def _replication(client: Client, bucket: str) -> Probe:
    rules = replicas(client, bucket)
    if rules is None:
        return Probe(
            "replication",
            ok=True,
            detail="these keys may not ask whether the bucket is replicated",
            hint="grant s3:GetReplicationConfiguration, so that copies are noticed",
        )
    if not rules:
        return Probe("replication", ok=True, detail="none is configured")
    listed = client.settings.replica_listed
    return Probe(
        "replication",
        ok=listed,
        detail=f"{len(rules)} rules copy objects to another bucket; deleting versions is never"
        " replicated",
        hint="" if listed else "list that bucket as a location too, then say `replica_listed`",
    )


def _lifecycle(client: Client, bucket: str) -> Iterator[Probe]:
    said = _ask(client, "get_bucket_lifecycle_configuration", bucket)
    if said is None:
        yield Probe("lifecycle", ok=True, detail="these keys may not read the lifecycle rules")
        return
    rules = [r for r in said.get("Rules", ()) if r.get("Status") == "Enabled"]
    expiring = sum("Expiration" in r or "NoncurrentVersionExpiration" in r for r in rules)
    if expiring:
        yield Probe(
            "lifecycle",
            ok=False,
            detail=f"{expiring} rules of the bucket delete by themselves, whatever is held here",
            hint="a hold in this program does not stop them: compare their days with the policies",
        )
    if not any("AbortIncompleteMultipartUpload" in r for r in rules):
        yield Probe(
            "lifecycle",
            ok=True,
            detail="no rule ends unfinished uploads; they are found and aged like other keys",
        )


def _logging(client: Client, bucket: str) -> Iterator[Probe]:
    said = _ask(client, "get_bucket_logging", bucket)
    if said is None:
        yield Probe("access logs", ok=True, detail="these keys may not ask for access logs")
    elif said.get("LoggingEnabled"):
        yield Probe(
            "access logs",
            ok=False,
            detail="access logs are written, and every line holds a key",
            hint="make the log's prefix a location of its own, with a policy",
        )


def _excess(client: Client) -> Probe:
    """What can be told without acting: whether these keys see more than their bucket."""
    more = []
    try:
        if client.settings.account is None:
            client.attempt("list_buckets", "asking for buckets")
            more.append("list every bucket of the account")
    except (Refused, ConnectorError):
        pass
    try:
        client.attempt("get_bucket_policy", "asking for rights", Bucket=client.settings.bucket)
        more.append("read the bucket's policy")
    except Refused as refused:
        if refused.code == "NoSuchBucketPolicy":
            more.append("read the bucket's policy (there is none)")
    except ConnectorError:
        pass
    untold = "whether they may delete the bucket or bypass a lock cannot be told without trying"
    if more:
        return Probe(
            "excess rights",
            ok=False,
            detail=f"these keys could also {' and '.join(more)}; {untold}",
            hint="docs/how-to/cloud-storage.md has a policy with just what is needed",
        )
    return Probe("excess rights", ok=True, detail=f"none were seen; {untold}")


def _ask(client: Client, operation: str, bucket: str) -> Mapping[str, Any] | None:
    """An optional setting: {} where there is none, None where we may not ask."""
    try:
        return client.attempt(operation, "asking for a setting", Bucket=bucket)
    except Refused as refused:
        return {} if refused.code in _NONE or refused.status in (404, 501) else None
    except ConnectorError:
        return None
