"""A service at rest, and how soon it begins: a scheduler and a worker as real processes.

    python -m benchmarks.bench_service [--seconds 60] [--times 10]

Redis and a fully synced PostgreSQL as in production, settings as they come. First nobody asks for
anything: processor time of all processes together. Then runs are written into the ledger as a
command on another machine would, one at a time: how long until a worker begins. Then the same with
Redis killed: work starts when the workers look by themselves, at every `tick_seconds`.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median

from sqlalchemy import select

from benchmarks.bench_workers import fill, policies
from benchmarks.contest import ROOT, load
from benchmarks.whole import write_policies
from retention.ledger import tables as t
from retention.ledger.store import instant
from retention.run.approval import approve_policy
from retention.run.home import Home
from retention.run.tick import new_run
from retention.settings import Settings
from tests.servers.postgres import Postgres
from tests.servers.redis import Redis

POLICY = "site-yearly"


@contextmanager
def process(command: str, environment: dict[str, str]) -> Iterator[int]:
    """`retention COMMAND`, in a session of its own; its process id."""
    running = subprocess.Popen(
        [sys.executable, "-m", "retention", *command.split()],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield running.pid
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(timeout=60)


def spent(session: int) -> float:
    """Seconds of processor of every process of a session."""
    ticks = 0
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            facts = place.read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if int(facts[3]) == session:
            ticks += int(facts[11]) + int(facts[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def begins(home: Home, number: int) -> float:
    """Seconds from the commit of a run to the claim of a worker."""
    ctx = home.ctx
    due = ctx.clock.now() - timedelta(seconds=number)
    with ctx.ledger.write() as tx:
        made = new_run(tx, POLICY, home.in_force.digest_of(POLICY), due, "manual", ctx.clock.now())
    written = ctx.clock.now()
    while True:
        with ctx.ledger.read() as tx:
            row = tx.execute(select(t.run).where(t.run.c.id == made)).one()
        if row.finished_at:
            return max(0.0, (instant(row.started_at) - written).total_seconds())
        time.sleep(0.05)


def told(what: str, found: list[float]) -> None:
    print(f"{what:46}{median(found):>8.2f}{max(found):>8.2f}   s, median and worst of {len(found)}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--times", type=int, default=10)
    asked = parser.parse_args()
    with ExitStack() as stack:
        ledgers = stack.enter_context(Postgres.start(durable=True))
        site = stack.enter_context(Postgres.start())
        redis = stack.enter_context(Redis.start())
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        url = site.new_database()
        fill(url, "site", 100)
        place = write_policies(Path(folder, "home"), **policies({"site": "BENCH_SITE"}))
        os.environ["BENCH_SITE"] = url
        said = {
            "policies": place / "policies",
            "home": place / "state",
            "database_url": ledgers.new_database(),
            "broker_url": redis.url,
            "origin": "example.org/bench",
        }
        environment = {
            **os.environ,
            **{f"RETENTION_{name.upper()}": str(value) for name, value in said.items()},
        }
        home = stack.enter_context(Home.open(Settings(**said), actor="user:bench"))
        approve_policy(home.ctx, home.in_force, POLICY, by="user:bench")
        home.reload()
        scheduler = stack.enter_context(process("scheduler", environment))
        worker = stack.enter_context(process("worker --concurrency 2", environment))
        begins(home, 0)
        time.sleep(10)
        print(f"\na scheduler and a worker of two; {load()}")
        before, start = spent(scheduler) + spent(worker), time.perf_counter()
        time.sleep(asked.seconds)
        used = spent(scheduler) + spent(worker) - before
        share = 100 * used / (time.perf_counter() - start)
        print(f"{'at rest, of one core':46}{share:>8.2f} %")
        told("a run is written → it begins", [begins(home, n) for n in range(1, asked.times + 1)])
        redis.kill()
        late = [begins(home, n) for n in range(100, 103)]
        told("the same with Redis dead, tick_seconds 20", late)


if __name__ == "__main__":
    main()
