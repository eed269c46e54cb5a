"""Now, and when each policy fires next: computed only for the policies that a decision asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from retention.decide.model import Moment
from retention.run.context import Context
from retention.run.tick import clock_went_back
from retention.schedule.fires import next_fire
from retention.schedule.model import Job, OnEvent


class NextFires(Mapping[str, datetime]):
    """Policy → its next firing after `now`. Those that wait for events have none: due at once."""

    def __init__(self, jobs: Mapping[str, Job], now: datetime) -> None:
        self._jobs = {
            name: job for name, job in jobs.items() if not isinstance(job.schedule, OnEvent)
        }
        self._now = now
        self._known: dict[str, datetime] = {}

    def __getitem__(self, policy: str) -> datetime:
        if policy not in self._known:
            job = self._jobs[policy]
            # What a schedule counts from is the firing that is being worked on, or a look at it.
            found = next_fire(job.schedule, job.zone, self._now, self._now)
            if found is None:
                raise KeyError(policy)
            self._known[policy] = found
        return self._known[policy]

    def __iter__(self) -> Iterator[str]:
        return iter(self._jobs)

    def __len__(self) -> int:
        return len(self._jobs)


class Moments:
    """Gives the moment of each decision. A day's firings stay the same while a batch is judged."""

    def __init__(self, ctx: Context, jobs: Mapping[str, Job], at: datetime | None = None) -> None:
        self._ctx = ctx
        self._jobs = jobs
        self._at = at
        self._last: Moment | None = None

    def __call__(self) -> Moment:
        """The moment now; the same object for ten seconds, so that decisions can share work."""
        now = self._at or self._ctx.clock.now()
        last = self._last
        if last is not None and 0 <= (now - last.now).total_seconds() < 10:
            return last
        with self._ctx.ledger.read() as tx:
            back = self._at is None and clock_went_back(tx, now)
        self._last = Moment(now, NextFires(self._jobs, now), back)
        return self._last
