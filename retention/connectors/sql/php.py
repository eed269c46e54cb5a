"""Values as PHP serialises them: nulls, booleans, numbers, texts and arrays; nothing else.

PHP's own `unserialize` runs code of the classes that a text names. Here an object, a reference or
anything else that is no plain value makes the whole text unreadable, and so does a length that
does not fit, a byte too many, too deep a nesting or too many items.
"""

from __future__ import annotations

import re
from typing import TypeAlias

PhpValue: TypeAlias = "str | int | float | bool | dict[str | int, PhpValue] | None"

LARGEST = 4 * 1024 * 1024
"""Bytes of a whole text."""
DEEPEST = 32
MOST = 20_000
"""Items of all arrays together."""

_NUMBER = re.compile(rb"-?\d{1,20}")
_FLOAT = re.compile(rb"-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|-?INF|NAN")
_LENGTH = re.compile(rb"(?:0|[1-9]\d{0,9})")
_LIKELY = re.compile(r"\s*(?:N;|[bid]:[0-9.E+-]+;|s:\d+:.*\";|[aOECS]:\d+:.*[;}])\s*", re.DOTALL)


class Unreadable(Exception):
    """No plain serialised value. Carries nothing of it."""


def looks_serialised(text: str) -> bool:
    """Whether WordPress would take a text for one; `loads` says whether it is.

    What a person types that looks like it, WordPress serialises once more: so a text that looks
    like it and cannot be read was not written by anybody who typed it into a form.
    """
    return _LIKELY.fullmatch(text) is not None


def loads(text: str | bytes) -> PhpValue:
    """The value that a serialised text stands for; arrays keep their order. Raises Unreadable.

    Lengths count bytes of UTF-8. Bytes that are no UTF-8 come back as surrogates.
    """
    raw = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else bytes(text)
    if len(raw) > LARGEST:
        raise Unreadable
    reader = _Reader(raw)
    value = reader.value(0)
    if reader.at != len(raw):
        raise Unreadable
    return value


def dumps(value: PhpValue) -> str:
    """The value as PHP would serialise it."""
    match value:
        case None:
            return "N;"
        case bool():
            return f"b:{int(value)};"
        case int():
            return f"i:{value};"
        case float():
            return f"d:{value!r};"
        case str():
            return f's:{len(value.encode("utf-8", "surrogateescape"))}:"{value}";'
        case dict():
            items = "".join(f"{dumps(key)}{dumps(item)}" for key, item in value.items())
            return f"a:{len(value)}:{{{items}}}"


class _Reader:
    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.at = 0
        self.items = 0

    def value(self, depth: int) -> PhpValue:
        kind = self.raw[self.at : self.at + 2]
        self.at += 2
        match kind:
            case b"N;":
                return None
            case b"b:":
                return self._until(b";", re.compile(rb"[01]")) == b"1"
            case b"i:":
                return int(self._until(b";", _NUMBER))
            case b"d:":
                return float(self._until(b";", _FLOAT))
            case b"s:":
                return self._string()
            case b"a:":
                return self._array(depth)
            case _:
                raise Unreadable

    def _until(self, end: bytes, form: re.Pattern[bytes]) -> bytes:
        found = form.match(self.raw, self.at)
        if found is None or self.raw[found.end() : found.end() + 1] != end:
            raise Unreadable
        self.at = found.end() + 1
        return found.group()

    def _string(self) -> str:
        length = int(self._until(b":", _LENGTH))
        start, end = self.at + 1, self.at + 1 + length
        if self.raw[self.at : start] != b'"' or self.raw[end : end + 2] != b'";':
            raise Unreadable
        self.at = end + 2
        return self.raw[start:end].decode("utf-8", "surrogateescape")

    def _array(self, depth: int) -> dict[str | int, PhpValue]:
        count = int(self._until(b":", _LENGTH))
        self.items += count
        if depth >= DEEPEST or self.items > MOST or self.raw[self.at : self.at + 1] != b"{":
            raise Unreadable
        self.at += 1
        found: dict[str | int, PhpValue] = {}
        for _ in range(count):
            key = self.value(DEEPEST)
            if isinstance(key, bool) or not isinstance(key, str | int) or key in found:
                raise Unreadable
            found[key] = self.value(depth + 1)
        if self.raw[self.at : self.at + 1] != b"}":
            raise Unreadable
        self.at += 1
        return found
