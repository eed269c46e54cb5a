"""One row's XML: renumbered, blanked, with new values, its formulas put right."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from retention.connectors.base import Scalar
from retention.connectors.spreadsheet.sheetxml import (
    Grammar,
    column_letters,
    column_number,
)
from retention.connectors.spreadsheet.shift import (
    RowMap,
    Unshiftable,
    only_row,
    shift_formula,
    translate,
)
from retention.connectors.spreadsheet.xmltext import attributes, escape, unescape, written

_ROW_NUMBER = re.compile(rb"""(\sr\s*=\s*["'])\d+""")
_PLAIN_FORMULA = re.compile(rb"<f>([^<]*)</f>")
_OWN = re.compile(rb"(?<![\w.$])(\$?[A-Z]{1,3})([1-9]\d{0,6})(?![\w.(!\[])")
_NOT_PLAIN = re.compile(rb"""["'!\[\]{}#$@\\]|[A-Za-z_.]\d|:\d|[^\x00-\x7f]""")
_PLAIN_REFERENCE = re.compile(rb'(<c r="[A-Z]{1,3})\d+')
_REFERENCE = re.compile(rb"""(\sr\s*=\s*["'][A-Z]{1,3})\d+""")


def moved(raw: bytes, old: int, new: int, names: Grammar) -> bytes:
    """A row that a block held, under another number: every cell of it is named by `old`."""
    said = b'%d"' % old
    # One more than there are cells: the row's own number, and no style or height of that number.
    if raw.count(said) == raw.count(b"<c ") + 1:
        return raw.replace(said, b'%d"' % new)
    return renumber(raw, new, names)


def renumber(raw: bytes, number: int, names: Grammar) -> bytes:
    """The row, and every cell in it, under another number."""
    end = raw.index(b">") + 1
    opening = _ROW_NUMBER.sub(lambda m: b"%b%d" % (m[1], number), raw[:end], count=1)
    pieces = _PLAIN_REFERENCE.split(raw[end:])
    said = b"%d" % number
    starts, rests = pieces[1::2], pieces[2::2]
    rest = b"".join([pieces[0], *[a + said + b for a, b in zip(starts, rests, strict=True)]])
    if len(starts) != raw.count(b"<%bc" % names.prefix):
        rest = names.cell.sub(
            lambda m: _in_tag(m, lambda tag: _REFERENCE.sub(b"\\g<1>%d" % number, tag)),
            raw[end:],
        )
    return opening + rest


def _in_tag(match: re.Match[bytes], change: Callable[[bytes], bytes]) -> bytes:
    said = match.end(1) - match.start()
    return change(match[0][:said]) + match[0][said:]


def blank(raw: bytes, names: Grammar) -> bytes:
    """The row with every cell emptied; styles and height stay."""
    return names.cell.sub(lambda m: _cell(names, attributes(m[1]), b""), raw)


def with_values(raw: bytes, number: int, values: Mapping[int, Scalar], names: Grammar) -> bytes:
    """The row with these columns overwritten; None empties a cell."""
    left = dict(values)
    out: list[bytes] = []
    opened = names.row.match(raw)
    if opened is None or opened[2]:
        raise Unshiftable("a row without cells")
    column = 0
    for match in names.cell.finditer(raw):
        said = attributes(match[1])
        column = column_number(said[b"r"].rstrip(b"0123456789")) if b"r" in said else column + 1
        before = sorted(c for c in left if c < column)
        out += [valued(names, {b"r": _name(c, number)}, left.pop(c)) for c in before]
        if column in left:
            out.append(valued(names, said, left.pop(column)))
        else:
            out.append(match[0])
    out += [valued(names, {b"r": _name(c, number)}, left[c]) for c in sorted(left)]
    return opened[0] + b"".join(out) + b"</%brow>" % names.prefix


def _name(column: int, row: int) -> bytes:
    return column_letters(column) + b"%d" % row


def valued(names: Grammar, said: Mapping[bytes, bytes], value: Scalar) -> bytes:
    """A cell with this value, in the place and style that `said` names; None empties it."""
    p = names.prefix
    if value is None or value == "":
        return _cell(names, said, b"")
    if isinstance(value, bool):
        return _cell(names, said, b"<%bv>%d</%bv>" % (p, value, p), b"b")
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return _cell(names, said, b"<%bv>%b</%bv>" % (p, repr(value).encode(), p))
    text = re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "", str(value))
    inner = b'<%bis><%bt xml:space="preserve">%b</%bt></%bis>' % (p, p, escape(text), p, p)
    return _cell(names, said, inner, b"inlineStr")


def _cell(names: Grammar, said: Mapping[bytes, bytes], inner: bytes, kind: bytes = b"") -> bytes:
    kept = written({k: said[k] for k in (b"r", b"s") if k in said})
    kept += b' t="%b"' % kind if kind else b""
    if not inner:
        return b"<%bc%b/>" % (names.prefix, kept)
    return b"<%bc%b>%b</%bc>" % (names.prefix, kept, inner, names.prefix)


