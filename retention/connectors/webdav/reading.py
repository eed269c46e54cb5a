"""From properties to records: dates, fields, versions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from zoneinfo import ZoneInfo

from retention.connectors import name_dates
from retention.connectors.base import Record, Ref, Target, Value, When
from retention.connectors.name_dates import NamePattern
from retention.connectors.webdav.properties import BASIC, CUSTOM, DAV, NC, OC, Entry
from retention.connectors.webdav.settings import WebdavLocation
from retention.connectors.webdav.tree import split_key, steps_of
from retention.errors import PermanentFailure

_DATES = {
    "getlastmodified": f"{DAV}getlastmodified",
    "creationdate": f"{DAV}creationdate",
    "upload_time": f"{NC}upload_time",
    name_dates.SOURCE: None,
}
_FIELDS = {
    "name": None,
    "folder": None,
    "path": None,
    "size": f"{DAV}getcontentlength",
    "etag": f"{DAV}getetag",
    "content_type": f"{DAV}getcontenttype",
}
TRASH = (
    f"{NC}trashbin-original-location",
    f"{NC}trashbin-deletion-time",
    f"{OC}trashbin-original-location",
    f"{OC}trashbin-delete-timestamp",
)


class Sources:
    """What to read of each file for one target. Raises PermanentFailure for unknown sources."""

    def __init__(self, target: Target, settings: WebdavLocation, zone: ZoneInfo) -> None:
        self._zone = zone
        self._pattern = NamePattern(settings.pattern) if settings.pattern else None
        self._dates = target.dates
        self._fields = target.fields
        asked = [*BASIC]
        for source in target.dates:
            if source not in _DATES or (source == name_dates.SOURCE and self._pattern is None):
                raise _unknown(target.name, "date", _DATES)
            asked.append(_DATES[source] or f"{DAV}resourcetype")
        for source in target.fields:
            if source not in _FIELDS and not CUSTOM.match(source):
                raise _unknown(target.name, "field", _FIELDS)
            asked.append(_FIELDS.get(source, source) or f"{DAV}resourcetype")
        self._custom = sorted(source for source in target.fields if source not in _FIELDS)
        self.names: tuple[str, ...] = tuple(dict.fromkeys(asked))
        """Properties to ask for."""

    @property
    def by_name_only(self) -> bool:
        """Whether every date is told by the file's name, which the bin keeps."""
        return all(source == name_dates.SOURCE for source in self._dates)

    def record(self, entry: Entry, container: str) -> Record:
        """A file as a record."""
        ref = Ref(container, entry.key, self.version(entry), trace_of(entry))
        return Record(
            ref,
            {source: self._date(entry, source) for source in self._dates},
            {source: self._field(entry, source) for source in self._fields},
        )

    def version(self, entry: Entry) -> str:
        """Fingerprint of the file and of the properties that a decision rests on."""
        mark = identity(entry)
        if self._custom:
            said = "\0".join(f"{name}\0{entry.text(name)}" for name in self._custom)
            mark += "+" + hashlib.sha256(said.encode()).hexdigest()[:20]
        return mark

    def _date(self, entry: Entry, source: str) -> When:
        if source == name_dates.SOURCE:
            name = steps_of(entry.key)[-1]
            return self._pattern.date(name, self._zone) if self._pattern else None
        text = entry.text(_DATES[source] or "")
        return _unix(text) if source == "upload_time" else instant(text)

    def _field(self, entry: Entry, source: str) -> Value:
        folder, name = split_key(entry.key)
        match source:
            case "name":
                return name
            case "folder":
                return folder
            case "path":
                return entry.key
            case "size":
                return size_of(entry)
        return entry.text(_FIELDS.get(source) or source)


def _unknown(place: str, what: str, known: dict[str, str | None]) -> PermanentFailure:
    return PermanentFailure(
        f"there is no such {what} of a file",
        hint=f"there are {', '.join(known)}"
        + ("; name_date needs `pattern`" if what == "date" else ", and {namespace}property"),
        place=place,
        code="unknown-source",
    )


def instant(text: str) -> datetime | None:
    """An instant in UTC, from either form that WebDAV uses; None where it is none."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            found = read(text)
            if found.tzinfo is not None:
                return found.astimezone(UTC)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def _unix(text: str) -> datetime | None:
    # Nextcloud says 0 where it does not know.
    if not (text.isascii() and text.isdigit()) or int(text) == 0:
        return None
    try:
        return datetime.fromtimestamp(int(text), UTC)
    except (ValueError, OverflowError, OSError):
        return None


def size_of(entry: Entry) -> int | None:
    """Octets; None where the server does not say."""
    text = entry.text(f"{DAV}getcontentlength")
    return int(text) if text.isascii() and text.isdigit() else None


def file_id(entry: Entry) -> str:
    """Nextcloud's number of a file, which it keeps in the bin; "" elsewhere."""
    text = entry.text(f"{OC}fileid")
    return text if text.isascii() and text.isalnum() else ""


def strong_etag(entry: Entry) -> str:
    """The entity tag if it may stand in If-Match (RFC 9110 §8.8.1); else ""."""
    text = entry.text(f"{DAV}getetag").strip()
    if text.startswith("W/") or not text or any(ord(c) < 33 or ord(c) > 126 for c in text):
        return ""
    if text.startswith('"') and text.endswith('"') and len(text) > 2:
        return text
    # Some servers leave the quotes out in XML.
    return "" if '"' in text else f'"{text}"'


def identity(entry: Entry) -> str:
    """Which file, and which content of it."""
    modified = instant(entry.text(f"{DAV}getlastmodified"))
    stamp = int(modified.timestamp()) if modified else "?"
    tag = hashlib.sha256(strong_etag(entry).encode()).hexdigest()[:24]
    parts = [file_id(entry), str(size_of(entry)), str(stamp), tag if strong_etag(entry) else ""]
    return ".".join(parts)


def trace_of(entry: Entry) -> str:
    """What finds the file again in the bin: its number; `S` before it where others share it.

    A file that was shared with this account goes to the bin of its owner, too.
    """
    shared = "S" if "S" in entry.text(f"{OC}permissions") else ""
    number = file_id(entry)
    return f"{shared}:{number}" if number or shared else ""


def split_trace(trace: str) -> tuple[bool, str]:
    """(shared with this account by another, the file's number)."""
    shared, _, number = trace.partition(":")
    return shared == "S", number


def container_of(folder: str, levels: int) -> str:
    """The container of what lies in a folder: its first steps, `/` for the root."""
    steps: Sequence[str] = steps_of(folder)[:levels]
    return "/".join(steps) or "/"
