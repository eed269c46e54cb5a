"""The daemon: tick, work, wait; signals end or reload it between two batches."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from threading import Event
from typing import TYPE_CHECKING, Any

from retention.cli.failures import worst
from retention.cli.notify import Notifier
from retention.errors import ExitCode, LedgerMoved, LedgerUnreachable, RetentionError
from retention.watch import logs, traces
from retention.watch.watch import Watch

if TYPE_CHECKING:
    from retention.run.executor import Executor
    from retention.run.home import Home
    from retention.run.report import Report


PATIENCE = 60.0
"""Seconds that `daemon --once` waits for its alarms to be delivered."""


class Daemon:
    """One process that does what is owed. Prints a line for each thing that happened."""

    def __init__(self, home: Home) -> None:
        from retention.settings import environment

        self._home = home
        logs.configure(home.settings.log_format, home.ctx.clock)
        self._logger = logs.get()
        self._watch: Watch | None = None
        self._slice_began = home.ctx.clock.now()
        self._systemd = Notifier(environment())
        self._wake = Event()
        self._ending = False
        self._reloading = False

    def once(self) -> int:
        """Do what is owed now. Returns the most severe way in which a run ended."""
        # No server: the daemon may be running beside this, or the next call be close.
        with self._signals(), self._watched(serve=False) as watch:
            self._begin()
            reports = self._tick(self._executor())
            watch.after_tick(self._home, ok=True)
            watch.close(PATIENCE)
        if self._ending:
            return ExitCode.INTERRUPTED
        return worst(report.exit_code for report in reports)

    def forever(self) -> int:
        """Until a signal ends it. Raises AuditUnwritable: without evidence nothing may go on."""
        with self._signals(), self._watched() as watch:
            self._begin()
            executor = self._executor()
            self.log("started", policies=len(self._home.in_force.names()))
            self._systemd.ready()
            while not self._ending:
                self._systemd.alive()
                if self._reloading or self._outdated():
                    executor = self._reload()
                watch.after_tick(self._home, self._round(executor))
                self._wake.wait(self._pause())
                self._wake.clear()
            self._systemd.stopping()
            self.log("ended")
        return ExitCode.OK

    def _begin(self) -> None:
        """Before anything else: is the evidence whole? Then what the files say is told."""
        self._home.ctx.log.check(self._home.ctx.clock.now())
        self._home.tell()

    def _round(self, executor: Executor) -> bool:
        """One tick and what it brings. Returns whether it was good.

        Raises LedgerMoved: a newer version is installed, and whoever started us starts that.
        """
        try:
            self._tick(executor)
        except LedgerMoved:
            raise
        except LedgerUnreachable as error:
            # A database that restarts: what is owed stays owed, and is found at the next tick.
            self.log("ledger unreachable", error=error.code)
            return False
        return True

    def _tick(self, executor: Executor) -> list[Report]:
        self._slice_began = self._home.ctx.clock.now()
        with traces.span("tick") as span:
            reports = executor.once()
            span.set(slices=len(reports))
        return reports

    @contextmanager
    def _watched(self, *, serve: bool = True) -> Iterator[Watch]:
        with Watch.of(self._home, serve=serve) as watch:
            self._watch = watch
            yield watch

    def _executor(self) -> Executor:
        return self._home.executor(stop=self._stop, told=self._told)

    def _stop(self) -> bool:
        """Asked between batches: also the moment to show that we are alive."""
        self._systemd.alive()
        if self._watch is not None:
            self._watch.alive()
        return self._ending

    def _outdated(self) -> bool:
        """Files that changed, or an approval that a command wrote: nobody need send a signal."""
        with suppress(LedgerUnreachable):
            return self._home.outdated()
        return False

    def _reload(self) -> Executor:
        """Read the policies again; what is broken keeps its last approved version from acting."""
        self._reloading = False
        self._systemd.reloading()
        try:
            errors = self._home.reload()
            self.log("reloaded", policies=len(self._home.in_force.names()), errors=len(errors))
            for found in errors:
                self.log("policy error", place=f"{found.file}:{found.line}", code=found.code)
        except RetentionError as error:
            self.log("reload failed", error=error.code)
        self._systemd.ready()
        return self._executor()

    def _pause(self) -> float:
        """Seconds until the next tick, or until the next firing where that is sooner."""
        if self._ending or self._reloading:
            return 0.0
        tick = self._home.settings.tick_seconds
        with suppress(LedgerUnreachable):
            upcoming = _next_firing(self._home)
            if upcoming is not None:
                left = (upcoming - self._home.ctx.clock.now()).total_seconds()
                return min(tick, max(0.05, left))
        return tick

    def _told(self, report: Report) -> None:
        began, self._slice_began = self._slice_began, self._home.ctx.clock.now()
        part = {} if report.part is None else {"shard": report.part.number}
        traces.record(
            "slice",
            began,
            self._slice_began,
            policy=report.policy,
            run=report.run_id,
            state=str(report.state),
            counts=report.counts,
            **part,
        )
        self.log(
            "run",
            policy=report.policy,
            run=report.run_id,
            **part,
            state=str(report.state),
            counts=dict(report.counts),
            problems=list(report.problems),
        )

    def log(self, event: str, **facts: Any) -> None:
        """One line on stderr. Facts hold names and numbers, never data of records."""
        self._logger.info(event, **facts)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end after the batch, SIGHUP reloads."""

        def end(_number: int, _frame: object) -> None:
            self._ending = True
            self._wake.set()

        def reload(_number: int, _frame: object) -> None:
            self._reloading = True
            self._wake.set()

        handlers = {signal.SIGTERM: end, signal.SIGINT: end}
        if sys.platform != "win32":
            handlers[signal.SIGHUP] = reload
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _next_firing(home: Home) -> datetime | None:
    from sqlalchemy import func, select

    from retention.ledger import tables as t
    from retention.ledger.store import instant

    with home.ctx.ledger.read() as tx:
        text = tx.execute(select(func.min(t.schedule.c.next_fire))).scalar_one_or_none()
    return instant(text) if text else None
