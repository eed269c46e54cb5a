"""Looking for what is left of rows that went, in every part of the file."""

from __future__ import annotations

import base64
import codecs
import io
import re
import struct
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, repeat
from typing import IO
from urllib.parse import unquote

import olefile

from retention.connectors.spreadsheet.macros import modules
from retention.connectors.spreadsheet.xmltext import unescape_text

CHUNK = 1 << 20
_OVERLAP = 4096
_WORD = re.compile(r"[^\s<>\"'=/;:,?&#()\[\]{}|\0]{4,}")
_SHORT_WORD = re.compile(r"[^\s<>\"'=/;:,?&#()\[\]{}|\0]{2,3}(?![^\s<>\"'=/;:,?&#()\[\]{}|\0])")
_ADDRESS = re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+")
_TEXT_NODE = re.compile(r">([^<>]{2,60})<")
_ATTRIBUTE = re.compile(r"=\s*[\"']([^\"'<>]{2,60})[\"']")
_RUNS = re.compile(
    r"</(?:\w+:)?t>((?:\s*<(?!/?(?:\w+:)?t[\s/>])[^<>]*>)*)\s*<(?:\w+:)?t(?:\s[^<>]*)?>"
)
"""From one text to the next in the same cell, note or shape."""
_BLOCK = re.compile(r"<(?:\w+:)?(si|is|txBody|text|comment|sp|wsp|tc|tr)[\s/>]")
_LINE = re.compile(r"<(?:\w+:)?(?:p|br)[\s/>]")
_GAP = re.compile(r"[ \t]{2,}|\t")
_DECLARED = re.compile(rb"""encoding\s*=\s*["']([\w.-]+)""")
_THREE_LETTERS = re.compile(r"[^\W\d_](?:.*?[^\W\d_]){2}", re.DOTALL)
_LONG_NUMBER = re.compile(r"(?:[^\d.]{0,2}\d){8,}[^\d.]{0,2}")
_MAY_BE_NUMBER = re.compile(r"\s*[^\d.]{0,2}\d")
_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{100,}={0,2}")
_DEPTH = 3
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


