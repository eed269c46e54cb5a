"""One YAML file as plain data with the place of every key and value.

YAML 1.2 core schema and nothing else: `NO`, `off`, `12-31` and `2025-06-30` are text, no tag
makes an object, keys are always text. Limits on size, depth and aliases keep a hostile file from
costing more than its size; a key that stands twice is an error, never the last one wins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StringMark, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from retention.policy.findings import Path

LARGEST_FILE = 1 << 20
"""Bytes."""
DEEPEST = 40
LARGEST_TREE = 200_000
"""Nodes of a file after its aliases are followed."""
_TOO_MANY = f"more than {LARGEST_TREE} values, aliases followed"

_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+")
_RADIX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LONGEST_NUMBER = 400


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a file that is not a policy question yet: syntax, limits, a key twice."""

    code: str
    message: str
    line: int
    col: int
    hint: str = ""
    path: Path = ()


@dataclass(slots=True)
class Node:
    """A scalar, list or mapping and where it starts (from 1)."""

    value: Any
    """A scalar; a list of nodes; or a dict of text to (key place, node)."""
    line: int
    col: int
    size: int = 1
    """Nodes in it, aliases followed."""


@dataclass(slots=True)
class Document:
    """What one file says: every YAML document in it, and what is wrong with it."""

    roots: list[Node] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def plain(node: Node) -> Any:
    """The node as plain Python data."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, (_, child) in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


class _Stop(Exception):
    """Reading cannot go on."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.code)
        self.problem = problem


def read(text: str) -> Document:
    """Read one file's text. Never raises for what the text says: problems are in the result."""
    if len(text.encode("utf-8", "surrogatepass")) > LARGEST_FILE:
        problem = Problem("too-large", f"the file is larger than {LARGEST_FILE // 1024} KiB", 1, 1)
        return Document(problems=[problem])
    reader = _Reader()
    try:
        reader.run(YAML(typ="safe", pure=True).parse(text))
    except _Stop as stop:
        reader.document.problems.append(stop.problem)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reader.document.problems.append(_syntax(error.problem or error.context, mark))
    except YAMLError as error:
        # A reader error: a character that YAML does not allow. Its text shows the character.
        mark = getattr(error, "position", 0)
        line = text.count("\n", 0, mark) + 1
        reader.document.problems.append(
            Problem("yaml", "a character that YAML does not allow", line, 1)
        )
    if any(p.code in FATAL for p in reader.document.problems):
        reader.document.roots = []
    return reader.document


FATAL = frozenset({"yaml", "too-large", "too-deep", "alias", "tag"})
"""After these nothing of the file is used."""


def _syntax(problem: str | None, mark: StringMark | None) -> Problem:
    # Its own words name characters and tokens, never the text around them.
    said = problem or "this is no YAML"
    hint = "put the text in quotes" if "mapping values are not allowed" in said else ""
    if "'\\t'" in said:
        hint = "indent with spaces, never with tabs"
    if mark is None:
        return Problem("yaml", said, 1, 1, hint)
    return Problem("yaml", said, mark.line + 1, mark.column + 1, hint)


@dataclass(slots=True)
class _Open:
    """A list or mapping that is being read."""

    node: Node
    anchor: str | None
    path: Path
    key: tuple[str, int, int] | None = None


