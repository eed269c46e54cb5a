"""Queues as Kombu knows them."""

from __future__ import annotations

from typing import Any

from kombu.entity import Exchange, Queue


def work_queue(name: str) -> Any:
    """A queue that workers share, bound to an exchange of its name."""
    return Queue(name, Exchange(name), routing_key=name)  # type: ignore[no-untyped-call]  # Kombu's


def own_queue(name: str) -> Any:
    """A queue that is written to directly: nobody need have declared it."""
    return Queue(name, Exchange(""), routing_key=name, no_declare=True)  # type: ignore[no-untyped-call]  # Kombu's
