"""Runs spread over shards, and many processes that claim at once, on SQLite and PostgreSQL."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from retention.audit.verify import verify_ledger
from retention.errors import Busy, ExitCode, LedgerMoved
from retention.ledger import tables as t
from retention.ledger.store import stamp
from retention.run.approval import approve_policy
from retention.run.claim import FINAL, RunState, claim, waiting
from retention.run.compact import compact
from retention.run.home import Home
from retention.run.in_force import approve
from retention.run.orders import freeze, thaw
from retention.run.status import status
from retention.run.tick import new_run
from tests.integration.shop import COLUMNS, HEAD, MONTHLY, NOW, Shop
from tests.servers.postgres import Postgres

THREE = HEAD + "".join(
    f"""      {name}: {{{{system: {system}, table: {name}, key: id,
             dates: {{{{received: received}}}}, subject: {{{{email: email}}}}}}}}
"""
    for name, system in (("letters", "web"), ("orders", "other"))
)
THREE = THREE.replace(
    "clusters:", '  other: {{connector: sql, url: "sqlite:///{folder}/other.db"}}\nclusters:'
)
ALL = MONTHLY.replace("enquiries/form", "enquiries")


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Settings that put the ledger there."""
    if request.param == "sqlite":
        return {}
    server: Postgres = request.getfixturevalue("postgres")
    return {"database_url": server.new_database()}


@pytest.fixture
def shop(tmp_path: Path, ledger: dict[str, Any]) -> Shop:
    """Forty due rows and ten young ones in the form, a cut at every ten rows."""
    made = Shop(tmp_path)
    made.write(MONTHLY)
    for key in range(50):
        made.put(key, 100 if key < 40 else 3)
    cut = {"shards": 4, "shard_records": 10, **ledger}
    made.settings = cut
    with made.open() as home:
        approve(home.ctx, home.in_force, "form-monthly", by="user:tester")
    return made


def three_places(shop: Shop) -> None:
    """The form, letters beside it, and orders in another database."""
    for database, name in ((shop.database, "letters"), (shop.folder / "other.db", "orders")):
        with closing(sqlite3.connect(database)) as db:
            db.execute(f"CREATE TABLE {name} ({COLUMNS})")
            db.executemany(
                f"INSERT INTO {name} VALUES (?, ?, '', '', '')",
                [
                    (n, f"{NOW - timedelta(days=100 if n % 2 else 3):%Y-%m-%d %H:%M:%S}")
                    for n in range(20)
                ],
            )
            db.commit()
    shop.write(ALL, head=THREE, folder=shop.folder)
    with shop.open() as home:
        approve(home.ctx, home.in_force, "form-monthly", by="user:tester")


def left(shop: Shop, name: str, database: Path | None = None) -> set[int]:
    with closing(sqlite3.connect(database or shop.database)) as db:
        return {row[0] for row in db.execute(f"SELECT id FROM {name}")}


def rows(home: Home, *wanted: Any) -> list[Any]:
    with home.ctx.ledger.read() as tx:
        return list(tx.execute(select(t.run).where(*wanted).order_by(t.run.c.id)).all())


def fire(home: Home, policy: str = "form-monthly", later: int = 0) -> int:
    """A run that waits for somebody to claim it."""
    now = home.ctx.clock.now() + timedelta(seconds=later)
    with home.ctx.ledger.write() as tx:
        made = new_run(tx, policy, home.in_force.digest_of(policy), now, "schedule", now)
    assert made is not None
    return made


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """The same at the same moment, in so many threads, each with its own connections."""
    start = Barrier(count)

    def one(number: int) -> Any:
        start.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


# --- one run, many shards ---------------------------------------------------------------------


