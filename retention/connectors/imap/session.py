"""One connection: connect, protect, log in, list folders, open them. Errors are translated here."""

from __future__ import annotations

import imaplib
from contextlib import suppress
from typing import Any, NamedTuple

from retention.connectors.imap.answers import listed_in
from retention.connectors.imap.asking import quoted
from retention.connectors.imap.connecting import capabilities, connected, is_dovecot, log_in
from retention.connectors.imap.failures import RefusedError, Stage, failure_of
from retention.connectors.imap.folders import folder_of, name_of, told_apart
from retention.connectors.imap.oauth import Tokens
from retention.connectors.imap.sets import LINE
from retention.connectors.imap.settings import ImapSystem
from retention.connectors.imap.wire import Wire
from retention.connectors.mail_folders import MailFolder
from retention.errors import (
    ConnectorError,
    PermanentFailure,
)

_DOVECOT_LINE = 30_000
"""Dovecot takes lines of 64 KiB unless told otherwise (imap_max_line_length)."""


class Opened(NamedTuple):
    """A folder as it was when it was opened."""

    folder: MailFolder
    write: bool
    uidvalidity: int
    exists: int
    uidnext: int
    marks: bool = True
    """Whether \\Deleted can be set for good (PERMANENTFLAGS)."""
    highest: int = 0
    """Number of the last change (CONDSTORE); 0 where changes are not numbered."""


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
            self._client = connected(settings, self._base, self.system)
        with self.translated("logging in"):
            log_in(self._client, settings, self.tokens, self.system)
            # `_imap` is IMAPClient's imaplib object; the pin `imapclient<5` and a test guard it.
            wire = Wire(self._client._imap)  # noqa: SLF001 -- see the line above
            self._capabilities = capabilities(wire)
            self._long_lines = not self._broke_on_long_lines and is_dovecot(
                wire, self._capabilities
            )
            self._wire = wire
            return wire

    @property
    def longest(self) -> int:
        """Longest list of UIDs in one command, octets; few large expunges are the quickest."""
        return _DOVECOT_LINE if self._wire is not None and self._long_lines else LINE

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
                # Not IMAPClient's: it reads the name 007 as a number.
                listed = [one for r in self.wire.run(b'LIST "" "*"') if (one := listed_in(r))]
                prefixes = self._namespaces()
            self._folders = told_apart(folder_of(*one, *prefixes) for one in listed)
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
        epoch = int(told.get(b"UIDVALIDITY", 0))
        if not epoch or b"UIDNOTSTICKY" in told:
            raise PermanentFailure(
                "the server gives messages no lasting numbers in a folder (no UIDVALIDITY)",
                hint="nothing can be named there for certain: leave the folder out",
                place=self.system,
                code="no_uidvalidity",
            )
        exists = int(told.get(b"EXISTS", 0))
        lasting = {bytes(f).upper() for f in told.get(b"PERMANENTFLAGS", (b"\\DELETED",))}
        self._opened = Opened(
            folder,
            write,
            epoch,
            exists,
            int(told.get(b"UIDNEXT", 0)) or self._after_last(exists),
            b"\\DELETED" in lasting,
            int(told.get(b"HIGHESTMODSEQ", 0)),
        )
        return self._opened

    def open_numbered(self, name: str) -> Opened:
        """Open for writing, afresh, with the number of its last change where there is one."""
        opened = self.open(name, write=True, afresh=True)
        if opened.highest or not self.has("ENABLE"):
            return opened
        # Dovecot numbers changes once somebody has asked for it.
        with self.translated("asking for numbered changes"), suppress(RefusedError):
            self.wire.run(b"ENABLE CONDSTORE")
        return self.open(name, write=True, afresh=True)

    def _after_last(self, exists: int) -> int:
        """UIDNEXT of the folder that was opened this moment, for servers that do not tell it."""
        if not exists:
            return 1
        with self.translated("looking for the last message"):
            told = list(self.wire.fetch(b"%d" % exists, b"UID", uid=False))
        return max((int(one[b"UID"]) for one in told), default=0) + 1

    def _select(self, folder: MailFolder, write: bool) -> Any:
        wire = self.wire
        if any(byte < 32 or byte == 127 for byte in folder.raw):
            # A line break in it would be a command of its own.
            raise PermanentFailure(
                "a folder's name holds a control character",
                hint="rename the folder",
                place=self.system,
                code="folder_name",
            )
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
