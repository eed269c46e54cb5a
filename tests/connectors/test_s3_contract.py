"""The S3 connector keeps the contract on moto's server, with versions and without."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from retention.testing.contract import ConnectorContract
from retention.testing.world import World
from tests.connectors.s3_world import S3World
from tests.servers.s3 import S3


class TestVersionedBucket(ConnectorContract):
    """Every key has two versions."""

    @pytest.fixture
    def world(self, s3_server: S3) -> Iterator[World]:
        world = S3World(s3_server, "Enabled")
        yield world
        world.close()


class TestPlainBucket(ConnectorContract):
    """A bucket that was never versioned."""

    @pytest.fixture
    def world(self, s3_server: S3) -> Iterator[World]:
        world = S3World(s3_server, "")
        yield world
        world.close()
