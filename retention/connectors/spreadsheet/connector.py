"""One session with one file. Every call opens it anew: people save it meanwhile."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

from retention.connectors.base import (
    Arrival,
    Content,
    Level,
    Manifest,
    Opened,
    Outcome,
    Page,
    Probe,
    Proof,
    Record,
    Ref,
    Result,
    Scalar,
    Target,
)
from retention.connectors.secrets import reveal
from retention.connectors.spreadsheet.arriving import Arriving
from retention.connectors.spreadsheet.columns import columns_of, settings_of
from retention.connectors.spreadsheet.pauses import steadily, uncollected
from retention.connectors.spreadsheet.proof import control_seen, proofs, unknown
from retention.connectors.spreadsheet.reading import Reading
from retention.connectors.spreadsheet.replace import (
    leftovers,
    refuse_unsafe,
    remove_leftovers,
    snapshot,
)
from retention.connectors.spreadsheet.rewriting import Rewriting
from retention.connectors.spreadsheet.settings import MANIFEST, SpreadsheetSystem
from retention.connectors.spreadsheet.sheets import by_sheet, covers_many, key_in, sheet_and_key
from retention.connectors.spreadsheet.source import Source, opened
from retention.connectors.spreadsheet.table import Table
from retention.connectors.spreadsheet.workbook import Remembered, SheetTable
from retention.errors import ConnectorError

PAGE = 1000


class Spreadsheet:
    """The connector (see connectors/base.py)."""

    def __init__(self, opened_: Opened, page: int = PAGE) -> None:
        if not isinstance(opened_.settings, SpreadsheetSystem):
            raise TypeError("the system's settings are of another connector")
        # Links are followed here, so that replacing changes the file and not the link to it.
        self._path = Path(opened_.base, opened_.settings.path).resolve()
        self._password = opened_.settings.password
        self._zone = ZoneInfo(str(opened_.extras.get("timezone") or "UTC"))
        self._page = page
        self._remembered = Remembered()

    def __repr__(self) -> str:
        return f"Spreadsheet({self._path.name})"

    def describe(self) -> Manifest:
        """Capabilities and settings as data."""
        return MANIFEST

    def close(self) -> None:
        """Nothing stays open between calls; what is remembered of the file is forgotten."""
        self._remembered = Remembered()

    def probe(self, targets: Sequence[Target]) -> Iterator[Probe]:
        """Readable, writable, not open elsewhere, header found, and how rows would go."""
        from retention.connectors.spreadsheet.probefile import probe_file, probe_password
        from retention.connectors.spreadsheet.probing import probe_target
        from retention.connectors.spreadsheet.siblings import probe_copies

        yield from probe_file(self._path)
        for target in targets:
            try:
                with self._open(target) as source:
                    yield from probe_password(source, self._password is not None)
                    yield from probe_target(source, target)
            except ConnectorError as error:
                yield Probe(target.name, ok=False, detail=error.message, hint=error.hint)
        yield from probe_copies(self._path, reveal(self._password), targets)

    def containers(self, target: Target) -> tuple[str, ...]:
        """The sheets, or the CSV file's name."""
        with self._open(target) as source:
            return tuple(table.container for table in source.tables)

    def count(self, target: Target) -> int | None:
        """Rows below the header that hold anything."""
        with self._open(target) as source:
            return sum(self._reading(table, target).count() for table in source.tables)

    def find(self, target: Target, cursor: str | None = None) -> Iterator[Page]:
        """Every row, in pages; sheet by sheet."""
        with self._open(target) as source:
            before = snapshot(source.file)
            epoch = before.digest.hex()
            start, inner = _start(cursor, epoch, _many(target))
            names = [table.container for table in source.tables]
            first = names.index(start) if start in names else 0
            for table in source.tables[first:]:
                reading = self._reading(table, target)
                at = inner if table.container == start or not _many(target) else None
                for page in steadily(reading.find(at, self._page, before)):
                    yield _page(page, table.container, epoch) if _many(target) else page

    def recheck(self, target: Target, keys: Sequence[str]) -> Iterator[Record]:
        """These rows as they are now; one pass over each sheet that they name."""
        if not keys:
            return
        wanted = _grouped(target, [Ref("", key) for key in keys])
        with self._open(target) as source:
            for table in source.tables:
                mine = wanted.get(table.container if _many(target) else "", [])
                if mine:
                    reading = self._reading(table, target)
                    for run in steadily(reading.recheck([ref.key for ref in mine])):
                        for record in run:
                            yield _named(record, table.container) if _many(target) else record

    def read(self, target: Target, refs: Sequence[Ref]) -> Iterator[Content]:
        """Each row as a JSON object by column name."""
        if not refs:
            return
        wanted = _grouped(target, refs)
        with self._open(target) as source:
            for position, table in enumerate(source.tables, 1):
                mine = wanted.get(table.container if _many(target) else "", [])
                if not mine:
                    continue
                reading = self._reading(table, target)
                for content in reading.contents(mine):
                    yield (
                        content._replace(
                            key=key_in(table.container, content.key),
                            filename=f"sheet-{position}-{content.filename}",
                        )
                        if _many(target)
                        else content
                    )

    def erase(self, target: Target, refs: Sequence[Ref]) -> Iterator[Outcome]:
        """Take out exactly these rows; the file is rewritten once for each sheet, or not at all."""
        return self._act(target, refs, None)

    def mask(
        self, target: Target, refs: Sequence[Ref], values: Mapping[str, Scalar]
    ) -> Iterator[Outcome]:
        """Overwrite these columns in exactly these rows."""
        return self._act(target, refs, dict(values))

    def receive(self, target: Target, arrivals: Sequence[Arrival]) -> Iterator[Outcome]:
        """Add a row for each, below the last one; the file is rewritten once, or not at all."""
        if not arrivals:
            return
        if _many(target):
            # A pattern may fit other sheets next year: nothing says which one is meant.
            for arrival in arrivals:
                yield Outcome(arrival.key, Result.FAILED_PERMANENT, "several_sheets")
            return
        with self._open(target) as source:
            refuse_unsafe(self._path, source.file)
            remove_leftovers(self._path)
            columns = columns_of(source.table, target, target.name)
            password = reveal(self._password)
            arriving = Arriving(source, columns, password, self._zone, target.name)
            outcomes = arriving.take_in(arrivals)
        self._remembered = Remembered()
        yield from outcomes

    def verify(
        self,
        target: Target,
        refs: Sequence[Ref],
        control: Ref | None,
        masked: Mapping[str, Scalar] | None = None,
    ) -> Iterator[Proof]:
        """Read the file again: the sheets for the keys, every part for what they carried."""
        if not refs:
            return
        # What a run that died left beside the file holds the rows still.
        left = bool(leftovers(self._path))
        for proof in self._looked(target, refs, control, masked):
            clean = proof.level is Level.CLEAN
            yield proof._replace(level=Level.GONE) if clean and left else proof

    def _looked(
        self,
        target: Target,
        refs: Sequence[Ref],
        control: Ref | None,
        masked: Mapping[str, Scalar] | None,
    ) -> Iterator[Proof]:
        with self._open(target) as source:
            if not _many(target):
                columns = columns_of(source.table, target, target.name)
                yield from proofs(source, columns, refs, control, masked, target.name)
                return
            if control is not None and not self._seen(source, target, control):
                yield from unknown(refs)
                return
            yield from self._proofs(source, target, refs, masked)

    def _seen(self, source: Source, target: Target, control: Ref) -> bool:
        sheet, own = sheet_and_key(control.key)
        for table in source.tables:
            if table.container == sheet:
                place = _place(target, sheet)
                return control_seen(table, columns_of(table, target, place), own, place)
        return False

    def _proofs(
        self,
        source: Source,
        target: Target,
        refs: Sequence[Ref],
        masked: Mapping[str, Scalar] | None,
    ) -> Iterator[Proof]:
        tables = {table.container: table for table in source.tables}
        for sheet, mine in by_sheet(refs).items():
            if sheet not in tables:
                # Renamed, or taken out by somebody: its rows may stand under another name.
                yield from unknown([ref._replace(key=_key(sheet, ref.key)) for ref in mine])
                continue
            place = _place(target, sheet)
            columns = columns_of(tables[sheet], target, place)
            looked = Source(
                source.path, source.file, [tables[sheet]], source.encrypted, source.package
            )
            for proof in proofs(looked, columns, mine, None, masked, place):
                yield proof._replace(key=key_in(sheet, proof.key))

    @contextlib.contextmanager
    def _open(self, target: Target, only: str | None = None) -> Iterator[Source]:
        with opened(self._path, reveal(self._password), settings_of(target), only) as source:
            digest = snapshot(source.file).digest
            if digest != self._remembered.digest:
                self._remembered = Remembered(digest)
            if source.tables and isinstance(source.table, SheetTable):
                source.table.workbook.remember(self._remembered)
            yield source

    def _reading(self, table: Table, target: Target) -> Reading:
        """Only while the file that holds the table is open."""
        place = _place(target, table.container)
        return Reading(table, target, place, self._remembered.keys)

    def _act(
        self, target: Target, refs: Sequence[Ref], masked: Mapping[str, Scalar] | None
    ) -> Iterator[Outcome]:
        for sheet, mine in _grouped(target, refs).items():
            outcomes = self._act_on(target, sheet, mine, masked)
            for ref in mine:
                outcome = outcomes.get(ref.key) or Outcome(ref.key, Result.UNKNOWN)
                yield outcome._replace(key=_key(sheet, ref.key)) if _many(target) else outcome

    def _act_on(
        self,
        target: Target,
        sheet: str,
        refs: Sequence[Ref],
        masked: Mapping[str, Scalar] | None,
    ) -> dict[str, Outcome]:
        with self._open(target, sheet if _many(target) else None) as source:
            if not source.tables:
                gone = Outcome("", Result.FAILED_PERMANENT, "no_sheet")
                return {ref.key: gone._replace(key=ref.key) for ref in refs}
            refuse_unsafe(self._path, source.file)
            remove_leftovers(self._path)
            place = _place(target, source.table.container)
            columns = columns_of(source.table, target, place)
            mode = settings_of(target).mode
            rewriting = Rewriting(source, columns, masked, reveal(self._password), place, mode)
            with uncollected():
                outcomes = rewriting.act(refs)
        self._remembered = Remembered()
        return outcomes


def _many(target: Target) -> bool:
    return covers_many(settings_of(target).sheet)


def _place(target: Target, sheet: str) -> str:
    return f"{target.name}, sheet {sheet!r}" if _many(target) else target.name


def _grouped(target: Target, refs: Sequence[Ref]) -> dict[str, list[Ref]]:
    """Refs with their own keys by sheet; all under "" where the location has one sheet only."""
    if _many(target):
        return by_sheet(refs)
    return {"": list(refs)} if refs else {}


def _key(sheet: str, own: str) -> str:
    """The key as it was asked for, also where it named no sheet."""
    return key_in(sheet, own) if sheet else own


def _named(record: Record, sheet: str) -> Record:
    return record._replace(ref=record.ref._replace(key=key_in(sheet, record.ref.key)))


def _page(page: Page, sheet: str, epoch: str) -> Page:
    cursor = json.dumps({"sheet": sheet, "file": epoch, "at": page.cursor})
    return Page([_named(record, sheet) for record in page.records], cursor, page.scanned)


def _start(cursor: str | None, epoch: str, many: bool) -> tuple[str, str | None]:
    """The sheet a cursor has reached, and where in it; the beginning where the file has changed."""
    if not many:
        return "", cursor
    try:
        said = json.loads(cursor) if cursor else {}
        return (said["sheet"], said["at"]) if said.get("file") == epoch else ("", None)
    except (ValueError, KeyError, AttributeError, TypeError):
        return "", None
