"""The ready mappings keep the connector's contract on a real WordPress database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from retention.testing.contract import ConnectorContract
from retention.testing.world import World
from tests.connectors.wordpress_worlds import Cfdb7World, FlamingoWorld
from tests.servers.wordpress import WordPress


class TestFlamingo(ConnectorContract):
    @pytest.fixture
    def world(self, wordpress: WordPress) -> Iterator[World]:
        world = FlamingoWorld(wordpress)
        yield world
        world.close()


class TestCfdb7(ConnectorContract):
    @pytest.fixture
    def world(self, wordpress: WordPress) -> Iterator[World]:
        world = Cfdb7World(wordpress)
        yield world
        world.close()
