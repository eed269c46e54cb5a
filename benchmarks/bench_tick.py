"""One tick of the schedule over 10,000 policies, beside croniter asked for each, in one run.

    python -m benchmarks.bench_tick [--policies 10000] [--locations 1]

Cold: the first tick, in which every policy gets its row and its next firing. Warm: nothing is
owed; or a hundred firings are, and become runs. `--locations 50` gives each policy a cluster of
its own with so many places; the first claim of each of the hundred runs, which spreads it over its
places, and a hundred claims among those are then timed too. The ledger is SQLite on disk, fully
synced. The peer is what a scheduler does that keeps nothing: one croniter for each expression,
asked for its next moment. The target is one second for a tick.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from croniter import croniter
from sqlalchemy import func, select

from benchmarks.contest import load
from retention.audit.log import AuditLog
from retention.connectors.base import Connector
from retention.ledger import tables as t
from retention.ledger.store import Ledger
from retention.policy.model import Bundle
from retention.run.claim import claim
from retention.run.context import Context
from retention.run.executor import Executor
from retention.run.in_force import Approved, InForce
from retention.run.tick import tick
from retention.schedule.compile import compile_jobs
from retention.schedule.model import Job
from retention.subjects.keys import SubjectHasher

START = datetime(2026, 3, 2, 12, 30, 30, tzinfo=UTC)
ZONE = ZoneInfo("Europe/Oslo")
DUE = 100
SOON = "0 14 2 3 *"
"""14:00 in Oslo on the day of START: what the hundred say."""


@dataclass
class SetClock:
    """A clock that the benchmark moves."""

    at: datetime = START

    def now(self) -> datetime:
        return self.at


def expression(number: int, policies: int) -> str:
    """Monthly, quarterly, weekly and daily ones in the small hours; the last hundred are SOON."""
    if number >= policies - DUE:
        return SOON
    minute, hour = number % 60, number // 60 % 6
    return (
        f"{minute} {hour} {number % 28 + 1} * *",
        f"{minute} {hour} {number % 28 + 1} 1,4,7,10 *",
        f"{minute} {hour} * * {number % 7}",
        f"{minute} {hour} * * *",
    )[number % 4]


def bundle(expressions: list[str], locations: int) -> Bundle:
    """So many policies, on one table; or each on so many of its own."""
    own = locations > 1
    names = [f"enquiries-{n:05}" if own else "enquiries" for n in range(len(expressions))]
    return Bundle.model_validate(
        {
            "organisation": {"name": "Bench", "country": "NO", "timezone": ZONE.key},
            "systems": {"site": {"connector": "memory"}},
            "clusters": {
                name: {
                    "purpose": f"answering {name}",
                    "basis": "contract",
                    "locations": {
                        f"form{n}": {
                            "system": "site",
                            "table": f"form{n}",
                            "key": "id",
                            "dates": {"received": "received"},
                        }
                        for n in range(locations)
                    },
                }
                for name in dict.fromkeys(names)
            },
            "policies": {
                f"policy-{n:05}": {
                    "applies_to": names[n],
                    "starting_point": "received",
                    "delete_at_latest": "2 years",
                    "then": "delete",
                    "schedule": text,
                }
                for n, text in enumerate(expressions)
            },
        }
    )


def nothing_to_open(_bundle: Bundle, _system: str) -> Connector:
    raise AssertionError("a tick opens no system")


def given_back(ctx: Context) -> bool:
    """Whether there was something to claim."""
    held = claim(ctx)
    if held is not None:
        held.release(ctx)
    return held is not None


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """(seconds, seconds of processor, answer)."""
    cpu, start = time.process_time(), time.perf_counter()
    answer = work()
    return time.perf_counter() - start, time.process_time() - cpu, answer


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--policies", type=int, default=10_000)
    parser.add_argument("--locations", type=int, default=1)
    asked = parser.parse_args()
    count, places = asked.policies, asked.locations
    texts = [expression(n, count) for n in range(count)]
    files = bundle(texts, places)
    digests = {name: f"sha256:{n:064x}" for n, name in enumerate(files.policies)}
    approved = {n: Approved(d, files, "user:bench", "") for n, d in digests.items()}
    in_force = InForce(files, digests, approved)
    rows: list[tuple[str, float, float, str]] = []

    def row(what: str, work: Callable[[], Any], said: Callable[[Any], str]) -> Any:
        seconds, cpu, answer = timed(work)
        rows.append((what, seconds, cpu, said(answer)))
        return answer

    with tempfile.TemporaryDirectory() as place:
        ledger = Ledger.open(f"sqlite:///{place}/ledger.db")
        clock = SetClock()
        ctx = Context(
            ledger=ledger,
            log=AuditLog(ledger, Path(place, "keys"), "example.org/bench"),
            hasher=SubjectHasher.open(Path(place, "keys"), "NO"),
            clock=clock,
            open=nothing_to_open,
            folder=Path(place),
        )
        jobs: dict[str, Job] = row(
            "compile policies to jobs (once, when files change)",
            lambda: {j.policy: j for j in compile_jobs(files, digests, START)},
            lambda found: f"{len(found):,} jobs",
        )

        def ticked() -> list[int]:
            return tick(ctx, in_force, jobs)

        def runs(found: list[int]) -> str:
            return f"{len(found):,} runs"

        row("tick, cold: every policy is new", ticked, runs)
        clock.at += timedelta(seconds=20)
        row("tick, warm: nothing is owed", ticked, runs)
        clock.at = datetime(2026, 3, 2, 13, 0, 5, tzinfo=UTC)
        created = row("tick, warm: a hundred are owed", ticked, runs)
        assert len(created) == min(DUE, count), len(created)
        clock.at += timedelta(seconds=20)
        row("tick, warm: nothing is owed any more", ticked, runs)
        if places > 1:
            executor = Executor(ctx, in_force, jobs)
            row(
                "the first claim of each run: spread over its places",
                lambda: [executor.slice(run_id=run) for run in created],
                lambda found: f"{len(found) * places:,} shards",
            )
            row(
                "a hundred claims among them, each given back",
                lambda: sum(given_back(ctx) for _ in range(100)),
                lambda found: f"{found:,} claims",
            )
        with ledger.read() as tx:
            known = tx.execute(select(func.count()).select_from(t.schedule)).scalar_one()
        assert known == count
        ledger.close()
    local = START.astimezone(ZONE)
    row(
        "beside: croniter(…).get_next for each",
        lambda: [croniter(text, local).get_next(datetime) for text in texts],
        lambda found: f"{len(found):,} moments",
    )
    print(f"\n{count:,} policies, {places} places each; {load()}")
    print(f"{'':54}{'seconds':>9}{'cpu':>8}")
    for what, seconds, cpu, said in rows:
        print(f"{what:54}{seconds:>9.3f}{cpu:>8.3f}   {said}")


if __name__ == "__main__":
    main()
