"""A TCP proxy between the service and a server: slow, silent, or cut at the worst moment."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.servers.process import HOST, free_port

_CHUNK = 65536


@dataclass(eq=False, slots=True)
class Link:
    """One connection through the proxy."""

    client: socket.socket
    server: socket.socket
    deaf: bool = False
    """Nothing is forwarded any more, in either direction, and nobody is told."""
    swallow: bool = False
    """What the server answers is not passed on."""
    facts: dict[str, bytes] = field(default_factory=dict)

    def close(self) -> None:
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Proxy:
    """Forwards `port` to a server's port. `delay`: seconds before each answer is passed on."""

    host = HOST

    def __init__(self, target: int, *, delay: float = 0.0) -> None:
        self.target = target
        self.delay = delay
        self.port = free_port()
        self.silent = False
        self._links: set[Link] = set()
        self._lock = threading.Lock()
        self._answer_cut: Callable[[bytes], bool] | None = None
        self.cuts = 0
        self._listener = socket.create_server((HOST, self.port), reuse_port=False)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def fall_silent(self) -> None:
        """Half-open: every connection stays open and dead for ever; new ones too, until `speak`."""
        self.silent = True
        for link in self._now():
            link.deaf = True

    def speak(self) -> None:
        """New connections work again; those that were silenced stay so."""
        self.silent = False

    def cut_answer(self, when: Callable[[bytes], bool]) -> None:
        """Once: forward a request for which `when` holds, drop its answer, cut the connection."""
        self._answer_cut = when

    def drop_all(self) -> None:
        """Cut every connection, as a failing network does."""
        for link in self._now():
            link.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop_all()
        for thread in self._threads:
            thread.join(timeout=12)

    def _now(self) -> list[Link]:
        with self._lock:
            return list(self._links)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads = [t for t in self._threads if t.is_alive()]
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection((HOST, self.target), timeout=10)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = Link(client, server, deaf=self.silent)
        with self._lock:
            self._links.add(link)
        back = threading.Thread(target=self._answers, args=(link,), daemon=True)
        back.start()
        self._requests(link)
        back.join()
        link.close()
        with self._lock:
            self._links.discard(link)

    def _requests(self, link: Link) -> None:
        with contextlib.suppress(OSError):
            while data := link.client.recv(_CHUNK):
                if link.deaf:
                    continue
                if self._answer_cut is not None and self._answer_cut(data):
                    self._answer_cut = None
                    link.swallow = True
                    self.on_request(link, data)
                    # The act happens; whoever asked for it never hears so.
                    time.sleep(0.3)
                    self.cuts += 1
                    break
                self.on_request(link, data)
        if not link.deaf:
            link.close()

    def _answers(self, link: Link) -> None:
        with contextlib.suppress(OSError):
            while data := link.server.recv(_CHUNK):
                if link.deaf or link.swallow:
                    continue
                if self.delay:
                    time.sleep(self.delay)
                self.on_answer(link, data)
        if not link.deaf:
            link.close()

    # --- what a proxy that knows the protocol changes -------------------------------------------

    def on_request(self, link: Link, data: bytes) -> None:
        link.server.sendall(data)

    def on_answer(self, link: Link, data: bytes) -> None:
        link.client.sendall(data)
