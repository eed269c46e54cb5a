"""Messages with all of their places in several folders, and threads; collected before any page."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple

from retention.connectors.base import Page, Record, Target
from retention.connectors.mail_folders import MailFolder
from retention.connectors.mail_groups import Groups, batched
from retention.connectors.mail_index import Sightings
from retention.connectors.mail_places import Part, Unit, WholeSources, split
from retention.connectors.mail_sources import Own, Sources
from retention.connectors.maildir.reading import split_key
from retention.connectors.maildir.store import Entry, Store
from retention.errors import PermanentFailure

SIGN_OF_LIFE = 5.0
"""Seconds after which an empty page tells the caller that we are still collecting."""

Read = Callable[[MailFolder, Sequence[Entry], Sources], list[Record]]


class Threads(NamedTuple):
    """The threads of a location, and the files that were read for them."""

    groups: Groups
    files: dict[str, Sightings]


class Wholes:
    """For one session. `read`: records of single messages; `size`: of a page."""

    def __init__(self, store: Store, own: Own, size: int, read: Read) -> None:
        self._store = store
        self._own = own
        self._size = size
        self._read = read
        self._threads: dict[Any, Threads] = {}

    def close(self) -> None:
        """Drop everything that was collected."""
        for kept in self._threads.values():
            kept.groups.close()
        self._threads.clear()

    def find(
        self, target: Target, unit: Unit, folders: Sequence[MailFolder], cursor: str | None
    ) -> Iterator[Page]:
        """Records with all of their places, in the order of their first ones.

        A file that appears between a break and going on may put its record before the cursor:
        then the next run finds it.
        """
        at = json.loads(cursor) if cursor else {}
        if at and "first" not in at:
            raise PermanentFailure(
                "the location's folders are others now: what was found is void",
                hint="the next run finds its messages again",
                place=self._store.system,
                code="folders",
            )
        threads = Threads(Groups(unit), {})
        kept = False
        try:
            told = monotonic()
            for _ in self._collect(target, unit, folders, threads):
                if monotonic() - told > SIGN_OF_LIFE:
                    told = monotonic()
                    yield Page([], cursor or "{}", 0)
            if unit is Unit.THREAD:
                self._keep(target, threads)
                kept = True
            for found in batched(threads.groups.wholes(at.get("first")), self._size):
                records = [w.record for w in found if not _too_young(w.record, target)]
                yield Page(records, json.dumps({"first": found[-1].first}), len(found))
        finally:
            if not kept:
                threads.groups.close()

    def beside(
        self, target: Target, folders: Sequence[MailFolder], keys: Sequence[str]
    ) -> Mapping[str, Sequence[str]]:
        """Key → places that belong to its thread now and that the key does not name.

        What arrived in the folders since they were read is read first.
        """
        kept = self._threads.get(_of(target))
        if kept is None:
            kept = Threads(Groups(Unit.THREAD), {})
            self._keep(target, kept)
        for _ in self._collect(target, Unit.THREAD, folders, kept):
            pass
        return kept.groups.beside({key: split(key) for key in keys})

    def _keep(self, target: Target, threads: Threads) -> None:
        before = self._threads.pop(_of(target), None)
        if before is not None:
            before.groups.close()
        self._threads[_of(target)] = threads

    def _collect(
        self, target: Target, unit: Unit, folders: Sequence[MailFolder], into: Threads
    ) -> Iterator[None]:
        """Read the files that are not known yet; yields now and then."""
        sources = WholeSources(target, self._own, unit)
        for folder in folders:
            known = into.files.setdefault(folder.name, Sightings())
            for _, _, listed in self._store.sorted_parts(folder):
                new = [entry for entry in listed if entry.base not in known]
                for start in range(0, len(new), self._size):
                    part = new[start : start + self._size]
                    records = self._read(folder, part, sources)
                    into.groups.add(
                        folder.name,
                        [(split_key(r.ref.key)[1], Part.of(r)) for r in records],
                    )
                    for record in records:
                        known.add(split_key(record.ref.key)[1])
                    yield


def _too_young(record: Record, target: Target) -> bool:
    """Whether its latest place is not before a bound, so that it may be left out."""
    dates = [(record.dates.get(b.source), b.instant) for b in target.bounds]
    return any(when is not None and _not_before(when, instant) for when, instant in dates)


def _not_before(when: Any, instant: Any) -> bool:
    return type(when) is type(instant) and bool(when >= instant)


def _of(target: Target) -> Any:
    return target.name, target.settings
