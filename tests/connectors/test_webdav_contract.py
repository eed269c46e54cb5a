"""The WebDAV connector keeps the contract on a real server, plain and in Nextcloud's shape."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from retention.testing.contract import ConnectorContract
from retention.testing.world import World
from tests.connectors.webdav_world import WebdavWorld
from tests.servers.webdav import WebDav


class TestPlainWebdav(ConnectorContract):
    """wsgidav as it is: no bin, strong tags, dates of the files."""

    @pytest.fixture
    def world(self, webdav_server: WebDav) -> World:
        return WebdavWorld(webdav_server, cloud=False)


class TestNextcloud(ConnectorContract):
    """Deleted files could go to the bin; the server knows how to leave it out."""

    @pytest.fixture
    def world(self, webdav_server: WebDav) -> World:
        return WebdavWorld(webdav_server, cloud=True)


class TestOldNextcloudByNameDate(ConnectorContract):
    """Every deleted file goes to the bin first; dates are told by names."""

    @pytest.fixture
    def world(self, webdav_server: WebDav) -> Iterator[World]:
        with webdav_server.trouble(bin={"skip": False}):
            yield WebdavWorld(webdav_server, cloud=True, named=True)
