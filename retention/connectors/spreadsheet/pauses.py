"""Python's collector of cycles, held off while a great many small things are made.

Each look of it goes through everything that is alive. Reading rows makes no cycles, so it would
look in vain, ten times a second.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterable, Iterator
from typing import TypeVar

_T = TypeVar("_T")


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """No cycles are looked for inside; afterwards it is as it was."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def steadily(items: Iterable[_T]) -> Iterator[_T]:
    """The items, each made without looking for cycles; whoever takes them is not held off."""
    left = iter(items)
    while True:
        with uncollected():
            try:
                item = next(left)
            except StopIteration:
                return
        yield item
