"""What people order on the command line while the service works."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping

from tests.chaos.clocks import Clocks, forget

Done = Callable[[int, str], None]
"""Is given the exit code and what was printed."""


class Commands:
    """`retention …` by the clock that is right, at once or while all goes on."""

    def __init__(self, environment: Mapping[str, str], clocks: Clocks) -> None:
        self._environment = environment
        self._clocks = clocks
        self._under_way: list[tuple[subprocess.Popen[str], Done]] = []

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Give a command and wait for its end."""
        return subprocess.run(
            [sys.executable, "-m", "retention", *words],
            env={**self._environment, **self._clocks.environment("person")},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )

    def begin(self, done: Done, *words: str) -> None:
        """Give a command; its answer is taken by `hear`."""
        process = subprocess.Popen(
            [sys.executable, "-m", "retention", *words],
            env={**self._environment, **self._clocks.environment("person")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._under_way.append((process, done))

    def hear(self) -> None:
        """Take the answers that have come."""
        for command in list(self._under_way):
            process, done = command
            if process.poll() is not None:
                self._under_way.remove(command)
                done(process.returncode, process.communicate()[0])
                forget(process.pid)

    def wait(self, seconds: float = 120) -> None:
        """Until every command has been answered."""
        for process, _ in self._under_way:
            process.wait(timeout=seconds)
        self.hear()

    def drop(self) -> None:
        """Commands under way end, as their machine does."""
        for process, _ in self._under_way:
            process.kill()
            process.communicate()
        self._under_way.clear()