class _Reader:
    """Builds nodes from parser events with a stack of its own: depth costs no recursion."""

    def __init__(self) -> None:
        self.document = Document()
        self.stack: list[_Open] = []
        self.anchors: dict[str, Node | None] = {}

    def run(self, events: Iterator[Event]) -> None:
        for event in events:
            self._event(event)

    def _event(self, event: Event) -> None:
        match event:
            case DocumentStartEvent():
                self.anchors = {}
            case ScalarEvent():
                self._scalar(event)
            case MappingStartEvent() | SequenceStartEvent():
                self._open(event)
            case MappingEndEvent() | SequenceEndEvent():
                done = self.stack.pop()
                if done.anchor:
                    self.anchors[done.anchor] = done.node
                self._add(done.node)
            case AliasEvent():
                self._alias(event)

    def _open(self, event: MappingStartEvent | SequenceStartEvent) -> None:
        line, col = _at(event)
        mapping = isinstance(event, MappingStartEvent)
        if event.tag is not None and str(event.ctag) not in _PLAIN_TAGS:
            raise _Stop(_tag(line, col))
        if len(self.stack) >= DEEPEST:
            raise _Stop(Problem("too-deep", f"nested deeper than {DEEPEST} levels", line, col))
        if self._awaits_key():
            raise _Stop(Problem("yaml", "a key must be plain text", line, col))
        if event.anchor:
            self.anchors[event.anchor] = None
        node = Node({} if mapping else [], line, col)
        self.stack.append(_Open(node, event.anchor, self._path()))

    def _alias(self, event: AliasEvent) -> None:
        line, col = _at(event)
        node = self.anchors.get(event.anchor)
        if node is None:
            raise _Stop(Problem("alias", "this alias names nothing that is complete", line, col))
        if self._awaits_key():
            raise _Stop(Problem("alias", "an alias cannot be a key", line, col))
        self._add(node)

    def _scalar(self, event: ScalarEvent) -> None:
        line, col = _at(event)
        if event.tag is not None and str(event.ctag) not in _PLAIN_TAGS:
            raise _Stop(_tag(line, col))
        if self._awaits_key():
            self._key(event.value, line, col)
            return
        bare = event.implicit[0] and not event.style
        node = Node(_resolve(event.value) if bare else event.value, line, col)
        if event.anchor:
            self.anchors[event.anchor] = node
        self._add(node)

    def _key(self, key: str, line: int, col: int) -> None:
        top = self.stack[-1]
        if key == "<<":
            hint = "write the fields out"
            raise _Stop(Problem("yaml", "merge keys are not part of YAML 1.2", line, col, hint))
        top.key = (key, line, col)

    def _add(self, node: Node) -> None:
        if not self.stack:
            self.document.roots.append(node)
            return
        top = self.stack[-1]
        top.node.size += node.size
        if top.node.size > LARGEST_TREE:
            raise _Stop(Problem("alias", _TOO_MANY, top.node.line, top.node.col))
        if isinstance(top.node.value, list):
            top.node.value.append(node)
            return
        assert top.key is not None  # noqa: S101 - the parser never gives a value without its key
        key, line, col = top.key
        top.key = None
        if key in top.node.value:
            (first, _), _ = top.node.value[key]
            self.document.problems.append(
                Problem(
                    "duplicate-key",
                    f"`{key}` stands here twice; first on line {first}",
                    line,
                    col,
                    "remove one of them",
                    (*top.path, key),
                )
            )
            return
        top.node.value[key] = ((line, col), node)

    def _awaits_key(self) -> bool:
        return (
            bool(self.stack)
            and isinstance(self.stack[-1].node.value, dict)
            and self.stack[-1].key is None
        )

    def _path(self) -> Path:
        if not self.stack:
            return ()
        top = self.stack[-1]
        return (*top.path, top.key[0] if top.key else len(top.node.value))


_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "map", "seq"))


def _tag(line: int, col: int) -> Problem:
    return Problem("tag", "tags are not allowed", line, col, "remove the word that starts with `!`")


def _at(event: Event) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _resolve(text: str) -> Any:
    """A bare scalar by the YAML 1.2 core schema."""
    if _NULL.fullmatch(text):
        return None
    if text in _BOOL:
        return _BOOL[text]
    if len(text) <= _LONGEST_NUMBER:
        if _INT.fullmatch(text):
            return int(text)
        if _RADIX.fullmatch(text):
            return int(text, 0)
        if _FLOAT.fullmatch(text):
            return float(text)
    return text
