"""When a photograph was taken: DateTimeOriginal in a JPEG's EXIF block."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from datetime import date
from typing import BinaryIO

from retention.connectors.base import When

_EXIF_FOLDER = 0x8769
_ORIGINAL = 0x9003
_MOST_MARKERS = 64
_STAMP = re.compile(rb"(\d{4}):(\d\d):(\d\d) \d\d:\d\d:\d\d\0?")


def dates(file: BinaryIO) -> Mapping[str, When]:
    """The civil date by the camera's clock, which knows no zone."""
    try:
        block = _exif(file)
        return {} if block is None else {"taken": _taken(block)}
    except (struct.error, ValueError):
        return {}


def _exif(file: BinaryIO) -> bytes | None:
    """The EXIF block, a small TIFF file."""
    if file.read(2) != b"\xff\xd8":
        return None
    for _ in range(_MOST_MARKERS):
        start, marker, length = struct.unpack(">BBH", file.read(4))
        if start != 0xFF or marker == 0xDA or length < 2:
            return None
        data = file.read(length - 2)
        if marker == 0xE1 and data.startswith(b"Exif\0\0"):
            return data[6:]
    return None


def _taken(block: bytes) -> When:
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return None
    (first,) = struct.unpack_from(f"{order}I", block, 4)
    folder = _tag(block, order, first, _EXIF_FOLDER)
    if folder is None:
        return None
    found = _tag(block, order, folder[2], _ORIGINAL)
    if found is None:
        return None
    kind, count, at = found
    stamp = _STAMP.fullmatch(block[at : at + count]) if kind == 2 else None
    return date(*(int(part) for part in stamp.groups())) if stamp else None


def _tag(block: bytes, order: str, folder: int, wanted: int) -> tuple[int, int, int] | None:
    """(type, count, value or offset) of one tag of one folder."""
    (entries,) = struct.unpack_from(f"{order}H", block, folder)
    for number in range(entries):
        tag, kind, count, value = struct.unpack_from(
            f"{order}HHII", block, folder + 2 + number * 12
        )
        if tag == wanted:
            return kind, count, value
    return None
