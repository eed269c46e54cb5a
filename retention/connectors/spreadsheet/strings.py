"""The workbook's table of strings: most text of all sheets lies there, each once.

A string that no cell points to any more stays in the file, readable by anyone who unzips it.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator
from itertools import accumulate

from retention.connectors.spreadsheet.xmltext import ATTRIBUTES, odd, unescape

_PLAIN = re.compile(rb'<si><t(?: xml:space="preserve")?(?:/>|>([^<]*)</t>)</si>')
_COUNT = re.compile(rb'\scount="\d+"')


class SharedStrings:
    """Texts by index, held as one block of UTF-8 (a tenth of a list's memory)."""

    def __init__(self, text: bytes = b"", ends: array[int] | None = None) -> None:
        self.text = text
        self.ends = ends if ends is not None else array("Q", [0])
        """String i stands from `ends[i]` to `ends[i + 1]`."""

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, index: int) -> bytes:
        return self.text[self.ends[index] : self.ends[index + 1]]

    @classmethod
    def load(cls, chunks: Iterable[bytes], part: str) -> SharedStrings:
        """All strings of a part whose chunks have been guarded."""
        text, ends = bytearray(), array("Q", [0])
        for items, _ in _blocks(chunks, part):
            lengths = accumulate((len(item) for item in items), initial=len(text))
            next(lengths)
            ends.extend(lengths)
            text += b"".join(items)
        return cls(bytes(text), ends)


def emptied(
    chunks: Iterable[bytes], part: str, used: bytearray, references: int
) -> Iterator[bytes]:
    """The part again with every string emptied that no cell uses; indices stay what they were.

    `used[i]` is 1 where string i is used; `references` is the number of cells that use any.
    """
    index = 0
    for items, block in _blocks(chunks, part):
        if not items:
            yield _COUNT.sub(b' count="%d"' % references, block, count=1) if index == 0 else block
            continue
        if 0 not in used[index : index + len(items)]:
            yield block
        else:
            yield _empty(block, used, index)
        index += len(items)


def _empty(block: bytes, used: bytearray, index: int) -> bytes:
    prefix = _prefix(block)
    blank = b"<%bsi><%bt/></%bsi>" % (prefix, prefix, prefix)
    numbers = iter(range(index, len(used)))
    return _item(prefix).sub(lambda m: m[0] if used[next(numbers)] else blank, block)


def _blocks(chunks: Iterable[bytes], part: str) -> Iterator[tuple[list[bytes], bytes]]:
    """(texts, their bytes) for runs of whole items; ([], bytes) for what stands around them."""
    rest = b""
    prefix: bytes | None = None
    for chunk in chunks:
        rest += chunk
        if prefix is None:
            opened = re.search(rb"<(\w+:)?sst[\s>/]", rest)
            if opened is None:
                continue
            prefix = opened[1] or b""
            first = rest.find(b"<%bsi" % prefix)
            if first < 0:
                prefix = None
                continue
            yield [], rest[:first]
            rest = rest[first:]
        end = rest.rfind(b"</%bsi>" % prefix)
        if end < 0:
            continue
        end += len(prefix) + 5
        yield _texts(rest[:end], prefix, part), rest[:end]
        rest = rest[end:]
    if prefix is not None and re.search(b"<%bsi[\\s>/]" % prefix, rest):
        raise odd(part, "has an unusual end")
    yield [], rest


def _texts(block: bytes, prefix: bytes, part: str) -> list[bytes]:
    plain = _PLAIN.findall(block) if not prefix else []
    total = block.count(b"<%bsi" % prefix)
    if len(plain) == total:
        return [unescape(text) for text in plain] if b"&" in block else plain
    items = [inner_text(match[1] or b"", prefix) for match in _item(prefix).finditer(block)]
    if len(items) != total:
        raise odd(part, "holds a string in an unusual form")
    return items


def inner_text(inner: bytes, prefix: bytes) -> bytes:
    """The text of an `si` or `is` element: its runs joined, phonetic readings left out."""
    if b"<%brPh" % prefix in inner:
        inner = re.sub(b"<%brPh.*?</%brPh>" % (prefix, prefix), b"", inner, flags=re.DOTALL)
    runs = re.findall(b"<%bt%b\\s*>([^<]*)</%bt\\s*>" % (prefix, ATTRIBUTES, prefix), inner)
    return unescape(b"".join(run[1] for run in runs))


def _item(prefix: bytes) -> re.Pattern[bytes]:
    return re.compile(b"<%bsi\\s*(?:/>|>(.*?)</%bsi\\s*>)" % (prefix, prefix), re.DOTALL)


def _prefix(block: bytes) -> bytes:
    found = re.match(rb"\s*<(\w+:)?si[\s>/]", block)
    return (found[1] or b"") if found else b""
