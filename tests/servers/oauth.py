"""An OAuth 2 token server of a test's own, with an introspection endpoint for mail servers.

`with OAuthServer() as server: server.token_url`. Written from RFC 6749 and RFC 7662.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

CLIENT, SECRET = "client-of-tests", "client-secret-canary"


class OAuthServer:
    """Tokens in memory; what to do wrong is set by the test."""

    def __init__(self) -> None:
        self.refresh = {"refresh-canary-0"}
        """Refresh tokens that are good now."""
        self.access: dict[str, str] = {}
        """Access token → whose it is."""
        self.user = "post@example.org"
        self.rotates = False
        self.life: Any = 3600
        self.scope = ""
        self.answer: tuple[int, bytes, dict[str, str]] | None = None
        """Said instead of anything else."""
        self.settings: dict[str, Any] | None = None
        """A Gmail account's IMAP settings, for whoever has a good token; None: HTTP 403."""
        self.on_ask: Callable[[dict[str, str]], None] | None = None
        """Called before a token request is answered."""
        self.asked: list[dict[str, str]] = []
        self.seen: list[str] = []
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                form = {k: v[0] for k, v in parse_qs(self.rfile.read(size).decode()).items()}
                self._send(*outer._post(urlsplit(self.path).path, form))

            def do_GET(self) -> None:
                authorization = self.headers.get("Authorization") or ""
                self._send(*outer._get(self.path, authorization))

            def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.port: int = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.token_url = f"{self.url}/token"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(timeout=5)

    def issue(self) -> str:
        """A good access token."""
        token = f"access-canary-{next(self._numbers)}"
        self.access[token] = self.user
        return token

    def expire(self) -> None:
        """No access token that was issued so far is good any more."""
        self.access.clear()

    def _post(self, path: str, form: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        with self._lock:
            if path == "/introspect":
                return self._introspected(form.get("token", ""))
            self.asked.append(form)
            if self.on_ask is not None:
                self.on_ask(form)
            if self.answer is not None:
                return self.answer
            if form.get("client_id") != CLIENT or form.get("client_secret", SECRET) != SECRET:
                return _json(401, {"error": "invalid_client"})
            return self._granted(form)

    def _granted(self, form: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        given = {"token_type": "Bearer", "expires_in": self.life}
        if self.scope:
            given["scope"] = self.scope
        match form.get("grant_type"):
            case "client_credentials" if form.get("client_secret") == SECRET:
                return _json(200, {**given, "access_token": self.issue()})
            case "refresh_token" if form.get("refresh_token") in self.refresh:
                if self.rotates:
                    self.refresh = {f"refresh-canary-{next(self._numbers)}"}
                    given["refresh_token"] = next(iter(self.refresh))
                return _json(200, {**given, "access_token": self.issue()})
        said = "the vendor's words with canary@example.org"
        return _json(400, {"error": "invalid_grant", "error_description": said})

    def _introspected(self, token: str) -> tuple[int, bytes, dict[str, str]]:
        self.seen.append(token)
        user = self.access.get(token)
        return _json(200, {"active": bool(user), "username": user, "email": user})

    def _get(self, path: str, authorization: str) -> tuple[int, bytes, dict[str, str]]:
        with self._lock:
            kind, _, token = authorization.partition(" ")
            if path.startswith("/introspect"):
                return self._introspected(token)
            if kind != "Bearer" or token not in self.access:
                return _json(401, {"error": {"code": 401}})
            if path != "/gmail/v1/users/me/settings/imap":
                return _json(404, {"error": {"code": 404}})
            if self.settings is None:
                return _json(403, {"error": {"code": 403, "status": "PERMISSION_DENIED"}})
            return _json(200, self.settings)


def _json(status: int, said: Any) -> tuple[int, bytes, dict[str, str]]:
    return status, json.dumps(said).encode(), {}


def dovecot_config(server: OAuthServer, folder: str) -> tuple[str, str]:
    """(settings of Dovecot 2.3, the text of the file that they name below `folder`)."""
    conf = f"{folder}/oauth2.conf.ext"
    return (
        f"""
auth_mechanisms = plain login oauthbearer xoauth2
passdb {{
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = {conf}
}}
""",
        f"""
introspection_mode = post
introspection_url = {server.url}/introspect
username_attribute = username
active_attribute = active
active_value = true
""",
    )
