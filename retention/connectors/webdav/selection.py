"""Which folders a location means: each named one with all that is below it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from retention.errors import PermanentFailure

Steps = tuple[str, ...]


class Selection:
    """Folders by name or pattern. Raises PermanentFailure where a pattern is too deep."""

    def __init__(self, folders: Sequence[str], levels: int, place: str) -> None:
        self._items = [tuple(folder.split("/")) if folder else () for folder in folders]
        if any(len(item) > levels for item in self._items):
            raise PermanentFailure(
                f"a folder lies deeper than {levels} levels",
                hint="raise `levels` of the system, so that overlapping locations are noticed",
                place=place,
                code="levels",
            )
        self._steps = [tuple(_step(step) for step in item) for item in self._items]

    @property
    def roots(self) -> tuple[Steps, ...]:
        """Where to begin: folders that are named literally and must exist, none in another."""
        found = {_literal(item) for item in self._items}
        return tuple(sorted(r for r in found if not any(r[:n] in found for n in range(len(r)))))

    @property
    def patterned(self) -> bool:
        """Whether a folder that was renamed may come in."""
        return any(_literal(item) != item for item in self._items)

    def covers(self, steps: Steps) -> bool:
        """Whether files directly in this folder are meant."""
        return any(len(s) <= len(steps) and _fit(s, steps) for s in self._steps)

    def leads(self, steps: Steps) -> bool:
        """Whether something in or below this folder may be meant."""
        return any(_fit(s, steps) for s in self._steps)


def _literal(item: Steps) -> Steps:
    for number, step in enumerate(item):
        if "*" in step or "?" in step:
            return item[:number]
    return item


def _step(step: str) -> re.Pattern[str]:
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(c) or re.escape(c) for c in step), re.DOTALL)


def _fit(wanted: Sequence[re.Pattern[str]], steps: Steps) -> bool:
    return all(w.fullmatch(step) for w, step in zip(wanted, steps, strict=False))
