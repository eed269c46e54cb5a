"""The mail connector keeps the contract on labels, whatever the account's settings."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from retention.testing.contract import ConnectorContract
from retention.testing.world import World
from tests.connectors.gmail_world import GmailWorld
from tests.servers.gmail_store import NORWEGIAN


class TestGmail(ConnectorContract):
    """As accounts are: marked messages go at once, the last label archives."""

    @pytest.fixture
    def world(self) -> Iterator[World]:
        world = GmailWorld()
        yield world
        world.close()


class TestGmailInNorwegian(ConnectorContract):
    """Names in another language; marks wait for an expunge, which throws the last label away."""

    @pytest.fixture
    def world(self) -> Iterator[World]:
        world = GmailWorld(auto_expunge=False, expunge_behaviour="trash", names=NORWEGIAN)
        yield world
        world.close()
