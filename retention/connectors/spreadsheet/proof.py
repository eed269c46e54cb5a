"""The look after the act: are the rows gone, and does anything of them remain elsewhere?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from retention.connectors.base import Level, Proof, Ref, Scalar
from retention.connectors.spreadsheet.blocks import Block
from retention.connectors.spreadsheet.columns import Columns, cell_at, record_pieces
from retention.connectors.spreadsheet.csvfile import CsvTable
from retention.connectors.spreadsheet.identity import own_key, untouchable
from retention.connectors.spreadsheet.lookup import with_words_of
from retention.connectors.spreadsheet.pauses import uncollected
from retention.connectors.spreadsheet.reading import traces
from retention.connectors.spreadsheet.residue import Needles, Sought, Words, left_in
from retention.connectors.spreadsheet.searched import texts_of
from retention.connectors.spreadsheet.source import Source
from retention.connectors.spreadsheet.table import Row, Table, scalar_of
from retention.connectors.spreadsheet.workbook import SheetTable

BY_KEY = "sheet read by key"
EVERY_PART = "sheet read by key, every part searched"


def proofs(
    source: Source,
    columns: Columns,
    refs: Sequence[Ref],
    control: Ref | None,
    masked: Mapping[str, Scalar] | None,
    place: str,
) -> Iterator[Proof]:
    """One proof per ref; all `unknown` where the control record cannot be read."""
    wanted = {ref.key for ref in refs}
    there: dict[str, bool] = {}
    seen = control is None
    for piece in record_pieces(source.table, columns):
        if isinstance(piece, Block):
            keys = piece.texts(columns.key)
            seen = seen or (control is not None and control.key in keys)
            found = [at for at, key in enumerate(keys) if key in wanted]
            rows: Iterable[Row] = piece.select(found).rows() if found else ()
        else:
            seen = seen or (control is not None and own_key(piece, columns, place) == control.key)
            rows = (piece,)
        for row in rows:
            key = own_key(row, columns, place)
            if key in wanted:
                fits = masked is not None and _holds(row, columns, masked)
                there[key] = there.get(key, True) and fits
    if not seen:
        yield from unknown(refs)
        return
    with uncollected():
        left = _residue(source, refs) if masked is None else frozenset[str]()
    for ref in refs:
        yield _proof(ref, there, left, masked is not None)


def unknown(refs: Sequence[Ref]) -> Iterator[Proof]:
    """Nothing is proved: what is known to be there could not be read."""
    yield from (Proof(ref.key, Level.UNKNOWN, "control record not found") for ref in refs)


def control_seen(table: Table, columns: Columns, key: str, place: str) -> bool:
    """Whether a record known to exist can be read."""
    return any(
        row.number > columns.header and row.cells and own_key(row, columns, place) == key
        for row in table.rows((columns.key,))
    )


def _proof(ref: Ref, there: Mapping[str, bool], left: frozenset[str], masked: bool) -> Proof:
    if untouchable(ref.key):
        return Proof(ref.key, Level.PRESENT, BY_KEY)
    if masked:
        done = there.get(ref.key, True)
        return Proof(ref.key, Level.GONE if done else Level.PRESENT, BY_KEY)
    if ref.key in there:
        return Proof(ref.key, Level.PRESENT, BY_KEY)
    return Proof(ref.key, Level.GONE if ref.key in left else Level.CLEAN, EVERY_PART)


def _holds(row: Row, columns: Columns, masked: Mapping[str, Scalar]) -> bool:
    return all(
        _same(scalar_of(cell_at(row, columns.places[name])), value)
        for name, value in masked.items()
        if name in columns.places
    )


def _same(found: Scalar, wanted: Scalar) -> bool:
    if wanted is None or wanted == "":
        return found is None or found == ""
    if isinstance(wanted, bool):
        return str(found).casefold() == str(wanted).casefold()
    return found == wanted or str(found) == str(wanted)


def _residue(source: Source, refs: Sequence[Ref]) -> frozenset[str]:
    """Keys of which something distinctive stands anywhere in the file."""
    by_key = traces(refs)
    values = list(chain.from_iterable(by_key.values()))
    # Mostly no word of them is left, and then nothing has to be known of each value.
    words = set(_found(source, Words(values))) if values else set[str]()
    needles = Needles(with_words_of(values, words))
    if not needles:
        return frozenset()
    found = set(_found(source, needles))
    return frozenset(key for key, values in by_key.items() if not found.isdisjoint(values))


def _found(source: Source, needles: Sought) -> Iterable[str]:
    if isinstance(source.table, CsvTable):
        source.file.seek(0)
        chunks = iter(lambda: source.file.read(1 << 20), b"")
        return needles.among(chunks, source.table.dialect.encoding)
    if source.package is None:
        return ()
    package = source.package.zip
    if isinstance(source.table, SheetTable):
        cells = dict(texts_of(source.table.workbook))
        others = [name for name in package.namelist() if name not in cells]
        inside = chain.from_iterable(needles.among(texts) for texts in cells.values())
        return chain(inside, (value for _, value in left_in(package, others, needles)))
    found = (value for _, value in left_in(package, package.namelist(), needles))
    return chain(found, needles.among(source.table.book.searchable()))
