"""The place of one thread that works: its home, opened when first needed, and kept up to date."""

from __future__ import annotations

from collections.abc import Callable

from retention.connectors.wrap import Buckets
from retention.ledger.store import Ledger
from retention.run import rates
from retention.run.executor import Executor
from retention.run.home import Home
from retention.run.report import Report
from retention.settings import Settings
from retention.watch import logs


def tell(report: Report) -> None:
    """One line for each slice that came to something."""
    part = {} if report.part is None else {"shard": report.part.number}
    logs.get().info(
        "run",
        policy=report.policy,
        run=report.run_id,
        **part,
        state=str(report.state),
        counts=dict(report.counts),
        problems=list(report.problems),
    )


class Desk:
    """Home and executor of one thread. Never carried over a fork: made where it is used."""

    def __init__(
        self,
        settings: Settings,
        *,
        stop: Callable[[], bool] = lambda: False,
        told: Callable[[Report], None] = tell,
        buckets: Callable[[Ledger], Buckets] = rates.buckets,
    ) -> None:
        self.settings = settings
        self._stop = stop
        self._told = told
        self._buckets = buckets
        self._open: tuple[Home, Executor] | None = None

    @property
    def used(self) -> bool:
        """Whether it has been opened."""
        return self._open is not None

    @property
    def home(self) -> Home:
        """Opened at first. Raises PolicyError, LedgerUnreachable, AuditUnwritable."""
        return self._opened()[0]

    def executor(self) -> Executor:
        """Over what is in force at this moment: files and approvals may have changed elsewhere."""
        home, executor = self._opened()
        if home.refresh():
            executor.in_force = home.in_force
            executor.jobs = home.jobs
        return executor

    def current(self) -> Executor:
        """As it was last brought up to date."""
        return self._opened()[1]

    def close(self) -> None:
        """The thread ends."""
        if self._open is not None:
            home, _ = self._open
            self._open = None
            home.close()

    def _opened(self) -> tuple[Home, Executor]:
        if self._open is None:
            home = Home.open(self.settings, actor="worker", buckets=self._buckets)
            try:
                # Before anything else: is the evidence whole?
                home.ctx.log.check(home.ctx.clock.now())
                home.tell()
                executor = home.executor(stop=self._stop, told=self._told)
            except BaseException:
                home.close()
                raise
            executor.patient = False
            self._open = (home, executor)
        return self._open
