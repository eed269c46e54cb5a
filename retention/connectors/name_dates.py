"""Dates that file names tell: `report-2024-03-01.pdf` by the pattern `*{YYYY}-{MM}-{DD}*`."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from retention.connectors.base import When

SOURCE = "name_date"
_PARTS = {
    "YYYY": r"(?P<YYYY>\d{4})",
    "MM": r"(?P<MM>\d{2})",
    "DD": r"(?P<DD>\d{2})",
    "hh": r"(?P<hh>\d{2})",
    "mm": r"(?P<mm>\d{2})",
    "ss": r"(?P<ss>\d{2})",
}
_TOKEN = re.compile(r"\{([^{}]*)\}|(\*)|(\?)")


class NamePattern:
    """One pattern over a file's name (its last step). Raises ValueError for what is none."""

    def __init__(self, text: str) -> None:
        self._expression = re.compile(_expression(text), re.DOTALL)

    def date(self, name: str, zone: ZoneInfo) -> When:
        """What the name says: a civil date, or an instant where it tells hours; None if neither.

        `zone`: of the hours, which no name tells.
        """
        found = self._expression.fullmatch(name)
        if found is None:
            return None
        said = {part: int(text) for part, text in found.groupdict().items()}
        try:
            day = date(said["YYYY"], said["MM"], said["DD"])
            if "hh" not in said:
                return day
            at = time(said["hh"], said.get("mm", 0), said.get("ss", 0), tzinfo=zone)
            return datetime.combine(day, at).astimezone(UTC)
        except (ValueError, OverflowError):
            return None


def _expression(text: str) -> str:
    if "/" in text or "\n" in text:
        raise ValueError("a pattern is about a file's name: no `/` in it")
    out, at = "", 0
    seen: set[str] = set()
    for token in _TOKEN.finditer(text):
        out += re.escape(text[at : token.start()])
        at = token.end()
        if token[2] or token[3]:
            out += ".*?" if token[2] else "."
            continue
        part = token[1]
        if part not in _PARTS or part in seen:
            raise ValueError("a pattern knows {YYYY} {MM} {DD} {hh} {mm} {ss}, each once")
        seen.add(part)
        out += _PARTS[part]
    if not {"YYYY", "MM", "DD"} <= seen:
        raise ValueError("a pattern tells at least {YYYY}, {MM} and {DD}")
    return out + re.escape(text[at:])
