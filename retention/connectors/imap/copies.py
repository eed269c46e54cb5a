"""Where else in the mailbox a message still lies, by Message-ID."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from retention.connectors import mail_headers
from retention.connectors.imap.answers import body_of, status_in
from retention.connectors.imap.asking import quoted
from retention.connectors.imap.failures import RefusedError
from retention.connectors.imap.reading import traces_by_size
from retention.connectors.imap.session import Opened, Session
from retention.connectors.imap.sets import uid_sets
from retention.connectors.mail_folders import MailFolder
from retention.connectors.mail_index import Sightings
from retention.connectors.mail_sources import trace_of

_FEW = 8
"""Up to so many messages the server searches; for more, reading every id once is cheaper."""
_LONG = 500
"""Longest id to search for: several go into one command."""
_WINDOW = 10_000
_PAGE = 500
_HEADER = b"UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"


@dataclass(slots=True)
class Seen:
    """What was read of one folder, and how the folder was then."""

    uidvalidity: int
    uidnext: int
    messages: int
    stale: bool = False
    """Messages left since: a sighting may be of one that is gone."""
    ids: Sightings = field(default_factory=Sightings)


class Copies:
    """Remembers, for one session, which Message-IDs each folder holds; reads only what is new."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._seen: dict[str, Seen] = {}

    def among(self, folders: Sequence[MailFolder], traces: Collection[str]) -> set[str]:
        """Those of these traces that a message in one of the folders has. Flat memory."""
        found: set[str] = set()
        for folder in folders:
            left = {t for t in traces if t not in found}
            if not left:
                break
            status = self._status(folder)
            if status is None or status.messages == 0:
                self._seen.pop(folder.name, None)
                continue
            if folder.name not in self._seen and len(left) <= _FEW and all(map(_plain, left)):
                found |= self._searched(folder, left)
            else:
                found |= self._indexed(folder, status, left)
        return found

    def size(self, folder: MailFolder) -> int:
        """Messages in a folder now; 0 where we may not look into it."""
        status = self._status(folder)
        return status.messages if status else 0

    def state(self, folder: MailFolder) -> tuple[int, int] | None:
        """UIDVALIDITY and UIDNEXT of a folder now; None where we may not look into it."""
        status = self._status(folder)
        return (status.uidvalidity, status.uidnext) if status else None

    def _status(self, folder: MailFolder) -> Seen | None:
        """How large the folder is now; None where we may not look into it."""
        session = self._session
        name = folder.raw
        try:
            command = b"STATUS %s (MESSAGES UIDNEXT UIDVALIDITY)" % quoted(name)
        except ValueError:
            return self._opened_status(folder)
        with session.translated("looking at other folders"):
            try:
                responses = session.wire.run(command)
            except RefusedError as error:
                if error.code in ("NOPERM", "NONEXISTENT"):
                    return None
                raise
        for facts in map(status_in, responses):
            if {b"MESSAGES", b"UIDNEXT", b"UIDVALIDITY"} <= facts.keys():
                return Seen(facts[b"UIDVALIDITY"], facts[b"UIDNEXT"], facts[b"MESSAGES"])
        return self._opened_status(folder)

    def _opened_status(self, folder: MailFolder) -> Seen:
        opened = self._session.open(folder.name, afresh=True)
        return Seen(opened.uidvalidity, opened.uidnext, opened.exists)

    def _searched(self, folder: MailFolder, traces: Collection[str]) -> set[str]:
        """Ask the server; what it finds is read, because HEADER matches parts of ids too."""
        session = self._session
        opened = session.open(folder.name, afresh=True)
        terms = [b"HEADER MESSAGE-ID " + quoted(t.encode("ascii")) for t in sorted(traces)]
        # A copy's id may be folded, and so have a blank that the id has not.
        terms.append(b'HEADER MESSAGE-ID " "')
        criteria = b"OR " * (len(terms) - 1) + b" ".join(terms)
        found: set[str] = set()
        for low, high in windows(session, opened, _WINDOW):
            with session.translated("searching for copies"):
                uids = session.wire.search(
                    b"UID %d:%d %s" % (low, high, criteria), extended=session.has("ESEARCH")
                )
            for numbers in uid_sets(uids):
                with session.translated("searching for copies"):
                    for one in session.wire.fetch(numbers, _HEADER):
                        found.add(trace_of(mail_headers.split(body_of(one))))
        return found & set(traces)

    def _indexed(self, folder: MailFolder, now: Seen, traces: Collection[str]) -> set[str]:
        seen = self._seen.get(folder.name)
        if seen is None or seen.uidvalidity != now.uidvalidity:
            seen = self._read(folder, Seen(now.uidvalidity, 1, 0))
        elif (seen.uidnext, seen.messages) != (now.uidnext, now.messages):
            before = seen.messages
            seen = self._read(folder, seen)
            seen.stale = seen.stale or seen.messages < before or now.messages < seen.messages
        found = {t for t in traces if t in seen.ids}
        if found and seen.stale:
            seen = self._read(folder, Seen(now.uidvalidity, 1, 0))
            found = {t for t in traces if t in seen.ids}
        return found

    def _read(self, folder: MailFolder, seen: Seen) -> Seen:
        """Read on from where `seen` ends."""
        session = self._session
        opened = session.open(folder.name, afresh=True)
        if opened.uidvalidity != seen.uidvalidity:
            seen = Seen(opened.uidvalidity, 1, 0)
        new = 0
        for low, high in windows(session, opened, _PAGE, first=seen.uidnext):
            without: list[int] = []
            with session.translated("reading Message-IDs"):
                for one in session.wire.fetch(b"%d:%d" % (low, high), _HEADER):
                    uid = int(one[b"UID"])
                    if uid < seen.uidnext:
                        # `lo:hi` beyond the end names the last message (RFC 3501 §9, seq-range).
                        continue
                    new += 1
                    if trace := trace_of(mail_headers.split(body_of(one))):
                        seen.ids.add(trace)
                    else:
                        without.append(uid)
            for _, trace in traces_by_size(session, without):
                seen.ids.add(trace)
        seen.stale = seen.stale or seen.messages + new > opened.exists
        seen.uidnext, seen.messages = opened.uidnext, opened.exists
        self._seen[folder.name] = seen
        return seen


def _plain(trace: str) -> bool:
    """Can the server search for it? Not for messages without id, nor for odd characters."""
    odd = trace.startswith("#") or "=?" in trace or len(trace) > _LONG
    return not odd and trace.isascii() and trace.isprintable()


def windows(
    session: Session, opened: Opened, messages: int, *, first: int = 1
) -> Iterator[tuple[int, int]]:
    """Ranges of UIDs that hold at most so many messages each and cover the folder from `first`.

    UIDs may be sparse (ten digits, few messages), so the bounds are asked for: the UID of every
    n-th message, in one command, directly after opening, when sequence numbers are certain.
    """
    if opened.exists == 0:
        return
    bounds = [first]
    if opened.exists > messages:
        numbers = b",".join(b"%d" % n for n in range(messages + 1, opened.exists + 1, messages))
        with session.translated("dividing a folder"):
            found = session.wire.fetch(numbers, b"UID", uid=False)
            bounds += sorted(uid for one in found if (uid := int(one[b"UID"])) > first)
    last = max(opened.uidnext - 1, bounds[-1])
    yield from zip(bounds, [*(b - 1 for b in bounds[1:]), last], strict=True)
