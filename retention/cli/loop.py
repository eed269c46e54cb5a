"""The daemon: tick, work, wait; signals end or reload it between two batches."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from threading import Event
from typing import TYPE_CHECKING, Any

from retention.cli.failures import worst
from retention.cli.notify import Notifier
from retention.cli.output import say
from retention.cli.reports import numbers
from retention.errors import ExitCode, LedgerUnreachable, RetentionError

if TYPE_CHECKING:
    from retention.run.executor import Executor
    from retention.run.home import Home
    from retention.run.pipeline import Report


class Daemon:
    """One process that does what is owed. Prints a line for each thing that happened."""

    def __init__(self, home: Home) -> None:
        from retention.settings import environment

        self._home = home
        self._json = home.settings.log_format == "json"
        self._systemd = Notifier(environment())
        self._wake = Event()
        self._ending = False
        self._reloading = False

    def once(self) -> int:
        """Do what is owed now. Returns the most severe way in which a run ended."""
        with self._signals():
            self._begin()
            reports = self._executor().once()
        if self._ending:
            return ExitCode.INTERRUPTED
        return worst(report.exit_code for report in reports)

    def forever(self) -> int:
        """Until a signal ends it. Raises AuditUnwritable: without evidence nothing may go on."""
        with self._signals():
            self._begin()
            executor = self._executor()
            self.log("started", policies=len(self._home.in_force.names()))
            self._systemd.ready()
            while not self._ending:
                self._systemd.alive()
                if self._reloading:
                    executor = self._reload()
                self._round(executor)
                self._wake.wait(self._pause())
                self._wake.clear()
            self._systemd.stopping()
            self.log("ended")
        return ExitCode.OK

    def _begin(self) -> None:
        """Before anything else: is the evidence whole? Then what the files say is told."""
        self._home.ctx.log.check(self._home.ctx.clock.now())
        self._home.tell()

    def _round(self, executor: Executor) -> None:
        try:
            executor.once()
        except LedgerUnreachable as error:
            # A database that restarts: what is owed stays owed, and is found at the next tick.
            self.log("ledger unreachable", error=error.code)

    def _executor(self) -> Executor:
        return self._home.executor(stop=self._stop, told=self._told)

    def _stop(self) -> bool:
        """Asked between batches: also the moment to show that we are alive."""
        self._systemd.alive()
        return self._ending

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
        self.log(
            "run",
            policy=report.policy,
            run=report.run_id,
            state=str(report.state),
            counts=dict(report.counts),
            problems=list(report.problems),
        )

    def log(self, event: str, **facts: Any) -> None:
        """One line on stderr. Facts hold names and numbers, never data of records."""
        at = self._home.ctx.clock.now()
        say(_json_line(at, event, facts) if self._json else _text_line(at, event, facts))

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


def _json_line(at: datetime, event: str, facts: Mapping[str, Any]) -> str:
    from retention.ledger.store import stamp

    return json.dumps({"at": stamp(at), "event": event, **facts}, ensure_ascii=False)


def _text_line(at: datetime, event: str, facts: Mapping[str, Any]) -> str:
    from retention.ledger.store import stamp

    said = []
    for name, value in facts.items():
        if name == "counts":
            said.append(numbers(value))
        elif isinstance(value, list):
            said += [f"problem: {item}" for item in value]
        else:
            said.append(f"{name}={value}")
    return f"{stamp(at)} {event}: {'; '.join(said)}" if said else f"{stamp(at)} {event}"
