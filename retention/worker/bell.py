"""What the processes of one worker tell each other: pipes that are made before the first fork.

The main process of a prefork worker must not touch the ledger, because its children would inherit
the connection. So it rings, and whichever child is idle does what is to be done. For a pool of
threads the pipes lead from one thread to another.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from enum import Enum

from retention.run.context import process_name


class Word(Enum):
    """One ring, one byte; read by exactly one idle hand."""

    WORK = b"w"
    """There may be work: somebody idle should look."""
    SILENT = b"s"
    """Nothing comes through the queue: raise the alarm."""
    HEARD = b"h"
    """Something came through the queue: clear it."""


_WORDS = {word.value: word for word in Word}


class Bell:
    """Made in the main process; `in_child` once in every process that is forked from it.

    `name` says which node this is, in all its processes. `celery_name` is what Celery calls it.
    """

    def __init__(self, celery_name: str = "", *, concurrency: int = 1) -> None:
        self.name = process_name()
        self.celery_name = celery_name
        self.concurrency = concurrency
        self.main_pid = os.getpid()
        self._ring_r, self._ring_w = pipe()
        self._code_r, self._code_w = pipe()
        self._stop_r, self._stop_w = pipe()
        self._stopped = False

    @property
    def here(self) -> bool:
        """Whether this is the main process."""
        return os.getpid() == self.main_pid

    def in_child(self) -> None:
        """The end of the stop pipe belongs to the main process alone: its closing is the stop."""
        _close(self._stop_w)

    # --- ending ----------------------------------------------------------------------------

    def stop(self) -> None:
        """Every hand ends after its batch. In the main process; may be called in a handler."""
        if not self._stopped:
            self._stopped = True
            if self.here:
                _close(self._stop_w)

    def stopped(self) -> bool:
        """Whether to end; also when the main process died. Cheap: asked between batches."""
        if not self._stopped and _readable([self._stop_r], 0):
            self._stopped = True
        return self._stopped

    def give_up(self, code: int) -> None:
        """End the whole worker with this exit code, so that its supervisor starts it anew."""
        with suppress(BlockingIOError):
            os.write(self._code_w, bytes([code]))
        with suppress(ProcessLookupError):
            os.kill(self.main_pid, signal.SIGTERM)

    def given_up(self) -> int | None:
        """The exit code that somebody asked for."""
        byte = _read(self._code_r)
        return byte[0] if byte else None

    # --- ringing ---------------------------------------------------------------------------

    def ring(self, word: Word = Word.WORK) -> None:
        """Tell one idle hand. With hundreds of rings unheard, one more makes no difference."""
        with suppress(BlockingIOError):
            os.write(self._ring_w, word.value)

    def heard(self) -> Word | None:
        """What was rung, if anything; this hand has it now."""
        return _WORDS.get(_read(self._ring_r))

    def wait(self, own: int, seconds: float) -> None:
        """Until somebody rings, `own` becomes readable, the worker ends, or time is up."""
        if not self._stopped:
            _readable([self._stop_r, self._ring_r, own], seconds)


def pipe() -> tuple[int, int]:
    """Both ends never block."""
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends


def _readable(ends: list[int], seconds: float) -> bool:
    poll = select.poll()
    for end in ends:
        poll.register(end, select.POLLIN)
    return bool(poll.poll(max(0.0, seconds) * 1000))


def _read(end: int) -> bytes:
    try:
        return os.read(end, 1)
    except BlockingIOError:
        return b""


def _close(end: int) -> None:
    with suppress(OSError):
        os.close(end)
