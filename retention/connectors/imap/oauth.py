"""Access tokens: fetched, kept until shortly before they expire, and never printed.

Providers may replace the refresh token at any use (RFC 6749 §6); the old one is then dead, so the
new one is written where it came from before anything else is done with the answer.
"""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from threading import Lock
from time import monotonic
from typing import Any

from retention.connectors.base import Probe
from retention.connectors.imap.keeping import Keeping
from retention.connectors.imap.oauth_settings import OAuth
from retention.connectors.outgoing import hush, refuse_private
from retention.connectors.secrets import Resolve, reveal
from retention.errors import (
    ConnectorError,
    CredentialsRefused,
    PermanentFailure,
    TemporaryFailure,
)
from retention.policy.model import Secret

log = logging.getLogger(__name__)
_EARLY = 120.0
"""Seconds before its end in which a token is not used any more, or a tenth of its life."""
_TIMEOUT = 15.0
_MOST = 64 * 1024
"""Bytes of an answer; tokens have a few thousand."""
_DEAD = frozenset({"invalid_grant", "interaction_required", "consent_required", "login_required"})
_CLIENT = frozenset({"invalid_client", "unauthorized_client", "access_denied"})
_BUSY = frozenset({"temporarily_unavailable", "server_error", "slow_down"})
_NEEDED = frozenset(
    {
        "https://mail.google.com/",
        "https://outlook.office.com/IMAP.AccessAsUser.All",
        "https://outlook.office365.com/IMAP.AccessAsUser.All",
        "https://outlook.office.com/.default",
        "https://outlook.office365.com/.default",
        "offline_access",
        "openid",
    }
)


@dataclass(slots=True)
class _Known:
    """What one account's sessions in this process share."""

    lock: Any = field(default_factory=Lock)
    token: str = field(default="", repr=False)
    until: float = 0.0
    refresh: str = field(default="", repr=False)
    """A refresh token that the provider gave us and that could not be written down."""
    replaced: bool = False
    scopes: frozenset[str] = frozenset()


_KNOWN: dict[bytes, _Known] = {}


