"""A mailbox on a real server as the contract suite sees it, behind a wire that can be cut."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any, ClassVar, Self

from imapclient import imap_utf7
from pydantic import SecretStr

from retention.connectors import imap
from retention.connectors.base import Bound, Condition, Connector, Opened, Target
from retention.connectors.imap.settings import ImapLocation, ImapSystem, Tls
from retention.connectors.mail_headers import split
from retention.connectors.mail_places import Unit, join
from retention.connectors.mail_places import split as split_key
from retention.testing.world import Plan, World
from tests.servers.dovecot import Dovecot
from tests.servers.mailbox import Mailbox


def open_imap(
    mailbox: Mailbox, *, page: int = 500, own: Sequence[str] = (), **changes: Any
) -> Connector:
    """A session with this mailbox, not wrapped."""
    settings = {
        "host": mailbox.host,
        "port": mailbox.port,
        "tls": Tls.NONE,
        "username": mailbox.username,
        "password": SecretStr(mailbox.password),
        "own": tuple(own),
        **changes,
    }
    return imap.connect(Opened("mail", ImapSystem(**settings), ".", {"page": page}))


def location(
    *folders: str,
    dates: Sequence[str] = ("internal_date",),
    fields: Sequence[str] = (),
    where: tuple[Condition, ...] = (),
    bounds: tuple[Bound, ...] = (),
) -> Target:
    """A target of these folders."""
    settings = ImapLocation(folders=folders)
    return Target("post/mail", settings, tuple(dates), tuple(fields), where, bounds)


def plain(
    *,
    sender: str = "someone@example.com",
    subject: str = "a question",
    date: datetime | None = None,
    message_id: str = "",
    extra: str = "",
    body: str = "Hello.",
) -> bytes:
    """A message by hand, so that headers can be missing or odd."""
    lines = [f"From: {sender}", "To: post@example.org", f"Subject: {subject}"]
    lines += [f"Date: {format_datetime(date)}"] if date else []
    lines += [f"Message-ID: {message_id}"] if message_id else []
    lines += [extra] if extra else []
    return "\r\n".join([*lines, "", body, ""]).encode()


def folded(name: str) -> str:
    """A Message-ID that holds this name, as a header may carry it."""
    return f"<{name}@odd.example.com>".replace("\n", "\r\n ")


class ImapWorld(World):
    """One fresh mailbox; the location is a folder with a space and a letter outside ASCII."""

    status = "subject"
    email = "from"
    changeable = False
    folder = "Kunder/Åse Lund"

    def __init__(self, mailbox: Mailbox, date: str = "internal_date") -> None:
        self.mailbox = mailbox
        # The suite reads these from the world; which date is used differs from test class to class.
        self.date = date  # type: ignore[misc]  # a ClassVar by default, chosen here
        self.undated = date == "date_header"  # type: ignore[misc]  # likewise
        self.secrets = (mailbox.password,)  # type: ignore[misc]  # likewise
        self.wire = CutWire(mailbox.host, mailbox.port)
        mailbox.create(self.folder)

    def open(self) -> Connector:
        return open_imap(self.mailbox, page=self.page, port=self.wire.port)

    def target(
        self, *, where: tuple[Condition, ...] = (), bounds: tuple[Bound, ...] = ()
    ) -> Target:
        return location(
            self.folder,
            dates=(self.date,),
            fields=(self.status, self.email),
            where=where,
            bounds=bounds,
        )

    def missing(self) -> Target:
        return location("No such folder")

    def put(self, plans: Sequence[Plan]) -> list[str]:
        with self.mailbox.client() as client:
            status = client.folder_status(self.folder, ["UIDNEXT", "UIDVALIDITY"])
            first, epoch = status[b"UIDNEXT"], status[b"UIDVALIDITY"]
            for plan in plans:
                data = plain(
                    sender=f"A Person <{plan.email}>",
                    subject=plan.status,
                    date=plan.received,
                    message_id=folded(plan.name),
                )
                client.append(self.folder, data, (), plan.received)
        return [f"{self.folder}/{epoch}/{first + n}" for n in range(len(plans))]

    def raw(self) -> Mapping[str, bytes]:
        with self.mailbox.client() as client:
            epoch = client.select_folder(self.folder, readonly=True)[b"UIDVALIDITY"]
            uids = client.search(["ALL"])
            items = ["BODY.PEEK[]", "FLAGS", "INTERNALDATE"]
            found = client.fetch(uids, items) if uids else {}
        return {
            f"{self.folder}/{epoch}/{uid}": one[b"BODY[]"]
            + repr((sorted(set(one[b"FLAGS"]) - {b"\\Recent"}), one[b"INTERNALDATE"])).encode()
            for uid, one in found.items()
        }

    def change(self, key: str) -> None:
        raise NotImplementedError("mail cannot change")

    def remove(self, key: str) -> None:
        expunge(self.mailbox, self.folder, [int(key.rpartition("/")[2])])

    @contextmanager
    def denied(self) -> Iterator[None]:
        with rights(self.mailbox, self.folder, "l"):
            yield

    @contextmanager
    def temporary(self) -> Iterator[None]:
        with self.wire.set("refuse"):
            yield

    @contextmanager
    def permanent(self) -> Iterator[None]:
        with self.mailbox.client() as client:
            client.rename_folder(self.folder, "Elsewhere")
        try:
            yield
        finally:
            with self.mailbox.client() as client:
                client.rename_folder("Elsewhere", self.folder)

    @contextmanager
    def answer_lost(self) -> Iterator[None]:
        with self.wire.set("lose"):
            yield

    def close(self) -> None:
        self.wire.close()


ACL_CONFIG = """
mail_plugins = acl
protocol imap {
  mail_plugins = acl imap_acl
}
plugin {
  acl = vfile
}
service imap-login {
  service_count = 0
}
service imap {
  service_count = 50
}
"""
"""What a server needs for `rights`; its processes serve many sessions, which is quicker."""


@contextmanager
def short_lived(
    *, config: str = "", capability: str = "", separator: str = "/"
) -> Iterator[Dovecot]:
    """A server of a test's own, ended without the second that an orderly stop takes."""
    with Dovecot.start(config=config, capability=capability, separator=separator) as server:
        try:
            yield server
        finally:
            server.kill()


