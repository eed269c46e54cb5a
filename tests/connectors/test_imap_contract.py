"""The IMAP connector keeps the contract, on a real Dovecot, by either date and storage."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from retention.connectors.mail_places import Unit
from retention.testing.contract import ConnectorContract
from retention.testing.world import World
from tests.connectors.imap_world import ACL_CONFIG, ImapWholesWorld, ImapWorld, short_lived
from tests.servers.dovecot import Dovecot


@pytest.fixture(scope="module")
def acl_server() -> Iterator[Dovecot]:
    """A server on which rights can be taken away."""
    with short_lived(config=ACL_CONFIG) as server:
        yield server


class TestImapByInternalDate(ConnectorContract):
    """Dates from the server."""

    @pytest.fixture
    def world(self, acl_server: Dovecot) -> Iterator[World]:
        world = ImapWorld(acl_server.user())
        yield world
        world.close()


class TestImapByDateHeader(ConnectorContract):
    """Dates from the sender, who may have written none."""

    @pytest.fixture
    def world(self, acl_server: Dovecot) -> Iterator[World]:
        world = ImapWorld(acl_server.user(), date="date_header")
        yield world
        world.close()


class TestImapCopiesInTwoFolders(ConnectorContract):
    """One record with two places."""

    @pytest.fixture
    def world(self, acl_server: Dovecot) -> Iterator[World]:
        world = ImapWholesWorld(acl_server.user())
        yield world
        world.close()


class TestImapThreads(ConnectorContract):
    """A message and its answer in another folder are one record."""

    @pytest.fixture
    def world(self, acl_server: Dovecot) -> Iterator[World]:
        world = ImapWholesWorld(acl_server.user(), Unit.THREAD)
        yield world
        world.close()
