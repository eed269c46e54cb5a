"""What a location of files may name: dates, fields and subject keys, and how each is read."""

from __future__ import annotations

import mimetypes
import os
import pwd
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import NamedTuple, cast
from zoneinfo import ZoneInfo

from retention.connectors.base import Record, Ref, Target, Value, When
from retention.connectors.files import documents
from retention.connectors.files.birth import created_ns
from retention.connectors.files.identity import version_of
from retention.connectors.files.names import key_of, shown
from retention.connectors.files.pattern import NamePatterns, start_of
from retention.connectors.files.root import Folder
from retention.connectors.files.settings import FilesLocation
from retention.errors import PermanentFailure

DATES = ("modified", "changed", "accessed", "created", "name_date", *documents.DATES)
FIELDS = ("name", "stem", "suffix", "folder", "path", "size", "owner")
_1970 = datetime(1970, 1, 1, tzinfo=UTC)
_ZERO = datetime(1980, 1, 3, tzinfo=UTC)
"""What is dated before was dated by a program that had no date: 1970 and 1980 are zeros."""


class File(NamedTuple):
    """One file as it was found."""

    folder: Folder
    name: str
    status: os.stat_result
    at: tuple[str, ...]
    """The path that counts: a file that was set aside keeps the one it had."""


class Sources:
    """What a target needs to be read of each file."""

    def __init__(self, target: Target, timezone: str) -> None:
        settings = cast(FilesLocation, target.settings)
        self._container = settings.selection.name
        self._patterns = NamePatterns(settings.pattern, ZoneInfo(timezone))
        self._dates = target.dates
        self._fields = target.fields
        _refuse_unknown(target, self._patterns)
        self.accessed = "accessed" in target.dates
        """Then an access changes what is decided upon, so it belongs to the version."""
        used = {*target.dates, *target.fields}
        self._reads_name = "name_date" in used or bool(used & self._patterns.fields)
        self._documents = tuple(s for s in target.dates if s in documents.DATES)
        self._bounds = tuple(
            (b.source, b.instant) for b in target.bounds if b.source not in documents.DATES
        )

    def record(self, file: File) -> Record | None:
        """The file as a record; None where a bound leaves it out."""
        said = self._patterns.read(shown("/".join(file.at))) if self._reads_name else None
        dates: dict[str, When] = {}
        if said is not None:
            dates["name_date"] = said.when
        for source, instant in self._bounds:
            when = start_of(self._date(source, file, dates))
            if when is not None and when >= instant:
                return None
        for source in self._dates:
            if source not in self._documents:
                self._date(source, file, dates)
        if self._documents:
            dates |= documents.read(file.folder.at, file.name, file.status, self._documents)
        fields = said.fields if said is not None else {}
        version = str(version_of(file.status, accessed=self.accessed))
        return Record(
            Ref(self._container, key_of(file.at), version),
            {source: dates.get(source) for source in self._dates},
            {source: self._field(source, file, fields) for source in self._fields},
        )

    def _date(self, source: str, file: File, known: dict[str, When]) -> When:
        if source not in known:
            known[source] = _plausible(_nanoseconds(source, file))
        return known[source]

    @staticmethod
    def _field(source: str, file: File, said: Mapping[str, str]) -> Value:
        if source in FIELDS:
            return _OWN[source](file)
        return said.get(source)


def _refuse_unknown(target: Target, patterns: NamePatterns) -> None:
    dates = {d for d in DATES if d != "name_date" or patterns.dated}
    fields = {*FIELDS, *patterns.fields}
    used = {*target.dates, *(b.source for b in target.bounds)} - dates
    used |= set(target.fields) - fields - dates
    used |= {c.source for c in target.where} - fields - dates
    for source in sorted(used):
        raise PermanentFailure(
            f"files have no `{source}` here",
            hint=f"dates: {', '.join(sorted(dates))}; fields: {', '.join(sorted(fields))};"
            " more by `pattern`",
            place=target.name,
            code="unknown_source",
        )


def _nanoseconds(source: str, file: File) -> int | None:
    status = file.status
    if source == "modified":
        return status.st_mtime_ns
    if source == "changed":
        return status.st_ctime_ns
    if source == "accessed":
        # A clean-up of old times would otherwise make a file that was just written look unused.
        return max(status.st_atime_ns, status.st_mtime_ns)
    if source == "created":
        return created_ns(file.folder.at, file.name, status)
    return None


def _plausible(nanoseconds: int | None) -> When:
    if nanoseconds is None:
        return None
    try:
        when = _1970 + timedelta(microseconds=nanoseconds // 1000)
    except OverflowError:
        return None
    return when if when >= _ZERO else None


@cache
def _owner(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _suffix(file: File) -> str:
    return shown(os.path.splitext(file.at[-1])[1]).lower()  # noqa: PTH122 -- a name, no path


_OWN: Mapping[str, Callable[[File], Value]] = {
    "name": lambda file: shown(file.at[-1]),
    "stem": lambda file: shown(os.path.splitext(file.at[-1])[0]),  # noqa: PTH122 -- likewise
    "suffix": _suffix,
    "folder": lambda file: shown("/".join(file.at[:-1])),
    "path": lambda file: shown("/".join(file.at)),
    "size": lambda file: file.status.st_size,
    "owner": lambda file: _owner(file.status.st_uid),
}


def media_type(name: str) -> str:
    """By the name only."""
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
