"""What an act changes besides the rows: parts as trees, written only where something changed."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lxml import etree

from retention.connectors.spreadsheet.package import relationships_part, resolve
from retention.connectors.spreadsheet.workbook import Workbook
from retention.connectors.spreadsheet.xmltext import PACKAGE_RELATIONSHIPS, parse, serialise

CONTENT_TYPES = "[Content_Types].xml"
_RELATIONSHIP = f"{{{PACKAGE_RELATIONSHIPS}}}Relationship"


class Edits:
    """Changes to parts other than the sheets' rows and the table of strings."""

    def __init__(self, workbook: Workbook) -> None:
        self.workbook = workbook
        self._trees: dict[str, etree._Element] = {}
        self._changed: set[str] = set()
        self._bytes: dict[str, bytes | None] = {}

    def names(self) -> list[str]:
        """Parts that are there and will stay, in the order of the package."""
        stay = self.workbook.package.names
        ordered = (info.filename for info in self.workbook.package.zip.infolist())
        return [n for n in ordered if n in stay and self._bytes.get(n, b"") is not None]

    def tree(self, part: str) -> etree._Element:
        """A part as it stands now. Raises PermanentFailure."""
        if part not in self._trees:
            self._trees[part] = parse(self.workbook.package.read(part), part)
        return self._trees[part]

    def touch(self, part: str) -> None:
        """The part's tree has been changed."""
        self._changed.add(part)

    def touched(self, part: str) -> bool:
        """Whether the part's tree has been changed."""
        return part in self._changed

    def text(self, part: str) -> bytes:
        """A part that is edited as bytes, as it stands now."""
        held = self._bytes.get(part)
        return self.workbook.package.read(part) if held is None else held

    def put(self, part: str, data: bytes) -> None:
        """New bytes for a part."""
        self._bytes[part] = data

    def drop(self, part: str) -> None:
        """Leave a part out, with its content type and whatever relates to it."""
        self._bytes[part] = None
        own = relationships_part(part)
        if own in self.workbook.package.names:
            self._bytes[own] = None
        types = self.tree(CONTENT_TYPES)
        for item in list(types):
            if item.get("PartName", "").lstrip("/") == part:
                types.remove(item)
                self.touch(CONTENT_TYPES)
        for where in self.names():
            if where.endswith(".rels"):
                source = source_of(where)
                for item in list(self.tree(where).iter(_RELATIONSHIP)):
                    if item.get("TargetMode") == "External":
                        continue
                    if resolve(source, item.get("Target", "")) == part:
                        remove(item)
                        self.touch(where)

    def drop_relationships(self, part: str, ids: set[str]) -> None:
        """Leave out these relationships of a part."""
        where = relationships_part(part)
        if not ids or where not in self.workbook.package.names:
            return
        for item in list(self.tree(where).iter(_RELATIONSHIP)):
            if item.get("Id") in ids:
                remove(item)
                self.touch(where)

    def related(self, part: str, kind: str) -> Iterator[str]:
        """Parts to which a part relates in this way, by the last word of the type."""
        for said, target in self.workbook.relations_of(part).values():
            if said.rpartition("/")[2] == kind and target in self.workbook.package.names:
                yield target

    def result(self) -> dict[str, bytes | None]:
        """New bytes by part; None where the part goes."""
        made: dict[str, bytes | None] = dict(self._bytes)
        for part in self._changed:
            if made.get(part, b"") is not None:
                made[part] = serialise(self._trees[part])
        return made


def source_of(relationships: str) -> str:
    """The part whose relationships stand there; "" for the package."""
    found = re.fullmatch(r"(?:(.*)/)?_rels/(.*)\.rels", relationships)
    if found is None:
        return ""
    return f"{found[1]}/{found[2]}" if found[1] else found[2]


def without(item: etree._Element, name: str) -> None:
    """Take an attribute away, if it is there."""
    if name in item.attrib:
        del item.attrib[name]


def remove(item: etree._Element) -> None:
    """Take an element out; text after it stays."""
    parent = item.getparent()
    if parent is None:
        return
    if item.tail and item.tail.strip():
        before = item.getprevious()
        if before is not None:
            before.tail = (before.tail or "") + item.tail
        else:
            parent.text = (parent.text or "") + item.tail
    parent.remove(item)
