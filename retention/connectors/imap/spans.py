"""Cutting a large folder for several workers: ranges of UIDs."""

from __future__ import annotations

import json
from typing import NamedTuple

from retention.connectors.imap.copies import windows
from retention.connectors.imap.session import Session
from retention.connectors.mail_folders import MailFolder


class Range(NamedTuple):
    """UIDs of one folder, both ends included. None: to its end; an epoch only where it is cut."""

    folder: str
    epoch: int | None = None
    low: int | None = None
    high: int | None = None


def cut(
    session: Session, folder: MailFolder, messages: int, most: int, least: int
) -> tuple[str | None, ...]:
    """At most `most` spans of about equal size; `(None,)` where one process may as well do all."""
    number = min(most, messages // max(1, least))
    if number < 2:
        return (None,)
    opened = session.open(folder.name, afresh=True)
    bounds = list(windows(session, opened, -(-max(messages, opened.exists) // number)))
    if len(bounds) < 2:
        return (None,)
    ranges = [Range(folder.name, opened.uidvalidity, low, high) for low, high in bounds]
    ranges[0] = ranges[0]._replace(low=None)
    ranges[-1] = ranges[-1]._replace(high=None)
    return tuple(json.dumps({"ranges": [one]}) for one in ranges)


def range_of(span: str | None, folder: str) -> Range | None:
    """The range of the folder that a span covers; None where it was cut from other folders."""
    if span is None:
        return Range(folder)
    ranges = [Range(*one) for one in json.loads(span)["ranges"]]
    return ranges[0] if len(ranges) == 1 and ranges[0].folder == folder else None