def test_a_large_location_is_cut_and_its_evidence_reads_as_one_run(shop: Shop) -> None:
    """Four shards: one run in the log, batch numbers unique, one planned, one finished."""
    report = shop.run()
    assert (report.state, report.exit_code) == (RunState.DONE, ExitCode.OK)
    assert report.counts["verified"] == 40
    assert report.counts["scanned"] >= 40
    assert shop.keys() == set(range(40, 50))
    entries = shop.entries()
    kinds = Counter(e["type"] for e in entries)
    assert kinds["run.planned"] == kinds["run.finished"] == 1
    assert {e["run"] for e in entries if "run" in e} == {report.run_id}
    intents = [e["batch"] for e in entries if e["type"] == "batch.intended"]
    assert len(intents) == len(set(intents)) >= 4
    with shop.open() as home:
        assert len(rows(home, t.run.c.parent_id == report.run_id)) == 4
        assert verify_ledger(home.ctx.log).ok
        with home.ctx.ledger.read() as tx:
            assert set(tx.execute(select(t.batch.c.records)).scalars()) == {None}
            assert set(tx.execute(select(t.scan.c.controls)).scalars()) == {None}


def test_each_location_of_a_policy_is_a_shard(shop: Shop) -> None:
    """Three places in two systems: each row says its system, all are emptied of what is due."""
    three_places(shop)
    report = shop.run()
    assert report.exit_code is ExitCode.OK, report
    assert shop.keys() == set(range(40, 50))
    assert left(shop, "letters") == set(range(0, 20, 2))
    assert left(shop, "orders", shop.folder / "other.db") == set(range(0, 20, 2))
    with shop.open() as home:
        systems = {row.location: row.system for row in rows(home, t.run.c.parent_id.is_not(None))}
    assert systems == {
        "enquiries/form": "web",
        "enquiries/letters": "web",
        "enquiries/orders": "other",
    }


def test_a_location_that_fails_leaves_the_others_and_the_run_partial(shop: Shop) -> None:
    """A database that went: two places are done, the run says which one was not, and alarms."""
    three_places(shop)
    with closing(sqlite3.connect(shop.folder / "other.db")) as db:
        db.execute("DROP TABLE orders")
    report = shop.run()
    assert (report.state, report.exit_code) == (RunState.PARTIAL, ExitCode.UNVERIFIED)
    assert any("orders" in problem for problem in report.problems)
    assert shop.keys() == set(range(40, 50))
    assert left(shop, "letters") == set(range(0, 20, 2))
    assert ("form-monthly", "partial") in shop.alarms()


def test_limits_count_all_shards_together_before_the_first_act(shop: Shop) -> None:
    """Ten due in each shard, thirty-nine allowed: nothing at all is done."""
    shop.write(MONTHLY + "    limits: {records: 39}\n")
    shop.approve("form-monthly")
    report = shop.run()
    assert (report.state, report.exit_code) == (RunState.STOPPED, ExitCode.LIMIT)
    assert len(shop.keys()) == 50
    assert shop.entries("batch.intended") == []
    with shop.open() as home:
        assert {RunState(row.state) for row in rows(home)} <= FINAL
        with home.ctx.ledger.read() as tx:
            assert set(tx.execute(select(t.batch.c.records)).scalars()) == {None}


def test_a_share_limit_asks_for_the_whole_location_once(shop: Shop) -> None:
    """Eighty per cent are due: seventy stop it, ninety do not, whatever the shards hold."""
    shop.write(MONTHLY + "    limits: {share: 70%}\n")
    shop.approve("form-monthly")
    assert shop.run().exit_code is ExitCode.LIMIT
    shop.write(MONTHLY + "    limits: {share: 90%}\n")
    shop.approve("form-monthly")
    assert shop.run().exit_code is ExitCode.OK


def test_a_plan_that_waits_for_approval_holds_all_its_shards(shop: Shop) -> None:
    """Each shard has decided, none acts; one approval lets all of them go on."""
    shop.write(MONTHLY + "    approval: each_run\n")
    shop.approve("form-monthly")
    report = shop.run()
    assert (report.state, report.exit_code) == (RunState.WAITING, ExitCode.WITHHELD)
    assert len(shop.keys()) == 50
    with shop.open() as home:
        assert approve_policy(home.ctx, home.in_force, "form-monthly", by="user:tester").runs == (
            report.run_id,
        )
        ended = home.executor().finish(report.run_id)
    assert (ended.state, ended.counts["verified"]) == (RunState.DONE, 40)


