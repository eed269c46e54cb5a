"""What a way to people has to do, and how it says that it could not."""

from __future__ import annotations

from typing import Protocol

from retention.watch.message import Message


class Refused(Exception):
    """A message or request was not taken. `reason`: a class or a code, never a server's words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Sender(Protocol):
    """A channel to people."""

    def send(self, message: Message) -> None:
        """Deliver it, or raise Refused."""
