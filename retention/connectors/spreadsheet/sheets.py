"""Which sheets a location covers, and keys that say in which of them a row stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Protocol, TypeVar

from retention.connectors.base import Ref
from retention.errors import PermanentFailure

GLOB = frozenset("*?[")
"""Characters of a pattern; no sheet's name can hold them."""


class Named(Protocol):
    """A sheet as its file names it."""

    @property
    def name(self) -> str: ...

    @property
    def visible(self) -> bool: ...


S = TypeVar("S", bound=Named)


def covers_many(said: str | tuple[str, ...] | None) -> bool:
    """Whether a location may cover several sheets, now or next year: then keys say which."""
    return isinstance(said, tuple) or (said is not None and not GLOB.isdisjoint(said))


def chosen(sheets: Sequence[S], said: str | tuple[str, ...] | None) -> list[S]:
    """The sheets that a location covers, in the file's order. Raises PermanentFailure.

    Hidden ones are covered like others where they are named or fit a pattern.
    """
    if said is None:
        visible = [s for s in sheets if s.visible]
        if len(visible) != 1:
            raise PermanentFailure(
                f"the workbook has {len(visible)} visible sheets",
                hint="say which one with `sheet:`; a list or a pattern may name several",
                code="which_sheet",
            )
        return visible
    patterns = said if isinstance(said, tuple) else (said,)
    covered: set[str] = set()
    for pattern in patterns:
        found = {s.name for s in sheets if fits(s.name, pattern)}
        if not found:
            raise PermanentFailure(
                f"there is no sheet called {pattern!r}"
                if GLOB.isdisjoint(pattern)
                else f"no sheet's name fits {pattern!r}",
                hint="check `sheet:`; names are compared without regard to case",
                code="no_sheet",
            )
        covered |= found
    return [s for s in sheets if s.name in covered]


def fits(name: str, pattern: str) -> bool:
    """Whether a sheet's name is this one, or fits this pattern; case makes no difference."""
    if GLOB.isdisjoint(pattern):
        return name.casefold() == pattern.casefold()
    return fnmatchcase(name.casefold(), pattern.casefold())


def key_in(sheet: str, key: str) -> str:
    """The key of a row of a location with several sheets: `2024/K1`.

    Programs forbid `/` in a sheet's name, but files may hold it: it is written as `%2F`.
    """
    return f"{sheet.replace('%', '%25').replace('/', '%2F')}/{key}"


def sheet_and_key(key: str) -> tuple[str, str]:
    """The sheet and the row's own key. A key without a sheet gives an empty name."""
    sheet, found, own = key.partition("/")
    if not found:
        return "", key
    return re.sub("%2F|%25", lambda m: "/" if m[0] == "%2F" else "%", sheet), own


def by_sheet(refs: Iterable[Ref]) -> dict[str, list[Ref]]:
    """Refs with their own keys, by sheet."""
    out: dict[str, list[Ref]] = {}
    for ref in refs:
        sheet, own = sheet_and_key(ref.key)
        out.setdefault(sheet, []).append(ref._replace(key=own))
    return out
