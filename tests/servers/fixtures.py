"""The servers as pytest fixtures: one of each a test process, started when first asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.dovecot import Dovecot
from tests.servers.libreoffice import LibreOffice
from tests.servers.mariadb import MariaDB
from tests.servers.postgres import Postgres
from tests.servers.redis import Redis
from tests.servers.wordpress import WordPress


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """PostgreSQL; each test takes `postgres.new_database()`. Who stops it boots it again."""
    with Postgres.start() as server:
        yield server


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """MariaDB; each test takes `mariadb.new_database()`. Who stops it boots it again."""
    with MariaDB.start() as server:
        yield server


@pytest.fixture(scope="session")
def dovecot() -> Iterator[Dovecot]:
    """Dovecot; each test takes `dovecot.user()`. Who stops it boots it again."""
    with Dovecot.start() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """Redis; each test takes `redis_server.new_database()`. Who stops it boots it again."""
    with Redis.start() as server:
        yield server


@pytest.fixture(scope="session")
def libreoffice() -> Iterator[LibreOffice]:
    """LibreOffice with a profile of its own; each test opens its own workbooks in it."""
    with LibreOffice.start() as server:
        yield server


@pytest.fixture(scope="session")
def wordpress_site(mariadb: MariaDB) -> Iterator[WordPress]:
    """WordPress, installed once; tests take `wordpress`."""
    site = WordPress.start(mariadb)
    yield site
    site.close()


@pytest.fixture
def wordpress(wordpress_site: WordPress) -> WordPress:
    """WordPress as it was installed, with the empty tables of the form plugins."""
    wordpress_site.clean()
    return wordpress_site
