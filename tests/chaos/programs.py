"""Processes of the service: started, killed, stopped, and started again by a supervisor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.chaos import clocks
from tests.chaos.clocks import PRELOAD, Clocks
from tests.chaos.ledgers import children

# It reads a pipe that only our process holds open, and takes the processes along when we end.
_GUARD = """
groups=
while read -r word; do groups="$groups -$word"; done
[ -n "$groups" ] && kill -KILL -- $groups 2>/dev/null
:
"""
RESTART_SECONDS = 0.5
"""A supervisor waits so long before it starts a process again."""


class Guard:
    """No process of the service outlives the test, however the test ends."""

    def __init__(self) -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD], stdin=subprocess.PIPE, start_new_session=True
        )

    def watch(self, group: int) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(b"%d\n" % group)
        self._shell.stdin.flush()

    def close(self) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        self._shell.wait(timeout=20)


class Program:
    """One long-running command of `retention`, restarted under the same name."""

    def __init__(
        self,
        name: str,
        words: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        world_clocks: Clocks,
        guard: Guard,
    ) -> None:
        self.name = name
        self.role = words[0]
        self.words = tuple(words)
        self.log = folder / f"{name}.log"
        self.clocks = world_clocks
        self._guard = guard
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: set[int] = set()
        self._down_since = 0.0
        self._expected = False
        self.held_back = False
        """The supervisor leaves it down."""
        self.busy = False
        """A fault is at work on it."""
        self.exits: list[int] = []
        """Codes with which it ended by itself."""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it in a process group of its own."""
        self._expected = False
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "retention", *self.words],
                env={**self._environment, **self.clocks.environment(self.name)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._groups.add(self._process.pid)
        self._guard.watch(self._process.pid)

    def children(self) -> list[int]:
        """Processes that it started, such as those of a pool."""
        return children(self.pid)

    def kill(self) -> None:
        """SIGKILL, the main process only."""
        self._expected = True
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._reap()

    def kill_group(self) -> None:
        """SIGKILL, all of it, and what earlier lives have left behind."""
        self._expected = True
        self._signal(signal.SIGKILL)
        self._groups.clear()
        self._reap()

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, sig: signal.Signals) -> None:
        for group in list(self._groups):
            try:
                os.killpg(group, sig)
            except (ProcessLookupError, PermissionError):
                self._groups.discard(group)

    def end(self, seconds: float = 60) -> int | None:
        """SIGTERM; the exit code, or None where it had to be killed."""
        self._expected = True
        if self._process is None:
            return 0
        if self.alive:
            self.resume()
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=seconds)
        code = self._process.poll()
        self.kill_group()
        return code

    def tend(self) -> int | None:
        """Start it again where it is down. Returns the code where it just ended by itself."""
        if self._process is None or self.alive:
            return None
        ended = None
        if not self._down_since:
            self._down_since = time.monotonic()
            if not self._expected:
                ended = self._process.returncode
                self.exits.append(ended)
            self._reap()
        if not self.held_back and time.monotonic() - self._down_since > RESTART_SECONDS:
            self._down_since = 0.0
            self.start()
        return ended

    def _reap(self) -> None:
        assert self._process is not None
        self._process.wait(timeout=30)
        clocks.forget(self._process.pid)


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """The environment of every process of a world."""
    path = os.pathsep.join(filter(None, [str(PRELOAD), os.environ.get("PYTHONPATH")]))
    clean = {k: v for k, v in os.environ.items() if not k.startswith("RETENTION_")}
    return {**clean, **given, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
