"""How many next fires a second: this package beside bare croniter and cronsim, in one run.

    python benchmarks/bench_cron.py

cronsim is measured where it is installed (`pip install cronsim`). Every candidate walks the same
expressions in the same zone from the same instant; the median of five rounds is printed. `next`
is one question from scratch (what a tick asks), `walk` goes on from the last answer (what a
forecast does). `differs` counts walked instants that are not ours: they come from nights on which
clocks change.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from statistics import median
from time import perf_counter
from typing import Any
from zoneinfo import ZoneInfo

from croniter import croniter

from retention.schedule.cron import fires, next_after, parse

ZONE = ZoneInfo("Europe/Oslo")
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
EXPRESSIONS = (
    "0 3 1 * *",
    "0 3 1 1,4,7,10 *",
    "30 2 * * *",
    "15 3 * * 1",
    "*/15 * * * *",
    "0 3 L * *",
)
WALK = 2000
ASKED = 500
ROUNDS = 5

Walker = Callable[[str], Iterator[datetime]]


def ours(text: str) -> Iterator[datetime]:
    return fires(parse(text), ZONE, START)


def bare_croniter(text: str) -> Iterator[datetime]:
    found: Iterator[datetime] = croniter(text, START.astimezone(ZONE)).all_next(datetime)
    return found


def cronsim_walker() -> Walker | None:
    try:
        module: Any = importlib.import_module("cronsim")
    except ImportError:
        return None
    return lambda text: iter(module.CronSim(text, START.astimezone(ZONE)))


def ask_ours(text: str) -> None:
    next_after(parse(text), ZONE, START)


def rate(work: Callable[[], int]) -> float:
    """Things done a second, median of the rounds."""
    rates = []
    for _ in range(ROUNDS):
        begun = perf_counter()
        done = work()
        rates.append(done / (perf_counter() - begun))
    return median(rates)


def walk(walker: Walker, text: str) -> int:
    return sum(1 for _ in islice(walker(text), WALK))


def ask(once: Callable[[str], object], text: str) -> int:
    for _ in range(ASKED):
        once(text)
    return ASKED


def main() -> None:
    walkers: dict[str, Walker | None] = {
        "retention": ours,
        "croniter": bare_croniter,
        "cronsim": cronsim_walker(),
    }
    print(f"{'expression':<18} {'program':<10} {'next/s':>12} {'walk/s':>12} {'differs':>8}")
    for text in EXPRESSIONS:
        truth = [m.astimezone(UTC) for m in islice(ours(text), WALK)]
        for program, walker in walkers.items():
            if walker is None:
                print(f"{text:<18} {program:<10} not installed")
                continue
            once = ask_ours if walker is ours else (lambda t, w=walker: next(w(t)))
            walked = rate(lambda w=walker, t=text: walk(w, t))  # type: ignore[misc]  # bound per round
            asked = rate(lambda o=once, t=text: ask(o, t))  # type: ignore[misc]  # bound per round
            theirs = [m.astimezone(UTC) for m in islice(walker(text), WALK)]
            differs = len(set(theirs) ^ set(truth))
            print(f"{text:<18} {program:<10} {asked:>12,.0f} {walked:>12,.0f} {differs:>8}")


if __name__ == "__main__":
    main()
