"""The workbook's table of strings: most text of all sheets lies there, each once.

A string that no cell points to any more stays in the file, readable by anyone who unzips it.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, compress
from operator import eq, itemgetter

from retention.connectors.spreadsheet.xmltext import ATTRIBUTES, Guard, odd, sound, unescape

_PLAIN = re.compile(rb'(<si><t(?: xml:space="preserve")?(?:/>|>([^<]*)</t>)</si>)')
_OPENING, _CLOSING = b"<si><t>", b"</t></si>"
_EMPTIED = b"<si><t/></si>"
"""As an act leaves a string that no cell uses."""
_COUNT = re.compile(rb'\scount="\d+"')
LISTED = 1_500_000
"""So many strings are kept one by one, which is fastest; more of them in one block of bytes."""


class SharedStrings:
    """Texts by index, as UTF-8."""

    def __init__(self) -> None:
        self._listed: list[bytes] = []
        self._text = bytearray()
        self._ends: array[int] | None = None
        """Once there are many: string i stands from `_ends[i]` to `_ends[i + 1]` of `_text`."""

    def __len__(self) -> int:
        return len(self._listed) if self._ends is None else len(self._ends) - 1

    def __getitem__(self, index: int) -> bytes:
        if self._ends is None:
            return self._listed[index]
        return bytes(self._text[self._ends[index] : self._ends[index + 1]])

    def pick(self, indices: Sequence[int], part: str) -> Sequence[bytes]:
        """The strings of these indices. Raises PermanentFailure where one is not there."""
        if not indices:
            return ()
        if min(indices) < 0 or max(indices) >= len(self):
            raise odd(part, "points to a text that is not there")
        if self._ends is not None:
            return [self[index] for index in indices]
        if len(indices) == 1:
            return (self._listed[indices[0]],)
        found: tuple[bytes, ...] = itemgetter(*indices)(self._listed)
        return found

    def same(self, other: SharedStrings, which: bytearray) -> bool:
        """Whether the strings that have a 1 there are the same in another table."""
        if len(self) != len(other) or len(self) != len(which):
            return False
        if self._ends is None and other._ends is None:
            return all(map(eq, compress(self._listed, which), compress(other._listed, which)))
        return all(self[i] == other[i] for i, flag in enumerate(which) if flag)

    @classmethod
    def load(
        cls, chunks: Iterable[bytes], part: str, guard: Guard | None = None, listed: int = LISTED
    ) -> SharedStrings:
        """All strings of a part. Without a `guard` its chunks have been guarded."""
        out = cls()
        for items, _ in blocks(chunks, part, guard):
            out.extend(items, listed)
        return out

    def extend(self, items: Sequence[bytes], listed: int = LISTED) -> None:
        """Add strings at the end."""
        if self._ends is None:
            self._listed.extend(items)
            if len(self._listed) <= listed:
                return
            items, self._listed, self._ends = self._listed, [], array("Q", [0])
        lengths = accumulate((len(item) for item in items), initial=len(self._text))
        next(lengths)
        self._ends.extend(lengths)
        self._text += b"".join(items)


def emptied(
    chunks: Iterable[bytes], part: str, used: bytearray, references: int
) -> Iterator[bytes]:
    """The part again with every string emptied that no cell uses; indices stay what they were.

    `used[i]` is 1 where string i is used; `references` is the number of cells that use any.
    """
    index = 0
    for prefix, block in _runs(chunks, part):
        if prefix is None:
            yield _COUNT.sub(b' count="%d"' % references, block, count=1) if index == 0 else block
            continue
        blank = b"<%bsi><%bt/></%bsi>" % (prefix, prefix, prefix)
        usual = _usual(block) if not prefix else None
        items = usual or [match[0] for match in _item(prefix).finditer(block)]
        flags = used[index : index + len(items)]
        index += len(items)
        if 0 not in flags:
            yield block
            continue
        if usual:
            pieces = zip(usual, flags, strict=True)
            yield b"".join([_OPENING + t + _CLOSING if stays else blank for t, stays in pieces])
        else:
            yield _item(prefix).sub(_Chosen(flags, blank), block)


class _Chosen:
    """Each match as it is, or emptied, in order."""

    def __init__(self, flags: Iterable[int], blank: bytes) -> None:
        self._flags, self._blank = iter(flags), blank

    def __call__(self, match: re.Match[bytes]) -> bytes:
        return match[0] if next(self._flags) else self._blank


def told_strings(chunks: Iterable[bytes], part: str) -> Iterator[bytes]:
    """What stands in the part, without the tags where they are the usual ones."""
    for prefix, block in _runs(chunks, part):
        usual = _usual_or_emptied(block) if prefix == b"" else None
        yield b"\n".join(usual) + b"\n" if usual else block


def blocks(
    chunks: Iterable[bytes], part: str, guard: Guard | None
) -> Iterator[tuple[Sequence[bytes], bytes]]:
    """(texts, their bytes) for runs of whole items; ([], bytes) for what stands around them.

    Raises PermanentFailure. Without a `guard` the chunks have been guarded; with one, expat sees
    what no strict pattern accounts for.
    """
    for prefix, block in _runs(chunks, part):
        if prefix is None:
            _guard_around(block, guard, part)
            yield [], block
        else:
            yield _guarded_texts(block, prefix, part, guard), block
    if guard is not None:
        guard.close()


def _runs(chunks: Iterable[bytes], part: str) -> Iterator[tuple[bytes | None, bytes]]:
    """(namespace prefix, bytes) of runs of whole items; (None, bytes) of what stands around."""
    rest = b""
    prefix: bytes | None = None
    for chunk in chunks:
        rest += chunk
        if prefix is None:
            opened = re.search(rb"<(\w+:)?sst[\s>/]", rest)
            first = rest.find(b"<%bsi" % (opened[1] or b"")) if opened else -1
            if opened is None or first < 0:
                continue
            prefix = opened[1] or b""
            yield None, rest[:first]
            rest = rest[first:]
        end = rest.rfind(b"</%bsi>" % prefix)
        if end < 0:
            continue
        end += len(prefix) + 5
        yield prefix, rest[:end]
        rest = rest[end:]
    if prefix is not None and re.search(b"<%bsi[\\s>/]" % prefix, rest):
        raise odd(part, "has an unusual end")
    yield None, rest


def _guard_around(piece: bytes, guard: Guard | None, part: str) -> None:
    if guard is None:
        return
    guard.feed(piece)
    if b"<!" in piece or piece.rfind(b"<?") > 3:
        raise odd(part, "holds something beside its strings")


def _guarded_texts(block: bytes, prefix: bytes, part: str, guard: Guard | None) -> Sequence[bytes]:
    texts = (_usual_or_emptied(block) or _plain(block)) if not prefix else None
    if texts is None or (guard is not None and not sound(block)):
        if guard is not None:
            guard.feed(block)
            if b"<!" in block or b"<?" in block:
                raise odd(part, "holds something beside its strings")
        return _texts(block, prefix, part)
    if guard is not None:
        guard.feed(b"<si/>")
    return list(map(unescape, texts)) if b"&" in block else texts


def _usual(block: bytes) -> list[bytes] | None:
    """Text of every item, where all are written in the one form that is most common by far."""
    if not (block.startswith(_OPENING) and block.endswith(_CLOSING)):
        return None
    texts = block[len(_OPENING) : -len(_CLOSING)].split(_CLOSING + _OPENING)
    # Each item has four tags; any other `<` would belong to an item in another form.
    return texts if block.count(b"<") == 4 * len(texts) else None


def _usual_or_emptied(block: bytes) -> list[bytes] | None:
    return _usual(block.replace(_EMPTIED, _OPENING + _CLOSING) if _EMPTIED in block else block)


def _plain(block: bytes) -> list[bytes] | None:
    """Text of every item, where the block is nothing but items of one run without format."""
    found = _PLAIN.findall(block)
    if sum(map(len, map(itemgetter(0), found))) != len(block):
        return None
    return list(map(itemgetter(1), found))


def _texts(block: bytes, prefix: bytes, part: str) -> list[bytes]:
    items = [inner_text(match[1] or b"", prefix) for match in _item(prefix).finditer(block)]
    if len(items) != block.count(b"<%bsi" % prefix):
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
