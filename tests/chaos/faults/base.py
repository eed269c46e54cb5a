"""What every fault has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from tests.chaos.stage import Stage

Steps = Iterator[float]


class Fault:
    """`kills`: it sends SIGKILL. `alone`: no other fault may begin while it lasts.

    `touches`: faults that touch the same thing come one after the other.
    """

    name: ClassVar[str] = ""
    kills: ClassVar[bool] = False
    alone: ClassVar[bool] = False
    touches: ClassVar[str] = ""
    weight: ClassVar[int] = 1

    def strike(self, stage: Stage) -> Steps:
        """Begin, wait, end. Nothing yielded: there was nothing to hit."""
        raise NotImplementedError
