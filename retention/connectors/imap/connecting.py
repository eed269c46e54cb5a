"""A connection: made, protected, logged in, and asked what it can do."""

from __future__ import annotations

import imaplib
import logging
import socket
import ssl
from collections.abc import Collection
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from imapclient import IMAPClient, SocketTimeout

from retention.connectors.imap import presenting
from retention.connectors.imap.asking import quoted
from retention.connectors.imap.failures import RefusedError
from retention.connectors.imap.oauth import Tokens
from retention.connectors.imap.settings import ImapSystem, Tls
from retention.connectors.imap.wire import Wire
from retention.connectors.secrets import reveal
from retention.errors import CredentialsRefused, PermanentFailure

_TIMEOUT = SocketTimeout(connect=10, read=25)
# IMAPClient logs the names of folders and the text of answers at DEBUG: personal data.
logging.getLogger("imapclient").setLevel(logging.WARNING)


def connected(settings: ImapSystem, base: str, system: str) -> Any:
    """An IMAPClient, protected as the settings say. Raises ConnectorError, and its libraries'."""
    context = _context(settings, base, system) if settings.tls is not Tls.NONE else None
    client = IMAPClient(
        settings.host,
        port=settings.actual_port,
        ssl=settings.tls is Tls.IMPLICIT,
        ssl_context=context,
        timeout=_TIMEOUT,
    )
    try:
        # Names of folders go back as they were spelt.
        client.folder_encode = False
        # imaplib writes a line in two pieces; together with delayed ACKs each costs 40 ms.
        client.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if settings.tls is Tls.STARTTLS:
            client.starttls(context)
        if settings.tls is Tls.NONE and not _on_this_machine(client.socket()):
            raise PermanentFailure(
                "a password would travel in the clear to another machine: refused",
                hint="say `tls: implicit` or `tls: starttls`",
                place=system,
                code="tls",
            )
    except BaseException:
        with suppress(imaplib.IMAP4.error, OSError):
            client.shutdown()
        raise
    return client


def _on_this_machine(connection: socket.socket) -> bool:
    try:
        return ip_address(connection.getpeername()[0].partition("%")[0]).is_loopback
    except (OSError, ValueError):
        return False


def _context(settings: ImapSystem, base: str, system: str) -> ssl.SSLContext:
    if settings.ca_file is None:
        return ssl.create_default_context()
    path = Path(base, settings.ca_file)
    if not path.is_file():
        raise PermanentFailure(
            "the file of trusted certificates (ca_file) does not exist", place=system
        )
    return ssl.create_default_context(cafile=str(path))


def log_in(client: Any, settings: ImapSystem, tokens: Tokens, system: str) -> None:
    """With the password, or a token. Raises ConnectorError, and IMAPClient's errors."""
    before = {bytes(c).upper() for c in client.capabilities()}
    if settings.password is None:
        mechanism = settings.oauth.mechanism if settings.oauth else None
        presenting.log_in(client, before, settings.username, tokens, mechanism, system)
        return
    secret = reveal(settings.password) or ""
    if any(ord(c) < 32 for c in settings.username + secret):
        raise CredentialsRefused(
            "the username or the secret holds a control character",
            hint="a line break at the end of the secret?",
            place=system,
        )
    if b"AUTH=PLAIN" in before:
        client.plain_login(settings.username, secret)
    elif b"LOGINDISABLED" in before or not (settings.username + secret).isascii():
        raise PermanentFailure(
            "the server offers no way to log in with this password on this connection",
            hint="it may want TLS: say `tls: implicit` or `tls: starttls`",
            place=system,
        )
    else:
        client.login(quoted(settings.username.encode("ascii")).decode("ascii"), secret)


def capabilities(wire: Wire) -> frozenset[str]:
    """What the server, now that we are logged in, says it can do."""
    told = [r.pieces[0].split() for r in wire.run(b"CAPABILITY")]
    return frozenset(
        word.decode("ascii", "replace").upper()
        for words in told
        if b"".join(words[1:2]).upper() == b"CAPABILITY"
        for word in words[2:]
    )


def is_dovecot(wire: Wire, able: Collection[str]) -> bool:
    """Whether the server calls itself so (RFC 2971)."""
    if "ID" not in able:
        return False
    try:
        told = wire.run(b"ID NIL")
    except RefusedError:
        return False
    return any(b'"dovecot' in b"".join(r.pieces).lower() for r in told)
