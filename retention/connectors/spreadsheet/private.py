"""Where decrypted workbooks lie for a moment: in files without a name, closed to everybody else."""

from __future__ import annotations

import os
import tempfile
from typing import BinaryIO

_IN_MEMORY = 256 << 20


def private_file(expected: int) -> BinaryIO:
    """An empty nameless file for about this many bytes. It vanishes with the process, however
    that ends: there is no name to be left behind.

    In memory up to 256 MB where the system can (as fast as a disk's cache, and never on the disk);
    else on disk, unlinked.
    """
    if expected <= _IN_MEMORY and hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("workbook", os.MFD_CLOEXEC)
        os.fchmod(descriptor, 0o600)
        return os.fdopen(descriptor, "w+b")
    return tempfile.TemporaryFile()
