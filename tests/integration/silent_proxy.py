"""A TCP proxy whose connections can fall silent: open at both ends, and nothing passes."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread


class SilentProxy:
    """Passes bytes between who connects and `target`; `silence` ends that for those who have."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        self._silent = Event()
        self._sockets: list[socket.socket] = []
        Thread(target=self._accept, daemon=True).start()

    def silence(self) -> int:
        """Connections that are open fall silent; new ones do not. Returns how many."""
        silent, self._silent = self._silent, Event()
        silent.set()
        return len(self._sockets)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._door.accept()
                far = socket.create_connection(self._target, timeout=5)
                self._sockets += [near, far]
                Thread(target=self._pass, args=(near, far, self._silent), daemon=True).start()

    def _pass(self, near: socket.socket, far: socket.socket, silent: Event) -> None:
        other = {near: far, far: near}
        with contextlib.suppress(OSError, ValueError):
            while not silent.is_set():
                for ready in select.select([near, far], [], [], 0.1)[0]:
                    data = ready.recv(65536)
                    if not data:
                        near.close()
                        far.close()
                        return
                    if not silent.is_set():
                        other[ready].sendall(data)
            # Kept open: that is the point.

    def close(self) -> None:
        self._door.close()
        for one in self._sockets:
            with contextlib.suppress(OSError):
                one.close()


@contextmanager
def silent_proxy(host: str, port: int) -> Iterator[SilentProxy]:
    """One before a server, for the length of a block."""
    proxy = SilentProxy((host, port))
    try:
        yield proxy
    finally:
        proxy.close()
