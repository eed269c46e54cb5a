"""Messages with all of their places in several folders, and threads.

Everything is collected before the first page, into a file (`mail_groups`), because the last
folder may hold a place of the first message. A break goes on behind the cursor after collecting
again: only messages that were there the first time count, so nothing can slip before the cursor.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple

from retention.connectors.base import Page, Target
from retention.connectors.imap.collecting import Collector, Ends
from retention.connectors.imap.reading import void
from retention.connectors.mail_folders import MailFolder
from retention.connectors.mail_groups import Groups, batched
from retention.connectors.mail_places import Unit, split

SIGN_OF_LIFE = 5.0
"""Seconds after which an empty page tells the caller that we are still collecting."""


class Threads(NamedTuple):
    """The threads of a location, as far as its folders were read."""

    groups: Groups
    ends: Ends


class Wholes:
    """For one session."""

    def __init__(self, system: str, collector: Collector, size: int) -> None:
        self._system = system
        self._collector = collector
        self._size = size
        self._threads: dict[Any, Threads] = {}

    def close(self) -> None:
        """Drop everything that was collected."""
        for kept in self._threads.values():
            kept.groups.close()
        self._threads.clear()

    def find(
        self,
        target: Target,
        unit: Unit,
        folders: Sequence[MailFolder],
        criteria: bytes,
        cursor: str | None,
    ) -> Iterator[Page]:
        """Records with all of their places, in the order of their first ones."""
        at = json.loads(cursor) if cursor else {}
        if at and "ends" not in at:
            # Its folders were read one by one when the cursor was made.
            raise void(self._system)
        ends: Ends = at.get("ends") or {}
        known = [f for f in folders if not at or f.name in ends]
        groups = Groups(unit)
        kept = False
        try:
            others = 0
            told = monotonic()
            for number in (
                self._collector.everything(target, unit, known, groups, ends)
                if unit is Unit.THREAD
                else self._collector.old_ones(target, known, groups, ends, criteria)
            ):
                others += number
                if monotonic() - told > SIGN_OF_LIFE:
                    told = monotonic()
                    yield Page([], cursor or "{}", 0)
            if unit is Unit.THREAD:
                self._keep(target, Threads(groups, ends))
                kept = True
            after = at.get("after")
            for found in batched(groups.wholes(after), self._size):
                after = found[-1].first
                place = json.dumps({"after": after, "ends": ends})
                yield Page([whole.record for whole in found], place, len(found))
            if others:
                yield Page([], json.dumps({"after": after, "ends": ends}), others)
        finally:
            if not kept:
                groups.close()

    def _keep(self, target: Target, threads: Threads) -> None:
        before = self._threads.pop(_of(target), None)
        if before is not None:
            before.groups.close()
        self._threads[_of(target)] = threads

    def beside(
        self, target: Target, folders: Sequence[MailFolder], keys: Sequence[str]
    ) -> Mapping[str, Sequence[str]]:
        """Key → places that belong to its thread now and that the key does not name.

        What arrived in the folders since they were read is read first.
        """
        now = {folder.name: self._collector.state(folder) for folder in folders}
        kept = self._threads.get(_of(target))
        if kept is None or _replaced(kept.ends, now):
            kept = Threads(Groups(Unit.THREAD), {})
            self._keep(target, kept)
        self._collector.what_arrived(target, folders, now, kept.groups, kept.ends)
        return kept.groups.beside({key: split(key) for key in keys})


def _replaced(ends: Ends, now: Mapping[str, tuple[int, int]]) -> bool:
    return any(name in ends and ends[name][0] != epoch for name, (epoch, _) in now.items())


def _of(target: Target) -> Any:
    return target.name, target.settings