class Tokens:
    """Where a system's sessions get their access tokens. Prints nothing of them."""

    def __init__(
        self,
        system: str,
        *,
        base: str = ".",
        oauth: OAuth | None = None,
        access_token: Any = None,
        said: Any = None,
        resolve: Resolve | None = None,
    ) -> None:
        """`said`: the settings before their secrets were fetched, for secrets to fetch again."""
        self._system = system
        self._oauth = oauth
        self._plain = access_token
        self._said = getattr(said, "access_token", None)
        self._resolve = resolve
        where = getattr(getattr(said, "oauth", None), "refresh_token", None)
        self._source = where if isinstance(where, Secret) else None
        self._keeping = Keeping.of(oauth, self._source, base) if oauth else None

    def __repr__(self) -> str:
        return f"Tokens({self._system})"

    @property
    def from_provider(self) -> bool:
        """Whether there are tokens at all, and not a password."""
        return self._oauth is not None or self._plain is not None

    def access(self) -> str:
        """A token that is good now as far as we know. Raises ConnectorError."""
        if self._oauth is None:
            return self._given()
        known = self._known(self._oauth)
        with known.lock:
            if known.token and monotonic() < known.until:
                return known.token
            return self._fetch(self._oauth, known)

    def another(self, refused: str) -> str | None:
        """A token other than the one that was refused; None where there is none to be had."""
        if self._oauth is None:
            told = self._given()
            return told if told != refused else None
        known = self._known(self._oauth)
        with known.lock:
            if known.token == refused:
                known.token = ""
                self._fetch(self._oauth, known)
            return known.token if known.token != refused else None

    def probe(self) -> Iterator[Probe]:
        """Findings about tokens, once a session was logged in."""
        if self._oauth is None or self._keeping is None:
            return
        known = self._known(self._oauth)
        if self._oauth.refresh_token is not None:
            lost = known.replaced and bool(known.refresh)
            yield Probe(
                "refresh token",
                not lost,
                "the provider replaced it, and the new one cannot be kept"
                if lost
                else "replaced by the provider, and kept"
                if known.replaced
                else self._keeping.told,
                "say `keep: FILE` under `oauth`, a file that this account may write; then sign in "
                "anew"
                if lost
                else "",
            )
        if excess := sorted(known.scopes - _NEEDED):
            told = ", ".join(excess[:5])
            yield Probe("excess scopes", ok=True, detail=f"the token also allows {told}")

    def _given(self) -> str:
        if isinstance(self._said, Secret) and self._resolve is not None:
            return self._resolve(self._said)
        return reveal(self._plain) or ""

    def _known(self, oauth: OAuth) -> _Known:
        secret = repr(self._source) if self._source else reveal(oauth.refresh_token)
        told = (oauth.token_url, oauth.client_id, oauth.scope, secret)
        key = sha256(repr((self._system, *told)).encode()).digest()
        return _KNOWN.setdefault(key, _Known())

    # --- fetching -----------------------------------------------------------------------------

    def _fetch(self, oauth: OAuth, known: _Known) -> str:
        """Ask for a token while nobody else does. The caller holds the lock."""
        if self._keeping is None or oauth.refresh_token is None:
            form = {"grant_type": "client_credentials"}
            return self._take(known, self._ask(oauth, form), "")
        with self._keeping.alone():
            refresh = known.refresh or self._refresh_token(oauth)
            form = {"grant_type": "refresh_token", "refresh_token": refresh}
            try:
                return self._take(known, self._ask(oauth, form), refresh)
            except CredentialsRefused:
                now = self._refresh_token(oauth)
                if now == refresh:
                    raise
            # Somebody signed in anew, or another process was given a new one meanwhile.
            known.refresh = ""
            form["refresh_token"] = now
            return self._take(known, self._ask(oauth, form), now)

    def _refresh_token(self, oauth: OAuth) -> str:
        configured = reveal(oauth.refresh_token) or ""
        if self._source is not None and self._resolve is not None:
            configured = self._resolve(self._source)
        return self._keeping.current(configured) if self._keeping else configured

    def _take(self, known: _Known, answer: Mapping[str, Any], used: str) -> str:
        fresh = answer.get("refresh_token")
        if isinstance(fresh, str) and fresh and fresh != used and used:
            known.replaced = True
            known.refresh = fresh
        if known.refresh and self._keeping is not None:
            if self._keeping.keep(known.refresh):
                known.refresh = ""
            else:
                log.warning(
                    "%s: the provider replaced the refresh token and the new one cannot be kept; "
                    "it is lost when this process ends. Say `keep: FILE` under `oauth`.",
                    self._system,
                )
        token = answer.get("access_token")
        kind = str(answer.get("token_type", "bearer")).lower()
        if not isinstance(token, str) or not token or kind != "bearer" or not _harmless(token):
            raise self._odd()
        try:
            life = max(0.0, float(answer.get("expires_in", 300)))
        except (TypeError, ValueError):
            raise self._odd() from None
        known.token = token
        known.until = monotonic() + life - min(_EARLY, life / 10)
        scopes = answer.get("scope")
        told = scopes.split() if isinstance(scopes, str) else []
        known.scopes = frozenset(s for s in told if _harmless(s) and len(s) < 100)
        return token

    def _odd(self) -> PermanentFailure:
        return PermanentFailure(
            "the token server's answer holds no access token that could be used",
            hint="is `token_url` the address of an OAuth 2 token endpoint?",
            place=self._system,
            code="oauth",
        )

    def _ask(self, oauth: OAuth, form: dict[str, str]) -> Mapping[str, Any]:
        refuse_private(oauth.token_url, self._system, private=oauth.private)
        form["client_id"] = oauth.client_id
        if secret := reveal(oauth.client_secret):
            form["client_secret"] = secret
        if oauth.scope is not None:
            form["scope"] = oauth.scope
        status, answer = self._post(oauth.token_url, form)
        if status == 200:
            return answer
        raise self._refused(status, answer.get("error"))

    def _post(self, url: str, form: Mapping[str, str]) -> tuple[int, Mapping[str, Any]]:
        failure: ConnectorError
        try:
            return posted(url, form)
        except TimeoutError:
            failure = TemporaryFailure("the token server did not answer in time", code="timeout")
        except ssl.SSLCertVerificationError:
            failure = PermanentFailure(
                "the token server's certificate cannot be trusted", code="tls"
            )
        except OSError:
            failure = TemporaryFailure("the token server cannot be reached", code="connection")
        # Raised here and not above: the original must not travel along, it knows the request.
        failure.place = self._system
        raise failure

    def _refused(self, status: int, said: Any) -> ConnectorError:
        word = said if isinstance(said, str) else ""
        place = self._system
        if status == 429 or status >= 500 or word in _BUSY:
            return TemporaryFailure("the token server is busy", place=place, code="busy")
        if word in _DEAD:
            return CredentialsRefused(
                f"the provider no longer accepts this login ({word})",
                hint="sign in anew and store the new refresh token; it may have expired, been "
                "withdrawn, or been replaced where it could not be kept",
                place=place,
                code="oauth",
            )
        if word in _CLIENT or status in (401, 403):
            return CredentialsRefused(
                "the token server does not accept this client",
                hint="check `client_id` and `client_secret`; the secret may have expired",
                place=place,
                code="oauth",
            )
        return PermanentFailure(
            f"the token server refuses the request (HTTP {status})",
            hint="check `token_url` and `scope`; redirects are not followed",
            place=place,
            code="oauth",
        )


def posted(url: str, form: Mapping[str, str]) -> tuple[int, Mapping[str, Any]]:
    """(status, JSON object) of a POST; {} where the body is none. Raises OSError's kinds only."""
    return _asked("POST", url, form, {})


def got(url: str, token: str) -> tuple[int, Mapping[str, Any]]:
    """(status, JSON object) of a GET with a token. Raises OSError's kinds only."""
    return _asked("GET", url, None, {"Authorization": f"Bearer {token}"})


def _asked(
    method: str, url: str, form: Mapping[str, str] | None, headers: Mapping[str, str]
) -> tuple[int, Mapping[str, Any]]:
    import httpx2  # passwords need no HTTP library

    hush("httpx2", "httpcore2")
    body = b""
    cause: BaseException | None
    try:
        with (
            httpx2.Client(timeout=_TIMEOUT, follow_redirects=False) as client,
            client.stream(
                method, url, data=form, headers={"Accept": "application/json", **headers}
            ) as response,
        ):
            for piece in response.iter_bytes():
                body += piece
                if len(body) > _MOST:
                    return response.status_code, {}
            return response.status_code, _object(body)
    except httpx2.TimeoutException:
        cause = TimeoutError()
    except httpx2.HTTPError as error:
        cause = error
        while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
            cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        raise ssl.SSLCertVerificationError
    raise cause if isinstance(cause, TimeoutError) else ConnectionError


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _harmless(text: str) -> bool:
    """Visible ASCII only: what is put on a wire between separators."""
    return all(32 < ord(c) < 127 for c in text)
