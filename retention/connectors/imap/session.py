"""One connection: connect, protect, log in, list folders, open them. Errors are translated here."""

from __future__ import annotations

import imaplib
import logging
import socket
import ssl
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

from imapclient import IMAPClient, SocketTimeout

from retention.connectors.imap.failures import Stage, failure_of
from retention.connectors.imap.folders import folder_of, name_of
from retention.connectors.imap.oauth import Tokens
from retention.connectors.imap.presenting import log_in
from retention.connectors.imap.settings import ImapSystem, Tls
from retention.connectors.imap.wire import LINE, RefusedError, Wire, quoted
from retention.connectors.mail_folders import MailFolder
from retention.connectors.secrets import reveal
from retention.errors import (
    ConnectorError,
    CredentialsRefused,
    PermanentFailure,
)

_DOVECOT_LINE = 30_000
"""Dovecot takes lines of 64 KiB unless told otherwise (imap_max_line_length)."""
_TIMEOUT = SocketTimeout(connect=10, read=25)
# IMAPClient logs the names of folders and the text of answers at DEBUG: personal data.
logging.getLogger("imapclient").setLevel(logging.WARNING)


class Opened(NamedTuple):
    """A folder as it was when it was opened."""

    folder: MailFolder
    write: bool
    uidvalidity: int
    exists: int
    uidnext: int
    marks: bool = True
    """Whether \\Deleted can be set for good (PERMANENTFLAGS)."""
    modseqs: bool = True
    """Whether changes are numbered here (CONDSTORE; not every folder of such a server)."""


class Translated:
    """A context that lets no library's error out: servers' words hold names and addresses."""

    def __init__(self, session: Session, doing: str) -> None:
        self._session = session
        self._doing = doing

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        failure = self._session.failure(error, self._doing)
        if failure is None:
            return
        try:
            raise failure
        except ConnectorError as clean:
            # The original must not travel along as context: whoever logs would print it.
            clean.__context__ = None
            raise


def _on_this_machine(connected: socket.socket) -> bool:
    try:
        return ip_address(connected.getpeername()[0].partition("%")[0]).is_loopback
    except (OSError, ValueError):
        return False


