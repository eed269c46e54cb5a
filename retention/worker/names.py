"""The names by which Celery's users meet us: queues after systems, keys after the origin."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from retention.policy.load import load
from retention.settings import Settings

RUNS = "retention.runs"
"""The queue of runs that touch several systems, or have not been looked at yet."""
WAKE = "retention.wake"
CANARY = "retention.canary"
_PREFIX = "retention."


def queue_of(system: str | None) -> str:
    """The queue of work on one system."""
    return RUNS if system is None else f"{_PREFIX}{system}"


def systems_of(queues: Iterable[str]) -> frozenset[str]:
    """The systems that a worker with these queues works on."""
    return frozenset(
        name.removeprefix(_PREFIX) for name in queues if name != RUNS and not canary(name)
    )


def canary_queue(node: str) -> str:
    """The queue through which a node writes to itself."""
    return f"{CANARY}.{node}"


def canary(queue: str) -> bool:
    """Whether a queue is such a one."""
    return queue.startswith(f"{CANARY}.")


def known_systems(settings: Settings) -> Collection[str]:
    """The systems that the policy files name now, as far as they can be read."""
    loaded = load(settings.policies.resolve())
    bundle = loaded.bundle or loaded.partial
    return sorted(bundle.systems) if bundle is not None else ()


def key_prefix(settings: Settings) -> str:
    """Before every key in Redis, so that several installations may share one."""
    return f"retention:{re.sub(r'[^A-Za-z0-9./-]', '_', settings.origin)}:"