def fold(text: str) -> str:
    """A text as it is compared: however accents, spaces and capitals are written in it."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    text = text.casefold()
    return _GAP.sub(" ", text) if "  " in text or "\t" in text else text


def _joined(text: str) -> str:
    """A text whose runs and lines are one: a name is one however its halves are formatted."""
    return _RUNS.sub(_between, text)


def _between(match: re.Match[str]) -> str:
    if _BLOCK.search(match[1]):
        return match[0]
    return " " if _LINE.search(match[1]) else ""


class Sought:
    """What is looked for in texts; a subclass knows what one text holds of it."""

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
        found = self._literally(text)
        if "t>" in text and (joined := _joined(text)) != text:
            found |= self._literally(joined)
        if "%40" in text or "%20" in text:
            found |= self._literally(unquote(text))
        return found

    def _literally(self, text: str) -> set[str]:
        raise NotImplementedError


class Words(Sought):
    """Every word of very many values, to be seen first whether any of them stands there at all."""

    def __init__(self, values: Sequence[str]) -> None:
        folded = fold("\n".join(values))
        self._words = set(_words(folded))
        lines = folded.split("\n")
        short = [word for line in lines if not _WORD.search(line) for word in _short_words(line)]
        self._words.update(short)
        self._has_short = bool(short)

    def _literally(self, text: str) -> set[str]:
        return self._words & _all_words(_plainly(text), short=self._has_short)


class Needles(Sought):
    """Values to look for, found by their rarest word, so that a million of them cost one pass."""

    def __init__(self, values: Iterable[str]) -> None:
        folded = {v: fold(v).strip() for v in dict.fromkeys(values) if distinctive(v)}
        words = {
            v: [text] if text.isalnum() else _words(text) or _short_words(text)
            for v, text in folded.items()
        }
        common = Counter(chain.from_iterable(words.values()))
        self._by_word: dict[str, list[tuple[str, str]]] = {}
        for value, found in words.items():
            if found:
                one = len(found) == 1
                rarest = found[0] if one else min(found, key=lambda w: (common[w], -len(w)))
                self._by_word.setdefault(rarest, []).append((value, folded[value]))
        self._anchors = set(self._by_word)
        self._has_short = any(len(word) < 4 for word in self._anchors)

    def __bool__(self) -> bool:
        return bool(self._by_word)

    def _literally(self, text: str) -> set[str]:
        text = _plainly(text)
        words = _all_words(text, short=self._has_short)
        found = set[str]()
        for word in self._anchors.intersection(words):
            found |= {value for value, folded in self._by_word[word] if _whole(folded, text)}
        return found


def _plainly(text: str) -> str:
    return fold(unescape_text(text) if "&" in text else text)


def _all_words(text: str, *, short: bool) -> set[str]:
    found = set(_words(text))
    if short:
        found.update(_short_words(text))
    return found


def vocabulary(texts: Iterable[bytes]) -> set[str]:
    """Every word of some short XML texts."""
    found = set[str]()
    for text in texts:
        plain = _decoded(text)
        said = fold(unescape_text(plain))
        found.update(_words(said), _short_words(said))
        if "t>" in plain and (joined := _joined(plain)) != plain:
            joined = fold(unescape_text(joined))
            found.update(_words(joined), _short_words(joined))
        if "%" in said:
            found.update(_words(unquote(said)))
    return found


def forms(value: str) -> Iterator[str]:
    """A value, and what in it points at somebody by itself: addresses, numbers to call."""
    yield value
    if "@" in value:
        if not _ADDRESS.fullmatch(value):
            yield from _ADDRESS.findall(value)
    elif value[:4].strip("+(0123456789 ") == "" and _LONG_NUMBER.fullmatch(value.strip()):
        digits = "".join(c for c in value if c.isdigit())
        if digits != value:
            yield digits


def segments(texts: Iterable[bytes], *, inside: bool) -> set[str]:
    """Every short text between two tags, and every attribute too where `inside` asks for it."""
    found = set[str]()
    for data in texts:
        text = _decoded(data)
        found.update(fold(unescape_text(x)).strip() for x in _TEXT_NODE.findall(text))
        if inside:
            found.update(fold(unescape_text(x)).strip() for x in _ATTRIBUTE.findall(text))
    return found


def _encoding(start: bytes) -> str:
    """The encoding of an XML text, from its first bytes."""
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if start[:2] == b"<\0":
        return "utf-16-le"
    if start[:2] == b"\0<":
        return "utf-16-be"
    said = _DECLARED.search(start[:200])
    try:
        return codecs.lookup(said[1].decode()).name if said else "utf-8"
    except LookupError:
        return "utf-8"


def _decoded(text: bytes) -> str:
    return text.decode(_encoding(text), "replace")


def words_of(values: str) -> set[str]:
    """The words of values, folded and one a line, by which they would be known in a text."""
    found = set(_words(values))
    # Short words count only where a value has no longer one.
    found.update(*(_short_words(v) for v in values.split("\n") if not _WORD.search(v)))
    return found


def more_forms(values: Sequence[str]) -> list[str]:
    """What `forms` gives of many values beside the values themselves."""
    longer = [v for v in values if "@" in v and not _ADDRESS.fullmatch(v)]
    addresses = [address for v in longer for address in _ADDRESS.findall(v)]
    likely = filter(_MAY_BE_NUMBER.match, values)
    long = [v for v in likely if "@" not in v and _LONG_NUMBER.fullmatch(v.strip())]
    digits = ("".join(filter(str.isdigit, value)) for value in long)
    return addresses + [d for d, value in zip(digits, long, strict=True) if d != value]


def may_occur(value: str, known: set[str]) -> bool:
    """Whether any word of a value is among those words; False means that it cannot stand there."""
    words = _words(fold(value)) or _short_words(fold(value))
    return not known.isdisjoint(words)


def is_text(part: str) -> bool:
    """Whether a part is XML, or a picture, which is not searched."""
    return part.lower().endswith((".xml", ".rels", ".vml", *_PICTURES))


def _words(text: str) -> list[str]:
    return list(map(str.strip, _WORD.findall(text), repeat(".:!?")))


def _short_words(text: str) -> list[str]:
    return list(map(str.strip, _SHORT_WORD.findall(text), repeat(".:!?")))


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
    package: zipfile.ZipFile, parts: Iterable[str], needles: Sought
) -> Iterator[tuple[str, str]]:
    """(part, value) for every value that a part still holds; packages inside it are opened too."""
    for part in parts:
        if part.lower().endswith(_PICTURES):
            continue
        with package.open(part) as stream:
            for value in _in_part(part, stream, needles, 0):
                yield part, value


def _in_part(part: str, stream: IO[bytes], needles: Sought, depth: int) -> set[str]:
    if part.endswith((".xml", ".rels", ".vml")):
        first = stream.read(CHUNK)
        found = needles.among(chain([first], _chunks(stream)), _encoding(first))
        if part.startswith("customXml/") and b"<DataMashup" in first.replace(b"\0", b""):
            found |= _in_mashup(part, _decoded(first), needles, depth)
        return found
    return _in_bytes(part, stream.read(_MAX_NESTED), needles, depth)


def _in_bytes(part: str, data: bytes, needles: Sought, depth: int) -> set[str]:
    found = needles.among([data])
    for start in (0, 1):
        found |= needles.among([data[start:]], "utf-16-le")
    if depth >= _DEPTH:
        return found
    if data[:4] == b"PK\x03\x04":
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as inner:
                for info in inner.infolist():
                    if info.file_size <= _MAX_NESTED:
                        with inner.open(info) as below:
                            found |= _in_part(info.filename, below, needles, depth + 1)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
            pass  # not a package after all; its bytes have been looked at
    elif data[:8] == olefile.MAGIC:
        for name, stream in _streams(data):
            found |= _in_bytes(name, stream, needles, depth + 1)
            if part.endswith("vbaProject.bin"):
                found |= needles.among(modules(stream), "cp1252")
    elif depth and b"PK\x03\x04" in data[:4096]:
        found |= _in_bytes(part, data[data.index(b"PK\x03\x04") :], needles, depth)
    return found


def _streams(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The streams of an OLE file: macros, and objects of other programs."""
    try:
        with olefile.OleFileIO(io.BytesIO(data)) as inner:
            for path in inner.listdir():
                with inner.openstream(path) as stream:
                    yield "/".join(path), stream.read(_MAX_NESTED)
    except (OSError, ValueError, IndexError, struct.error):
        return  # not such a file after all; its bytes have been looked at


def _in_mashup(part: str, text: str, needles: Sought, depth: int) -> set[str]:
    """Queries of Power Query: a package, behind eight bytes, as base64 in an XML part."""
    found = set[str]()
    for match in _BASE64.finditer(text):
        try:
            data = base64.b64decode(match[0])
        except ValueError:
            continue
        found |= _in_bytes(part, data[data.find(b"PK\x03\x04") :], needles, depth)
    return found


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk
