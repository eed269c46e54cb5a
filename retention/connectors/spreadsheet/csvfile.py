"""A CSV file as a table, and without some of its rows: every other byte stays what it was."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from typing_extensions import Buffer

from retention.connectors.base import Scalar
from retention.connectors.spreadsheet.table import Calendar, Cell, Row
from retention.errors import PermanentFailure

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DELIMITERS = ",;\t|"
_SAMPLE = 64 * 1024
_CHUNK = 1 << 20
_SEPARATOR = re.compile(r"sep=(.)(\r\n|\n|\r)", re.IGNORECASE)
"""The line by which Excel is told the delimiter; it stands before the header."""
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
# The default of 128 KB is shorter than a field may be; a mark left open is noticed at the end.
csv.field_size_limit(64 << 20)


@dataclass(frozen=True, slots=True)
class Dialect:
    """How this file is written, found by looking."""

    bom: bytes
    encoding: str
    delimiter: str
    newline: str
    preamble: str = ""
    """`sep=;` with its line end, where the file begins with it."""


class CsvTable:
    """One CSV file, open for reading."""

    def __init__(
        self,
        file: BinaryIO,
        container: str,
        date_format: str | None,
        encoding: str | None = None,
    ) -> None:
        self._file, self._said = file, encoding
        self.container = container
        self.calendar = Calendar(date_format=date_format)
        self.dialect = sniff(file, encoding)

    def rows(self, only: Collection[int] = ()) -> Iterator[Row]:  # noqa: ARG002 - nothing to gain
        """Every record in order; `Row.number` counts records from 1, `raw` is its own bytes."""
        width = 0
        for number, raw, fields in self.records():
            width = width or len(fields)
            cells = [
                Cell(column, "s", text.encode("utf-8", "surrogatepass"))
                for column, text in enumerate(fields, 1)
                if text
            ]
            yield Row(number, cells, raw.encode(self.dialect.encoding), self._ragged(fields))

    @property
    def encoding_said(self) -> bool:
        """Whether the policy says the encoding."""
        return self._said is not None

    def bytes(self) -> Iterator[bytes]:
        """The file as it is, in chunks."""
        self._file.seek(0)
        yield from iter(lambda: self._file.read(_CHUNK), b"")

    def again(self, file: BinaryIO) -> CsvTable:
        """Another file, to be read as this one is."""
        table = CsvTable(file, self.container, self.calendar.date_format, self._said)
        table.dialect, table.width = self.dialect, self.width
        return table

    def _ragged(self, fields: list[str]) -> bool:
        return self.width is not None and len(fields) > self.width

    width: int | None = None
    """Number of columns in the header, once it is known."""

    def records(self) -> Iterator[tuple[int, str, list[str]]]:
        """(number, text with its line end, fields) of every record. Raises PermanentFailure."""
        start = len(self.dialect.bom) + len(self.dialect.preamble.encode(self.dialect.encoding))
        self._file.seek(start)
        below = io.BufferedReader(_Unclosed(self._file), _CHUNK)
        text = io.TextIOWrapper(below, encoding=self.dialect.encoding, newline="")
        lines: list[str] = []

        def logged() -> Iterator[str]:
            for line in text:
                lines.append(line)
                yield line

        reader = csv.reader(logged(), delimiter=self.dialect.delimiter, strict=True)
        number = 0
        try:
            for fields in reader:
                number += 1
                yield number, "".join(lines), fields
                lines.clear()
        except csv.Error as error:
            raise PermanentFailure(
                f"the record after record {number} is not well-formed CSV",
                hint="look for a quotation mark that is not closed or not doubled; a backslash "
                "before it does not do",
                code="csv_form",
            ) from error

    def rewrite(
        self,
        out: BinaryIO,
        removed: Collection[int],
        masked: Mapping[int, Mapping[int, Scalar]],
    ) -> None:
        """The file again without `removed` records; in `masked` ones, columns take new values."""
        out.write(self.dialect.bom + self.dialect.preamble.encode(self.dialect.encoding))
        for number, raw, fields in self.records():
            if number in removed:
                continue
            text = self._with(raw, fields, masked[number]) if number in masked else raw
            out.write(text.encode(self.dialect.encoding))

    def _with(self, raw: str, fields: list[str], values: Mapping[int, Scalar]) -> str:
        changed = fields + [""] * (max(values) - len(fields))
        for column, value in values.items():
            changed[column - 1] = "" if value is None else str(value)
        end = raw[len(raw.rstrip("\r\n")) :]
        # Only the fields that change are written anew: the others keep their quoting.
        kept = split_line(raw[: len(raw) - len(end)], self.dialect.delimiter)
        pieces = kept + [""] * (len(changed) - len(kept))
        for column in values:
            pieces[column - 1] = quoted(changed[column - 1], self.dialect.delimiter)
        return self.dialect.delimiter.join(pieces) + end


def split_line(line: str, delimiter: str) -> list[str]:
    """The fields of a record as they are written, without its line end."""
    pieces, start, quoted = [], 0, False
    for at, character in enumerate(line):
        if character == '"' and (quoted or at == start):
            quoted = not quoted
        elif character == '"':
            quoted = line[start] == '"' and not quoted
        elif character == delimiter and not quoted:
            pieces.append(line[start:at])
            start = at + 1
    return [*pieces, line[start:]]


def quoted(text: str, delimiter: str) -> str:
    """A field as it must be written."""
    if any(c in text for c in (delimiter, '"', "\r", "\n")) or text != text.strip():
        return '"' + text.replace('"', '""') + '"'
    return text


def like_formula(text: str) -> bool:
    """Whether a spreadsheet program would compute a field. Numbers, with spaces too, are none."""
    return text.lstrip(" ").startswith(_FORMULA_STARTS) and not re.fullmatch(
        r"-+|[+-]?\d[\d ]*(?:[.,]\d+)?", text.strip(" ")
    )


def refuse_formulas(values: Mapping[str, Scalar], place: str) -> None:
    """Raise where a spreadsheet program would take a value as a formula: CSV has no types."""
    for name, value in values.items():
        if isinstance(value, str) and like_formula(value):
            raise PermanentFailure(
                f"the value for {name!r} would be taken as a formula by spreadsheet programs",
                hint="let it begin with another character than = + - @",
                place=place,
                code="formula",
            )


def sniff(file: BinaryIO, said: str | None = None) -> Dialect:
    """Encoding, delimiter and line end of a file. `said`: the encoding, where the policy says it.

    Raises PermanentFailure where the file is not text in that encoding.
    """
    file.seek(0)
    start = file.read(_SAMPLE)
    bom, encoding = next(((b, e) for b, e in _BOMS if start.startswith(b)), (b"", said or ""))
    if said is not None and encoding != said:
        raise PermanentFailure(
            f"the file's mark says {encoding}, not {said}",
            hint="leave `encoding:` out, or set it right",
            code="not_text",
        )
    if not encoding:
        if _holds_nul(file):
            raise PermanentFailure(
                "the file holds NUL bytes and is not read as text",
                hint="if it is UTF-16 without a mark, say `encoding: utf-16-le`",
                code="not_text",
            )
        encoding = next(e for e in ("utf-8", "cp1252", "iso8859-1") if _decodes(file, e))
    elif not _decodes(file, encoding):
        raise PermanentFailure(
            f"the file is not {encoding}, which {'the policy' if said else 'its mark'} says",
            hint="set `encoding:` right" if said else "save it again as CSV UTF-8",
            code="not_text",
        )
    sample = start[len(bom) :].decode(encoding, "ignore")
    newline = "\r\n" if "\r\n" in sample else "\n" if "\n" in sample or "\r" not in sample else "\r"
    if told := _SEPARATOR.match(sample):
        return Dialect(bom, encoding, told[1], newline, told[0])
    return Dialect(bom, encoding, _delimiter(sample), newline)


def _holds_nul(file: BinaryIO) -> bool:
    file.seek(0)
    return any(b"\0" in chunk for chunk in iter(lambda: file.read(_CHUNK), b""))


def _decodes(file: BinaryIO, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    file.seek(0)
    try:
        while chunk := file.read(_CHUNK):
            decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _delimiter(sample: str) -> str:
    """The delimiter that cuts the first records into most pieces of one count."""
    best, most = ",", 0
    for delimiter in _DELIMITERS:
        try:
            counts = [
                len(fields)
                for fields, _ in zip(
                    csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter),
                    range(20),
                    strict=False,
                )
                if fields
            ]
        except csv.Error:
            continue
        # The last record of a sample may be cut off.
        whole = counts[:-1] or counts
        if whole and min(whole) == max(whole) and whole[0] > most:
            best, most = delimiter, whole[0]
        elif whole and most <= 1 and max(whole) > 1 and whole[0] > 1:
            best, most = delimiter, 2
    return best


class _Unclosed(io.RawIOBase):
    """A file that a text wrapper may end without closing the one below."""

    def __init__(self, file: BinaryIO) -> None:
        self._below = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self._below.read(len(view))
        view[: len(data)] = data
        return len(data)
