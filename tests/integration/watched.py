"""What watches the service in tests: a real mail server, a real web server, raised alarms."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, Session
from sqlalchemy import insert, update

from retention.ledger import tables as t
from retention.ledger.store import Ledger, stamp


@dataclass
class Mailbox:
    """A mail server. `answer`: what it says to a message; `port` where it listens."""

    port: int = 0
    answer: str = "250 OK"
    messages: list[EmailMessage] = field(default_factory=list)
    envelopes: list[tuple[str, list[str]]] = field(default_factory=list)
    logins: list[bytes] = field(default_factory=list)

    async def handle_DATA(self, _server: Any, _session: Session, envelope: Envelope) -> str:  # noqa: N802  # aiosmtpd's name
        if self.answer.startswith("250"):
            assert isinstance(envelope.content, bytes)
            message = message_from_bytes(envelope.content, policy=default)
            assert isinstance(message, EmailMessage)
            self.messages.append(message)
            self.envelopes.append((str(envelope.mail_from), [str(to) for to in envelope.rcpt_tos]))
        return self.answer

    async def handle_RCPT(  # noqa: N802  # aiosmtpd's name
        self, _server: Any, _session: Session, envelope: Envelope, address: str, _options: Any
    ) -> str:
        if address.startswith("nobody"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    def login(
        self, _server: Any, _session: Session, _envelope: Envelope, _kind: str, data: Any
    ) -> AuthResult:
        self.logins.append(data.login + b":" + data.password)
        return AuthResult(success=data.password == b"hunter2")


@contextmanager
def mailbox(tls: ssl.SSLContext | None = None, *, implicit: bool = False) -> Iterator[Mailbox]:
    """A mail server on this machine. `tls`: offered by STARTTLS, or spoken from the start."""
    box = Mailbox(free_port())
    controller = Controller(
        box,
        hostname="127.0.0.1",
        port=box.port,
        server_hostname="mail.example.org",
        ssl_context=tls if implicit else None,
        tls_context=None if implicit else tls,
        auth_require_tls=False,
        authenticator=box.login,
    )
    controller.start()
    try:
        yield box
    finally:
        controller.stop()


@dataclass
class Web:
    """A web server that remembers what it was asked. `status`: what it answers."""

    url: str = ""
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def bodies(self) -> list[bytes]:
        return [body for _, _, _, body in self.requests]


@contextmanager
def web() -> Iterator[Web]:
    """A web server on this machine."""
    seen = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            seen.requests.append((self.command, self.path, dict(self.headers), body))
            self.send_response(seen.status)
            for name, value in seen.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET  # noqa: N815  # the base class's name

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    seen.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def free_port() -> int:
    """A port where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def raise_alarm(
    ledger: Ledger, now: datetime, kind: str = "limit", policy: str = "form", age: float = 3600
) -> int:
    """An alarm that began so many seconds ago; its number."""
    with ledger.write() as tx:
        row = tx.execute(
            insert(t.alarm)
            .values(
                policy=policy,
                kind=kind,
                detail="300 of 200 records",
                raised_at=stamp(now - timedelta(seconds=age)),
            )
            .returning(t.alarm.c.id)
        ).one()
    return int(row.id)


def clear_alarm(ledger: Ledger, now: datetime, number: int) -> None:
    """It is over."""
    with ledger.write() as tx:
        tx.execute(update(t.alarm).where(t.alarm.c.id == number).values(cleared_at=stamp(now)))
