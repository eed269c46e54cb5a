"""Folder names of mail: modified UTF-7, patterns, special uses. Pure; shared by mail connectors."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from typing import Any, NamedTuple

from retention.errors import PermanentFailure

INBOX = "INBOX"
_SHIFTED = re.compile(r"&([^-]*)-")
_OUTSIDE = re.compile(r"[^\x20-\x7e]+|&")


class MailFolder(NamedTuple):
    """One folder of a mailbox, as its server or file system shows it."""

    name: str
    """As shown to people and used as container."""
    raw: bytes
    """As the server or the file system spells it."""
    spellings: tuple[str, ...] = ()
    """Other ways to say the name: with `/` between levels, without the personal prefix."""
    special: frozenset[str] = frozenset()
    """Special uses, lower-case with backslash (RFC 6154)."""
    selectable: bool = True
    foreign: str = ""
    """Prefix of a shared or other user's namespace: patterns reach it only by naming it."""
    level: str = "/"
    """What stands between levels in `name`."""


def decode_utf7(raw: bytes) -> str:
    """A name from modified UTF-7 (RFC 3501 §5.1.3); a name that is none is read as UTF-8, Latin-1.

    What cannot be read back to the same bytes is never trusted to be modified UTF-7.
    """
    try:
        name = _SHIFTED.sub(lambda m: _unshift(m[1]), raw.decode("ascii"))
        if encode_utf7(name) == raw:
            return name
    except ValueError:
        pass
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def encode_utf7(name: str) -> bytes:
    """A name in modified UTF-7."""
    return _OUTSIDE.sub(lambda m: _shift(m[0]), name).encode("ascii")


def _unshift(word: str) -> str:
    if not word:
        return "&"
    padded = word.replace(",", "/") + "=" * (-len(word) % 4)
    return b64decode(padded, validate=True).decode("utf-16-be")


def _shift(run: str) -> str:
    if run == "&":
        return "&-"
    word = b64encode(run.encode("utf-16-be", "surrogatepass")).decode("ascii").rstrip("=")
    return f"&{word.replace('/', ',')}-"


def is_pattern(wanted: str) -> bool:
    """True where a name has wildcards: `*` (any text, levels too), `?` (one character), `%` (one
    level, as in IMAP; it may also stand in a folder's name).
    """
    return any(sign in wanted for sign in "*?%")


def patterned(settings: Any) -> bool:
    """Whether a location names folders by wildcard or special use, not only by name."""
    return any(set(folder) & set("*%?[\\") for folder in settings.folders)


def resolve(
    wanted: Sequence[str], folders: Sequence[MailFolder], place: str
) -> tuple[MailFolder, ...]:
    """The folders that a location's list of names, patterns and special uses covers, by name.

    A pattern may match nothing. Raises PermanentFailure where a literal name or a special use
    does not exist, or names a folder that cannot hold messages.
    """
    found: dict[str, MailFolder] = {}
    for item in wanted:
        for folder in _matching(item, folders, place):
            found[folder.name] = folder
    return tuple(found[name] for name in sorted(found))


def covered(wanted: Sequence[str], folders: Sequence[MailFolder], place: str) -> set[str]:
    """Names of a location's folders that are there; one that vanished stops no look."""
    found: set[str] = set()
    for item in wanted:
        with suppress(PermanentFailure):
            found.update(folder.name for folder in resolve((item,), folders, place))
    return found


def _matching(item: str, folders: Sequence[MailFolder], place: str) -> list[MailFolder]:
    if item.startswith("\\"):
        return _special(item, folders, place)
    if is_pattern(item) and not any(f.selectable and f.name == item for f in folders):
        regexes = {level: _regex(item, level) for level in {f.level for f in folders}}
        return [
            f
            for f in folders
            if f.selectable
            and (not f.foreign or item.startswith(f.foreign))
            and any(regexes[f.level].fullmatch(name) for name in (f.name, *f.spellings))
        ]
    return _literal(item, folders, place)


def _regex(pattern: str, level: str) -> re.Pattern[str]:
    signs = {"*": ".*", "?": ".", "%": f"[^/{re.escape(level)}]*"}
    return re.compile("".join(signs.get(c, re.escape(c)) for c in pattern), re.DOTALL)


def _special(item: str, folders: Sequence[MailFolder], place: str) -> list[MailFolder]:
    use = item.lower()
    found = [
        f
        for f in folders
        if f.selectable and not f.foreign
        if use in f.special or (use == "\\inbox" and f.name.upper() == INBOX)
    ]
    if not found:
        raise PermanentFailure(
            f"no folder is marked as {item}",
            hint="name the folder itself; not every mailbox marks its special folders",
            place=place,
            code="folder_missing",
        )
    return found


def _literal(item: str, folders: Sequence[MailFolder], place: str) -> list[MailFolder]:
    name = INBOX if item.upper() == INBOX else item
    found = [f for f in folders if f.name == name or (name == INBOX == f.name.upper())]
    found = found or [f for f in folders if name in f.spellings]
    if usable := [f for f in found if f.selectable]:
        return usable
    if found:
        raise PermanentFailure(
            f"the folder `{item}` holds no messages itself, only other folders",
            hint=f"say `{item}/*` for the folders below it",
            place=place,
            code="folder_missing",
        )
    raise PermanentFailure(
        f"there is no folder `{item}`",
        hint=_near(item, folders),
        place=place,
        code="folder_missing",
    )


def _near(item: str, folders: Sequence[MailFolder]) -> str:
    """Only names close to what the policy says itself: folder names may be people's names."""
    by_folded = {s.casefold(): f.name for f in folders for s in (f.name, *f.spellings)}
    near = get_close_matches(item.casefold(), by_folded, n=3, cutoff=0.75)
    names = dict.fromkeys(by_folded[n] for n in near)
    return (
        f"did you mean {' or '.join(f'`{n}`' for n in names)}?"
        if names
        else "was it renamed or deleted? special uses such as \\Sent survive a renaming"
    )
