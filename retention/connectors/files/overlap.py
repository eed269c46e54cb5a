"""Whether two locations can mean the same file.

A location's container is all that it means. Two locations that share some files and not others
could not both be obeyed: a minimum of the one would not protect what is read through the other.
So they are refused, unless they mean exactly the same; `where` then tells them apart.
"""

from __future__ import annotations

from collections import deque
from functools import cache
from typing import NamedTuple

from retention.connectors.files.globs import ANY_FOLDERS, Selection
from retention.errors import PermanentFailure

_MOST_STATES = 20_000


class _Token(NamedTuple):
    kind: str
    """`char`, `one`, `many`, `folders`."""
    char: str = ""


class _Glob(NamedTuple):
    tokens: tuple[_Token, ...]
    hidden: bool
    """Whether its wildcards stand for a leading dot too."""


_Spots = frozenset[tuple[int, bool]]
"""Tokens that may come next; True: in the middle of a name that `**` stands for."""


@cache
def may_share(one: Selection, other: Selection) -> bool:
    """Whether some path is meant by both. True where it would take too long to tell."""
    sides = [(_globs(s.globs, hidden=False), _globs(s.exclude, hidden=True)) for s in (one, other)]
    globs = [g for wanted, unwanted in sides for g in (*wanted, *unwanted)]
    parts = [len(part) for side in sides for part in side]
    letters = {t.char for g in globs for t in g.tokens if t.kind == "char"} | {"/", ".", "\0"}
    start = (tuple(_closed(g, {(0, False)}, start=True) for g in globs), True)
    seen, queue = {start}, deque([start])
    while queue:
        spots, fresh = queue.popleft()
        if _both(globs, spots, parts):
            return True
        for letter in letters:
            if letter == "/" and fresh:
                continue
            step = tuple(_step(g, s, letter, fresh) for g, s in zip(globs, spots, strict=True))
            after = (step, letter == "/")
            if after not in seen and _alive(step, parts):
                if len(seen) >= _MOST_STATES:
                    return True
                seen.add(after)
                queue.append(after)
    return False


def _globs(texts: tuple[str, ...], *, hidden: bool) -> list[_Glob]:
    return [_Glob(tuple(_tokens(text)), hidden) for text in texts]


def _tokens(text: str) -> list[_Token]:
    steps = text.split("/")
    out: list[_Token] = []
    for number, step in enumerate(steps):
        if step == ANY_FOLDERS:
            out.append(_Token("folders"))
            continue
        kinds = {"*": _Token("many"), "?": _Token("one")}
        out += [kinds.get(char) or _Token("char", char) for char in step]
        if number < len(steps) - 1:
            out.append(_Token("char", "/"))
    return out


def _closed(glob: _Glob, spots: set[tuple[int, bool]], *, start: bool) -> _Spots:
    """With what may also come next because something stands for nothing."""
    queue = list(spots)
    while queue:
        at, within = queue.pop()
        if at >= len(glob.tokens) or within:
            continue
        kind = glob.tokens[at].kind
        if kind == "many" or (kind == "folders" and start):
            following = (at + 1, False)
            if following not in spots:
                spots.add(following)
                queue.append(following)
    return frozenset(spots)


def _step(glob: _Glob, spots: _Spots, letter: str, fresh: bool) -> _Spots:
    found: set[tuple[int, bool]] = set()
    wild = letter != "/" and not (letter == "." and fresh and not glob.hidden)
    for at, within in spots:
        if at >= len(glob.tokens):
            continue
        kind, char = glob.tokens[at]
        if kind == "folders":
            if within and letter == "/":
                found.add((at, False))
            elif letter != "/" and (within or wild):
                found.add((at, True))
        elif kind == "char":
            if char == letter:
                found.add((at + 1, False))
        elif wild:
            found.add((at + 1 if kind == "one" else at, False))
    return _closed(glob, found, start=letter == "/")


def _alive(spots: tuple[_Spots, ...], parts: list[int]) -> bool:
    """Whether both sides' wanted globs may still come to an end."""
    first = spots[: parts[0]]
    second = spots[parts[0] + parts[1] :][: parts[2]]
    return any(first) and any(second)


def _both(globs: list[_Glob], spots: tuple[_Spots, ...], parts: list[int]) -> bool:
    ended = [(len(g.tokens), False) in s for g, s in zip(globs, spots, strict=True)]
    at = 0
    told: list[bool] = []
    for part in parts:
        told.append(any(ended[at : at + part]))
        at += part
    return told[0] and not told[1] and told[2] and not told[3]


class Known:
    """The locations that one session was asked about."""

    def __init__(self) -> None:
        self._selections: dict[str, Selection] = {}

    def add(self, name: str, selection: Selection) -> None:
        """Remember a location. Raises PermanentFailure where it overlaps another one."""
        self._selections[name] = selection
        self.refuse_overlap(name, selection)

    def refuse_overlap(self, name: str, selection: Selection) -> None:
        """Raises PermanentFailure."""
        for other, theirs in self._selections.items():
            if other != name and theirs != selection and may_share(selection, theirs):
                raise PermanentFailure(
                    f"`{name}` and `{other}` can mean the same file",
                    hint="`exclude` in one what the other means; or give both the same globs, and"
                    " tell them apart with `where`",
                    place=name,
                    code="overlap",
                )
