"""PROPFIND: the question, and its answer read as it arrives (RFC 4918 §9.1, §13).

The answer is someone else's XML: no entity is resolved, no document type accepted, nothing
fetched, and one element at a time is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from xml.sax.saxutils import escape, quoteattr

from lxml import etree

from retention.connectors.webdav.session import Session
from retention.connectors.webdav.tree import Tree, split_key
from retention.errors import ConnectorError, CredentialsRefused, PermanentFailure, TemporaryFailure

DAV = "{DAV:}"
OC = "{http://owncloud.org/ns}"
NC = "{http://nextcloud.org/ns}"

BASIC = (
    f"{DAV}resourcetype",
    f"{DAV}getlastmodified",
    f"{DAV}getcontentlength",
    f"{DAV}getetag",
    f"{OC}fileid",
    f"{OC}permissions",
)
"""What every look asks for, so that a version can be told."""

CUSTOM = re.compile(r"\{[^{}\x00-\x20]+\}[A-Za-z_][\w.-]*\Z")
"""How a property of any namespace is written: `{http://owncloud.org/ns}owner-id`."""

_LARGEST_ANSWER = 4 * 1024**3
_LARGEST_TEXT = 64 * 1024
_STATUS = re.compile(r"HTTP/\d(?:\.\d)?\s+(\d{3})")


class NotThere(Exception):
    """What was asked for does not exist (HTTP 404)."""


class Entry(NamedTuple):
    """One file or folder, with the properties that the server gave."""

    key: str
    folder: bool
    props: Mapping[str, str]

    def text(self, name: str) -> str:
        """A property's text; "" where there is none."""
        return self.props.get(name, "")


def look(session: Session, tree: Tree, key: str, names: Sequence[str], doing: str) -> Entry | None:
    """One file or folder as it is now; None where it does not exist."""
    try:
        entries = [e for e in _ask(session, tree, key, names, "0", doing) if e.key == key]
    except NotThere:
        return None
    if len(entries) != 1:
        raise PermanentFailure(
            f"the server told of something else than was asked, {doing}",
            place=session.system,
            code="odd_answer",
        )
    return entries[0]


def listing(
    session: Session, tree: Tree, key: str, names: Sequence[str], doing: str
) -> Iterator[Entry]:
    """What lies directly in a folder, as it arrives. Raises NotThere, and ConnectorErrors."""
    itself = False
    for entry in _ask(session, tree, key, names, "1", doing, folder=True):
        if entry.key == key:
            itself = True
            if not entry.folder:
                raise NotThere
        elif split_key(entry.key)[0] == key:
            yield entry
        else:
            raise PermanentFailure(
                f"the server told of something else than was asked, {doing}",
                place=session.system,
                code="odd_answer",
            )
    if not itself:
        raise TemporaryFailure(
            f"the server's answer is not whole, {doing}", place=session.system, code="broken"
        )


def _ask(
    session: Session,
    tree: Tree,
    key: str,
    names: Sequence[str],
    depth: str,
    doing: str,
    *,
    folder: bool = False,
) -> Iterator[Entry]:
    url = tree.url(key, folder=folder)
    headers = {"Depth": depth, "Content-Type": "application/xml; charset=utf-8"}
    with session.asking("PROPFIND", url, doing, headers, _question(names)) as response:
        status = response.status_code
        if status == 404:
            raise NotThere
        if status == 403:
            raise CredentialsRefused(
                f"this account may not look, {doing}",
                hint="share the folder with it, or check `url`",
                place=session.system,
            )
        if status != 207:
            raise PermanentFailure(
                f"the server does not speak WebDAV there (HTTP {status}), {doing}",
                hint="Nextcloud: https://…/remote.php/dav/files/USER",
                place=session.system,
                code="no_webdav",
            )
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise PermanentFailure(
                f"the server compresses without being asked, {doing}", place=session.system
            )
        for element in _elements(response.iter_raw(64 * 1024), session.system, doing):
            entry = _entry(element, tree, url)
            if entry is not None:
                yield entry


def _question(names: Sequence[str]) -> bytes:
    asked = []
    for name in dict.fromkeys(names):
        space, _, local = name[1:].partition("}")
        asked.append(f"<x:{escape(local)} xmlns:x={quoteattr(space)}/>")
    text = f'<d:propfind xmlns:d="DAV:"><d:prop>{"".join(asked)}</d:prop></d:propfind>'
    return b'<?xml version="1.0" encoding="utf-8"?>' + text.encode()


def _elements(chunks: Iterator[bytes], place: str, doing: str) -> Iterator[etree._Element]:
    """Each `response` of an answer, whole; freed when the next one is asked for."""
    parser: Any = etree.XMLPullParser(
        events=("start", "end"),
        tag=(f"{DAV}multistatus", f"{DAV}response"),
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    size = 0
    failure: ConnectorError
    root: etree._Element | None = None
    try:
        for chunk in chunks:
            size += len(chunk)
            if size > _LARGEST_ANSWER:
                raise PermanentFailure(f"the answer is too large, {doing}", place=place)
            parser.feed(chunk)
            for event, element in parser.read_events():
                if root is None:
                    root = element
                    _check_root(element, place, doing)
                elif event == "end" and element.tag == f"{DAV}response":
                    yield element
                    element.clear()
                    while element.getprevious() is not None:
                        del element.getparent()[0]
        _check_root(parser.close(), place, doing)
        return
    except etree.XMLSyntaxError:
        pass
    # Also what a script's time limit leaves: half a listing must not pass for a whole one.
    failure = TemporaryFailure(
        f"the server's answer is not whole, {doing}", place=place, code="broken"
    )
    raise failure


def _check_root(element: etree._Element, place: str, doing: str) -> None:
    info: Any = element.getroottree().docinfo
    if info.doctype or element.tag != f"{DAV}multistatus":
        raise PermanentFailure(
            f"the server's answer is no WebDAV, {doing}", place=place, code="no_webdav"
        )


def _entry(element: etree._Element, tree: Tree, url: str) -> Entry | None:
    href = element.findtext(f"{DAV}href") or ""
    key = tree.key(href, url)
    overall = _code(element.findtext(f"{DAV}status"))
    if overall == 404:
        return None
    props: dict[str, str] = {}
    folder: bool | None = None
    for propstat in element.iterfind(f"{DAV}propstat"):
        if _code(propstat.findtext(f"{DAV}status")) != 200:
            continue
        for prop in propstat.iterfind(f"{DAV}prop/*"):
            name = str(prop.tag)
            if name == f"{DAV}resourcetype":
                folder = prop.find(f"{DAV}collection") is not None
            props[name] = _text(prop)
    if folder is None:
        # Without it nobody knows what a deletion would take along.
        raise PermanentFailure(
            "the server does not say what is a folder and what a file",
            place=tree.place,
            code="no_webdav",
        )
    return Entry(key, folder, props)


def _code(status: str | None) -> int:
    found = _STATUS.search(status or "")
    return int(found[1]) if found else 0


def _text(prop: etree._Element) -> str:
    """All text of a property, of its children too (lists of tags are elements)."""
    if len(prop) == 0:
        return (prop.text or "")[:_LARGEST_TEXT]
    parts = [str(part).strip() for part in prop.itertext()]
    return " ".join(part for part in parts if part)[:_LARGEST_TEXT]
