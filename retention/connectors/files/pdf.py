"""Creation and modification date of a PDF, from its information dictionary.

Found by the document's own cross-reference table, never by searching: attachments and notes in a
PDF carry dates of the same names. Tables in streams, encrypted files and damaged ones give none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import BinaryIO

from retention.connectors.base import When
from retention.connectors.files.stamps import of_pdf

_TAIL = 2048
_LARGEST = 64 * 1024
_MOST_UPDATES = 64
_MOST_SECTIONS = 10_000
_START = re.compile(rb"startxref\s+(\d{1,12})\s+%%EOF")
_SECTION = re.compile(rb"\s*(\d{1,10}) (\d{1,10})\s*?[\r\n]+")
_ENTRY = re.compile(rb"(\d{10}) (\d{5}) ([nf])")
_INFO = re.compile(rb"/Info\s+(\d{1,10})\s+(\d{1,5})\s+R")
_PREVIOUS = re.compile(rb"/Prev\s+(\d{1,12})")
_DATE = {
    "document_created": re.compile(rb"/CreationDate\s*\(([^()\\]{0,40})\)"),
    "document_modified": re.compile(rb"/ModDate\s*\(([^()\\]{0,40})\)"),
}


class _UnclearError(Exception):
    """Not to be read for certain by this small reader."""


def dates(file: BinaryIO) -> Mapping[str, When]:
    """Both dates, as far as they are there."""
    try:
        body = _information(file)
    except (_UnclearError, ValueError):
        return {}
    found = {source: pattern.findall(body) for source, pattern in _DATE.items()}
    return {
        source: of_pdf(said[0].decode("latin-1")) if len(said) == 1 else None
        for source, said in found.items()
    }


def _information(file: BinaryIO) -> bytes:
    """The text of the information dictionary."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL))
    starts = _START.findall(file.read())
    if not starts:
        raise _UnclearError
    at, wanted = int(starts[-1]), None
    for _ in range(_MOST_UPDATES):
        sections, trailer = _table(file, at)
        if b"/Encrypt" in trailer:
            raise _UnclearError
        if wanted is None:
            # The newest trailer says which object it is; the newest table that has it, where.
            wanted = _INFO.search(trailer)
            if wanted is None:
                raise _UnclearError
        number, generation = int(wanted.group(1)), int(wanted.group(2))
        if (offset := _offset(file, sections, number)) is not None:
            return _dictionary(file, offset, number, generation)
        previous = _PREVIOUS.search(trailer)
        if previous is None:
            break
        at = int(previous.group(1))
    raise _UnclearError


def _table(file: BinaryIO, at: int) -> tuple[list[tuple[int, int, int]], bytes]:
    """One cross-reference table: (first object, how many, where), and the trailer's text."""
    file.seek(at)
    if file.readline(64).strip() != b"xref":
        raise _UnclearError
    sections: list[tuple[int, int, int]] = []
    while section := _SECTION.fullmatch(line := file.readline(64)):
        first, count = int(section.group(1)), int(section.group(2))
        sections.append((first, count, file.tell()))
        if len(sections) > _MOST_SECTIONS:
            raise _UnclearError
        file.seek(count * 20, os.SEEK_CUR)
    if not line.strip().startswith(b"trailer"):
        raise _UnclearError
    text = line + file.read(_LARGEST)
    end = text.find(b"startxref")
    if end < 0:
        raise _UnclearError
    return sections, text[:end]


def _offset(file: BinaryIO, sections: list[tuple[int, int, int]], number: int) -> int | None:
    """Where an object begins, if this table has it."""
    for first, count, at in sections:
        if first <= number < first + count:
            file.seek(at + (number - first) * 20)
            entry = _ENTRY.match(file.read(20))
            if entry is None or entry.group(3) == b"f":
                raise _UnclearError
            return int(entry.group(1))
    return None


def _dictionary(file: BinaryIO, at: int, number: int, generation: int) -> bytes:
    file.seek(at)
    text = file.read(_LARGEST)
    head = re.match(rb"\s*(\d+)\s+(\d+)\s+obj\b", text)
    end = text.find(b"endobj")
    if head is None or end < 0 or [int(x) for x in head.groups()] != [number, generation]:
        raise _UnclearError
    return text[head.end() : end]
