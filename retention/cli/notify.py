"""Telling systemd how the service is (sd_notify): ready, alive, reloading, stopping."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from contextlib import suppress


class Notifier:
    """Sends datagrams to the socket that systemd named; silent where it named none."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._path = environment.get("NOTIFY_SOCKET", "")

    def ready(self) -> None:
        """Work begins, or goes on after a reload."""
        self._send("READY=1")

    def alive(self) -> None:
        """For units with WatchdogSec."""
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """`ready` must follow."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now}")

    def stopping(self) -> None:
        """The last batch is done."""
        self._send("STOPPING=1")

    def _send(self, state: str) -> None:
        if not self._path:
            return
        # A leading "@" stands for the NUL of an abstract socket.
        address = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            # A manager that does not read must not hold up the work.
            channel.settimeout(1)
            channel.sendto(state.encode(), address)
