"""Expunging where a server cannot be told which messages (no UIDPLUS): only if it was asked for.

A plain EXPUNGE removes everything that is marked, also what other people only marked. So foreign
marks are lifted for its length and put back. What this cannot prevent: a mark that another client
sets in the moment between our last look and the EXPUNGE; its message goes earlier than that client
would have made it go. A crash in between leaves a foreign mark lifted, which loses nothing: its
message stays until it is marked again.
"""

from __future__ import annotations

from collections.abc import Collection

from retention.connectors.imap.session import Opened, Session
from retention.connectors.imap.sets import uid_sets
from retention.errors import PermanentFailure

OTHERS_MARK = "others_mark"


def expunge(session: Session, opened: Opened, uids: Collection[int]) -> None:
    """Remove these messages of the folder, which is open for writing.

    Raises PermanentFailure with code `others_mark` where another client marks at the same time:
    nothing was removed then, and another try is right.
    """
    foreign = _marked(session) - set(uids)
    try:
        _store(session, foreign, b"-")
        _store(session, uids, b"+")
        if _marked(session) - set(uids):
            raise PermanentFailure("another client marks messages at this moment", code=OTHERS_MARK)
        with session.translated("deleting"):
            session.wire.run(b"EXPUNGE")
    finally:
        _put_back(session, opened, foreign)


def _put_back(session: Session, opened: Opened, foreign: Collection[int]) -> None:
    """Also on a new connection, where the old one broke."""
    if foreign:
        now = session.open(opened.folder.name, write=True)
        if now.uidvalidity == opened.uidvalidity:
            _store(session, foreign, b"+")


def _marked(session: Session) -> set[int]:
    with session.translated("looking for marks"):
        session.wire.run(b"NOOP")
        return set(session.wire.search(b"DELETED", extended=session.has("ESEARCH")))


def _store(session: Session, uids: Collection[int], sign: bytes) -> None:
    for numbers in uid_sets(uids):
        with session.translated("marking"):
            session.wire.run(b"UID STORE %s %sFLAGS.SILENT (\\Deleted)" % (numbers, sign))
