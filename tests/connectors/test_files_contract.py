"""The files connector keeps the contract, by file times and by dates in names."""

from __future__ import annotations

from pathlib import Path

import pytest

from retention.testing.contract import ConnectorContract
from retention.testing.world import World
from tests.connectors.files_world import FilesWorld


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder that another account can reach: one test steps down from root."""
    for part in (tmp_path, *tmp_path.parents[:4]):
        part.chmod(part.stat().st_mode | 0o011)
    (tmp_path / "policies").mkdir()
    return tmp_path / "share"


class TestFilesByModification(ConnectorContract):
    """Times of the files."""

    @pytest.fixture
    def world(self, root: Path) -> World:
        return FilesWorld(root)


class TestFilesByNameDate(ConnectorContract):
    """Dates in names, which may hold none."""

    @pytest.fixture
    def world(self, root: Path) -> World:
        return FilesWorld(root, date="name_date")
