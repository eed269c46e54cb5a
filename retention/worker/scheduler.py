"""The scheduler as Celery's beat knows one: `celery -A retention.worker.app beat`.

It has no schedule file and no entries: what is due, and since when, stands in the ledger. So any
number of beats is harmless, and one that was away for a week makes up for it at its first tick.
"""

from __future__ import annotations

from typing import Any

from celery import beat

from retention.errors import LedgerMoved
from retention.worker.names import WAKE
from retention.worker.ringing import Ringer
from retention.worker.ticking import LOOK, Ticker


class Scheduler(beat.Scheduler):  # type: ignore[misc]  # Celery has no types
    """Ticks the ledger instead of a schedule."""

    max_interval = LOOK

    def __init__(self, app: Any, **options: Any) -> None:
        self._ringer: Ringer | None = None
        self._ticker: Ticker | None = None
        super().__init__(app, **options)

    def setup_schedule(self) -> None:
        """Called where it is to tick, and not where it is only shown."""
        settings = self.app.retention_settings
        if settings.broker_url is not None:
            self._ringer = Ringer(self.app)
        self._ticker = Ticker(settings, self._ringer or (lambda _waiting: None))
        self._ticker.begin()

    def tick(self, *_: Any, **__: Any) -> float:
        """One round; the seconds until the next."""
        if self._ticker is None:
            return LOOK
        try:
            return self._ticker.round()
        except LedgerMoved as moved:
            # Beat ends with 0 on SystemExit; an error is what its supervisor restarts it for.
            raise RuntimeError(moved.message) from None

    def close(self) -> None:
        """At the end. Twice, where beat is ended by a signal."""
        ticker, self._ticker = self._ticker, None
        ringer, self._ringer = self._ringer, None
        if ticker is not None:
            ticker.end()
        if ringer is not None:
            ringer.close()
        super().close()

    @property
    def info(self) -> str:
        """A line of beat's banner."""
        return f"    . what is due stands in the ledger; sends {WAKE}"
