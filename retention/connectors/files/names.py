"""What a name alone tells, and how a path becomes a key.

A key is the path below the root with `/` between names. Bytes that are no UTF-8, control
characters and `%` are written `%XX`, so that a key survives JSON, a database and a terminal.
"""

from __future__ import annotations

import os
import re
import unicodedata

from retention.errors import PermanentFailure

SET_ASIDE = ".retention-disposal-"
"""Folders of this prefix hold files between the check and the deletion. See `aside`."""
SLOTS = tuple(f"{SET_ASIDE}{n}" for n in range(8))
"""More than one, for several processes that work in one folder."""
_ROTATED = re.compile(
    r"""
    [.\-_] (?: \d{1,4} | \d{8,14} | \d{4}-\d\d-\d\d (?:[T_\-.]?\d\d (?:[:\-.]?\d\d){0,2})? )
    (?:\.log|\.txt)? (?:\.(?:gz|xz|bz2|zst|lz4|Z|zip))? $
    | \.(?:gz|xz|bz2|zst|lz4|Z|zip|old) $
    """,
    re.VERBOSE,
)
_PLACEHOLDER = re.compile(r"\..+\.icloud", re.DOTALL)
_COPY = re.compile(r"(?:.+~|\..+\.sw[a-z]|.+\.(?:bak|orig|old|tmp)|\.~lock\..+#|~\$.+)", re.DOTALL)
COPY_FOLDERS = re.compile(
    r"\.Trash(?:es|-\d+)?|\$RECYCLE\.BIN|@Recycle|#recycle|\.recycle|\.snapshots?|\.zfs"
    r"|\.stversions|\.dropbox\.cache|\.sync|\.versions|\.tmp\.drivedownload",
    re.IGNORECASE,
)
"""Folders in which other programs keep earlier or deleted versions."""
_UNSAFE = re.compile(r"[%\x00-\x1f\x7f\ud800-\udfff]")
_UNDECODED = re.compile(r"[\ud800-\udfff]")
_ESCAPED = re.compile(r"%([0-9A-Fa-f]{2})")


def is_rotated(name: str) -> bool:
    """Whether a log of this name was put away by rotation: numbered, dated or compressed."""
    return _ROTATED.search(name) is not None


def is_placeholder(name: str) -> bool:
    """Whether this stands for a file that iCloud holds elsewhere."""
    return _PLACEHOLDER.fullmatch(name) is not None


def is_copy(name: str) -> bool:
    """Whether an editor or a person made this beside the real file: `~`, `.swp`, `.bak`."""
    return _COPY.fullmatch(name) is not None


def is_never_a_record(name: str) -> bool:
    """Names that no glob means, whatever it says."""
    return name.startswith(SET_ASIDE) or is_placeholder(name)


def is_policy(name: str) -> bool:
    """Whether this may be a policy file; below the folder of those it is never a record."""
    return name.endswith((".yaml", ".yml"))


def key_of(steps: tuple[str, ...]) -> str:
    """The key of a path, given as names decoded with `os.fsdecode`."""
    return "/".join(_escaped(step) for step in steps)


def _escaped(name: str) -> str:
    if not _UNSAFE.search(name):
        return name
    return _UNSAFE.sub(lambda found: _bytes_of(found.group()), name)


def shown(name: str) -> str:
    """A name or path as a field's value: composed characters, and text that can be encoded."""
    try:
        name.encode()
    except UnicodeEncodeError:
        name = _UNDECODED.sub(lambda found: _bytes_of(found.group()), name)
    return unicodedata.normalize("NFC", name)


def meant_by(steps: tuple[str, ...]) -> tuple[str, ...]:
    """Where a file belongs: a file that was set aside, in the folder around."""
    return tuple(step for step in steps if step not in SLOTS)


def _bytes_of(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in os.fsencode(char))


def steps_of(key: str) -> tuple[str, ...]:
    """The path of a key. Raises PermanentFailure for what is no key of ours."""
    steps = tuple(_unescaped(part) for part in key.split("/"))
    odd = any(s in ("", ".", "..") or "/" in s or "\0" in s for s in steps)
    if odd or key_of(steps) != key:
        raise PermanentFailure("a key is none of this connector's", code="bad_key")
    return steps


def _unescaped(part: str) -> str:
    if "%" not in part:
        return part
    raw = _ESCAPED.sub(lambda found: chr(0xDC00 + int(found.group(1), 16)), part)
    # What was written as %XX is bytes; with the text around it they may form characters again.
    return os.fsdecode(b"".join(_raw(char) for char in raw))


def _raw(char: str) -> bytes:
    code = ord(char)
    return bytes([code - 0xDC00]) if 0xDC00 <= code <= 0xDCFF else os.fsencode(char)
