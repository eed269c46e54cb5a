"""`retention worker` and `retention scheduler` where something is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from retention.cli import worker
from retention.errors import UsageError
from tests.integration.worker_room import CELERY, Room, until


def test_a_worker_needs_a_broker_and_a_scheduler_does_not(tmp_path: Path) -> None:
    """2 and what to do; the scheduler writes down what is owed, and the daemon's eyes see it."""
    room = Room(tmp_path, None, {"enquiries": ("web",)})
    said = room.run("worker", code=2)
    assert "RETENTION_BROKER_URL" in said
    assert "RETENTION_BROKER_URL" in room.run("worker", program=CELERY, code=1)
    with room.scheduler() as scheduler:
        until(lambda: room.ledger("SELECT * FROM schedule") != [], told=scheduler.said)
        room.owe()
        until(lambda: room.states() == {"enquiries": "pending"}, told=scheduler.said)
        assert "scheduler" in room.run("status")


def test_a_worker_of_a_system_that_does_not_exist_does_not_start(tmp_path: Path) -> None:
    """A misspelt name would be a worker that never works."""
    room = Room(tmp_path, "redis://127.0.0.1:1/0", {"enquiries": ("web",)})
    said = room.run("worker", "--queues", "wbe", code=2)
    assert "wbe" in said
    assert "web" in said


def test_without_the_extra_the_commands_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And not that a module is missing."""
    monkeypatch.setattr(worker, "find_spec", lambda _name: None)
    for command in (worker.worker, worker.scheduler):
        with pytest.raises(UsageError) as caught:
            command()
        assert "retention[worker]" in str(caught.value)
