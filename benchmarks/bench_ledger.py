"""What one PostgreSQL ledger takes from many processes at once.

    python -m benchmarks.bench_ledger [--seconds 3] [--processes 1 2 4 8]

Three kinds of work, each by one process up to eight: commits with an entry of the audit log, in
the order of a Merkle tree; claims of a run with its lease given back; and plain commits of one
row, which is what the server could do at all. The peer of the first is the same program with the
log's lock held until the disk has answered. Twice: on this disk, and with each flush five
milliseconds longer, as on a networked one.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert, text

from benchmarks.contest import load
from retention.audit import heads
from retention.audit.log import AuditLog
from retention.clock import SystemClock
from retention.ledger import tables as t
from retention.ledger.store import Ledger, stamp
from retention.run.claim import claim
from retention.run.context import Context
from retention.subjects.keys import SubjectHasher
from tests.servers.postgres import Postgres

ORIGIN = "example.org/bench"
Step = Callable[[Context, int], None]


def append(ctx: Context, number: int) -> None:
    """One transaction that changes a row and says so in the log."""
    with ctx.ledger.write() as tx:
        at = ctx.clock.now()
        tx.execute(text("UPDATE meta SET value = 'x' WHERE key = :k"), {"k": ctx.owner[-8:]})
        ctx.log.append(tx, at, "freeze", actor="user:bench", freeze=number)


def append_locked(ctx: Context, number: int) -> None:
    """The same with the lock held over the flush: what is simplest, and what this replaced."""
    setattr(heads, "one_at_a_time", _lock_until_flushed)  # noqa: B010  # for this process only
    append(ctx, number)


def _lock_until_flushed(tx: Connection, key: int) -> None:
    tx.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})


def take(ctx: Context, _number: int) -> None:
    """Claim a run and give it back."""
    if held := claim(ctx):
        held.release(ctx)


def plain(ctx: Context, number: int) -> None:
    """The least that a commit can be."""
    with ctx.ledger.write() as tx:
        tx.execute(insert(t.meta).values(key=f"{ctx.owner[-8:]}-{number}", value="x"))


WORK: dict[str, tuple[Step, int]] = {
    "entries of the log": (append, 1),
    "… lock over the flush": (append_locked, 1),
    "claims given back": (take, 2),
    "plain commits": (plain, 1),
}
"""Name → what is done in one turn, and the commits that it makes."""


def context(url: str, keys: Path) -> Context:
    ledger = Ledger.open(url)
    return Context(
        ledger,
        AuditLog(ledger, keys, ORIGIN),
        SubjectHasher.open(keys, "NO"),
        SystemClock(),
        lambda *_: (_ for _ in ()).throw(NotImplementedError),
        keys,
    )


def worker(name: str, url: str, keys: Path, seconds: float, start: Any, done: Any) -> None:
    """One process: as many turns as fit."""
    step, _ = WORK[name]
    ctx = context(url, keys)
    step(ctx, 1_000_000)
    start.wait()
    until, number = time.perf_counter() + seconds, 0
    while time.perf_counter() < until:
        step(ctx, number)
        number += 1
    done.put(number)


def rate(name: str, server: Postgres, processes: int, seconds: float) -> float:
    """Turns a second, of all processes together, on a new ledger."""
    with tempfile.TemporaryDirectory() as folder:
        keys, url = Path(folder), server.new_database()
        ctx = context(url, keys)
        at = datetime.now(UTC)
        ctx.log.checkpoint(at)
        with ctx.ledger.write() as tx:
            for n in range(200):
                row = {"policy": f"p{n}", "digest": "d", "due_at": stamp(at), "kind": "schedule"}
                tx.execute(insert(t.run).values(**row, state="pending", created_at=stamp(at)))
        ctx.ledger.close()
        many = multiprocessing.get_context("spawn")
        start, done = many.Barrier(processes), many.Queue()
        crowd = [
            many.Process(target=worker, args=(name, url, keys, seconds, start, done))
            for _ in range(processes)
        ]
        for one in crowd:
            one.start()
        turns = sum(done.get() for _ in crowd)
        for one in crowd:
            one.join()
        return float(turns) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4, 8])
    asked = parser.parse_args()
    print(f"\none PostgreSQL ledger, processes at once; {load()}")
    disks = {"this disk": {}, "+ 5 ms a flush": {"commit_delay": "5000", "commit_siblings": "0"}}
    for disk, settings in disks.items():
        print(f"{disk:26}" + "".join(f"{n:>9} at once" for n in asked.processes) + "   (turns/s)")
        with Postgres.start(durable=True, settings=settings) as server:
            for name in WORK:
                found = [rate(name, server, n, asked.seconds) for n in asked.processes]
                print(f"{name:26}" + "".join(f"{r:>17,.0f}" for r in found), flush=True)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
