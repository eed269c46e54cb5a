"""What every step of a run is given: the ledger, the log, a clock and a way to open systems."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from retention.audit.log import AuditLog
from retention.clock import Clock
from retention.connectors.base import Connector
from retention.ledger.store import Ledger
from retention.policy.model import Bundle
from retention.subjects.keys import SubjectHasher

Open = Callable[[Bundle, str], Connector]
"""Opens one new session with a system of a bundle, by the system's name."""


def process_name() -> str:
    """Who holds a lease: host, process and a random part, so that a reused pid is another owner."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class Pace:
    """How a run is paced; see the settings of the same names."""

    batch_records: int = 500
    batch_seconds: float = 2.0
    lease: timedelta = timedelta(seconds=30)
    retry_window: timedelta = timedelta(minutes=60)
    again: timedelta = timedelta(days=1)
    links_fresh: timedelta = timedelta(minutes=10)
    hold_grace: timedelta = timedelta(0)
    slice: timedelta = timedelta(seconds=60)
    shards: int = 1
    shard_records: int = 50_000
    system_workers: int = 4


@dataclass(frozen=True, slots=True)
class Context:
    """Everything outside that a run touches. Time comes from `clock` only."""

    ledger: Ledger
    log: AuditLog
    hasher: SubjectHasher
    clock: Clock
    open: Open
    folder: Path
    pace: Pace = Pace()
    actor: str = "worker"
    owner: str = field(default_factory=process_name)
