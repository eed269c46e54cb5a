"""The part of a process that is seen from outside: sign of life, metrics, alarms out, ping.

All of it happens in one thread beside the work, with transactions of its own. Whatever fails
there is a log line; the work never waits for it and never ends because of it.
"""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import timedelta
from threading import Event, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from retention.errors import LedgerUnreachable, UsageError
from retention.watch import logs, nodes, traces
from retention.watch.alarms import Pace
from retention.watch.mail import Mail
from retention.watch.ping import Ping
from retention.watch.telling import Teller
from retention.watch.webhook import Webhook

if TYPE_CHECKING:
    from retention.run.home import Home
    from retention.settings import Settings
    from retention.watch.channel import Sender
    from retention.watch.exporter import Exporter, Health

BEAT = 20.0
"""Seconds between two rounds, however long a tick lasts."""
LEAST = 1.0
"""Seconds between two rounds at least, however short a tick is."""
STALE = 300.0
"""Seconds without a tick or a batch after which a process is ill: a spreadsheet takes a while."""


class Watch:
    """One process that is watched. A context manager; `role` is daemon, scheduler or worker.

    Raises UsageError at the start where a setting cannot be met: a secret's file that is not
    there, a package that is not installed.
    """

    def __init__(
        self, home: Home, role: str, *, serve: bool = True, name: str | None = None
    ) -> None:
        self._home = home
        self._name = name or home.ctx.owner
        self._role = role
        self._address = home.settings.metrics_address if serve else None
        self._exporter: Exporter | None = None
        self._ping = Ping.of(home.settings)
        self._teller = _teller(home)
        self._started = home.ctx.clock.now()
        self._wake, self._ending = Event(), Event()
        self._ok: bool | None = None
        self._alive = time.monotonic()
        self._good = False
        self._facts: dict[str, Any] = {}
        self._complained: set[str] = set()
        if self._address:
            _need_prometheus()
        traces.start(home.settings.otlp_endpoint, role)
        self._safely("metrics not served", self._serve)
        self._thread = Thread(target=self._rounds, name="watch", daemon=True)
        self._thread.start()

    @classmethod
    def of(
        cls, home: Home, role: str = "daemon", *, serve: bool = True, name: str | None = None
    ) -> Self:
        """Begin to watch this process. `serve`: also over HTTP, where the settings say so.

        `name`: its row in the table `node`, where it has one already; else it gets one.
        """
        return cls(home, role, serve=serve, name=name)

    @property
    def address(self) -> tuple[str, int] | None:
        """Where /metrics and /health are; None where nowhere."""
        return self._exporter.address if self._exporter else None

    def alive(self) -> None:
        """Between two batches: the work goes on, however long the tick already lasts."""
        self._alive = time.monotonic()

    def after_tick(self, home: Home, ok: bool) -> None:
        """A tick ended, well or not, with this home. Never raises, never waits."""
        self._home = home
        self._ok = ok
        self._good = ok
        self.alive()
        self._wake.set()

    def health(self) -> Health:
        """Whether the last tick was good, and recent."""
        from retention.watch.exporter import Health

        silent = time.monotonic() - self._alive
        tick = {None: "none yet", True: "good", False: "failed"}[self._ok]
        facts = {"role": self._role, "last_tick": tick, "silent_seconds": round(silent, 1)}
        return Health(self._ok is True and silent < STALE, facts)

    def close(self, patience: float = 5.0) -> None:
        """One more round, then end; waits at most so many seconds."""
        if not self._ending.is_set():
            self._ending.set()
            self._wake.set()
            self._thread.join(patience)
            if self._exporter is not None:
                self._exporter.close()
            traces.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _rounds(self) -> None:
        ending = False
        while not ending:
            self._wake.wait(min(BEAT, self._home.settings.tick_seconds))
            self._wake.clear()
            ending = self._ending.is_set()
            self._safely("metrics not served", self._serve)
            self._safely("sign of life not written", self._beat)
            self._safely("ping not sent", self._send_ping)
            self._safely("alarms not told", self._tell)
            if not ending:
                self._ending.wait(LEAST)
        with suppress(LedgerUnreachable), self._home.ctx.ledger.write() as tx:
            nodes.leave(tx, self._name)

    def _safely(self, what: str, step: Any) -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001  # what is told of the work must never end it
            # Once, until it works again: a database that is away is told by the work itself.
            if what not in self._complained:
                self._complained.add(what)
                logs.get().warning(what, **logs.describe(error))
        else:
            self._complained.discard(what)

    def _serve(self) -> None:
        if self._exporter is not None or self._address is None or self._ending.is_set():
            return
        from retention.watch.exporter import Exporter

        self._exporter = Exporter.start(self._address, lambda: self._home, self.health)
        host, port = self._exporter.address
        logs.get().info("metrics", host=host, port=port)

    def _beat(self) -> None:
        home, now = self._home, self._home.ctx.clock.now()
        began = time.perf_counter()
        with home.ctx.ledger.write() as tx:
            nodes.seen(tx, self._name, self._role, self._started, now, self._facts)
            nodes.forget(tx, now)
        took = time.perf_counter() - began
        self._facts = {"write_seconds": round(took, 4), "tick_ok": self._ok}

    def _send_ping(self) -> None:
        if self._ping is not None and self._good:
            self._good = False
            self._ping.good(self._home.ctx.clock.now())

    def _tell(self) -> None:
        if self._teller.ledger is not self._home.ctx.ledger:
            # The process opened its home anew.
            self._teller = _teller(self._home)
        self._teller.round()


def channels(settings: Settings) -> dict[str, Sender]:
    """The ways to people that the settings name. Raises UsageError."""
    found = {"mail": Mail.of(settings), "webhook": Webhook.of(settings)}
    return {name: sender for name, sender in found.items() if sender is not None}


def _teller(home: Home) -> Teller:
    settings = home.settings
    return Teller(
        ledger=home.ctx.ledger,
        clock=home.ctx.clock,
        owner=home.ctx.owner,
        channels=channels(settings),
        origin=settings.origin,
        zone=home.in_force.bundle.organisation.timezone,
        pace=Pace(
            settle=timedelta(seconds=settings.alarm_settle_seconds),
            remind=timedelta(hours=settings.alarm_remind_hours),
        ),
    )


def _need_prometheus() -> None:
    try:
        import prometheus_client  # noqa: F401  # only whether it is there
    except ImportError:
        raise UsageError(
            "metrics_address is set, but prometheus-client is not installed",
            hint="pip install 'retention[watch]', or unset it",
            code="setting",
        ) from None
