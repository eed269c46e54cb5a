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


def guarded(chunks: Iterable[bytes], part: str) -> Iterator[bytes]:
    """The chunks again, each after expat has accepted it. Raises PermanentFailure."""
    parser = expat.ParserCreate(namespace_separator=" ")
    bound: set[str | None] = set()

    def refuse(what: str) -> Callable[..., None]:
        def handler(*_: object) -> None:
            raise odd(part, what)

        return handler

    def namespace(prefix: str | None, uri: str) -> None:
        if uri == MAIN:
            bound.add(prefix)
            if len(bound) > 1:
                raise odd(part, "names its elements in two ways")

    def declaration(_version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.upper() not in ("UTF-8", "UTF8", "US-ASCII"):
            raise odd(part, "is not UTF-8")

    parser.StartDoctypeDeclHandler = refuse("holds a document type declaration")
    parser.CommentHandler = refuse("holds an XML comment")
    parser.StartCdataSectionHandler = refuse("holds a CDATA section")
    parser.ProcessingInstructionHandler = refuse("holds a processing instruction")
    parser.StartNamespaceDeclHandler = namespace
    parser.XmlDeclHandler = declaration
    try:
        first = True
        for chunk in chunks:
            if first and chunk[:2] in (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<"):
                raise odd(part, "is not UTF-8")
            first = False
            parser.Parse(chunk, False)  # noqa: FBT003 - the standard library's own signature
            yield chunk
        parser.Parse(b"", True)  # noqa: FBT003
    except expat.ExpatError:
        raise odd(part, "is not well-formed XML") from None  # the parser quotes the text


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
