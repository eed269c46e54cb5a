"""Everything in an OpenDocument spreadsheet that points at rows, moved with them or refused."""

from __future__ import annotations

import re
from dataclasses import dataclass

from retention.connectors.spreadsheet.odsshift import Move, named_in, same_sheet, sheet_named
from retention.connectors.spreadsheet.odsxml import TAG, with_attributes
from retention.connectors.spreadsheet.shift import Unshiftable
from retention.connectors.spreadsheet.xmltext import attributes, escape, unescape

_ADDRESSES = frozenset(
    {
        b"table:cell-range-address",
        b"table:target-range-address",
        b"table:cell-address",
        b"table:end-cell-address",
        b"table:print-ranges",
        b"table:label-cell-range-address",
        b"table:data-cell-range-address",
        b"table:scenario-ranges",
        b"calcext:target-range-address",
        b"calcext:cell-address",
        b"calcext:data-range",
        b"draw:notify-on-update-of-ranges",
        b"form:linked-cell",
        b"form:source-cell-range",
        b"chart:values-cell-range-address",
        b"chart:label-cell-address",
    }
)
_BASES = frozenset(
    {b"table:base-cell-address", b"calcext:base-cell-address", b"style:base-cell-address"}
)
"""The cell from which a rule is seen: it stays, and so does the rule (see Move.condition)."""
_CONDITIONS = frozenset({b"table:condition", b"style:condition"})
_TEXTS = frozenset({b"office:string-value", b"table:name", b"draw:name", b"table:value"})
_DESCRIBED = re.compile(rb"(<svg:desc>)([^<]*)(</svg:desc>)")
_ROW = re.compile(r"\$?(\d+)\s*$")


@dataclass(frozen=True)
class Around:
    """What stands between rows, and on shapes within them, once rows of one sheet go."""

    move: Move

    def __post_init__(self) -> None:
        object.__setattr__(self, "_named", named_in(self.move.target))

    _named: re.Pattern[bytes] = re.compile(b"")

    def concerns(self, raw: bytes) -> bool:
        """Whether the text names a cell of the sheet by its address."""
        return bool(self._named.search(raw))

    def moved(self, raw: bytes, sheet: str) -> bytes:
        """The text with every address moved. Raises Unshiftable."""
        self._refuse_rules(raw, sheet)
        return with_attributes(raw, self._attribute)

    def _attribute(self, element: bytes, name: bytes, value: bytes) -> bytes | None:
        if name in _BASES or name in _CONDITIONS or name in _TEXTS:
            return None
        if name in _ADDRESSES:
            text = unescape(value).decode()
            return _written(self.move.addresses(text)) if text.strip() else None
        if name == b"table:expression":
            return self._expression(unescape(value).decode())
        if name == b"table:formula" and element.startswith(b"table:"):
            return None  # formulas of cells are moved with their rows
        if self._named.search(value) and name != b"calcext:value":
            raise Unshiftable("something that points at rows in a way that is not known here")
        return None

    def _expression(self, text: str) -> bytes:
        if re.search(r"\.\$?[A-Z]{1,3}\d", text):
            raise Unshiftable("a named formula that reads relative to where it is used")
        return _written(self.move.formula(text, None))

    def _refuse_rules(self, raw: bytes, sheet: str) -> None:
        here = sheet or None
        for match in TAG.finditer(raw):
            element = match[1]
            if element in (b"table:content-validation", b"style:map", b"calcext:condition"):
                # LibreOffice writes the last sheet's name into the base cell of a validation.
                self._rule(attributes(match[2]), here if element == b"calcext:condition" else None)
            elif element in (b"calcext:formatting-entry", b"calcext:color-scale-entry"):
                said = attributes(match[2])
                if said.get(b"calcext:type") == b"formula":
                    raise Unshiftable("a colour scale that is computed by a formula")
            elif element == b"table:named-range":
                said = attributes(match[2])
                text = unescape(said.get(b"table:cell-range-address", b"")).decode()
                if re.search(r"\.\$?[A-Z]{1,3}\d", text) and self.concerns(text.encode()):
                    raise Unshiftable("a name that points relative to where it is used")

    def _rule(self, said: dict[bytes, bytes], sheet: str | None) -> None:
        base = next((said[name] for name in _BASES if name in said), b"")
        row = _ROW.search(unescape(base).decode())
        for name in (*_CONDITIONS, b"calcext:value"):
            if name in said:
                text = unescape(said[name]).decode()
                self.move.condition(text, int(row[1]) if row else None, sheet)

    def described(self, raw: bytes) -> bytes:
        """A chart's own table, in which ranges stand as text, moved. Raises Unshiftable."""

        def one(match: re.Match[bytes]) -> bytes:
            text = unescape(match[2]).decode()
            return match[1] + escape(self.move.addresses(text)) + match[3]

        return _DESCRIBED.sub(one, raw)


def _written(text: str) -> bytes:
    return escape(text).replace(b'"', b"&quot;")


def pivots(raw: bytes) -> list[tuple[str, str]]:
    """(sheet read from, sheet written to) of every pivot table in the text."""
    out: list[tuple[str, str]] = []
    target = ""
    for match in TAG.finditer(raw):
        said = attributes(match[2])
        if match[1] == b"table:data-pilot-table":
            target = _sheet_of(said.get(b"table:target-range-address", b""))
            out.append(("", target))
        elif match[1] == b"table:source-cell-range":
            out.append((_sheet_of(said.get(b"table:cell-range-address", b"")), target))
    return out


def _sheet_of(address: bytes) -> str:
    text = unescape(address).decode()
    match = re.match(r"(\$?(?:'(?:[^']|'')*'|[^.]+))\.", text)
    return (sheet_named(match[1]) or "") if match else ""


def touches(pivot: tuple[str, str], sheet: str) -> bool:
    """Whether a pivot table reads or fills the sheet."""
    return any(name and same_sheet(name, sheet) for name in pivot)
