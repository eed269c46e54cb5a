"""The SQL connector keeps the contract on every database it speaks to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from retention.testing.contract import ConnectorContract
from retention.testing.world import World
from tests.connectors.sql_worlds import MariaWorld, PostgresWorld, SqliteWorld
from tests.servers.mariadb import MariaDB
from tests.servers.postgres import Postgres


class TestSqlite(ConnectorContract):
    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[World]:
        world = SqliteWorld(tmp_path)
        yield world
        world.close()


class TestPostgres(ConnectorContract):
    @pytest.fixture
    def world(self, postgres: Postgres) -> Iterator[World]:
        world = PostgresWorld(postgres)
        yield world
        world.close()


class TestMariaDB(ConnectorContract):
    @pytest.fixture
    def world(self, mariadb: MariaDB) -> Iterator[World]:
        world = MariaWorld(mariadb)
        yield world
        world.close()
