"""What a bucket holds: each key with all its versions, delete markers and unfinished uploads.

A key is one record with several places. Its date is the latest of them all, so that nothing that
was written, deleted or begun lately makes it look old.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from retention.connectors.s3.client import DENIED, Client, Refused
from retention.errors import PermanentFailure

PAGE = 1000
_MOST_UPLOADS = 20_000
UNVERSIONED = ""
_NO_VERSIONING = frozenset({"NotImplemented", "MethodNotAllowed", "NotSupported"})


class Version(NamedTuple):
    """One place of a key."""

    id: str
    """"" in a bucket that was never versioned."""
    marker: bool
    latest: bool
    modified: datetime
    etag: str = ""
    size: int = 0
    storage: str = ""


class Upload(NamedTuple):
    """A multipart upload that was begun and not ended: its parts are stored."""

    id: str
    initiated: datetime


@dataclass(slots=True)
class Object:
    """One key. `newest` and `data` (the newest that is no marker) suffice to decide."""

    key: str
    newest: Version | None = None
    data: Version | None = None
    first: datetime | None = None
    last: datetime | None = None
    count: int = 0
    lowest: str = ""
    """Id of the version listed last: where a listing goes on behind this key."""
    uploads: list[Upload] = field(default_factory=list)
    versions: list[Version] | None = None
    """All of them, where they were asked for."""

    def add(self, version: Version) -> None:
        """Take a further version in, in any order."""
        self.count += 1
        if self.versions is not None:
            self.versions.append(version)
        if self.newest is None or _later(version, self.newest):
            self.newest = version
        if not version.marker and (self.data is None or _later(version, self.data)):
            self.data = version
        self._date(version.modified)

    def begin(self, upload: Upload) -> None:
        """Take an unfinished upload in."""
        self.uploads.append(upload)
        self._date(upload.initiated)

    def _date(self, at: datetime) -> None:
        self.first = at if self.first is None else min(self.first, at)
        self.last = at if self.last is None else max(self.last, at)

    @property
    def mark(self) -> str:
        """Fingerprint: the newest version and the uploads.

        Older versions are left out: none can be added, and one that went is no change to fear.
        """
        newest = self.newest
        said = (
            [newest.id, str(newest.marker), newest.etag, newest.modified.isoformat()]
            if newest
            else ["none"]
        )
        said += sorted(upload.id for upload in self.uploads)
        return hashlib.sha256("\0".join(said).encode()).hexdigest()[:40]


def _later(one: Version, other: Version) -> bool:
    return (one.latest, one.modified) > (other.latest, other.modified)


class Listing:
    """The listings of one bucket."""

    def __init__(self, client: Client, bucket: str, place: str) -> None:
        self._client = client
        self.bucket = bucket
        self._place = place
        self._status: tuple[str, bool] | None = None
        self._sees_uploads: bool | None = None

    @property
    def versioning(self) -> str:
        """`Enabled`, `Suspended`, or "" for never. Raises ConnectorErrors: it must be known."""
        return self._known()[0]

    @property
    def mfa_delete(self) -> bool:
        """Whether deleting a version takes a second factor, which no service has."""
        return self._known()[1]

    @property
    def versioned(self) -> bool:
        """Whether keys have versions; also after versioning was suspended."""
        return self.versioning != UNVERSIONED

    def _known(self) -> tuple[str, bool]:
        if self._status is None:
            doing = "asking for versioning"
            try:
                said = self._client.attempt("get_bucket_versioning", doing, Bucket=self.bucket)
            except Refused as refused:
                if refused.code not in _NO_VERSIONING and refused.status != 501:
                    raise self._client.failure(refused.code, refused.status, doing) from None
                said = {}
            self._status = (str(said.get("Status", "")), said.get("MFADelete") == "Enabled")
        return self._status

    # --- all keys -----------------------------------------------------------------------------

    def objects(self, prefix: str, after: str = "", lowest: str = "") -> Iterator[Object]:
        """Every key with that prefix, in order, behind a key; one page in memory."""
        begun = {k: u for k, u in self._uploads(prefix).items() if not after or k > after}
        waiting = sorted(begun, reverse=True)
        for found in self._grouped(prefix, after, lowest):
            while waiting and waiting[-1] < found.key:
                key = waiting.pop()
                yield _only_uploads(key, begun[key])
            if waiting and waiting[-1] == found.key:
                for upload in begun[waiting.pop()]:
                    found.begin(upload)
            yield found
        while waiting:
            key = waiting.pop()
            yield _only_uploads(key, begun[key])

    def _grouped(self, prefix: str, after: str, lowest: str) -> Iterator[Object]:
        current: Object | None = None
        for key, version in self._entries(prefix, after, lowest):
            if current is None or key != current.key:
                if current is not None:
                    if key < current.key:
                        raise PermanentFailure(
                            "the server lists keys in no order", place=self._place, code="unordered"
                        )
                    yield current
                current = Object(key)
            current.add(version)
            current.lowest = version.id
        if current is not None:
            yield current

    def _entries(
        self, prefix: str, after: str, lowest: str, *, most: int = PAGE
    ) -> Iterator[tuple[str, Version]]:
        if self.versioned:
            yield from self._all_versions(prefix, after, lowest, most)
            return
        arguments: dict[str, Any] = {"Bucket": self.bucket, "Prefix": prefix, "MaxKeys": most}
        if after:
            arguments["StartAfter"] = after
        while True:
            page = self._client.call("list_objects_v2", "listing", **arguments)
            for item in page.get("Contents", ()):
                yield str(item["Key"]), _version(item, marker=False, plain=True)
            if not page.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = page["NextContinuationToken"]

    def _all_versions(
        self, prefix: str, after: str, lowest: str, most: int
    ) -> Iterator[tuple[str, Version]]:
        arguments: dict[str, Any] = {"Bucket": self.bucket, "Prefix": prefix, "MaxKeys": most}
        if after:
            arguments["KeyMarker"] = after
            if lowest:
                arguments["VersionIdMarker"] = lowest
        while True:
            page = self._client.call("list_object_versions", "listing versions", **arguments)
            items = [(str(i["Key"]), _version(i, marker=False)) for i in page.get("Versions", ())]
            items += [
                (str(i["Key"]), _version(i, marker=True)) for i in page.get("DeleteMarkers", ())
            ]
            # Two lists of one order: put together again as the server walked, newest first.
            items.sort(key=lambda i: (i[0], not i[1].latest, -i[1].modified.timestamp()))
            # Of a resumed listing, some servers repeat the key that they go on behind.
            yield from (item for item in items if not after or item[0] > after)
            if not page.get("IsTruncated"):
                return
            arguments["KeyMarker"] = page["NextKeyMarker"]
            arguments["VersionIdMarker"] = page.get("NextVersionIdMarker", "")
            if not arguments["VersionIdMarker"]:
                del arguments["VersionIdMarker"]

    # --- one key ------------------------------------------------------------------------------

    def exactly(self, key: str) -> Object | None:
        """One key with all its versions and uploads; None where there is nothing.

        A prefix finds `ab` with `a`: only what is the key itself counts.
        """
        found = Object(key, versions=[])
        for name, version in self._entries(key, "", "", most=PAGE):
            if name == key:
                found.add(version)
            elif name > key:
                break
        for upload in self._uploads(key).get(key, ()):
            found.begin(upload)
        return found if found.count or found.uploads else None

    @property
    def sees_uploads(self) -> bool:
        """Whether unfinished uploads could be listed, as far as was tried."""
        return self._sees_uploads is not False

    def _uploads(self, prefix: str) -> dict[str, list[Upload]]:
        """Unfinished uploads by key. Without the right to list them there are none to be seen."""
        if self._sees_uploads is False:
            return {}
        out: dict[str, list[Upload]] = {}
        arguments: dict[str, Any] = {
            "Bucket": self.bucket,
            "Prefix": prefix,
            "EncodingType": "url",
        }
        seen = 0
        doing = "listing unfinished uploads"
        while True:
            try:
                page = self._client.attempt("list_multipart_uploads", doing, **arguments)
            except Refused as refused:
                if refused.code in DENIED or refused.status in (403, 501, 405):
                    self._sees_uploads = False
                    return {}
                raise self._client.failure(refused.code, refused.status, doing) from None
            encoded = page.get("EncodingType") == "url"
            for item in page.get("Uploads", ()):
                key = unquote_plus(str(item["Key"])) if encoded else str(item["Key"])
                if key.startswith(prefix):
                    upload = Upload(str(item["UploadId"]), _utc(item["Initiated"]))
                    out.setdefault(key, []).append(upload)
                    seen += 1
            if seen > _MOST_UPLOADS:
                raise PermanentFailure(
                    f"more than {_MOST_UPLOADS} unfinished uploads",
                    hint="set a lifecycle rule that aborts them (AbortIncompleteMultipartUpload)",
                    place=self._place,
                )
            if not page.get("IsTruncated"):
                return out
            marker = str(page["NextKeyMarker"])
            arguments["KeyMarker"] = unquote_plus(marker) if encoded else marker
            arguments["UploadIdMarker"] = page["NextUploadIdMarker"]

    # --- folders ------------------------------------------------------------------------------

    def folders(self, prefix: str, levels: int) -> Iterator[str]:
        """The prefix, and every folder of keys below it, down to that depth."""
        yield prefix
        if prefix.count("/") >= levels:
            return
        for inner in self._inner(prefix):
            yield from self.folders(inner, levels)

    def _inner(self, prefix: str) -> Sequence[str]:
        operation = "list_object_versions" if self.versioned else "list_objects_v2"
        arguments: dict[str, Any] = {"Bucket": self.bucket, "Prefix": prefix, "Delimiter": "/"}
        found: dict[str, None] = {}
        while True:
            page = self._client.call(operation, "listing folders", **arguments)
            found.update((str(p["Prefix"]), None) for p in page.get("CommonPrefixes", ()))
            if not page.get("IsTruncated"):
                return sorted(found)
            if self.versioned:
                arguments["KeyMarker"] = page["NextKeyMarker"]
                arguments.pop("VersionIdMarker", None)
                if page.get("NextVersionIdMarker"):
                    arguments["VersionIdMarker"] = page["NextVersionIdMarker"]
            else:
                arguments["ContinuationToken"] = page["NextContinuationToken"]


def _only_uploads(key: str, uploads: Sequence[Upload]) -> Object:
    found = Object(key)
    for upload in uploads:
        found.begin(upload)
    return found


def _version(item: Any, *, marker: bool, plain: bool = False) -> Version:
    return Version(
        "" if plain else str(item.get("VersionId") or "null"),
        marker,
        True if plain else bool(item.get("IsLatest")),
        _utc(item["LastModified"]),
        str(item.get("ETag", "")),
        int(item.get("Size", 0)),
        str(item.get("StorageClass", "")),
    )


def _utc(at: datetime) -> datetime:
    return at.astimezone(UTC)
