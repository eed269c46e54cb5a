"""Following a log's lines in order: each line's form, and the root at each signed size.

Used alike for an exported folder and for the ledger. Memory is flat; problems are sentences that
begin with their place and never quote a value from a line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from retention.audit.entries import MAX_LINE, faults, grammar, type_of
from retention.audit.tree import Frontier, leaf_hashes

MOST_PROBLEMS = 100
MOST_TYPE = 32


class Problems:
    """What was found, each once, the first hundred in full."""

    def __init__(self) -> None:
        self._found: dict[str, None] = {}
        self._more = 0

    def add(self, place: str, what: str) -> None:
        """One problem: where, and what."""
        if len(self._found) < MOST_PROBLEMS:
            self._found[f"{place}: {what}"] = None
        else:
            self._more += 1

    def __bool__(self) -> bool:
        return bool(self._found)

    def sentences(self) -> list[str]:
        """All of them, in the order found."""
        return [*self._found, *([f"and {self._more} more"] if self._more else [])]


@dataclass(frozen=True, order=True)
class Target:
    """A root that somebody signed for a size, and where that stands."""

    size: int
    root: bytes
    place: str


class Trail:
    """Grows a tree from lines and compares its root with each target as its size is reached."""

    def __init__(self, targets: Iterable[Target], start: Frontier, problems: Problems) -> None:
        self.frontier = start.copy()
        self._problems = problems
        self._sound = start.size
        self._targets = sorted(t for t in targets if t.size >= start.size)[::-1]
        self._compare()

    def feed(self, lines: Sequence[bytes]) -> None:
        """The next lines, without their newlines."""
        leaves = leaf_hashes(lines)
        done = 0
        while done < len(leaves):
            take = len(leaves) - done
            if self._targets:
                take = min(take, self._targets[-1].size - self.frontier.size)
            self.frontier.extend(leaves[done : done + take])
            done += take
            self._compare()

    def finish(self) -> None:
        """No more lines: whatever target is left was signed for more than there is."""
        for target in reversed(self._targets):
            self._problems.add(
                target.place,
                f"signed for {target.size} entries, but only {self.frontier.size} are there: "
                "the log was shortened",
            )

    def _compare(self) -> None:
        while self._targets and self._targets[-1].size == self.frontier.size:
            target = self._targets.pop()
            if target.root == self.frontier.root():
                self._sound = target.size
            else:
                self._problems.add(
                    target.place,
                    f"entries {self._sound} to {max(target.size - 1, 0)} do not give the root that "
                    f"was signed for {target.size} entries: the log was changed or is another one",
                )


class LineCheck:
    """Checks lines against the table of entries: form, order, and where a log begins and ends."""

    def __init__(self, log: str, place: Callable[[int], str], problems: Problems) -> None:
        self.count = 0
        self.first: dict[str, Any] | None = None
        self.closing: dict[str, Any] | None = None
        self.dropped: list[tuple[Any, ...]] = []
        self._log = log
        self._place = place
        self._problems = problems
        self._expected = 0

    def feed(self, lines: Sequence[bytes]) -> None:
        """The next lines, without their newlines."""
        for line in lines:
            # "type" stands near the end; where this finds another text, the pattern fails.
            start = line.rfind(b',"type":"') + 9
            name = line[start : line.find(b'"', start)]
            pattern = _PLAIN.get(name) or _pattern(name)
            match = pattern.fullmatch(line) if pattern else None
            if (
                match is None
                or int(match[1]) != self._expected
                or len(line) > MAX_LINE
                or not line.isascii()
                or not self.count
                or self.closing is not None
            ):
                self._look_closely(line)
            self.count += 1
            self._expected += 1

    def _look_closely(self, line: bytes) -> None:
        fields = self._parse(line)
        if fields is None:
            return
        seq, kind = fields["seq"], fields["type"]
        if seq != self._expected:
            self._say(f"has seq {seq} where {self._expected} is due")
            self._expected = seq
        if self.count == 0:
            self.first = fields
            if kind != "log.opened" or fields.get("log") != self._log:
                self._say("a log begins with log.opened and its own name")
        elif kind == "log.opened":
            self._say("log.opened in the middle of a log")
        if self.closing is not None:
            self._say("an entry after log.closed")
        if kind == "log.closed":
            self.closing = fields
        if kind == "log.dropped":
            self.dropped.append((fields["log"], fields["size"], fields["root"]))

    def _parse(self, line: bytes) -> dict[str, Any] | None:
        """The line's fields where it is an entry; else says why it is none."""
        if len(line) > MAX_LINE:
            self._say(f"longer than {MAX_LINE} bytes")
            return None
        try:
            fields = json.loads(line.decode("utf-8"))
            again = json.dumps(fields, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        except (ValueError, RecursionError):
            self._say("not JSON in UTF-8")
            return None
        if not isinstance(fields, dict):
            self._say("not a JSON object")
            return None
        pattern = grammar(fields["type"]) if isinstance(fields.get("type"), str) else None
        if pattern is None or pattern.fullmatch(line) is None:
            self._say("; ".join(faults(fields)))
            return None
        if again.encode("utf-8") != line:
            self._say("not in the canonical form of RFC 8785")
            return None
        return fields

    def _say(self, what: str) -> None:
        self._problems.add(self._place(self.count), what)


_PLAIN: dict[bytes, re.Pattern[bytes]] = {}
"""Patterns by type, for the types that a pattern checks completely."""


def _pattern(name: bytes) -> re.Pattern[bytes] | None:
    """The pattern of a type; None for those whose lines must be looked at closely: unknown ones,
    those that say where a log begins or ends, and those with counts, whose order no pattern sees.
    """
    if not name.isascii() or len(name) > MOST_TYPE:
        return None
    text = name.decode("ascii")
    row, pattern = type_of(text), grammar(text)
    if row is None or pattern is None or text.startswith("log."):
        return None
    if "counts" in (*row.required, *row.optional):
        return None
    if len(_PLAIN) < 256:
        _PLAIN[name] = pattern
    return pattern
