"""The two messages. Both are hints: lost, doubled or late, nothing depends on them."""

from __future__ import annotations

import os
from typing import Any

from retention.worker.hand import Crew
from retention.worker.names import CANARY, WAKE

_crew: tuple[int, Crew, bool] | None = None


def take_on(crew: Crew, *, wait: bool) -> None:
    """The hands of this process, who do what messages ask for. `wait`: a task shows their work."""
    global _crew  # noqa: PLW0603  # Celery's tasks are functions: what they work with is the process's
    _crew = (os.getpid(), crew, wait)
    crew.start()


def dismiss(seconds: float) -> None:
    """Every hand of this process ends after its batch; waits at most so long."""
    if _crew is not None and _crew[0] == os.getpid():
        _crew[1].end(seconds)


def wake(run_id: object) -> None:
    """A run may be free: look now. Never more than its number, never a result."""
    if isinstance(run_id, int) and _crew is not None and _crew[0] == os.getpid():
        _crew[1].wake(run_id, wait=_crew[2])


def canary() -> None:
    """Nothing: that it arrives is all it says; see canary.py."""


def register(app: Any, *, time_limit: float) -> None:
    """Make both known to a Celery application."""
    app.task(wake, name=WAKE, time_limit=time_limit, ignore_result=True)
    app.task(canary, name=CANARY, ignore_result=True)
