"""What is wrong with policy files, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

Path = tuple[str | int, ...]
"""Where something stands in the merged files, e.g. `("policies", "name", "then")`."""


class Severity(StrEnum):
    """An error keeps its policy from running; a warning asks; an info tells."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Place(NamedTuple):
    """A point in a file; line and column count from 1, 0 where only the file is known."""

    file: str
    line: int
    col: int


_NOWHERE = Place("", 0, 0)


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. `message` holds no value of a secret; `path` says what it is about."""

    file: str
    line: int
    col: int
    severity: Severity
    code: str
    message: str
    hint: str = ""
    path: Path = ()

    @property
    def policy(self) -> str | None:
        """The policy it is about, where it is about one."""
        return str(self.path[1]) if len(self.path) > 1 and self.path[0] == "policies" else None

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.file}:{self.line}:{self.col}: {self.message} [{self.code}]{hint}"

    def to_json(self) -> dict[str, Any]:
        """As `validate --format json` prints it."""
        return {
            "file": self.file,
            "line": self.line,
            "col": self.col,
            "severity": str(self.severity),
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "path": list(self.path),
        }


@dataclass(frozen=True, slots=True)
class Positions:
    """Where every key and every value of the merged files stands."""

    keys: Mapping[Path, Place] = field(default_factory=dict)
    values: Mapping[Path, Place] = field(default_factory=dict)
    nowhere: Place = _NOWHERE
    """The folder, for what stands in no file."""

    def key(self, path: Path) -> Place:
        """The key that `path` ends with, or the nearest thing around it that stands in a file."""
        return next((self.keys[p] for p in _outwards(path) if p in self.keys), self.nowhere)

    def value(self, path: Path) -> Place:
        """The value at `path`, or the nearest key around it that stands in a file.

        A list of one may be written as its only member: then that is the value.
        """
        short = self.values.get(path[:-1]) if path and isinstance(path[-1], int) else None
        return self.values.get(path) or short or self.key(path)

    def __getitem__(self, path: Path) -> Place:
        return self.key(path)


def _outwards(path: Path) -> Iterator[Path]:
    for end in range(len(path), 0, -1):
        yield path[:end]


def order(finding: Finding) -> tuple[str, int, int, str, str]:
    """Sort key: as one reads the files."""
    return (finding.file, finding.line, finding.col, finding.code, finding.message)
