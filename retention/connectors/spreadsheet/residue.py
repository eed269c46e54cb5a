"""Looking for what is left of rows that went, in every part of the file."""

from __future__ import annotations

import codecs
import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import IO

from retention.connectors.spreadsheet.xmltext import unescape_text

CHUNK = 1 << 20
_OVERLAP = 4096
_WORD = re.compile(r"[^\s<>\"'=/;,()\[\]{}|\0]{4,}")
_THREE_LETTERS = re.compile(r"[^\W\d_](?:.*?[^\W\d_]){2}", re.DOTALL)
_LONG_NUMBER = re.compile(r"(?:[^\d.]{0,2}\d){8,}[^\d.]{0,2}")
_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff")
_DEPTH = 2
_MAX_NESTED = 64 << 20


def distinctive(text: str) -> bool:
    """Whether a value points at somebody: long enough, and not a plain amount, code or date."""
    text = text.strip()
    if len(text) < 4:
        return False
    return bool(_THREE_LETTERS.search(text) or _LONG_NUMBER.fullmatch(text))


def identifying(text: str) -> bool:
    """Whether a value names a person by itself: an address, a number to call, a full name."""
    text = text.strip()
    if "@" in text:
        return True
    if _LONG_NUMBER.fullmatch(text):
        return True
    words = text.split()
    return 2 <= len(words) <= 5 and all(word[0].isupper() for word in words)


class Needles:
    """Values to look for, found by their rarest word, so that a million of them cost one pass."""

    def __init__(self, values: Iterable[str]) -> None:
        folded = {v: v.strip().casefold() for v in values if distinctive(v)}
        words = {v: _words(text) for v, text in folded.items()}
        common = Counter(word for found in words.values() for word in set(found))
        self._by_word: dict[str, list[tuple[str, str]]] = {}
        for value, found in words.items():
            if found:
                rarest = min(found, key=lambda w: (common[w], -len(w)))
                self._by_word.setdefault(rarest, []).append((value, folded[value]))
        self._anchors = set(self._by_word)

    def __bool__(self) -> bool:
        return bool(self._by_word)

    def among(self, chunks: Iterable[bytes], encoding: str = "utf-8") -> set[str]:
        """The values that occur in a text, however the chunks cut it."""
        decoder = codecs.getincrementaldecoder(encoding)("replace")
        rest, found = "", set[str]()
        for chunk in chunks:
            text = rest + decoder.decode(chunk)
            found |= self._in(text)
            rest = text[-_OVERLAP:]
        return found

    def _in(self, text: str) -> set[str]:
        if "&" in text:
            text = unescape_text(text)
        text = text.casefold()
        found = set[str]()
        for word in self._anchors.intersection(_words(text)):
            found |= {value for value, folded in self._by_word[word] if _whole(folded, text)}
        return found


def vocabulary(texts: Iterable[bytes]) -> set[str]:
    """Every word of some short XML texts."""
    found = set[str]()
    for text in texts:
        found.update(_words(unescape_text(text.decode("utf-8", "replace")).casefold()))
    return found


def may_occur(value: str, known: set[str]) -> bool:
    """Whether any word of a value is among those words; False means that it cannot stand there."""
    return not known.isdisjoint(_words(value.casefold()))


def is_text(part: str) -> bool:
    """Whether a part is XML, or a picture, which is not searched."""
    return part.lower().endswith((".xml", ".rels", ".vml", *_PICTURES))


def _words(text: str) -> list[str]:
    return [word.strip(".:!?") for word in _WORD.findall(text)]


def _whole(value: str, text: str) -> bool:
    """Whether the value stands in the text as itself, not as a piece of a longer word."""
    at = text.find(value)
    while at >= 0:
        before, after = text[at - 1 : at], text[at + len(value) : at + len(value) + 1]
        if not before.isalnum() and not after.isalnum():
            return True
        at = text.find(value, at + 1)
    return False


def left_in(
    package: zipfile.ZipFile, parts: Iterable[str], needles: Needles
) -> Iterator[tuple[str, str]]:
    """(part, value) for every value that a part still holds; packages inside it are opened too."""
    for part in parts:
        if part.lower().endswith(_PICTURES):
            continue
        with package.open(part) as stream:
            for value in _in_part(part, stream, needles, 0):
                yield part, value


def _in_part(part: str, stream: IO[bytes], needles: Needles, depth: int) -> set[str]:
    if part.endswith((".xml", ".rels", ".vml")):
        return needles.among(_chunks(stream))
    data = stream.read(_MAX_NESTED)
    found = needles.among([data]) | needles.among([data], "utf-16-le")
    if data[:4] == b"PK\x03\x04" and depth < _DEPTH:
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as inner:
                for info in inner.infolist():
                    if info.file_size <= _MAX_NESTED:
                        with inner.open(info) as below:
                            found |= _in_part(info.filename, below, needles, depth + 1)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
            pass  # not a package after all; its bytes have been looked at
    return found


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk
