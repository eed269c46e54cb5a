"""Which of very many values may stand in a few texts: asked of all at once, not one by one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress, islice

from retention.connectors.spreadsheet.residue import distinctive, fold, may_occur, words_of
from retention.connectors.spreadsheet.table import SEPARATOR

_AT_ONCE = 20_000
_FEW_WORDS = 40
_BETWEEN = SEPARATOR.decode()


def decoded(values: Iterable[bytes]) -> Iterator[list[str]]:
    """Texts of XML parts, some thousand at a time."""
    left = iter(values)
    while some := list(islice(left, _AT_ONCE)):
        # No text of an XML part can hold what stands between them here.
        yield SEPARATOR.join(some).decode().split(_BETWEEN)


def with_words_of(values: Sequence[str], known: set[str]) -> list[str]:
    """The values of which `residue.may_occur` is true."""
    # A line end parts words, wherever it stands: these are the words of all values.
    joined = fold("\n".join(values))
    few = len(known) <= _FEW_WORDS
    hits = {word for word in known if word in joined} if few else words_of(joined) & known
    if not hits:
        return []
    likely: Iterable[str] = values
    if len(hits) <= _FEW_WORDS:
        some = re.compile("|".join(map(re.escape, hits)))
        lines = joined.split("\n")
        # A value of several lines would stand beside another's.
        folded = lines if len(lines) == len(values) else map(fold, values)
        likely = compress(values, map(some.search, folded))
    return [value for value in likely if may_occur(value, known)]


def short_among(values: Sequence[str], texts: set[str]) -> set[str]:
    """Values, folded, that are not distinctive by their form and equal one of these texts."""
    folded = fold(_BETWEEN.join(map(str.strip, values))).split(_BETWEEN)
    hits = texts.intersection(folded)
    if not hits:
        return set()
    pairs = zip(values, folded, strict=True)
    return {text for value, text in pairs if text in hits and not distinctive(value)}
