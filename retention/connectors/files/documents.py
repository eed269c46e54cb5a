"""Dates that a document says of itself: Office, OpenDocument, PDF, photographs.

A date that cannot be read for certain is None: the record is then undetermined and goes to
review. Nothing is fetched for it: a file whose content lies in a cloud is not opened.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import BinaryIO

from retention.connectors.base import When
from retention.connectors.files import office, pdf, photo
from retention.connectors.files.identity import dataless, version_of

DATES = ("document_created", "document_modified", "taken")
Reader = Callable[[BinaryIO], Mapping[str, When]]

_READERS: Mapping[str, Reader] = {
    **dict.fromkeys((".docx", ".xlsx", ".pptx", ".docm", ".xlsm", ".pptm"), office.ooxml),
    **dict.fromkeys((".odt", ".ods", ".odp", ".odg"), office.opendocument),
    ".pdf": pdf.dates,
    **dict.fromkeys((".jpg", ".jpeg"), photo.dates),
}


def read(at: int, name: str, status: os.stat_result, wanted: Iterable[str]) -> dict[str, When]:
    """The wanted dates of one file. `at`: its folder's descriptor; `status`: its lstat."""
    none: dict[str, When] = dict.fromkeys(wanted)
    reader = _READERS.get(os.path.splitext(name)[1].lower())  # noqa: PTH122 -- a name, no path
    if reader is None or dataless(status):
        return none
    with suppress(OSError), open_again(at, name, status) as file:
        found = reader(file)
        return {source: found.get(source) for source in none}
    return none


def open_again(at: int, name: str, status: os.stat_result) -> BinaryIO:
    """The very file that was found, for reading, its access time untouched where we may.

    Raises FileNotFoundError where it is no longer that file, and OSError.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
    quiet = getattr(os, "O_NOATIME", 0)
    try:
        descriptor = os.open(name, flags | quiet, dir_fd=at)
    except PermissionError:
        # Only a file's owner may read it unnoticed.
        descriptor = os.open(name, flags, dir_fd=at)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        descriptor = os.open(name, flags, dir_fd=at)
    now = os.fstat(descriptor)
    same = version_of(now, accessed=False) == version_of(status, accessed=False)
    if not (stat.S_ISREG(now.st_mode) and same):
        os.close(descriptor)
        raise FileNotFoundError
    return os.fdopen(descriptor, "rb")
