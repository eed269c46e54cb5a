"""What a workbook says about itself: titles, authors, lists of choices, filters, cached texts.

Where such a text is a value of a row that goes, and no row that stays holds it, it is taken out.
What cannot be taken out without changing a meaning is left, and the search for residue refuses the
act.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from lxml import etree

from retention.connectors.spreadsheet.comments import people, without_name
from retention.connectors.spreadsheet.edits import Edits, remove
from retention.connectors.spreadsheet.xmltext import MAIN

Gone = Callable[[str], bool]
"""Whether a text holds a value of a row that goes and of no row that stays."""
_CHOICES = re.compile(r'"(?:[^"]|"")*"')
_PICTURE = "/thumbnail"


def drop_thumbnail(edits: Edits) -> None:
    """The small picture of the first sheet shows its cells."""
    for kind, part in edits.workbook.relations_of("").values():
        if kind.endswith(_PICTURE) and part in edits.workbook.package.names:
            edits.drop(part)


def clean_properties(edits: Edits, gone: Gone) -> None:
    """Titles, authors and own properties."""
    for part in edits.names():
        if part.startswith("docProps/") and part.endswith(".xml"):
            for item in edits.tree(part).iter("{*}*"):
                if len(item) == 0 and item.text and gone(item.text):
                    item.text = ""
                    edits.touch(part)


def clean_people(edits: Edits, gone: Gone) -> None:
    """Who wrote notes and discussions that stay: the words stay, the name goes."""
    for part in people(edits):
        for person in edits.tree(part):
            if any(gone(person.get(name, "")) for name in ("displayName", "userId")):
                without_name(person)
                edits.touch(part)
    for sheet in edits.workbook.sheets:
        for part in edits.related(sheet.part, "comments"):
            for author in edits.tree(part).iter(f"{{{MAIN}}}author"):
                if author.text and gone(author.text):
                    author.text = ""
                    edits.touch(part)


def clean_links(edits: Edits, gone: Gone) -> None:
    """Copies of other workbooks' cells, which are read again when links are brought up to date."""
    for part in edits.related(edits.workbook.part, "externalLink"):
        for cell in list(edits.tree(part).iter(f"{{{MAIN}}}cell", f"{{{MAIN}}}value")):
            if gone("".join(map(str, cell.itertext()))):
                remove(cell)
                edits.touch(part)


def clean_filters(roots: Iterable[etree._Element], gone: Gone) -> bool:
    """Chosen values of filters; gives whether anything changed."""
    changed = False
    for root in roots:
        for column in list(root.iter(f"{{{MAIN}}}filterColumn")):
            chosen = list(column.iter(f"{{{MAIN}}}filter", f"{{{MAIN}}}customFilter"))
            bad = [item for item in chosen if gone(item.get("val", ""))]
            for item in bad:
                remove(item)
            if bad and len(bad) == len(chosen):
                remove(column)
            changed = changed or bool(bad)
    return changed


def clean_table_filters(edits: Edits, gone: Gone) -> None:
    """The same for tables, on every sheet."""
    for sheet in edits.workbook.sheets:
        for part in edits.related(sheet.part, "table"):
            if clean_filters([edits.tree(part)], gone):
                edits.touch(part)


def clean_rules(root: etree._Element, gone: Gone) -> bool:
    """Choices of a list and marks for one value that a rule spells out."""
    changed = False
    for rule in list(root.iter("{*}cfRule")):
        if gone(rule.get("text", "")) or any(
            gone(_spelled(x)) for x in rule.iter("{*}formula", "{*}f")
        ):
            around = rule.getparent()
            remove(rule)
            changed = True
            if around is not None and around.find("{*}cfRule") is None:
                remove(around)
    for check in list(root.iter("{*}dataValidation")):
        for item in check.iter("{*}formula1", "{*}f"):
            text = (item.text or "").strip()
            if check.get("type") == "list" and _CHOICES.fullmatch(text) and gone(text):
                left = [choice for choice in text[1:-1].split(",") if not gone(choice)]
                item.text = '"' + ",".join(left) + '"' if left else '" "'
                changed = True
        for name in ("prompt", "error", "promptTitle", "errorTitle"):
            if gone(check.get(name, "")):
                del check.attrib[name]
                changed = True
    return changed


def _spelled(formula: etree._Element) -> str:
    return " ".join(_CHOICES.findall(formula.text or ""))
