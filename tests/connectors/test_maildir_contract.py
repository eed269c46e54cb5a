"""The Maildir connector keeps the contract, in both layouts and by either date."""

from __future__ import annotations

from pathlib import Path

import pytest

from retention.connectors.mail_places import Unit
from retention.testing.contract import ConnectorContract
from retention.testing.world import World
from tests.connectors.maildir_world import MaildirWholesWorld, MaildirWorld


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A Maildir's root that another account can reach: one test steps down from root."""
    for part in (tmp_path, *tmp_path.parents[:4]):
        part.chmod(part.stat().st_mode | 0o011)
    return tmp_path / "Maildir"


class TestMaildirByInternalDate(ConnectorContract):
    """Maildir++ folders, dates of the files."""

    @pytest.fixture
    def world(self, root: Path) -> World:
        return MaildirWorld(root)


class TestMaildirNestedByDateHeader(ConnectorContract):
    """Nested directories, dates from the sender, who may have written none."""

    @pytest.fixture
    def world(self, root: Path) -> World:
        return MaildirWorld(root, date="date_header", nested=True)


class TestMaildirCopiesInTwoFolders(ConnectorContract):
    """One record with two places."""

    @pytest.fixture
    def world(self, root: Path) -> World:
        return MaildirWholesWorld(root)


class TestMaildirThreads(ConnectorContract):
    """A message and its answer in another folder are one record."""

    @pytest.fixture
    def world(self, root: Path) -> World:
        return MaildirWholesWorld(root, Unit.THREAD)
