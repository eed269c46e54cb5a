"""What was found in a location's folders, put together in a private file that has no name.

The file is SQLite's own temporary one: readable by this account only and without a name from the
moment it is made, so nothing of it is left when it is closed or the process is killed. Memory
stays flat however large the mailbox.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from hashlib import blake2b
from itertools import groupby, islice
from operator import itemgetter
from secrets import token_bytes
from typing import Any, NamedTuple

from retention.connectors.base import Record, Ref
from retention.connectors.mail_places import Part, Unit, merge
from retention.connectors.mail_threads import Threads
from retention.errors import TemporaryFailure

At = int | str
"""A place within its folder: a UID, or a file's name; ordered as the folder is read."""
_START: tuple[str, At] = ("", -1)
_CACHE_KIB = 4096
_SCHEMA = """
CREATE TABLE place (folder TEXT, at, grp, key TEXT, record TEXT, PRIMARY KEY (folder, at))
    WITHOUT ROWID;
CREATE INDEX by_group ON place (grp, folder, at);
CREATE INDEX by_key ON place (key);
CREATE TABLE node (hash BLOB PRIMARY KEY, number INTEGER) WITHOUT ROWID;
"""


class Whole(NamedTuple):
    """A record with all of its places, and where its first place is: the order of `wholes`."""

    record: Record
    first: tuple[str, At]


class Groups:
    """Places of records, by what they belong to. Add in any order; the answer is the same."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        self._threads = Threads()
        self._salt = token_bytes(16)
        # A session is closed by whoever ends it; the file is never used by two at once.
        self._file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        with self._room():
            self._file.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            self._file.execute("PRAGMA journal_mode = OFF")
            self._file.execute("PRAGMA synchronous = OFF")
            self._file.executescript(_SCHEMA)
        self._file.create_function("root", 1, self._threads.root, deterministic=False)
        self._settled = True

    def __repr__(self) -> str:
        return f"Groups({self._unit})"

    def close(self) -> None:
        """Drop everything. May be called twice."""
        self._file.close()

    def add(self, folder: str, found: Iterable[tuple[At, Part]]) -> None:
        """Messages of a folder. One that is known already stays as it was."""
        rows = []
        for at, part in found:
            group = self._node(part.cited) if self._unit is Unit.THREAD else part.identity
            rows.append((folder, _ordered(at), group, part.record.ref.key, _packed(part.record)))
        with self._room():
            self._file.executemany("INSERT OR IGNORE INTO place VALUES (?, ?, ?, ?, ?)", rows)
        self._settled = self._unit is not Unit.THREAD

    def knows(self, folder: str, at: At) -> bool:
        """Whether this place was added."""
        asked = "SELECT 1 FROM place WHERE folder = ? AND at = ?"
        return self._file.execute(asked, (folder, _ordered(at))).fetchone() is not None

    def _node(self, cited: Sequence[str]) -> int:
        numbers = []
        for one in cited:
            # Keyed, so that nobody can write an id that collides with another one's.
            told = one.encode("utf-8", "surrogateescape")
            digest = blake2b(told, digest_size=12, key=self._salt).digest()
            with self._room():
                known = self._file.execute("SELECT number FROM node WHERE hash = ?", (digest,))
                row = known.fetchone()
                if row is None:
                    row = (self._threads.add(),)
                    self._file.execute("INSERT INTO node VALUES (?, ?)", (digest, row[0]))
            numbers.append(row[0])
        self._threads.connect(numbers)
        return int(numbers[0])

    def _settle(self) -> None:
        """Write down which thread each place is of now that all are known."""
        if not self._settled:
            with self._room():
                self._file.execute("UPDATE place SET grp = root(grp) WHERE grp <> root(grp)")
            self._settled = True

    def wholes(self, after: Sequence[Any] | None = None) -> Iterator[Whole]:
        """Every record once, in the order of its first place. `after`: those beyond that one."""
        self._settle()
        folder, at = after or _START
        rows = self._file.execute(
            "SELECT p.folder, p.at, q.record FROM place AS p JOIN place AS q ON q.grp = p.grp"
            " WHERE (p.folder, p.at) > (?, ?) AND NOT EXISTS"
            " (SELECT 1 FROM place AS e WHERE e.grp = p.grp"
            " AND (e.folder, e.at) < (p.folder, p.at))"
            " ORDER BY p.folder, p.at, q.folder, q.at",
            (folder, _ordered(at)),
        )
        with self._room():
            for (folder, at), parts in groupby(rows, key=itemgetter(0, 1)):
                records = [_unpacked(row[2]) for row in parts]
                whole = merge([r.ref.key for r in records], records)
                if whole is not None:
                    yield Whole(whole, (folder, _told(at)))

    def beside(self, named: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Key → places that are of the same record and not among those named."""
        self._settle()
        out: dict[str, list[str]] = {}
        for key, places in named.items():
            groups = {g for p in places for g in self._groups(p)}
            of_it = [
                row[0]
                for group in sorted(groups)
                for row in self._file.execute("SELECT key FROM place WHERE grp = ?", (group,))
            ]
            if more := sorted(set(of_it) - set(places)):
                out[key] = more
        return out

    def _groups(self, place: str) -> Iterator[Any]:
        for row in self._file.execute("SELECT grp FROM place WHERE key = ?", (place,)):
            yield row[0]

    @contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
            return
        except sqlite3.Error:
            failure = TemporaryFailure(
                "the temporary file for what was found could not be written",
                hint="is there room in the folder for temporary files (TMPDIR)?",
                code="disk",
            )
        try:
            raise failure
        except TemporaryFailure as clean:
            clean.__context__ = None
            raise


def batched(wholes: Iterator[Whole], size: int) -> Iterator[list[Whole]]:
    """Lists of at most `size`, none empty."""
    while batch := list(islice(wholes, size)):
        yield batch


def _ordered(at: At) -> int | bytes:
    # File names may be bytes of no encoding.
    return at if isinstance(at, int) else at.encode("utf-8", "surrogateescape")


def _told(at: int | bytes) -> At:
    return at if isinstance(at, int) else at.decode("utf-8", "surrogateescape")


def _packed(record: Record) -> str:
    return _encode((record.ref, record.dates, record.fields))


def _tagged(value: object) -> object:
    if isinstance(value, datetime | date):
        return {"when": value.isoformat()}
    raise TypeError


_encode = json.JSONEncoder(default=_tagged).encode


def _unpacked(text: str) -> Record:
    ref, dates, fields = json.loads(text)
    return Record(
        Ref(*ref),
        {source: _value(value) for source, value in dates.items()},
        {source: _value(value) for source, value in fields.items()},
    )


def _value(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, dict):
        told = value["when"]
        return datetime.fromisoformat(told) if "T" in told else date.fromisoformat(told)
    return value