def test_a_freeze_reaches_every_shard(shop: Shop) -> None:
    """Nothing goes while it lasts; after the thaw the same run ends."""
    with shop.open() as home:
        run_id = fire(home)
        home.executor().slice()
        freeze(home.ctx, "a look first")
        home.executor().once()
        assert len(shop.keys()) == 50
        thaw(home.ctx)
        home.executor().once()
        assert RunState(rows(home, t.run.c.id == run_id)[0].state) is RunState.DONE
    assert shop.keys() == set(range(40, 50))


def test_many_processes_work_on_one_run_at_once(shop: Shop) -> None:
    """Four at the same moment: every record once, each intent one outcome, the log whole."""
    shop.daemon_once()
    shop.clock.forward(days=1)
    together(4, lambda _: shop.daemon_once())
    shop.daemon_once()
    assert shop.keys() == set(range(40, 50))
    gone = Counter(r for e in shop.entries("batch.done") for r in e["records"])
    assert len(gone) == 40
    assert set(gone.values()) == {1}
    assert len(shop.entries("run.finished")) == 1
    with shop.open() as home:
        assert verify_ledger(home.ctx.log).ok


def test_status_shows_runs_and_not_their_shards(shop: Shop) -> None:
    """A policy's last run is the run, with the sums of its shards."""
    shop.run()
    with shop.open() as home:
        (row,) = status(home.ctx.ledger, home.in_force, home.jobs, home.ctx.clock.now())
    assert (row.state, row.last_state, row.overdue) == ("ok", "done", 0)


# --- claiming ---------------------------------------------------------------------------------


def test_no_two_processes_get_the_same_work(shop: Shop) -> None:
    """Eight claim at the same moment, again and again: each row has one holder."""
    with shop.open() as home:
        fire(home)
        home.executor().slice()

    def take(_: int) -> list[int]:
        with shop.open(system_workers=100) as home:
            taken = []
            while held := claim(home.ctx):
                taken.append(held.run_id)
            return taken

    taken = [run for runs in together(8, take) for run in runs]
    assert len(taken) == len(set(taken)) == 4


def test_one_run_of_a_policy_at_a_time(shop: Shop) -> None:
    """The next firing waits until this one has ended, also where many look at the same moment."""
    with shop.open() as home:
        first, second = fire(home), fire(home, later=1)
        shop.clock.forward(seconds=2)

    def take(_: int) -> int | None:
        with shop.open() as home:
            held = claim(home.ctx)
            return held.run_id if held else None

    assert [run for run in together(6, take) if run] == [first]
    with shop.open() as home:
        executor = home.executor()
        with pytest.raises(Busy):
            executor.finish(second)
        with pytest.raises(IntegrityError), home.ctx.ledger.engine.begin() as tx:
            tx.execute(update(t.run).where(t.run.c.id == second).values(active=True))
        shop.clock.forward(seconds=31)
        executor.once()
        states = {row.id: row.state for row in rows(home, t.run.c.parent_id.is_(None))}
    assert states == {first: "done", second: "done"}


def test_a_system_is_worked_on_by_so_many_at_most(shop: Shop) -> None:
    """A slow vendor holds two of eight processes; the others find other work."""
    three_places(shop)
    with shop.open() as home:
        fire(home)
        home.executor().slice()
        held = list(iter(lambda: claim(home.ctx), None))
        assert len(held) == 6
    with shop.open(system_workers=2) as home:
        shop.clock.forward(seconds=31)
        held = list(iter(lambda: claim(home.ctx), None))
        with home.ctx.ledger.read() as tx:
            busy: dict[str, int] = dict(
                tx.execute(
                    select(t.run.c.system, func.count())
                    .where(t.run.c.lease_until > stamp(shop.clock.now()))
                    .group_by(t.run.c.system)
                ).all()
            )
    assert busy == {"web": 2, "other": 2}


def test_a_serial_system_takes_one_at_a_time_even_in_a_race(shop: Shop) -> None:
    """One request at a time, or the vendor bans us: eight try at the same moment, one gets it."""
    with shop.open() as home:
        fire(home)
        home.executor().slice()

    def take(_: int) -> bool:
        with shop.open() as home:
            return claim(home.ctx, serial={"web"}) is not None

    assert together(8, take).count(True) == 1


