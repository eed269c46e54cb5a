"""A mailbox on the label server as the contract suite sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr

from retention.connectors import imap
from retention.connectors.base import Bound, Condition, Connector, Opened, Target
from retention.connectors.imap.settings import ImapSystem, Tls
from retention.testing.world import Plan, World
from tests.connectors.imap_world import CutWire, folded, location, plain
from tests.servers.gmail import GmailServer
from tests.servers.gmail_store import Account, Message

USER, PASSWORD = "post@example.org", "app-password-canary"


def open_gmail(
    port: int, *, page: int = 500, extras: Mapping[str, Any] | None = None, **changes: Any
) -> Connector:
    """A session with the label server, not wrapped; what is expunged counts as gone."""
    settings = {
        "host": "127.0.0.1",
        "port": port,
        "tls": Tls.NONE,
        "username": USER,
        "password": SecretStr(PASSWORD),
        "recoverable": "none",
        **changes,
    }
    given = {"page": page, **(extras or {})}
    return imap.connect(Opened("mail", ImapSystem.model_validate(settings), ".", given))


def mail(account: Account, folder: str, *also: str, number: int = 1, **facts: Any) -> Message:
    """A message in a folder, with more labels."""
    facts.setdefault("received", datetime(2024, 1, 10, 8, number % 60, tzinfo=UTC))
    data = plain(message_id=f"<m{number}@example.com>", sender=f"p{number}@example.com")
    message = account.add(folder, data, **facts)
    for name in also:
        account.copy(message.msgid, account.folders[name])
    return message


class GmailWorld(World):
    """One account; the location is two labels that overlap, and another client's mail is around."""

    status = "subject"
    email = "from"
    changeable = False
    undated = False
    label, other = "Kunder/Åse Lund", "Kunder/Øvrige"
    secrets = (PASSWORD,)

    def __init__(self, **settings: Any) -> None:
        self.server = GmailServer()
        self.account = self.server.user(USER, PASSWORD, **settings)
        self.wire = CutWire("127.0.0.1", self.server.port)
        self.account.create(self.label)
        self.account.create(self.other)
        self._count = 0
        for number in range(3):
            mail(self.account, "INBOX", number=9000 + number)
        trashed = mail(self.account, self.account.special("\\Trash").name, number=9100)
        if not self.account.auto_expunge:
            self.account.mark(trashed.msgid, self.account.special("\\Trash"))
        self.strangers = set(self.account.messages)

    date = "internal_date"

    def open(self) -> Connector:
        return open_gmail(self.wire.port, page=self.page)

    def target(
        self, *, where: tuple[Condition, ...] = (), bounds: tuple[Bound, ...] = ()
    ) -> Target:
        return location(
            self.label,
            self.other,
            dates=(self.date,),
            fields=(self.status, self.email),
            where=where,
            bounds=bounds,
        )

    def missing(self) -> Target:
        return location("No such label")

    def put(self, plans: Sequence[Plan]) -> list[str]:
        keys = []
        with self.server.lock:
            for plan in plans:
                self._count += 1
                data = plain(
                    sender=f"A Person <{plan.email}>",
                    subject=plan.status,
                    date=plan.received,
                    message_id=folded(plan.name),
                )
                first = self.other if self._count % 3 == 0 else self.label
                message = self.account.add(first, data, plan.received)
                if self._count % 2:
                    # The same message under both labels, and under one that is none of ours.
                    self.account.copy(message.msgid, self.account.folders[self.other])
                    self.account.copy(message.msgid, self.account.folders["INBOX"])
                keys.append(f"gm/{message.msgid}")
        return keys

    def raw(self) -> Mapping[str, bytes]:
        with self.server.lock:
            return {
                f"gm/{m.msgid}": m.data
                + repr((sorted(m.labels), sorted(m.flags), m.received, m.where)).encode()
                + repr(
                    [f.name for f in self.account.folders.values() if m.msgid in f.marked]
                ).encode()
                for m in self.account.messages.values()
                if m.msgid not in self.strangers
            }

    def change(self, key: str) -> None:
        raise NotImplementedError("mail cannot change")

    def remove(self, key: str) -> None:
        with self.server.lock:
            self.account.purge(int(key.removeprefix("gm/")))

    @contextmanager
    def denied(self) -> Iterator[None]:
        self.server.refusing = True
        try:
            yield
        finally:
            self.server.refusing = False

    @contextmanager
    def temporary(self) -> Iterator[None]:
        with self.wire.set("refuse"):
            yield

    @contextmanager
    def permanent(self) -> Iterator[None]:
        trash = self.account.special("\\Trash")
        trash.shown = False
        try:
            yield
        finally:
            trash.shown = True

    @contextmanager
    def answer_lost(self) -> Iterator[None]:
        with self.wire.set("lose"):
            yield

    def close(self) -> None:
        assert self.strangers <= set(self.account.messages), "somebody else's mail is gone"
        self.wire.close()
        self.server.__exit__()
