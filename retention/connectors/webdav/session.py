"""One HTTP session with a WebDAV server: requests, answers, what goes wrong; never its words."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import NamedTuple

import httpx2

from retention.connectors.outgoing import hush, refuse_private
from retention.connectors.secrets import reveal
from retention.connectors.webdav.settings import WebdavSystem
from retention.errors import (
    ConnectorError,
    CredentialsRefused,
    PermanentFailure,
    TemporaryFailure,
)

hush("httpx2", "httpcore2")

LARGEST_FILE = 2 * 1024**3
_CONNECT_SECONDS = 15.0
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)


class Answer(NamedTuple):
    """A status, and the headers that we use."""

    status: int
    headers: httpx2.Headers


class Session:
    """Connects when first asked. After a TemporaryFailure it can be asked again."""

    def __init__(self, system: str, settings: WebdavSystem, base: str) -> None:
        self.system = system
        self.settings = settings
        self._base = base
        self._client: httpx2.Client | None = None

    def __repr__(self) -> str:
        return f"Session({self.system})"

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def ask(
        self, method: str, url: str, doing: str, headers: dict[str, str] | None = None
    ) -> Answer:
        """A request whose answer's body is of no interest.

        Raises TemporaryFailure with code `connection` where the request surely never arrived, and
        with code `no_answer` where it may have been carried out.
        """
        with self.asking(method, url, doing, headers) as response:
            return Answer(response.status_code, response.headers)

    @contextmanager
    def asking(
        self,
        method: str,
        url: str,
        doing: str,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
    ) -> Iterator[httpx2.Response]:
        """A request whose answer is read as it arrives. Raises as `ask` does."""
        failure: ConnectorError
        try:
            # Compressed answers could be bombs, and a listing is read as it arrives.
            plain = {"Accept-Encoding": "identity", **(headers or {})}
            with self._connected().stream(method, url, headers=plain, content=content) as response:
                self._refuse(response, doing)
                yield response
                return
        except httpx2.TransportError as error:
            failure = _lost(error, doing)
        except httpx2.HTTPError as error:
            failure = PermanentFailure(
                f"the server's answer makes no sense ({type(error).__name__}), {doing}"
            )
        failure.place = self.system
        # Raised outside the handler: the library's error holds the URL.
        raise failure

    def _connected(self) -> httpx2.Client:
        if self._client is None:
            settings = self.settings
            refuse_private(settings.url, self.system, private=settings.private)
            self._client = httpx2.Client(
                auth=httpx2.BasicAuth(settings.username, reveal(settings.password) or ""),
                verify=self._trusted(),
                timeout=httpx2.Timeout(settings.timeout, connect=_CONNECT_SECONDS),
                follow_redirects=False,
                trust_env=False,
                headers={"User-Agent": "retention"},
            )
        return self._client

    def _trusted(self) -> ssl.SSLContext:
        file = self.settings.ca_file
        try:
            return ssl.create_default_context(cafile=Path(self._base, file) if file else None)
        except (OSError, ssl.SSLError):
            pass
        raise PermanentFailure(
            "the certificates in `ca_file` cannot be read",
            hint="name a PEM file that this account may read",
            place=self.system,
            code="tls",
        )

    def _refuse(self, response: httpx2.Response, doing: str) -> None:
        """Answers that mean the same whatever was asked."""
        status = response.status_code
        if status == 401:
            raise CredentialsRefused(
                "the server does not accept the username with this password",
                hint="Nextcloud: make an app password under Settings, Security",
                place=self.system,
            )
        if 300 <= status < 400:
            raise PermanentFailure(
                f"the server redirects elsewhere, {doing}",
                hint="say as `url` the address that it redirects to, if that is yours",
                place=self.system,
                code="redirect",
            )
        if status in (429, 503):
            raise TemporaryFailure(
                f"the server is busy or in maintenance, {doing}",
                place=self.system,
                code="busy",
                retry_after=_retry_after(response.headers),
            )
        if status >= 500:
            raise TemporaryFailure(
                f"the server failed (HTTP {status}), {doing}", place=self.system, code="no_answer"
            )


def _retry_after(headers: httpx2.Headers) -> float | None:
    """Seconds to wait; a date is counted from the server's own."""
    text = headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(min(int(text), 3600))
    try:
        until, now = parsedate_to_datetime(text), parsedate_to_datetime(headers.get("Date", ""))
        return min(max((until - now).total_seconds(), 0.0), 3600.0)
    except (ValueError, TypeError):
        return None


def _lost(error: httpx2.TransportError, doing: str) -> ConnectorError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return PermanentFailure(
                f"the server's certificate cannot be trusted ({cause.verify_message})",
                hint="name the host as the certificate does, or its authority in `ca_file`",
                code="tls",
            )
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, _NEVER_SENT):
        return TemporaryFailure(f"the connection could not be made, {doing}", code="connection")
    if isinstance(error, httpx2.TimeoutException):
        return TemporaryFailure(f"the server did not answer in time, {doing}", code="no_answer")
    return TemporaryFailure(f"the connection was lost, {doing}", code="no_answer")
