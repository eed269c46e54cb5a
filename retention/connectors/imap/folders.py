"""From LIST responses to folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from retention.connectors.mail_folders import INBOX, MailFolder, decode_utf7

_SPECIAL = frozenset(
    {"\\all", "\\archive", "\\drafts", "\\flagged", "\\junk", "\\sent", "\\trash", "\\important"}
)
_UNSELECTABLE = frozenset({"\\noselect", "\\nonexistent"})


def name_of(raw: Any) -> str:
    """A name or prefix as shown to people."""
    return decode_utf7(raw) if isinstance(raw, bytes) else str(raw)


def told_apart(folders: Iterable[MailFolder]) -> tuple[MailFolder, ...]:
    """These folders, each with a name of its own.

    Two spellings may read alike (modified UTF-7 and plain UTF-8): then names are as spelt.
    """
    found = list(folders)
    names = Counter(folder.name for folder in found)
    apart = {
        f.raw: f if names[f.name] == 1 else f._replace(name=f.raw.decode("latin-1")) for f in found
    }
    return tuple(apart.values())


def folder_of(
    flags: Any, delimiter: Any, raw: Any, personal: tuple[str, ...], others: tuple[str, ...]
) -> MailFolder:
    """One LIST response. `personal`, `others`: prefixes of namespaces (RFC 2342)."""
    raw = raw if isinstance(raw, bytes) else str(raw).encode("ascii")
    name = INBOX if raw.upper() == b"INBOX" else decode_utf7(raw)
    level = name_of(delimiter) if delimiter else ""
    spellings = [name]
    spellings += [name.removeprefix(p) for p in personal if name.startswith(p) and name != p]
    if level and level != "/":
        spellings += [s.replace(level, "/") for s in spellings if "/" not in s]
    told = frozenset(bytes(f).decode("ascii", "replace").lower() for f in flags)
    return MailFolder(
        name,
        raw,
        tuple(dict.fromkeys(s for s in spellings if s != name)),
        told & _SPECIAL,
        not told & _UNSELECTABLE,
        next((p for p in others if name.startswith(p)), ""),
        level or "/",
    )
