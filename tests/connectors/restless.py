"""Another person's mail program, at work on the same mailbox while we are."""

from __future__ import annotations

import imaplib
import random
import re
import threading
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from tests.connectors.imap_world import plain
from tests.servers.mailbox import Mailbox

ASIDE = "Aside"
"""Where it moves and copies to: outside what we are to dispose of."""
_ID = re.compile(rb"<[^>]+>")


class Restless:
    """`with Restless(mailbox, seed): …` marks, moves, copies, flags, appends, expunges at random.

    It speaks through imaplib on a connection of its own. What it did is remembered by Message-ID.
    """

    def __init__(self, mailbox: Mailbox, seed: int, most: int = 2_000) -> None:
        self._mailbox = mailbox
        self._random = random.Random(seed)
        self._most = most
        self._stop = threading.Event()
        self._busy = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._failed: BaseException | None = None
        self.marked: set[str] = set()
        self.moved: set[str] = set()
        self.copied: set[str] = set()
        self.flagged: set[str] = set()
        self.appended: set[str] = set()
        self.expunged: set[str] = set()
        self.acts = 0

    def __enter__(self) -> Self:
        self._thread.start()
        self._busy.wait(timeout=30)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=60)
        if self._failed is not None:
            raise self._failed

    def _work(self) -> None:
        client = imaplib.IMAP4(self._mailbox.host, self._mailbox.port, timeout=30)
        try:
            client.login(self._mailbox.username, self._mailbox.password)
            client.select("INBOX")
            acts = (self._mark, self._move, self._copy, self._flag, self._append, self._expunge)
            weights = (4, 4, 2, 4, 3, 2)
            while not self._stop.is_set() and self.acts < self._most:
                self._random.choices(acts, weights)[0](client)
                self.acts += 1
                self._busy.set()
        except BaseException as error:  # noqa: BLE001 -- raised again where the test sees it
            self._failed = error
        finally:
            client.shutdown()

    def _some(self, client: imaplib.IMAP4) -> tuple[str, str]:
        """(UID, Message-ID) of a message that is there; empty where it is gone again."""
        client.noop()
        _, told = client.uid("SEARCH", "ALL")
        uids = told[0].split()
        if not uids:
            return "", ""
        uid = self._random.choice(uids).decode()
        _, answer = client.uid("FETCH", uid, "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
        found = [m[0] for part in answer if isinstance(part, tuple) if (m := _ID.search(part[1]))]
        return (uid, found[0].decode()) if found else ("", "")

    def _store(self, client: imaplib.IMAP4, flag: str, done: set[str]) -> str:
        uid, name = self._some(client)
        if uid:
            # Its own effect comes back as FETCH: no answer means that the message had gone.
            typ, told = client.uid("STORE", uid, "+FLAGS", f"({flag})")
            if typ == "OK" and told and told[0]:
                done.add(name)
                return uid
        return ""

    def _mark(self, client: imaplib.IMAP4) -> None:
        self._store(client, "\\Deleted", self.marked)

    def _flag(self, client: imaplib.IMAP4) -> None:
        self._store(client, "\\Flagged", self.flagged)

    def _expunge(self, client: imaplib.IMAP4) -> None:
        gone: set[str] = set()
        if uid := self._store(client, "\\Deleted", gone):
            self.expunged |= gone
            client.uid("EXPUNGE", uid)

    def _move(self, client: imaplib.IMAP4) -> None:
        uid, name = self._some(client)
        if uid:
            client.untagged_responses.pop("COPYUID", None)
            client.uid("MOVE", uid, ASIDE)
            if client.response("COPYUID")[1] != [None]:
                self.moved.add(name)

    def _copy(self, client: imaplib.IMAP4) -> None:
        uid, name = self._some(client)
        if uid:
            client.untagged_responses.pop("COPYUID", None)
            client.uid("COPY", uid, ASIDE)
            if client.response("COPYUID")[1] != [None]:
                self.copied.add(name)

    def _append(self, client: imaplib.IMAP4) -> None:
        name = f"<appended{self.acts}@example.com>"
        when = imaplib.Time2Internaldate(datetime.now(UTC))
        client.append("INBOX", "()", when, plain(message_id=name))
        self.appended.add(name)


def ids(mailbox: Mailbox, folder: str, criterion: str = "ALL") -> set[str]:
    """Message-IDs of what lies in a folder."""
    with mailbox.client() as client:
        client.select_folder(folder, readonly=True)
        uids = client.search([criterion])
        field = "BODY[HEADER.FIELDS (MESSAGE-ID)]"
        found = client.fetch(uids, [field.replace("BODY", "BODY.PEEK")]) if uids else {}
        return {_ID.search(one[field.encode()])[0].decode() for one in found.values()}  # type: ignore[index]  # each has one
