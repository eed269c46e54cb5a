"""The dead-man signal: a URL that is fetched after good ticks. Its silence is the alarm."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Self

from pydantic import SecretStr

from retention.settings import Settings
from retention.watch import logs, outgoing
from retention.watch.channel import Refused

EVERY = timedelta(minutes=1)


@dataclass(slots=True)
class Ping:
    """The URL, which is secret, and when it was last fetched."""

    url: SecretStr
    _last: datetime | None = field(default=None)

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """As the settings say; None where they name no URL."""
        return cls(SecretStr(settings.ping_url)) if settings.ping_url else None

    def good(self, now: datetime) -> bool:
        """A good tick ended at `now`. Fetches at most once a minute; True where it was answered."""
        if self._last is not None and abs(now - self._last) < EVERY:
            return False
        self._last = now
        try:
            outgoing.request(self.url.get_secret_value())
        except Refused as refused:
            logs.get().warning("ping not answered", reason=refused.reason)
            return False
        return True
