"""Notes and discussions on cells: those of rows that go are taken out, all others move along."""

from __future__ import annotations

import re
from collections.abc import Collection

from lxml import etree

from retention.connectors.spreadsheet.drawings import SHAPE
from retention.connectors.spreadsheet.edits import Edits, remove
from retention.connectors.spreadsheet.shift import RowMap, Unshiftable, corners_of
from retention.connectors.spreadsheet.workbook import Sheet
from retention.connectors.spreadsheet.xmltext import MAIN

_NOTE_ROW = re.compile(rb"<x:Row>\s*(\d+)\s*</x:Row>")
_ANONYMOUS = "Author"


def drop_notes(edits: Edits, sheet: Sheet, removed: Collection[int]) -> None:
    """Take out notes and discussions on cells of rows that go, and their yellow boxes."""
    for part in edits.related(sheet.part, "comments"):
        for item in list(edits.tree(part).iter(f"{{{MAIN}}}comment")):
            if corners_of(item.get("ref", ""))[0].row in removed:
                remove(item)
                edits.touch(part)
        if edits.touched(part):
            _forget_authors(edits, part)
    talked = False
    for part in edits.related(sheet.part, "threadedComment"):
        for item in list(edits.tree(part)):
            if corners_of(item.get("ref", "A1"))[0].row in removed:
                remove(item)
                edits.touch(part)
                talked = True
    if talked:
        _forget_people(edits)
    for part in edits.related(sheet.part, "vmlDrawing"):
        data = edits.text(part)
        kept = SHAPE.sub(lambda m: b"" if _note_of(m[0]) in removed else m[0], data)
        if kept != data:
            edits.put(part, kept)


def _note_of(shape: bytes) -> int:
    found = _NOTE_ROW.search(shape) if b'ObjectType="Note"' in shape else None
    return int(found[1]) + 1 if found else 0


def _forget_authors(edits: Edits, part: str) -> None:
    """Authors of no note that is left lose their names; the numbering stays."""
    root = edits.tree(part)
    used = {item.get("authorId", "0") for item in root.iter(f"{{{MAIN}}}comment")}
    for number, author in enumerate(root.iter(f"{{{MAIN}}}author")):
        if str(number) not in used and author.text:
            author.text = ""
            edits.touch(part)


def shift_notes(edits: Edits, sheet: Sheet, rows: RowMap) -> None:
    """Move notes and discussions along (their boxes move with the drawings)."""
    for kind in ("comments", "threadedComment"):
        for part in edits.related(sheet.part, kind):
            for item in edits.tree(part).iter("{*}comment", "{*}threadedComment"):
                old = item.get("ref", "")
                moved = rows.area(old)
                if moved is None:
                    raise Unshiftable("a note on a row that goes")
                if moved != old:
                    item.set("ref", moved)
                    edits.touch(part)


def people(edits: Edits) -> list[str]:
    """The parts that list who wrote discussions."""
    return list(edits.related(edits.workbook.part, "person"))


def _forget_people(edits: Edits) -> None:
    """Take out people who wrote or are named in no discussion that is left."""
    used: set[str] = set()
    for sheet in edits.workbook.sheets:
        for part in edits.related(sheet.part, "threadedComment"):
            for item in edits.tree(part).iter("{*}*"):
                used |= {item.get("personId", ""), item.get("mentionpersonId", "")}
    for part in people(edits):
        for person in list(edits.tree(part)):
            if person.get("id", "") not in used:
                remove(person)
                edits.touch(part)


def without_name(person: etree._Element) -> None:
    """A person who is still needed, without anything that says who it is."""
    person.set("displayName", _ANONYMOUS)
    if person.get("userId"):
        person.set("userId", person.get("id", ""))
    if person.get("providerId"):
        person.set("providerId", "None")
