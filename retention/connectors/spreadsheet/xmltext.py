"""Reading XML parts as bytes, in chunks, without being fooled by them.

Sheets are tens of megabytes of small tags; a parser that calls back for each is ten times slower
than a regular expression. That is sound only on a subset of XML, so every chunk goes through
expat first: well-formed, UTF-8, no DTD, and no comments, CDATA or processing instructions. In
such a text `<` begins a tag and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from xml.parsers import expat

from lxml import etree

from retention.errors import PermanentFailure

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONSHIPS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE_RELATIONSHIPS = "http://schemas.openxmlformats.org/package/2006/relationships"
ATTRIBUTES = rb"((?:\s+[\w:.-]+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*)"

_ENTITY = re.compile(r"&(?:#x([0-9a-fA-F]+)|#(\d+)|(amp|lt|gt|quot|apos));")
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_ATTRIBUTE = re.compile(rb"\s([\w:.-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_SAVE_AGAIN = "open it in Excel or LibreOffice, save it there as xlsx, and try again"


def odd(part: str, what: str) -> PermanentFailure:
    """The refusal of a part in a form that is not edited here."""
    return PermanentFailure(f"{part}: {what}", hint=_SAVE_AGAIN, code="workbook_form")


class Guard:
    """Expat over a part that comes in pieces. Everything raises PermanentFailure."""

    def __init__(self, part: str) -> None:
        self.part = part
        self._parser = parser = expat.ParserCreate(namespace_separator=" ")
        self._bound: set[str | None] = set()
        self._first = True
        parser.StartDoctypeDeclHandler = self._refusal("holds a document type declaration")
        parser.CommentHandler = self._refusal("holds an XML comment")
        parser.StartCdataSectionHandler = self._refusal("holds a CDATA section")
        parser.ProcessingInstructionHandler = self._refusal("holds a processing instruction")
        parser.StartNamespaceDeclHandler = self._namespace
        parser.XmlDeclHandler = self._declaration

    def _refusal(self, what: str) -> Callable[..., None]:
        def handler(*_: object) -> None:
            raise odd(self.part, what)

        return handler

    def _namespace(self, prefix: str | None, uri: str) -> None:
        if uri == MAIN:
            self._bound.add(prefix)
            if len(self._bound) > 1:
                raise odd(self.part, "names its elements in two ways")

    def _declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.upper() not in ("UTF-8", "UTF8", "US-ASCII"):
            raise odd(self.part, "is not UTF-8")

    def feed(self, chunk: bytes) -> None:
        """The next piece."""
        if self._first and chunk[:2] in (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<"):
            raise odd(self.part, "is not UTF-8")
        self._first = False
        self._parse(chunk, last=False)

    def close(self) -> None:
        """The part has ended."""
        self._parse(b"", last=True)

    def _parse(self, chunk: bytes, *, last: bool) -> None:
        try:
            self._parser.Parse(chunk, last)
        except expat.ExpatError:
            raise odd(self.part, "is not well-formed XML") from None  # the parser quotes the text


def guarded(chunks: Iterable[bytes], part: str) -> Iterator[bytes]:
    """The chunks again, each after expat has accepted it. Raises PermanentFailure."""
    guard = Guard(part)
    for chunk in chunks:
        guard.feed(chunk)
        yield chunk
    guard.close()


_NAMED_ENTITIES = re.compile(rb"&(?:amp|lt|gt|quot|apos);")
_NOT_XML = bytes([*range(9), 11, 12, *range(14, 32)])


def sound(text: bytes) -> bool:
    """Whether bytes may stand in an XML text once a strict pattern has accounted for every tag.

    UTF-8, no control characters, no entity but the five that XML itself names, nothing that
    only looks like the end of a CDATA section.
    """
    if len(text.translate(None, _NOT_XML)) != len(text) or b"]]>" in text:
        return False
    if b"&" in text and text.count(b"&") != len(_NAMED_ENTITIES.findall(text)):
        return False
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError:
            return False
        return b"\xef\xbf" not in text  # U+FFFE and U+FFFF are no characters; expat tells
    return True


def parse(data: bytes, part: str) -> etree._Element:
    """A small part as a tree. No DTD, no entities, no network. Raises PermanentFailure."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError:
        raise odd(part, "is not well-formed XML") from None  # the parser quotes the text
    if b"<!DOCTYPE" in data:
        raise odd(part, "holds a document type declaration")
    return root


def serialise(root: etree._Element) -> bytes:
    """A tree as Office programs write it."""
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8", standalone=True)


def attributes(raw: bytes) -> dict[bytes, bytes]:
    """Attributes of one tag, still escaped."""
    return {name: a or b for name, a, b in _ATTRIBUTE.findall(raw)}


def written(said: Mapping[bytes, bytes]) -> bytes:
    """Attributes as they stand in a tag, with a space before each."""
    return b"".join(b' %b="%b"' % (k, v.replace(b'"', b"&quot;")) for k, v in said.items())


def unescape(text: bytes) -> bytes:
    """Entities and character references resolved; UTF-8 in and out."""
    if b"&" not in text:
        return text
    return unescape_text(text.decode()).encode("utf-8", "surrogatepass")


def unescape_text(text: str) -> str:
    """Entities and character references resolved."""
    return _ENTITY.sub(_character, text)


def _character(match: re.Match[str]) -> str:
    hexadecimal, decimal, name = match.groups()
    if name is not None:
        return _NAMED[name]
    return chr(int(hexadecimal, 16) if hexadecimal is not None else int(decimal))


def escape(text: str) -> bytes:
    """Text for the inside of an element, as UTF-8."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").encode()
