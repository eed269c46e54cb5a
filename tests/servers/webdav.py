"""WebDAV: wsgidav over cheroot, plain below /files, in Nextcloud's shape below /remote.php/dav."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote

from tests.servers.process import HOST, Server


class WebDav(Server):
    """`with WebDav.start() as dav: dav.plain` is a URL; `dav.files` the folder behind it."""

    name = "webdav"
    user = "anna"
    password = "correct horse battery"

    @classmethod
    def start(cls) -> Self:
        return cls().launch()

    def command(self) -> Sequence[str]:
        script = Path(__file__).with_name("webdav_app.py")
        return [sys.executable, "-W", "ignore", str(script), str(self.folder), str(self.port)]

    def answers(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=2)
        try:
            connection.request("OPTIONS", "/")
            return connection.getresponse().status < 500
        finally:
            connection.close()

    @property
    def plain(self) -> str:
        return f"http://{HOST}:{self.port}/files"

    @property
    def cloud(self) -> str:
        return f"http://{HOST}:{self.port}/remote.php/dav/files/{self.user}"

    @property
    def files(self) -> Path:
        """What /files and the account's files show."""
        return self.folder / "files"

    @property
    def trash(self) -> Path:
        return self.folder / "trash"

    @property
    def versions(self) -> Path:
        return self.folder / "versions"

    @contextmanager
    def trouble(self, **said: Any) -> Iterator[None]:
        """What `webdav_app` shall do wrong meanwhile."""
        file = self.folder / "control.json"
        before = file.read_bytes() if file.exists() else b"{}"
        _replace(file, json.dumps({**json.loads(before), **said}).encode())
        try:
            yield
        finally:
            _replace(file, before)

    @property
    def asked(self) -> list[tuple[str, str]]:
        """(method, decoded path) of every request so far."""
        lines = (self.folder / "requests").read_text(encoding="utf-8").splitlines()
        return [(method, unquote(path)) for method, path in map(json.loads, lines)]

    def request(
        self,
        method: str,
        url: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """As another client of the same account. `url`: absolute, encoded."""
        import base64

        login = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        connection = http.client.HTTPConnection(HOST, self.port, timeout=20)
        try:
            path = url.partition(f":{self.port}")[2]
            all_headers = {"Authorization": f"Basic {login}", **(headers or {})}
            connection.request(method, path, body, all_headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()


def _replace(file: Path, data: bytes) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_bytes(data)
    fresh.replace(file)
