"""/metrics and /health over HTTP, for Prometheus, load balancers and container managers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from socket import AF_INET, AF_INET6
from socketserver import ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING, Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from retention.watch import logs, metrics

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

    from retention.run.home import Home

PATIENCE = 10
"""Seconds that a client may be silent within a request."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the process does its work, and the words and numbers that say so."""

    ok: bool
    facts: dict[str, Any]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no event."""


class _Server6(_Server):
    address_family = AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = PATIENCE

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's signature
        """Scrapes are no events either."""


class Exporter:
    """A server in a thread. `address` is where it listens, with the port that it was given."""

    def __init__(self, server: WSGIServer) -> None:
        self._server = server
        self._thread = Thread(target=server.serve_forever, name="exporter", daemon=True)
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    @classmethod
    def start(cls, address: str, home: Callable[[], Home], health: Callable[[], Health]) -> Self:
        """Listen on HOST:PORT. Raises OSError where that is not possible, as with a taken port."""
        host, _, port = address.rpartition(":")
        bare = host.removeprefix("[").removesuffix("]")
        family = AF_INET6 if ":" in bare else AF_INET
        kind = _Server6 if family == AF_INET6 else _Server
        app = _app(home, health)
        return cls(make_server(bare, int(port), app, server_class=kind, handler_class=_Handler))

    def close(self) -> None:
        """Listen no more; requests that are being answered are let go."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE)


def _app(home: Callable[[], Home], health: Callable[[], Health]) -> Any:
    scrape = make_wsgi_app(metrics.registry(home))

    def page(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            found: Iterable[bytes] = scrape(environ, start)
            return found
        if path == "/health":
            state = health()
            said = {"status": "ok" if state.ok else "ill", **state.facts}
            status = "200 OK" if state.ok else "503 Service Unavailable"
            return _plain(start, status, json.dumps(said), "application/json")
        return _plain(start, "404 Not Found", "/metrics and /health")

    def answer(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        try:
            return page(environ, start)
        except Exception as error:  # noqa: BLE001  # wsgiref would print its text
            logs.get().warning("scrape failed", **logs.describe(error))
            return _plain(start, "500 Internal Server Error", "see the log")

    return answer


def _plain(
    start: StartResponse, status: str, text: str, kind: str = "text/plain; charset=utf-8"
) -> list[bytes]:
    start(status, [("Content-Type", kind), ("Cache-Control", "no-store")])
    return [f"{text}\n".encode()]
