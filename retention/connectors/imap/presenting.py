"""Presenting an access token to a mail server: OAUTHBEARER (RFC 7628) and XOAUTH2."""

from __future__ import annotations

import binascii
import imaplib
import json
from collections.abc import Collection
from typing import Any

from imapclient.exceptions import LoginError

from retention.connectors.imap.failures import LostError
from retention.connectors.imap.oauth import Tokens
from retention.connectors.imap.oauth_settings import Mechanism
from retention.errors import CredentialsRefused, PermanentFailure

_WORDS = frozenset({"invalid_token", "insufficient_scope", "invalid_request", "400", "401", "403"})
"""What a server's JSON may say about a token (RFC 7628 §3.2.2; Google and Microsoft: numbers)."""


def log_in(
    client: Any,
    offered: Collection[bytes],
    username: str,
    tokens: Tokens,
    wanted: Mechanism | None,
    system: str,
) -> None:
    """Log in with a token, and once more with a fresh one if that was refused.

    `client`: a connected IMAPClient; `offered`: its capabilities. Raises ConnectorError, and
    LoginError for refusals that have nothing to do with the token.
    """
    mechanism = _chosen(offered, wanted, system)
    token = tokens.access()
    problem = _present(client, mechanism, username, _checked(token, username, system))
    if problem is None:
        return
    fresh = tokens.another(token)
    if fresh is not None:
        problem = _present(client, mechanism, username, _checked(fresh, username, system))
        if problem is None:
            return
    raise CredentialsRefused(
        f"the server does not accept the access token{f' ({problem})' if problem else ''}",
        hint="is the token for this mailbox, with the scope for IMAP, and IMAP allowed for it?",
        place=system,
    )


def _chosen(offered: Collection[bytes], wanted: Mechanism | None, system: str) -> Mechanism:
    for mechanism in Mechanism:
        here = f"AUTH={mechanism.upper()}".encode("ascii") in offered
        if here and wanted in (None, mechanism):
            return mechanism
    lacking = wanted.upper() if wanted else "neither OAUTHBEARER nor XOAUTH2"
    raise PermanentFailure(
        f"the server accepts no access tokens ({lacking})", hint="use `password`", place=system
    )


def _checked(token: str, username: str, system: str) -> str:
    """A control character in either would be a field of its own on the wire."""
    if not token or any(ord(c) < 32 or ord(c) == 127 for c in username + token):
        raise CredentialsRefused(
            "the username or the access token is empty or holds a control character",
            hint="a line break in the middle of the secret?",
            place=system,
        )
    return token


class _Answers:
    """What is said in an exchange: the token, then the word that ends an error."""

    def __init__(self, first: bytes, last: bytes) -> None:
        self._first = first
        self._last = last
        self._said = False
        self.problem = ""

    def __call__(self, challenge: bytes) -> bytes:
        if not self._said:
            self._said = True
            return self._first
        self.problem = _word(challenge)
        return self._last


def _present(client: Any, mechanism: Mechanism, username: str, token: str) -> str | None:
    """None: logged in. Else what the server said of the token, one known word or ""."""
    if mechanism is Mechanism.OAUTHBEARER:
        name = username.replace("=", "=3D").replace(",", "=2C")
        answers = _Answers(f"n,a={name},\1auth=Bearer {token}\1\1".encode(), b"\1")
    else:
        answers = _Answers(f"user={username}\1auth=Bearer {token}\1\1".encode(), b"")
    try:
        client.sasl_login(mechanism.upper(), answers)
    except binascii.Error:
        raise LostError from None
    except LoginError as error:
        if isinstance(error.__context__, imaplib.IMAP4.abort) or not _about_token(str(error)):
            raise
        return answers.problem
    return None


def _about_token(said: str) -> bool:
    """Whether a refusal is about credentials; servers that say nothing mean that."""
    return "[" not in said or any(
        code in said for code in ("[AUTHENTICATIONFAILED]", "[EXPIRED]", "[AUTHORIZATIONFAILED]")
    )


def _word(challenge: bytes) -> str:
    try:
        told = json.loads(challenge)
    except (ValueError, RecursionError):
        return ""
    status = told.get("status") if isinstance(told, dict) else None
    return str(status) if str(status) in _WORDS else ""
