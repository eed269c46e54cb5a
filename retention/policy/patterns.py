"""Which regular expressions a policy may use: short ones that cannot run away.

A backtracking matcher needs exponential time for nested repetition and for repeated
alternatives, and polynomial time for several open-ended repetitions in a row. Both are refused,
as are backreferences and look-arounds; the text that is searched is limited too.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from functools import lru_cache

LONGEST_PATTERN = 200
LONGEST_VALUE = 1_000
"""A longer value is not searched at all: the answer is unknown."""
OPEN_REPETITIONS = 2
_OPEN_WEIGHT = 60
_WORK = 8 * _OPEN_WEIGHT**OPEN_REPETITIONS
"""Ways to match that a pattern may have: a weight for each open-ended repetition, times choices.

With this bound a search of the longest value stays within a few seconds at its very worst.
"""

_REPETITION = re.compile(r"[*+?]|\{(\d*)(,?)(\d*)\}")


def pattern_problem(pattern: str) -> str | None:
    """Why this pattern may not be used, or None. The pattern itself is not repeated."""
    if not pattern:
        return "an empty pattern matches everything"
    if len(pattern) > LONGEST_PATTERN:
        return f"the pattern is longer than {LONGEST_PATTERN} characters"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            re.compile(pattern)
    except Warning:
        return "this expression is to mean something else in a later version of Python"
    except (re.error, RecursionError, OverflowError):
        return "this is no regular expression"
    return _Scan(pattern).problem()


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern, compiled once."""
    return re.compile(pattern)


@dataclass(slots=True)
class _Group:
    """A group that is open: its branches, and whether it repeats or branches inside."""

    branches: int = 1
    varies: bool = False


class _Scan:
    """One walk over a pattern that is known to compile."""

    def __init__(self, pattern: str) -> None:
        self.text = pattern
        self.at = 0
        self.open = 0
        self.choices = 1
        self.groups = [_Group()]

    def problem(self) -> str | None:
        found: str | None = None
        while found is None and self.at < len(self.text):
            found = self._step()
        self.choices *= self.groups[0].branches
        if found is None and self.open > OPEN_REPETITIONS:
            found = f"more than {OPEN_REPETITIONS} open-ended repetitions"
        if found is None and self.choices * _OPEN_WEIGHT**self.open > _WORK:
            found = "too many alternatives and optional parts in one pattern"
        return found

    def _step(self) -> str | None:
        char = self.text[self.at]
        self.at += 1
        if char == "\\":
            escaped = self.text[self.at]
            self.at += 1
            return (
                "backreferences are not allowed"
                if escaped in "123456789"
                else self._repeated(group=None)
            )
        if char == "[":
            self._skip_class()
            return self._repeated(group=None)
        if char == "(":
            return self._open_group()
        if char == ")":
            closed = self.groups.pop()
            self.choices *= closed.branches
            self.groups[-1].varies |= closed.varies
            return self._repeated(group=closed)
        if char == "|":
            self.groups[-1].branches += 1
            self.groups[-1].varies = True
            return None
        return self._repeated(group=None)

    def _open_group(self) -> str | None:
        self.groups.append(_Group())
        if not self.text.startswith("?", self.at):
            return None
        if self.text.startswith("?:", self.at):
            self.at += 2
            return None
        if flags := re.compile(r"\?[aimsux]+\)").match(self.text, self.at):
            self.groups.pop()
            self.at = flags.end()
            return None
        return "only plain groups, (?:…) and flags such as (?i) are allowed"

    def _skip_class(self) -> None:
        if self.text.startswith("^", self.at):
            self.at += 1
        self.at += 1
        if self.text[self.at - 1] == "\\":
            self.at += 1
        while self.text[self.at] != "]":
            self.at += 2 if self.text[self.at] == "\\" else 1
        self.at += 1

    def _repeated(self, *, group: _Group | None) -> str | None:
        """Weigh what follows the atom just read; `group` is set where that atom was a group."""
        found = _REPETITION.match(self.text, self.at)
        if found is None or found[0] in ("{}", "{,}"):
            return None
        self.at = found.end()
        if self.text[self.at : self.at + 1] in ("?", "+"):
            self.at += 1
        least, most = _bounds(found)
        if group is not None and group.varies and (most is None or most > 1):
            return "a group that repeats or branches inside must not repeat"
        if most is None:
            self.open += 1
        else:
            self.choices *= most - least + 1
        if most is None or most > least:
            self.groups[-1].varies = True
        return None


def _bounds(found: re.Match[str]) -> tuple[int, int | None]:
    """Least and most repetitions; None where there is no most."""
    simple: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
    if found[0] in simple:
        return simple[found[0]]
    least = int(found[1] or 0)
    if not found[2]:
        return least, least
    return least, int(found[3]) if found[3] else None
