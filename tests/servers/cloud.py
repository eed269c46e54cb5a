"""The cloud storage servers as pytest fixtures, like those of `tests.servers.fixtures`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.s3 import S3
from tests.servers.webdav import WebDav


@pytest.fixture(scope="session")
def webdav_server() -> Iterator[WebDav]:
    """WebDAV; each test makes a folder of its own below `files`."""
    with WebDav.start() as server:
        yield server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3]:
    """S3; each test makes a bucket of its own."""
    with S3.start() as server:
        yield server
