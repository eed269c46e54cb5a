"""Which styles of a workbook show a number as a date, and which of them with the time of day."""

from __future__ import annotations

import re
from enum import Enum, auto

from lxml import etree

from retention.connectors.spreadsheet.workbook import Workbook
from retention.connectors.spreadsheet.xmltext import MAIN, parse

_BUILT_IN = frozenset({*range(14, 18), 22, *range(27, 32), 36, *range(50, 59)})
"""Formats of dates by number (ECMA-376 part 1, 18.8.30), those of East Asia too."""
_WITH_TIME = 22
_NOT_CODE = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]|[_*].')


class Shows(Enum):
    """What a style shows of a number."""

    NUMBER = auto()
    DAY = auto()
    TIME_TOO = auto()


def shown_by(workbook: Workbook) -> list[Shows]:
    """What each style shows, by the number that cells name it by."""
    part = next((t for kind, t in workbook.relations.values() if kind.endswith("/styles")), "")
    if part not in workbook.package.names:
        return []
    root = parse(workbook.package.read(part), part)
    codes = {
        item.get("numFmtId", ""): item.get("formatCode", "")
        for item in root.iterfind(f"{{{MAIN}}}numFmts/{{{MAIN}}}numFmt")
    }
    return [_shows(item, codes) for item in root.iterfind(f"{{{MAIN}}}cellXfs/{{{MAIN}}}xf")]


def _shows(style: etree._Element, codes: dict[str, str]) -> Shows:
    number = style.get("numFmtId", "0")
    if number in codes:
        code = _NOT_CODE.sub("", codes[number].split(";")[0]).casefold()
        if "general" in code or not re.search("[dy]", code):
            return Shows.NUMBER
        return Shows.TIME_TOO if "h" in code else Shows.DAY
    if not number.isdigit() or int(number) not in _BUILT_IN:
        return Shows.NUMBER
    return Shows.TIME_TOO if int(number) == _WITH_TIME else Shows.DAY
