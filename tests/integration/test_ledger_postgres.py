"""The same service with its ledger on PostgreSQL, and several processes at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import func, select

from retention.audit.verify import verify_ledger
from retention.errors import ExitCode
from retention.ledger import tables as t
from retention.run.in_force import approve
from retention.run.report import Report
from tests.integration.shop import MONTHLY, Shop
from tests.servers.postgres import Postgres


@pytest.fixture
def url(postgres: Postgres) -> str:
    """An empty database for the ledger."""
    return postgres.new_database()


@pytest.fixture
def shop(tmp_path: Path, url: str) -> Shop:
    """Thirty old rows, ten young ones, the policy approved."""
    made = Shop(tmp_path)
    made.write(MONTHLY)
    for key in range(40):
        made.put(key, 100 if key < 30 else 3)
    with made.open(database_url=url) as home:
        approve(home.ctx, home.in_force, "form-monthly", by="user:tester")
    return made


def test_a_whole_run_with_its_ledger_on_postgresql(shop: Shop, url: str) -> None:
    """Disposed, verified, evidenced, keys blanked, and the log verifies."""
    report = shop.run(database_url=url)
    assert report.exit_code is ExitCode.OK
    assert report.counts["verified"] == 30
    assert shop.keys() == set(range(30, 40))
    with shop.open(database_url=url) as home:
        assert verify_ledger(home.ctx.log).ok
        with home.ctx.ledger.read() as tx:
            assert set(tx.execute(select(t.batch.c.records)).scalars()) == {None}


def test_many_schedulers_at_once_make_one_run_for_a_firing(shop: Shop, url: str) -> None:
    """Four processes tick and work at the same moment: one run, every record disposed of once."""
    shop.daemon_once(database_url=url)
    shop.clock.forward(days=1)

    def live(_: int) -> list[Report]:
        return shop.daemon_once(database_url=url)

    with ThreadPoolExecutor(4) as pool:
        reports = [r for batch in pool.map(live, range(4)) for r in batch]
    assert len(reports) == 1
    assert shop.keys() == set(range(30, 40))
    with shop.open(database_url=url) as home, home.ctx.ledger.read() as tx:
        assert tx.execute(select(func.count()).select_from(t.run)).scalar_one() == 1
    with shop.open(database_url=url) as home:
        done = list(home.ctx.log.query(type="batch.done"))
        assert len(done) == 3
        assert verify_ledger(home.ctx.log).ok


def test_entries_of_many_writers_stand_in_commit_order_without_gaps(shop: Shop, url: str) -> None:
    """The appender's advisory lock: four writers, two hundred entries, one tree."""

    def write(number: int) -> None:
        with shop.open(database_url=url) as home:
            for _ in range(50):
                with home.ctx.ledger.write() as tx:
                    home.ctx.log.append(
                        tx, shop.clock.now(), "freeze", actor="user:tester", freeze=number
                    )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    with shop.open(database_url=url) as home:
        report = verify_ledger(home.ctx.log)
        assert report.ok, report.problems
        assert len(list(home.ctx.log.query(type="freeze"))) == 200


def test_a_ledger_that_restarts_loses_nothing(shop: Shop, url: str, postgres: Postgres) -> None:
    """The database goes away and comes back: an error with its exit code, then all goes on."""
    ended: Callable[[], int] = lambda: postgres.drop_connections(url)  # noqa: E731
    ended()
    assert shop.run(database_url=url).exit_code is ExitCode.OK
