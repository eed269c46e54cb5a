"""What goes wrong with a mail server, as errors of ours: causes only, never the server's words."""

from __future__ import annotations

import imaplib
import ssl
from enum import Enum, auto

from imapclient.exceptions import CapabilityError, LoginError

from retention.errors import (
    ConnectorError,
    CredentialsRefused,
    PermanentFailure,
    TemporaryFailure,
)

# Response codes: RFC 5530, RFC 3501 §7.1, RFC 2180 §4.1.1 as Dovecot spells it, Gmail's.
_TEMPORARY = frozenset({"UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG", "EXPUNGEISSUED", "THROTTLED"})
_DENIED = frozenset({"NOPERM", "AUTHORIZATIONFAILED", "AUTHENTICATIONFAILED", "EXPIRED"})
_MISSING = frozenset({"NONEXISTENT", "TRYCREATE"})


class LostError(Exception):
    """The connection ended, or what came over it was no IMAP."""


class RefusedError(Exception):
    """The server answered NO or BAD. Holds its response code only, never its words."""

    def __init__(self, status: str, code: str) -> None:
        super().__init__(f"{status} [{code}]")
        self.status = status
        self.code = code


class Stage(Enum):
    """How far a session has come."""

    CONNECTING = auto()
    LOGGING_IN = auto()
    WORKING = auto()


def failure_of(error: BaseException, doing: str, stage: Stage) -> ConnectorError | None:
    """Our error for what a library raised; None for what is ours already, or a bug."""
    if isinstance(error, LoginError):
        # IMAPClient calls a connection that broke while logging in a refused login.
        broke = error.__context__ if isinstance(error.__context__, imaplib.IMAP4.abort) else None
        return _lost(broke, doing, stage) if broke else _login_refused(str(error))
    if isinstance(error, RefusedError):
        return _refused(error.code, doing)
    if isinstance(error, CapabilityError):
        return PermanentFailure(f"the server cannot do what is needed, {doing}")
    if isinstance(error, LostError | imaplib.IMAP4.abort | OSError | EOFError):
        return _lost(error, doing, stage)
    if isinstance(error, imaplib.IMAP4.error):
        return _refused(_code(str(error)), doing)
    return None


def _code(said: str) -> str:
    """The response code in a server's words, for classifying only."""
    start, end = said.find("["), said.find("]")
    return said[start + 1 : end].split(" ", maxsplit=1)[0].upper() if 0 <= start < end else ""


def _refused(code: str, doing: str) -> ConnectorError:
    if code in _TEMPORARY:
        return TemporaryFailure(f"the server could not do it now, {doing}", code="busy")
    if code in _DENIED:
        return CredentialsRefused(
            f"the server refuses a right that is needed, {doing}",
            hint="grant reading, marking and expunging (l, r, t, e)",
        )
    if code in _MISSING:
        return PermanentFailure(f"a folder is gone or was renamed, {doing}", code="folder_missing")
    return PermanentFailure(f"the server refused the command, {doing}", code="refused")


def _login_refused(said: str) -> ConnectorError:
    code = _code(said)
    if code in _TEMPORARY:
        return TemporaryFailure("the server cannot check credentials now", code="busy")
    if code == "PRIVACYREQUIRED":
        return PermanentFailure(
            "the server wants TLS before a password", hint="say `tls: starttls`"
        )
    return CredentialsRefused(
        "the server does not accept the username with this password or token",
        hint="many providers want an app password for IMAP",
    )


def _lost(error: BaseException, doing: str, stage: Stage) -> ConnectorError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return PermanentFailure(
            f"the server's certificate cannot be trusted ({error.verify_message})",
            hint="name the host as the certificate does, or its authority in `ca_file`",
            code="tls",
        )
    if isinstance(error, ssl.SSLError) and stage is not Stage.WORKING:
        return PermanentFailure(
            "no TLS connection came about",
            hint="does the port fit `tls`? usual: implicit 993, starttls 143",
            code="tls",
        )
    if isinstance(error, TimeoutError):
        return TemporaryFailure(f"the server did not answer in time, {doing}", code="timeout")
    cause = "could not be made" if stage is Stage.CONNECTING else "was lost"
    return TemporaryFailure(f"the connection {cause}, {doing}", code="connection")
