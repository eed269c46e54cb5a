"""From keys to records: dates, fields, versions."""

from __future__ import annotations

import hashlib
from typing import Any
from zoneinfo import ZoneInfo

from retention.connectors import name_dates
from retention.connectors.base import Record, Ref, Target, Value, When
from retention.connectors.name_dates import NamePattern
from retention.connectors.s3.client import Client
from retention.connectors.s3.listing import Listing, Object
from retention.connectors.s3.settings import S3Location
from retention.errors import PermanentFailure

_DATES = ("last_modified", "created", name_dates.SOURCE)
_FIELDS = ("key", "name", "folder", "size", "etag", "storage_class", "versions")
_TAG, _METADATA = "tag:", "metadata:"


class Sources:
    """What to read of each key for one target. Raises PermanentFailure for unknown sources."""

    def __init__(
        self, target: Target, settings: S3Location, zone: ZoneInfo, client: Client, listing: Listing
    ) -> None:
        self._zone = zone
        self._client = client
        self._listing = listing
        self._dates = target.dates
        self._fields = target.fields
        self._pattern = NamePattern(settings.pattern) if settings.pattern else None
        known = [*_DATES[:2], *(_DATES[2:] if self._pattern else ())]
        if not set(target.dates) <= set(known):
            raise _unknown(target.name, "date", _DATES, "; name_date needs `pattern`")
        more = [f for f in target.fields if f not in _FIELDS]
        if not all(f.startswith((_TAG, _METADATA)) and f.partition(":")[2] for f in more):
            raise _unknown(target.name, "field", _FIELDS, ", tag:NAME, metadata:NAME")
        self._tags = any(f.startswith(_TAG) for f in more)
        self._metadata = any(f.startswith(_METADATA) for f in more)

    def record(self, found: Object, container: str) -> Record:
        """A key as a record. Tags and metadata cost a request each, where they are asked for."""
        more = self._more(found)
        ref = Ref(container, found.key, self._version(found, more))
        return Record(
            ref,
            {source: self._date(found, source) for source in self._dates},
            {source: self._field(found, source, more) for source in self._fields},
        )

    def version(self, found: Object) -> str:
        """Fingerprint of what a decision rests on."""
        return self._version(found, self._more(found))

    def _version(self, found: Object, more: dict[str, str]) -> str:
        if not (self._tags or self._metadata):
            return found.mark
        said = "\0".join(f"{f}\0{more.get(f, '')}" for f in self._fields if ":" in f)
        return f"{found.mark}+{hashlib.sha256(said.encode()).hexdigest()[:20]}"

    def _date(self, found: Object, source: str) -> When:
        if source == name_dates.SOURCE:
            name = found.key.rpartition("/")[2]
            return self._pattern.date(name, self._zone) if self._pattern else None
        return found.last if source == "last_modified" else found.first

    def _field(self, found: Object, source: str, more: dict[str, str]) -> Value:
        folder, _, name = found.key.rpartition("/")
        data = found.data
        own: dict[str, Value] = {
            "key": found.key,
            "name": name,
            "folder": folder,
            "size": data.size if data else 0,
            "etag": data.etag if data else "",
            "storage_class": data.storage if data else "",
            "versions": found.count,
        }
        return own[source] if source in own else more.get(source, "")

    def _more(self, found: Object) -> dict[str, str]:
        if found.data is None or not (self._tags or self._metadata):
            return {}
        at: dict[str, Any] = {"Bucket": self._listing.bucket, "Key": found.key}
        if found.data.id:
            at["VersionId"] = found.data.id
        out: dict[str, str] = {}
        if self._tags:
            said = self._client.call("get_object_tagging", "reading tags", **at)
            out |= {f"{_TAG}{t['Key']}": str(t["Value"]) for t in said.get("TagSet", ())}
        if self._metadata:
            said = self._client.call("head_object", "reading metadata", **at)
            out |= {f"{_METADATA}{k.lower()}": str(v) for k, v in said.get("Metadata", {}).items()}
        return out


def _unknown(place: str, what: str, known: tuple[str, ...], more: str) -> PermanentFailure:
    return PermanentFailure(
        f"there is no such {what} of an object",
        hint=f"there are {', '.join(known)}{more}",
        place=place,
        code="unknown-source",
    )


def container_of(bucket: str, key: str, levels: int) -> str:
    """The container of a key or folder: the bucket and the first folders."""
    folders = key.split("/")[:-1][:levels]
    return f"{bucket}/" + "".join(f"{folder}/" for folder in folders)
