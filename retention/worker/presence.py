"""This worker among the processes that are alive, for people and for the alarm."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from retention.errors import LedgerUnreachable
from retention.run.context import Context
from retention.watch import nodes

EVERY = timedelta(seconds=20)


class Presence:
    """Keeps one row of the table `node` fresh. The processes of one worker share a row."""

    def __init__(self, name: str, role: str, facts: Mapping[str, Any]) -> None:
        self._name = name
        self._role = role
        self._facts = facts
        self._began: datetime | None = None
        self._seen: datetime | None = None

    def show(self, ctx: Context) -> None:
        """At most every twenty seconds. A ledger that does not answer is found out elsewhere."""
        now = ctx.clock.now()
        self._began = self._began or now
        if self._seen is not None and abs(now - self._seen) < EVERY:
            return
        self._seen = now
        with suppress(LedgerUnreachable), ctx.ledger.write() as tx:
            nodes.seen(tx, self._name, self._role, self._began, now, self._facts)

    def leave(self, ctx: Context) -> None:
        """The process ends as it was asked to."""
        with suppress(LedgerUnreachable), ctx.ledger.write() as tx:
            nodes.leave(tx, self._name)
