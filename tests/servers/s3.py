"""S3: moto's server."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config

from tests.servers.process import HOST, Server

ACCESS_KEY, SECRET = "AKIATESTTESTTESTTEST", "s3cr3t/key+of+the+tests"


class S3(Server):
    """`with S3.start() as s3: s3.client()` is another client than ours."""

    name = "s3"
    access_key = ACCESS_KEY
    secret = SECRET

    def __init__(self) -> None:
        super().__init__()
        self._client: Any = None

    @classmethod
    def start(cls) -> Self:
        return cls().launch()

    def command(self) -> Sequence[str]:
        script = Path(__file__).with_name("s3_app.py")
        return [sys.executable, "-W", "ignore", str(script), str(self.folder), str(self.port)]

    def answers(self) -> bool:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request("GET", "/moto-api/data.json")
            return connection.getresponse().status == 200
        finally:
            connection.close()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def client(self) -> Any:
        """A client with every right."""
        self._client = self._client or boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET,
            config=Config(s3={"addressing_style": "path"}),
        )
        return self._client

    @contextmanager
    def trouble(self, **said: Any) -> Iterator[None]:
        """What `s3_app` shall do wrong meanwhile."""
        file = self.folder / "control.json"
        before = file.read_bytes() if file.exists() else b"{}"
        self._say(json.dumps({**json.loads(before), **said}).encode())
        try:
            yield
        finally:
            self._say(before)

    def _say(self, data: bytes) -> None:
        fresh = self.folder / "control.new"
        fresh.write_bytes(data)
        fresh.replace(self.folder / "control.json")

    @property
    def asked(self) -> list[str]:
        """`METHOD /path?query` of every request so far."""
        return (self.folder / "requests").read_text(encoding="utf-8").splitlines()
