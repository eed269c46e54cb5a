"""Objects in an S3 bucket: found with all their versions, deleted with all of them, proved."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast
from zoneinfo import ZoneInfo

from botocore.exceptions import BotoCoreError

from retention.clock import Clock, SystemClock
from retention.connectors.base import (
    Cap,
    Connector,
    Content,
    Manifest,
    Opened,
    Outcome,
    Page,
    Probe,
    Proof,
    Record,
    Ref,
    Scalar,
    Target,
)
from retention.connectors.s3 import probing, proof
from retention.connectors.s3.client import LOOKING, Client
from retention.connectors.s3.erasing import Eraser
from retention.connectors.s3.listing import Listing, Object
from retention.connectors.s3.locks import Locks
from retention.connectors.s3.reading import Sources, container_of
from retention.connectors.s3.settings import S3Location, S3System
from retention.connectors.unmasked import Unmasked
from retention.errors import PermanentFailure, TemporaryFailure

_PAGE = 1000
_LARGEST_OBJECT = 2 * 1024**3
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}\Z")


def _patterned(settings: Any) -> bool:  # noqa: ARG001 -- every prefix takes new folders in
    return False


manifest = Manifest(
    kind="s3",
    title="Objects in an S3 bucket",
    capabilities=Cap.DELETE | Cap.READ | Cap.COPIES,
    system_settings=S3System,
    location_settings=S3Location,
    max_batch=250,
    patterned=_patterned,
    notes=(
        "Replicas, inventories and access logs are out of sight; `doctor` names what it can.",
        "What is under object lock stays until its day: it is reported, never bypassed.",
        "Lifecycle rules of the bucket delete by themselves, also what is held here.",
    ),
)


def connect(opened: Opened) -> Connector:
    """A new session with a bucket."""
    return S3Connector(opened)


class S3Connector(Unmasked):
    """One session with one account."""

    def __init__(self, opened: Opened) -> None:
        settings = cast(S3System, opened.settings)
        self._system = opened.system
        self._settings = settings
        self._zone = ZoneInfo(str(opened.extras.get("timezone", "UTC")))
        self._page = int(opened.extras.get("page", _PAGE))
        self._clock = cast(Clock, opened.extras.get("clock") or SystemClock())
        self._client = Client(opened.system, settings, opened.base)

    def __repr__(self) -> str:
        return f"S3Connector({self._system})"

    def describe(self) -> Manifest:
        return manifest

    def close(self) -> None:
        self._client.close()

    # --- looking ------------------------------------------------------------------------------

    def probe(self, targets: Sequence[Target]) -> Iterator[Probe]:
        def check(target: Target) -> None:
            self._checked(target)
            self._sources(target, self._listing(target))

        now = self._clock.now()
        yield from probing.probe(self._client, targets, self._listing, check, now)

    def _listing(self, target: Target) -> Listing:
        """Fresh for each call: a bucket's settings may have changed since the last one."""
        settings = cast(S3Location, target.settings)
        return Listing(self._client, settings.bucket or self._settings.bucket, target.name)

    def _sources(self, target: Target, listing: Listing) -> Sources:
        settings = cast(S3Location, target.settings)
        return Sources(target, settings, self._zone, self._client, listing)

    def _checked(self, target: Target) -> tuple[str, ...]:
        prefixes = cast(S3Location, target.settings).prefixes
        if any(prefix.count("/") > self._settings.levels for prefix in prefixes):
            raise PermanentFailure(
                f"a prefix has more than {self._settings.levels} levels",
                hint="raise `levels` of the system, so that overlapping locations are noticed",
                place=target.name,
                code="levels",
            )
        return prefixes

    def _container(self, listing: Listing, key: str) -> str:
        return container_of(listing.bucket, key, self._settings.levels)

    def containers(self, target: Target) -> tuple[str, ...]:
        listing = self._listing(target)
        found: dict[str, None] = {}
        for prefix in self._checked(target):
            for folder in listing.folders(prefix, self._settings.levels):
                found[self._container(listing, folder)] = None
        # Also where the listing had nothing to ask for: a bucket that is gone is not empty.
        self._client.call("head_bucket", LOOKING, Bucket=listing.bucket)
        return tuple(found)

    def count(self, target: Target) -> int | None:  # noqa: ARG002 -- only a scan could tell
        return None

    def find(self, target: Target, cursor: str | None = None) -> Iterator[Page]:
        listing = self._listing(target)
        sources = self._sources(target, listing)
        at = json.loads(cursor) if cursor else {}
        after = str(at.get("after", ""))
        for prefix in self._checked(target):
            if after and not after.startswith(prefix) and prefix < after:
                continue
            inside = bool(after) and after.startswith(prefix)
            objects = (
                listing.objects(prefix, after, str(at.get("lowest", "")))
                if inside
                else listing.objects(prefix)
            )
            yield from self._pages(objects, listing, sources)

    def _pages(
        self, objects: Iterator[Object], listing: Listing, sources: Sources
    ) -> Iterator[Page]:
        records: list[Record] = []
        last: Object | None = None
        for last in objects:
            records.append(sources.record(last, self._container(listing, last.key)))
            if len(records) >= self._page:
                yield Page(records, _cursor(last), len(records))
                records = []
        if records and last is not None:
            yield Page(records, _cursor(last), len(records))

    def recheck(self, target: Target, keys: Sequence[str]) -> Iterator[Record]:
        listing = self._listing(target)
        sources = self._sources(target, listing)
        for key in keys:
            found = listing.exactly(key)
            if found is not None:
                yield sources.record(found, self._container(listing, key))

    def read(self, target: Target, refs: Sequence[Ref]) -> Iterator[Content]:
        listing = self._listing(target)
        for ref in refs:
            found = listing.exactly(ref.key)
            if found is None or found.data is None:
                continue
            at: dict[str, Any] = {"Bucket": listing.bucket, "Key": ref.key}
            if found.data.id:
                at["VersionId"] = found.data.id
            if found.data.size > _LARGEST_OBJECT:
                raise PermanentFailure("an object is too large to hand over", place=self._system)
            said = self._client.call("get_object", "reading an object", **at)
            name = hashlib.sha256(ref.key.encode()).hexdigest()[:24]
            suffix = _SUFFIX.search(ref.key.lower())
            yield Content(
                ref.key,
                str(said.get("ContentType", "application/octet-stream")),
                name + (suffix[0] if suffix else ""),
                self._body(said),
            )

    def _body(self, said: Mapping[str, Any]) -> bytes:
        try:
            data: bytes = said["Body"].read()
            return data
        except (BotoCoreError, OSError):
            pass
        raise TemporaryFailure("the connection was lost, reading an object", place=self._system)

    # --- acting -------------------------------------------------------------------------------

    def erase(self, target: Target, refs: Sequence[Ref]) -> Iterator[Outcome]:
        if not refs:
            return
        listing = self._listing(target)
        sources = self._sources(target, listing)
        locks = Locks(self._client, listing)
        eraser = Eraser(self._client, listing, sources, locks, self._clock.now)
        yield from eraser.erase(refs)

    # --- proof --------------------------------------------------------------------------------

    def verify(
        self,
        target: Target,
        refs: Sequence[Ref],
        control: Ref | None,
        masked: Mapping[str, Scalar] | None = None,
    ) -> Iterator[Proof]:
        if masked is not None:
            raise PermanentFailure(
                "an object cannot be masked", place=self._system, code="unsupported"
            )
        if refs:
            listed = self._settings.replica_listed
            yield from proof.prove(
                self._client, self._listing(target), refs, control, replica_listed=listed
            )


def _cursor(last: Object) -> str:
    return json.dumps({"after": last.key, "lowest": last.lowest})
