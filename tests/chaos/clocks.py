"""What time the processes of a world believe it is: the machine's time, shifted.

libfaketime reads a shift from a file, one for each process, so that a clock can be stepped while
its process runs. Wall clocks only: the monotonic clock stays the machine's, as on a real machine
whose clock is set.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

PRELOAD = Path(__file__).parent / "preload"
_LIBRARIES = ("/usr/lib", "/usr/local/lib", "/opt/homebrew/lib", "/usr/local/opt", "/lib")


class ClockMissingError(RuntimeError):
    """libfaketime is not installed."""


def library() -> Path:
    """libfaketime's shared library. Raises ClockMissingError."""
    name = "libfaketime.1.dylib" if sys.platform == "darwin" else "libfaketime.so.1"
    for root in map(Path, _LIBRARIES):
        for pattern in (f"faketime/{name}", f"*/faketime/{name}", f"libfaketime/lib/*/{name}"):
            for found in sorted(root.glob(pattern)):
                return found
    raise ClockMissingError("libfaketime is not installed; run tests/install-servers")


class Clocks:
    """Clocks by name. `everybody` moves all of them: time passes; `step` moves one: it is wrong."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._library = library()
        self._common = 0.0
        self._own: dict[str, float] = {}

    def environment(self, name: str) -> dict[str, str]:
        """Variables that put a process under the clock of this name."""
        self._own.setdefault(name, 0.0)
        self._write(name)
        loader = "DYLD_INSERT_LIBRARIES" if sys.platform == "darwin" else "LD_PRELOAD"
        return {
            loader: str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._folder / name),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def now(self) -> datetime:
        """The time that is right in this world."""
        return datetime.now(UTC) + timedelta(seconds=self._common)

    def everybody(self, seconds: float) -> None:
        """Time passes, for all alike."""
        self._common += seconds
        for name in self._own:
            self._write(name)

    def step(self, name: str, seconds: float) -> None:
        """One clock is wrong by so much; zero puts it right."""
        self._own[name] = seconds
        self._write(name)

    def to_next_minute(self, lead: float) -> float:
        """Let time pass until `lead` seconds before the next full minute. Returns how much."""
        now = self.now()
        left = 60 - now.second - now.microsecond / 1e6
        skipped = max(0.0, left - lead)
        self.everybody(skipped)
        return skipped

    def _write(self, name: str) -> None:
        # A reader must never see half a number: it would fall back to the machine's time.
        draft = self._folder / f".{name}"
        draft.write_text(f"{self._common + self._own[name]:+.3f}\n", encoding="ascii")
        draft.replace(self._folder / name)


_SHARED = Path("/dev/shm")


def forget(pid: int) -> None:
    """Remove what libfaketime leaves in shared memory when its process is killed."""
    for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
        with suppress(OSError):
            (_SHARED / name).unlink(missing_ok=True)


def sweep() -> None:
    """The same for all that are gone, such as children of those that were killed."""
    for left in _SHARED.glob("faketime_shm_*"):
        number = left.name.rpartition("_")[2]
        if number.isdecimal() and not Path(f"/proc/{number}").exists():
            forget(int(number))
