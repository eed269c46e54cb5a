"""Core properties of Office and OpenDocument files: a small XML part in a zip archive."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import BinaryIO
from xml.etree import ElementTree as ET

from retention.connectors.base import When
from retention.connectors.files.stamps import iso

_LARGEST_PART = 1024 * 1024
_LARGEST_DIRECTORY = 16 * 1024 * 1024
_TERMS = "{http://purl.org/dc/terms/}"
_DC = "{http://purl.org/dc/elements/1.1/}"
_META = "{urn:oasis:names:tc:opendocument:xmlns:meta:1.0}"


def ooxml(file: BinaryIO) -> Mapping[str, When]:
    """Created and modified, as Word, Excel and PowerPoint write them."""
    return _dates(file, "docProps/core.xml", f"{_TERMS}created", f"{_TERMS}modified")


def opendocument(file: BinaryIO) -> Mapping[str, When]:
    """Created and modified, as LibreOffice writes them: local times, so civil dates."""
    return _dates(file, "meta.xml", f"{_META}creation-date", f"{_DC}date")


def _dates(file: BinaryIO, part: str, created: str, modified: str) -> Mapping[str, When]:
    try:
        tree = _tree(file, part)
    except (
        zipfile.BadZipFile,
        zlib.error,
        ET.ParseError,
        NotImplementedError,
        RuntimeError,
        LookupError,
        ValueError,
        EOFError,
        struct.error,
    ):
        return {}
    if tree is None:
        return {}
    return {"document_created": _one(tree, created), "document_modified": _one(tree, modified)}


def _one(tree: ET.Element, name: str) -> When:
    found = tree.findall(f".//{name}")
    # Said twice is not said for certain.
    return iso(found[0].text or "") if len(found) == 1 else None


def _tree(file: BinaryIO, part: str) -> ET.Element | None:
    if not _modest(file):
        return None
    with zipfile.ZipFile(file) as archive, archive.open(part) as stream:
        data = stream.read(_LARGEST_PART + 1)
    if len(data) > _LARGEST_PART or b"<!" in data.replace(b"<!--", b""):
        # No program writes a document type here; entities could be made to explode.
        return None
    return ET.fromstring(data)  # noqa: S314 -- without a document type, and small


def _modest(file: BinaryIO) -> bool:
    """Whether the archive's directory can be read without filling memory."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 66_000))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) < at + 22:
        return False
    (directory,) = struct.unpack_from("<I", tail, at + 12)
    file.seek(0)
    return int(directory) <= _LARGEST_DIRECTORY