class Session:
    """Connects when first asked; after a lost connection, the next call connects again."""

    def __init__(self, system: str, settings: ImapSystem, base: str) -> None:
        self.system = system
        self.settings = settings
        self._base = base
        self.tokens = Tokens(
            system, base=base, oauth=settings.oauth, access_token=settings.access_token
        )
        self._client: Any = None
        self._wire: Wire | None = None
        self._capabilities: frozenset[str] = frozenset()
        self._folders: tuple[MailFolder, ...] | None = None
        self._opened: Opened | None = None
        self._long_lines = False
        self._broke_on_long_lines = False

    def __repr__(self) -> str:
        return f"Session({self.system})"

    # --- connection ---------------------------------------------------------------------------

    @property
    def wire(self) -> Wire:
        """The live connection's bulk commands."""
        return self._wire or self._connect()

    @property
    def greeting(self) -> bytes:
        """The server's first line: it may name the program."""
        if self._wire is None:
            self._connect()
        return bytes(self._client.welcome or b"")

    def has(self, capability: str) -> bool:
        """Does the server, now that we are logged in, say it can do this?"""
        if self._wire is None:
            self._connect()
        return capability in self._capabilities

    def close(self) -> None:
        """Log out. May be called twice."""
        client = self._client
        self._forget()
        if client is None:
            return
        try:
            client.logout()
        except (imaplib.IMAP4.error, OSError):
            with suppress(imaplib.IMAP4.error, OSError):
                client.shutdown()

    def _drop(self) -> None:
        client = self._client
        self._forget()
        if client is not None:
            with suppress(imaplib.IMAP4.error, OSError):
                client.shutdown()

    def _forget(self) -> None:
        if self._wire is not None:
            self._wire.abandon()
        self._client = self._wire = self._opened = self._folders = None
        self._capabilities = frozenset()

    def _connect(self) -> Wire:
        settings = self.settings
        with self.translated("connecting"):
            context = self._context() if settings.tls is not Tls.NONE else None
            self._client = IMAPClient(
                settings.host,
                port=settings.actual_port,
                ssl=settings.tls is Tls.IMPLICIT,
                ssl_context=context,
                timeout=_TIMEOUT,
            )
            # imaplib writes a line in two pieces; together with delayed ACKs each costs 40 ms.
            self._client.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if settings.tls is Tls.STARTTLS:
                self._client.starttls(context)
        if settings.tls is Tls.NONE and not _on_this_machine(self._client.socket()):
            self._drop()
            raise PermanentFailure(
                "a password would travel in the clear to another machine: refused",
                hint="say `tls: implicit` or `tls: starttls`",
                place=self.system,
                code="tls",
            )
        with self.translated("logging in"):
            self._log_in()
            # `_imap` is IMAPClient's imaplib object; the pin `imapclient<5` and a test guard it.
            wire = Wire(self._client._imap)  # noqa: SLF001 -- see the line above
            told = [r.pieces[0].split() for r in wire.run(b"CAPABILITY")]
            self._capabilities = frozenset(
                word.decode("ascii", "replace").upper()
                for words in told
                if words[1].upper() == b"CAPABILITY"
                for word in words[2:]
            )
            self._long_lines = not self._broke_on_long_lines and self._is_dovecot(wire)
            self._wire = wire
            return wire

    def _is_dovecot(self, wire: Wire) -> bool:
        if "ID" not in self._capabilities:
            return False
        try:
            told = wire.run(b"ID NIL")
        except RefusedError:
            return False
        return any(b'"dovecot' in b"".join(r.pieces).lower() for r in told)

    @property
    def longest(self) -> int:
        """Longest list of UIDs in one command, octets; few large expunges are the quickest."""
        return _DOVECOT_LINE if self._wire is not None and self._long_lines else LINE

    def _context(self) -> ssl.SSLContext:
        if self.settings.ca_file is None:
            return ssl.create_default_context()
        path = Path(self._base, self.settings.ca_file)
        if not path.is_file():
            raise PermanentFailure(
                "the file of trusted certificates (ca_file) does not exist", place=self.system
            )
        return ssl.create_default_context(cafile=str(path))

    def _log_in(self) -> None:
        settings, client = self.settings, self._client
        before = {bytes(c).upper() for c in client.capabilities()}
        if settings.password is None:
            mechanism = settings.oauth.mechanism if settings.oauth else None
            log_in(client, before, settings.username, self.tokens, mechanism, self.system)
            return
        secret = reveal(settings.password) or ""
        if any(ord(c) < 32 for c in settings.username + secret):
            raise CredentialsRefused(
                "the username or the secret holds a control character",
                hint="a line break at the end of the secret?",
                place=self.system,
            )
        if b"AUTH=PLAIN" in before:
            client.plain_login(settings.username, secret)
        elif b"LOGINDISABLED" in before or not (settings.username + secret).isascii():
            raise PermanentFailure(
                "the server offers no way to log in with this password on this connection",
                hint="it may want TLS: say `tls: implicit` or `tls: starttls`",
                place=self.system,
            )
        else:
            client.login(quoted(settings.username.encode("ascii")).decode("ascii"), secret)

    # --- errors -------------------------------------------------------------------------------

    def translated(self, doing: str) -> Translated:
        """What goes wrong inside leaves as an error of ours, without the server's words."""
        return Translated(self, doing)

    def failure(self, error: BaseException, doing: str) -> ConnectorError | None:
        """Our error for what a library raised; None for what is ours already, or a bug."""
        stage = Stage.CONNECTING if self._client is None else Stage.LOGGING_IN
        failure = failure_of(error, doing, stage if self._wire is None else Stage.WORKING)
        # Whatever it was: the next try does without what not every server takes.
        self._broke_on_long_lines |= self._long_lines and failure is not None
        if self._wire is None or not isinstance(failure, PermanentFailure):
            # Half an answer may be under way: this connection is of no more use.
            self._drop()
        if failure is not None:
            failure.place = self.system
        return failure

    # --- folders ------------------------------------------------------------------------------

    @property
    def opened(self) -> Opened | None:
        """The folder that is open now."""
        return self._opened

    def folders(self, *, again: bool = True) -> tuple[MailFolder, ...]:
        """Every folder that the server lists, subscribed or not."""
        if self._folders is None or again:
            if self._wire is None:
                self._connect()
            with self.translated("listing folders"):
                self.wire.settle()
                self._client.folder_encode = False
                listed = self._client.list_folders()
                prefixes = self._namespaces()
            self._folders = tuple(
                folder_of(flags, delim, raw, *prefixes) for flags, delim, raw in listed
            )
        return self._folders

    def _namespaces(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Prefixes of (personal, everybody else's) namespaces."""
        if "NAMESPACE" not in self._capabilities:
            return (), ()
        spaces = self._client.namespace()
        personal = tuple(name_of(p) for p, _ in spaces.personal or () if p)
        others = tuple(name_of(p) for part in (spaces.other, spaces.shared) for p, _ in part or ())
        return personal, tuple(p for p in others if p)

    def folder(self, name: str) -> MailFolder | None:
        """The folder of that name, looked up again if it is not known."""
        for again in (False, True):
            for folder in self.folders(again=again):
                if folder.name == name and folder.selectable:
                    return folder
        return None

    def rights(self, folder: MailFolder) -> frozenset[str] | None:
        """Our rights on a folder (RFC 4314), letters; None where the server does not tell."""
        if not self.has("ACL"):
            return None
        try:
            command = b"MYRIGHTS " + quoted(folder.raw)
        except ValueError:
            return None
        with self.translated("asking for rights"):
            try:
                responses = self.wire.run(command)
            except RefusedError:
                return None
        for response in responses:
            if response.pieces[0].split()[1].upper() == b"MYRIGHTS":
                told = frozenset(response.pieces[-1].split()[-1].decode("ascii", "replace"))
                # Servers before RFC 4314 have `d` for what is `t` and `e` now; newer ones add
                # it for any of these.
                return told | set("te") if "d" in told and not told & set("tex") else told
        return None

    def open(self, name: str, *, write: bool = False, afresh: bool = False) -> Opened:
        """Make this the selected folder, and up to date. Raises PermanentFailure if it is gone.

        A folder that is open for writing serves reading too; every reading is a PEEK.
        """
        wire = self.wire
        now = self._opened
        if now and now.folder.name == name and (now.write or not write) and not afresh:
            # The server shows what other clients did only between commands that allow it to.
            with self.translated("looking for changes"):
                wire.run(b"NOOP")
            return now
        folder = self.folder(name)
        if folder is None:
            raise PermanentFailure(
                "a folder is gone or was renamed", place=self.system, code="folder_missing"
            )
        self._opened = None
        told = self._select(folder, write)
        lasting = {bytes(f).upper() for f in told.get(b"PERMANENTFLAGS", (b"\\DELETED",))}
        self._opened = Opened(
            folder,
            write,
            int(told.get(b"UIDVALIDITY", 0)),
            int(told.get(b"EXISTS", 0)),
            int(told.get(b"UIDNEXT", 0)) or 4_294_967_295,
            b"\\DELETED" in lasting,
            b"NOMODSEQ" not in told,
        )
        return self._opened

    def _select(self, folder: MailFolder, write: bool) -> Any:
        wire = self.wire
        with self.translated("opening a folder"):
            wire.settle()
            # Bytes that no server should send, but some do, go back as they came.
            self._client._imap._encoding = "latin-1"  # noqa: SLF001 -- as in `_connect`
            name = folder.raw.decode("latin-1")
            try:
                told = self._client.select_folder(name, readonly=not write)
            except imaplib.IMAP4.readonly:
                # imaplib refuses every further command until a folder was opened to read.
                self._client.select_folder(name, readonly=True)
                told = {b"READ-ONLY": True}
        if write and b"READ-ONLY" in told:
            raise PermanentFailure(
                "a folder is read-only for this login",
                hint="grant marking and expunging (t, e) on it",
                place=self.system,
                code="read_only",
            )
        return told
