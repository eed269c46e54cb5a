"""Patterns of rows: strict enough that what they match needs no other look.

A pattern accounts for every byte of a run of rows: tags in the order and spelling in which
spreadsheet programs write them, every cell named by its own row, numbers and truth values only in
the rows' attributes. What may stand between tags is looked at apart (`xmltext.sound`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple

from retention.connectors.spreadsheet.sheetxml import column_number

_ROW = rb'(<row r="([1-9]\d{0,6})"((?: [\w:]+="(?:[\d.:]*|true|false)")*)(?:/>|%b</row>))'
_CELL = rb'<c r="%b\2"%b'
_TYPE = rb'(?: t="(s|str|[nbed])")?'
_VALUE = rb"(?:/>|><v>([^<]*)</v></c>)"
_INLINE = rb' t="inlineStr"(?:/>|><is><t(?: xml:space="preserve")?>([^<]*)</t></is></c>)'
_SEEN = re.compile(
    rb'<c r="([A-Z]{1,3})\d+"((?: s="\d+")?)(?: t="(s|str|[nbed])")?(/?)>'
    rb"(?(4)|<v>[^<]*</v></c>)"
)
LETTERS = re.compile(rb'<c r="([A-Z]{1,3})\d')
WIDEST = 200


class Place(NamedTuple):
    """Where a column stands in what a pattern finds."""

    column: int
    kind: bytes | None
    """Type of all its cells; None: it stands before the value."""
    at: int
    inline: bool = False
    """Whether text written in the cell itself stands after the value."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A pattern of rows and what its groups are."""

    pattern: re.Pattern[bytes]
    places: tuple[Place, ...]
    optional: bool
    """Whether a group may have found nothing."""


def found_in(layout: Layout, region: bytes) -> Sequence[Sequence[bytes]] | None:
    """What each group has found, if the pattern has matched the whole region."""
    if layout.optional:
        found = layout.pattern.findall(region)
        whole = sum(map(len, map(itemgetter(0), found))) == len(region)
        return list(zip(*found, strict=True)) if whole else None
    # One flat list: what stands between two matches, and the groups of each.
    pieces = layout.pattern.split(region)
    step = layout.pattern.groups + 1
    if len(pieces) == 1 or any(pieces[::step]):
        return None
    return [pieces[at::step] for at in range(1, step)]


@lru_cache(maxsize=32)
def any_row(letters: tuple[bytes, ...]) -> Layout:
    """Rows whose cells stand in these columns, in this order, each of any type or missing."""
    cell = b"(?:" + _TYPE + _VALUE + b"|" + _INLINE + b")"
    cells = b"".join(b"(?:" + _CELL % (name, rb'(?: s="\d+")?' + cell) + b")?" for name in letters)
    places = tuple(
        Place(column_number(name), None, 4 + 3 * at, inline=True) for at, name in enumerate(letters)
    )
    return Layout(re.compile(_ROW % (b">" + cells)), places, optional=True)


@lru_cache(maxsize=64)
def _shaped(shape: tuple[tuple[bytes, bytes, bytes, bool], ...]) -> Layout:
    cells: list[bytes] = []
    places: list[Place] = []
    for letters, style, kind, empty in shape:
        said = style + (b' t="%b"' % kind if kind else b"")
        cells.append(_CELL % (letters, said + (b"/>" if empty else b"><v>([^<]*)</v></c>")))
        if not empty:
            places.append(Place(column_number(letters), kind, 3 + len(places)))
    # An empty row would leave groups without anything found.
    row = _ROW.replace(b"(?:/>|%b</row>)", b"%b</row>")
    return Layout(re.compile(row % (b">" + b"".join(cells))), tuple(places), optional=False)


def alike(row: bytes) -> Layout | None:
    """The layout of rows with the same columns, styles and types as this one, if that is plain."""
    seen = list(_SEEN.finditer(row))
    if not seen or len(seen) > WIDEST:
        return None
    layout = _shaped(tuple((m[1], m[2], m[3] or b"", m[4] == b"/") for m in seen))
    return layout if layout.pattern.fullmatch(row) else None
