"""Cutting a mailbox for several workers: whole folders, and ranges of UIDs of large ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from retention.connectors.imap.copies import windows
from retention.connectors.imap.session import Session
from retention.connectors.mail_folders import MailFolder


class Range(NamedTuple):
    """UIDs of one folder, both ends included. None: to its end; an epoch only where it is cut."""

    folder: str
    epoch: int | None
    low: int | None
    high: int | None


def cut(
    session: Session,
    folders: Sequence[MailFolder],
    size: Callable[[MailFolder], int],
    most: int,
    least: int,
) -> tuple[str | None, ...]:
    """At most `most` spans of about equal size; `(None,)` where one process may as well do all.

    The first span also takes folders that nobody knew when it was cut.
    """
    sizes = {folder.name: size(folder) for folder in folders}
    number = min(most, sum(sizes.values()) // max(1, least))
    if number < 2:
        return (None,)
    share = -(-sum(sizes.values()) // number)
    pieces = [
        piece for folder in folders for piece in _pieces(session, folder, sizes[folder.name], share)
    ]
    bins: list[tuple[int, list[Range]]] = [(0, []) for _ in range(number)]
    for weight, piece in sorted(pieces, key=lambda p: p[0], reverse=True):
        lightest = min(range(number), key=lambda n: bins[n][0])
        bins[lightest] = (bins[lightest][0] + weight, [*bins[lightest][1], piece])
    filled = [sorted(ranges) for _, ranges in bins if ranges]
    known = sorted(sizes)
    return tuple(
        json.dumps({"ranges": ranges, **({"known": known} if n == 0 else {})})
        for n, ranges in enumerate(filled)
    )


def _pieces(
    session: Session, folder: MailFolder, messages: int, share: int
) -> list[tuple[int, Range]]:
    if messages <= share:
        return [(messages, Range(folder.name, None, None, None))]
    opened = session.open(folder.name, afresh=True)
    bounds = list(windows(session, opened, share))
    last = len(bounds) - 1
    return [
        (
            min(share, messages - n * share),
            Range(
                folder.name,
                opened.uidvalidity,
                low if n else None,
                high if n < last else None,
            ),
        )
        for n, (low, high) in enumerate(bounds)
    ]


def ranges_of(span: str | None, folder: str) -> Iterable[Range]:
    """The ranges of a folder that a span covers, in the order of their UIDs."""
    everything = Range(folder, None, None, None)
    if span is None:
        return [everything]
    said = json.loads(span)
    if folder not in said.get("known", [folder]):
        return [everything]
    named = [Range(*one) for one in said["ranges"] if one[0] == folder]
    return sorted(named, key=lambda one: one.low or 0)