def test_a_process_for_some_systems_leaves_the_others_alone(shop: Shop) -> None:
    """What it may claim is what `waiting` lists for it."""
    three_places(shop)
    with shop.open() as home:
        fire(home)
        home.executor().slice()
        assert {w.system for w in waiting(home.ctx, 100)} == {"web", "other"}
        assert {w.system for w in waiting(home.ctx, 100, systems=["other"])} == {"other"}
        taken = [home.executor().slice(systems=["other"]) for _ in range(3)]
    assert {r.part.location for r in taken if r and r.part} == {"enquiries/orders"}


def test_a_policy_with_many_shards_lets_others_in_between(shop: Shop) -> None:
    """A firing that comes while twenty shards wait is served after a few of them."""
    second = MONTHLY.replace("form-monthly", "form-again").replace("1 month", "2 months")
    shop.write(MONTHLY + second)
    shop.approve("form-monthly", "form-again")
    with shop.open(shards=20, shard_records=2) as home:
        fire(home)
        executor = home.executor()
        executor.slice()
        shop.clock.forward(seconds=3)
        fire(home, "form-again")
        order = []
        for _ in range(8):
            held = claim(home.ctx)
            assert held is not None
            held.release(home.ctx, not_before=shop.clock.now() + timedelta(hours=1))
            order.append(held.policy)
    assert "form-again" in order[:5]
    assert order.count("form-monthly") == 7


def test_a_process_of_an_older_version_takes_nothing_new(shop: Shop) -> None:
    """The ledger was upgraded under it: what it holds it may finish, claims and ticks refuse."""
    with shop.open() as home:
        fire(home)
        held = claim(home.ctx)
        assert held is not None
        with home.ctx.ledger.engine.begin() as tx:
            tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(LedgerMoved):
            claim(home.ctx)
        with pytest.raises(LedgerMoved):
            home.executor().tick()
        with home.ctx.ledger.write() as tx:
            held.fence(home.ctx, tx)


# --- staying small ----------------------------------------------------------------------------


def test_what_closed_runs_leave_behind_goes_after_a_while(shop: Shop) -> None:
    """Batches, scans and shards after a week, rows after a year but the newest; open ones stay."""
    report = shop.run()
    with shop.open() as home:
        ctx = home.ctx
        with ctx.ledger.write() as tx:
            tx.execute(
                insert(t.run),
                [
                    {
                        "policy": "form-monthly",
                        "digest": "d",
                        "due_at": stamp(NOW - timedelta(days=500 + n)),
                        "kind": "schedule",
                        "state": "done" if n else "applying",
                        "created_at": stamp(NOW),
                        "finished_at": stamp(NOW - timedelta(days=500)) if n else None,
                    }
                    for n in range(40)
                ],
            )
        assert compact(ctx) == 19
        assert len(rows(home, t.run.c.parent_id == report.run_id)) == 4
        shop.clock.forward(days=8)
        assert compact(ctx) == 1
        assert rows(home, t.run.c.parent_id.is_not(None)) == []
        with ctx.ledger.read() as tx:
            for table in (t.batch, t.scan):
                assert tx.execute(select(func.count()).select_from(table)).scalar_one() == 0
        assert len(rows(home)) == 22
        assert compact(ctx) == 0
    assert len(shop.entries("run.finished")) == 1


def test_a_run_in_the_foreground_waits_for_shards_that_others_hold(shop: Shop) -> None:
    """`retention run` beside a busy service tells how the whole run ended."""
    with shop.open() as home, shop.open() as other:
        run_id = fire(home)
        home.executor().slice(run_id=run_id)
        held = claim(other.ctx)
        assert held is not None

        def later(_: int) -> None:
            time.sleep(1)
            other.executor().work(held)

        with ThreadPoolExecutor(1) as pool:
            working = pool.submit(later, 0)
            report = home.executor().finish(run_id)
            working.result()
    assert (report.state, report.exit_code, report.counts["verified"]) == (
        RunState.DONE,
        ExitCode.OK,
        40,
    )