@contextmanager
def rights(mailbox: Mailbox, folder: str, letters: str) -> Iterator[None]:
    """Sessions opened meanwhile have these rights (RFC 4314) on a folder, and no others."""
    steps = [imap_utf7.encode(step).decode("ascii") for step in folder.split("/")]
    file = mailbox.maildir / ("." + ".".join(steps)) / "dovecot-acl"
    file.write_text(f"owner {letters}\n", encoding="ascii")
    file.chmod(0o644)
    try:
        yield
    finally:
        file.unlink()


def expunge(mailbox: Mailbox, folder: str, uids: Iterable[int]) -> None:
    """Another client deletes these messages."""
    with mailbox.client() as client:
        client.select_folder(folder)
        client.add_flags(list(uids), [b"\\Deleted"], silent=True)
        client.uid_expunge(list(uids))


class CutWire:
    """A relay. `refuse`: hangs up at once. `lose`: hangs up on the answer to EXPUNGE."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._mode = "pass"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @contextmanager
    def set(self, mode: str) -> Iterator[None]:
        self._mode = mode
        try:
            yield
        finally:
            self._mode = "pass"

    def close(self) -> None:
        # Closing alone does not wake a thread that waits in accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._mode == "refuse":
                client.close()
                continue
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket) -> None:
        server = socket.create_connection(self._server)
        cut = False
        with client, server:
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                for source in select.select([client, server], [], [])[0]:
                    try:
                        data = source.recv(65_536)
                    except OSError:
                        return
                    if not data or (source is server and cut):
                        return
                    cut = source is client and self._mode == "lose" and b"EXPUNGE" in data
                    (server if source is client else client).sendall(data)


class ScriptedServer:
    """An IMAP server that says what a test tells it to: for answers no real one gives on demand.

    `answers`: part of a command → lines before `OK`, or a whole tagged answer (`NO …`, `BAD …`),
    or None to hang up. What was asked is in `heard`.
    """

    _USUAL: ClassVar[dict[bytes, list[bytes] | bytes | None]] = {
        b"CAPABILITY": [b"* CAPABILITY IMAP4rev1 UIDPLUS"],
        b"LIST": [b'* LIST () "/" INBOX'],
        b"SELECT": [b"* 2 EXISTS", b"* OK [UIDVALIDITY 7] x", b"* OK [UIDNEXT 30] x"],
        b"EXAMINE": [b"* 2 EXISTS", b"* OK [UIDVALIDITY 7] x", b"* OK [UIDNEXT 30] x"],
    }

    def __init__(self, answers: Mapping[bytes, list[bytes] | bytes | None]) -> None:
        self._answers = {**answers, **{k: v for k, v in self._USUAL.items() if k not in answers}}
        self.heard: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def mailbox(self) -> Mailbox:
        """Credentials for it."""
        return Mailbox("127.0.0.1", self.port, "post@example.org", 'a"b c', Path())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=5)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, client.makefile("rwb") as stream, contextlib.suppress(OSError):
                stream.write(b"* OK hello\r\n")
                stream.flush()
                while line := stream.readline():
                    if not self._answer(stream, line.rstrip()):
                        break

    def _answer(self, stream: Any, line: bytes) -> bool:
        self.heard.append(line)
        tag, _, command = line.partition(b" ")
        said = next((v for k, v in self._answers.items() if k in command), [])
        if said is None:
            return False
        if isinstance(said, bytes):
            stream.write(tag + b" " + said + b"\r\n")
        else:
            if b"LOGOUT" in command:
                said = [b"* BYE"]
            stream.write(b"".join(part + b"\r\n" for part in said) + tag + b" OK done\r\n")
        stream.flush()
        return b"LOGOUT" not in command


class ImapWholesWorld(ImapWorld):
    """Every record lies in two folders: a message and its copy, or one and its answer."""

    other = "Sent"

    def __init__(self, mailbox: Mailbox, unit: Unit = Unit.MESSAGE) -> None:
        super().__init__(mailbox)
        self.unit = unit
        mailbox.create(self.other)

    def target(
        self, *, where: tuple[Condition, ...] = (), bounds: tuple[Bound, ...] = ()
    ) -> Target:
        target = super().target(where=where, bounds=bounds)
        found = ImapLocation(folders=(self.folder, self.other), unit=self.unit)
        return replace(target, settings=found)

    def put(self, plans: Sequence[Plan]) -> list[str]:
        first = super().put(plans)
        with self.mailbox.client() as client:
            status = client.folder_status(self.other, ["UIDNEXT", "UIDVALIDITY"])
            for plan in plans:
                own = folded(plan.name)
                if self.unit is Unit.THREAD:
                    own = folded(f"{plan.name}.answer")
                data = plain(
                    sender=f"A Person <{plan.email}>",
                    subject=plan.status,
                    date=plan.received,
                    message_id=own,
                    extra=f"In-Reply-To: {folded(plan.name)}" if self.unit is Unit.THREAD else "",
                )
                client.append(self.other, data, (), plan.received)
        uid, epoch = status[b"UIDNEXT"], status[b"UIDVALIDITY"]
        return [join([key, f"{self.other}/{epoch}/{uid + n}"]) for n, key in enumerate(first)]

    def raw(self) -> Mapping[str, bytes]:
        """By the ids that tie them together; what lost its other place has a key of its own."""
        found: dict[bytes, dict[str, bytes]] = {}
        for folder in (self.folder, self.other):
            with self.mailbox.client() as client:
                epoch = client.select_folder(folder, readonly=True)[b"UIDVALIDITY"]
                items = ["BODY.PEEK[]", "FLAGS", "INTERNALDATE"]
                uids = client.search(["ALL"])
                for uid, one in (client.fetch(uids, items) if uids else {}).items():
                    headers = split(one[b"BODY[]"].partition(b"\r\n\r\n")[0])
                    tie = (headers.get("in-reply-to") or headers["message-id"])[0]
                    flags = sorted(set(one[b"FLAGS"]) - {b"\\Recent"})
                    told = one[b"BODY[]"] + repr((flags, one[b"INTERNALDATE"])).encode()
                    found.setdefault(tie, {})[f"{folder}/{epoch}/{uid}"] = told
        return {join(sorted(p)): b"".join(p[k] for k in sorted(p)) for p in found.values()}

    def remove(self, key: str) -> None:
        for place in split_key(key):
            folder, _, uid = place.rsplit("/", 2)
            expunge(self.mailbox, folder, [int(uid)])
