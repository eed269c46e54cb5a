"""Which files a location means: globs over paths below the root.

`*` and `?` stand for characters within one name, `**` as a whole step for any number of folders.
A wildcard never stands for a leading dot, so hidden files and folders are meant only where the
glob writes the dot; in what is left out it does, so that `cache/**` leaves out all of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from retention.connectors.files.names import is_never_a_record, is_rotated

ANY_FOLDERS = "**"
Steps = tuple[str, ...]
Places = tuple[frozenset[int], ...]
"""For each glob, the steps that may come next below one folder."""


def checked_glob(glob: str) -> str:
    """The glob in one form. Raises ValueError for what leads out of the root or means nothing."""
    if "\0" in glob or "\n" in glob:
        raise ValueError("a glob holds no line break and no NUL")
    if glob.startswith(("/", "~")):
        raise ValueError("a glob starts below the system's `path`, not at / or ~")
    steps = glob.split("/")
    if any(step in ("", ".", "..") for step in steps):
        raise ValueError("a glob has no empty step, no `.` and no `..`")
    if any(ANY_FOLDERS in step and step != ANY_FOLDERS for step in steps):
        raise ValueError("`**` stands alone between slashes")
    return f"{glob}/*" if steps[-1] == ANY_FOLDERS else glob


@cache
def _step(step: str) -> re.Pattern[str]:
    """One step of a glob as an expression over one name."""
    parts = {"*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(parts.get(char) or re.escape(char) for char in step), re.DOTALL)


def _fits(step: str, name: str, *, hidden: bool) -> bool:
    if name.startswith(".") and not hidden and not step.startswith("."):
        return False
    return step == "*" or _step(step).fullmatch(name) is not None


def _closed(steps: Steps, places: set[int]) -> frozenset[int]:
    """`**` may also stand for no folder at all."""
    for place in sorted(places):
        at = place
        while at < len(steps) and steps[at] == ANY_FOLDERS:
            at += 1
            places.add(at)
    return frozenset(places)


@dataclass(frozen=True)
class Selection:
    """The files that a location means. Two that are equal mean the same files.

    `logs`: of them, only those with a name that rotation makes.
    """

    globs: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    logs: bool = False

    @property
    def name(self) -> str:
        """One line that stands for this selection; from the policy file, so never personal."""
        without = f" without {' '.join(sorted(self.exclude))}" if self.exclude else ""
        return f"{' '.join(sorted(set(self.globs)))}{without}{' (rotated)' if self.logs else ''}"

    @cached_property
    def _wanted(self) -> tuple[Steps, ...]:
        return tuple(tuple(glob.split("/")) for glob in self.globs)

    @cached_property
    def _unwanted(self) -> tuple[Steps, ...]:
        return tuple(tuple(glob.split("/")) for glob in self.exclude)

    @cached_property
    def _all(self) -> tuple[Steps, ...]:
        return self._wanted + self._unwanted

    @cached_property
    def bases(self) -> tuple[Steps, ...]:
        """The folders that globs name literally, those within others left out."""
        found = {_base(steps) for steps in self._wanted}
        return tuple(sorted(b for b in found if not any(b[:n] in found for n in range(len(b)))))

    @property
    def patterned(self) -> bool:
        """Whether folders are named by wildcard, so that a renamed one may come in."""
        return any("*" in step or "?" in step for steps in self._wanted for step in steps[:-1])

    @cached_property
    def start(self) -> Places:
        """Where every glob begins: at the root."""
        return tuple(_closed(steps, {0}) for steps in self._all)

    def below(self, places: Places, folder: str) -> Places | None:
        """One folder deeper; None where nothing below it can be meant."""
        count = len(self._wanted)
        deeper = tuple(
            _deeper(steps, places[n], folder, hidden=n >= count)
            for n, steps in enumerate(self._all)
        )
        if not any(deeper[:count]):
            return None
        if any(_all_below(s, at) for s, at in zip(self._unwanted, deeper[count:], strict=True)):
            return None
        return deeper

    def means(self, places: Places, name: str) -> bool:
        """Whether a file of that name, in a folder reached at `places`, is meant."""
        if is_never_a_record(name) or (self.logs and not is_rotated(name)):
            return False
        count = len(self._wanted)
        return _one(self._wanted, places[:count], name, hidden=False) and not _one(
            self._unwanted, places[count:], name, hidden=True
        )

    def means_path(self, steps: Sequence[str]) -> bool:
        """Whether the file at this path is meant."""
        places = self.start
        for folder in steps[:-1]:
            if (deeper := self.below(places, folder)) is None:
                return False
            places = deeper
        return self.means(places, steps[-1])


def _base(steps: Steps) -> Steps:
    """The leading folders without a wildcard."""
    literal = 0
    while literal < len(steps) - 1 and not set("*?") & set(steps[literal]):
        literal += 1
    return steps[:literal]


def _deeper(steps: Steps, places: frozenset[int], folder: str, *, hidden: bool) -> frozenset[int]:
    found: set[int] = set()
    for at in places:
        if at >= len(steps) - 1:
            continue
        if steps[at] == ANY_FOLDERS:
            if hidden or not folder.startswith("."):
                found.add(at)
        elif _fits(steps[at], folder, hidden=hidden):
            found.add(at + 1)
    return _closed(steps, found)


def _one(
    globs: Sequence[Steps], places: Sequence[frozenset[int]], name: str, *, hidden: bool
) -> bool:
    return any(
        len(steps) - 1 in at and _fits(steps[-1], name, hidden=hidden)
        for steps, at in zip(globs, places, strict=True)
    )


def _all_below(steps: Steps, places: frozenset[int]) -> bool:
    """Whether this glob ends in `**/*` and has come to it: nothing below is left over."""
    return steps[-2:] == (ANY_FOLDERS, "*") and len(steps) - 2 in places