@dataclass(slots=True)
class Formulas:
    """Puts the formulas of one sheet right, row by row from the top.

    `rows`: where rows go; None where none moves. Results that may rest on rows which went are
    left out, so that a stale total is never shown: programs compute them when they open the file.
    """

    sheet: str
    rows: RowMap | None
    names: Grammar
    _masters: dict[bytes, tuple[int, int, str]] = field(default_factory=dict)
    _simple: dict[bytes, bool] = field(default_factory=dict)
    """By text without row numbers: whether a formula reads its own row only."""

    def moved(self, number: int, raw: bytes, new: int) -> bytes:
        """The row, put right, under its new number. Raises Unshiftable."""
        if self._all_simple(number, raw):
            if new == number:
                return raw
            said = b"\\g<1>%d" % new
            own = _PLAIN_FORMULA.sub(lambda m: b"<f>" + _OWN.sub(said, m[1]) + b"</f>", raw)
            return renumber(own, new, self.names)
        kept = self.put_right(number, raw)
        return renumber(kept, new, self.names) if new != number else kept

    def _stays_in(self, number: int, text: bytes) -> bool:
        """Whether a formula reads its own row only, and nothing in it is refused."""
        formula = unescape(text).decode()
        try:
            shift_formula(formula, self.rows or RowMap(()), self.sheet, here=True)
        except Unshiftable:
            return False
        return only_row(formula, number)

    def _all_simple(self, number: int, raw: bytes) -> bool:
        """Whether every formula of a row reads nothing but cells of this row, by plain names."""
        found = _PLAIN_FORMULA.findall(raw)
        if self.names.prefix or len(found) != raw.count(b"<f"):
            return False
        own = b"%d" % number
        for text in found:
            pieces = _OWN.split(text)
            if set(pieces[2::3]) != {own}:
                return False
            shape = b"\0".join(pieces[::3]) + b"\1" + b"\0".join(pieces[1::3])
            if shape not in self._simple:
                odd = _NOT_PLAIN.search(b" ".join(pieces[::3]))
                self._simple[shape] = odd is None and self._stays_in(number, text)
            if not self._simple[shape]:
                return False
        return True

    def learn(self, number: int, raw: bytes) -> None:
        """Remember the shared formulas that a row begins."""
        for cell in self.names.cell.finditer(raw):
            formula = self.names.formula.search(cell[2] or b"")
            if formula is None or not formula[2]:
                continue
            said = attributes(formula[1])
            if said.get(b"t") == b"shared":
                column = _column(cell)
                self._masters[said.get(b"si", b"")] = (
                    number,
                    column,
                    unescape(formula[2]).decode(),
                )

    def texts(self, number: int, raw: bytes) -> list[str]:
        """The row's formulas as they read in their own cells, shared ones too. Or Unshiftable."""
        self.learn(number, raw)
        found = (self._text(number, cell) for cell in self.names.cell.finditer(raw))
        return [text for text in found if text is not None]

    def put_right(self, number: int, raw: bytes, *, distrust: bool = False) -> bytes:
        """The row with its formulas written out and moved. Raises Unshiftable.

        `distrust`: no stored result of this row holds any more.
        """
        self.learn(number, raw)
        texts = [self._text(number, cell) for cell in self.names.cell.finditer(raw)]
        local = not distrust and all(text is None or only_row(text, number) for text in texts)
        remaining = iter(texts)
        return self.names.cell.sub(
            lambda cell: self._cell(cell, next(remaining), keep_result=local), raw
        )

    def _text(self, number: int, cell: re.Match[bytes]) -> str | None:
        formula = self.names.formula.search(cell[2] or b"")
        if formula is None:
            return None
        said = attributes(formula[1])
        if said.get(b"t") == b"dataTable":
            raise Unshiftable("a what-if data table")
        if said.get(b"t") != b"shared" or formula[2]:
            return unescape(formula[2] or b"").decode()
        master = self._masters.get(said.get(b"si", b""))
        if master is None:
            raise Unshiftable("a shared formula whose first cell is missing")
        row, column, text = master
        here = _column(cell)
        return translate(text, number - row, here - column)

    def _cell(self, cell: re.Match[bytes], text: str | None, *, keep_result: bool) -> bytes:
        if text is None:
            return cell[0]
        names, said, inner = self.names, attributes(cell[1]), cell[2]
        formula = names.formula.search(inner)
        kept = attributes(formula[1]) if formula else {}
        if kept.get(b"t") == b"shared":
            kept = {k: v for k, v in kept.items() if k not in (b"t", b"si", b"ref")}
        if self.rows is not None:
            text = shift_formula(text, self.rows, self.sheet, here=True)
            if b"ref" in kept:
                moved = self.rows.area(kept[b"ref"].decode())
                if moved is None:
                    raise Unshiftable("an array formula that loses its cells")
                kept[b"ref"] = moved.encode()
        inside = b"<%bf%b>%b</%bf>" % (names.prefix, written(kept), escape(text), names.prefix)
        value = names.value.search(inner)
        if keep_result and value is not None:
            inside += value[0]
        else:
            said.pop(b"t", None)
        return b"<%bc%b>%b</%bc>" % (names.prefix, written(said), inside, names.prefix)


def _column(cell: re.Match[bytes]) -> int:
    said = attributes(cell[1]).get(b"r")
    if said is None:
        raise Unshiftable("a shared formula in a cell without a name")
    return column_number(said.rstrip(b"0123456789"))


def without_results(raw: bytes, names: Grammar) -> bytes:
    """The row with the stored results of its formulas left out, formulas as they are."""

    def drop(cell: re.Match[bytes]) -> bytes:
        formula = names.formula.search(cell[2] or b"")
        if formula is None:
            return cell[0]
        said = {k: v for k, v in attributes(cell[1]).items() if k != b"t"}
        return b"<%bc%b>%b</%bc>" % (names.prefix, written(said), formula[0], names.prefix)

    return names.cell.sub(drop, raw)
