"""How long large jobs take with many workers, by a simulation that uses measured costs.

    python -m benchmarks.scale_model [--lock 0.0014] [--cpu 0.000045] …

Nobody here has a billion rows or a hundred thousand mailboxes to delete; this says what the parts,
measured one by one, add up to. Workers take batches in turn; each batch costs waiting for the
vendor, the worker's own processor, and a few commits to the ledger, which append to the audit log
one at a time. The vendor serves so many requests at once and so many a second. Each of these is a
queue; nothing else is modelled: no failures, no retries, no uneven shards.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from heapq import heappop, heappush

BATCH = 500


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds. The defaults were measured on a two-core machine; docs/explanation/scale.md."""

    cpu: float = 45e-6
    """Of the worker's processor, for each record that is disposed of."""
    read: float = 4e-6
    """Of the worker's processor, for each record that is read and stays."""
    lock: float = 1.4e-3
    """For which one commit holds the audit log's lock."""
    flush: float = 2e-3
    """For which a commit waits for the disk; any number wait at once."""
    commits: int = 3
    """Commits with entries for each batch: found, intended, done, and a part of a look."""


@dataclass(frozen=True, slots=True)
class Job:
    """Something large. `trip` is one round to the vendor, `each` its work for one record."""

    name: str
    records: int
    due: float
    batch: int
    trip: float
    trips: float
    each: float
    at_once: int
    """Requests that the vendor serves at the same time."""
    per_second: float = 0.0
    """Requests a second that the vendor allows; 0: no limit."""

    @property
    def batches(self) -> int:
        return max(1, round(self.records * self.due / self.batch))


JOBS = (
    Job("1,000,000,000 rows, half due, one table", 10**9, 0.5, BATCH, 1e-3, 4, 6e-6, 16),
    Job("the same, a database that deletes 50,000/s", 10**9, 0.5, BATCH, 1e-3, 4, 320e-6, 16),
    Job("100,000 mailboxes, 500 of 5,000 due each", 5 * 10**8, 0.1, BATCH, 20e-3, 8, 1e-4, 10**6),
    Job("1,000,000 contacts, API of 10 a second", 10**6, 0.5, 100, 0.2, 2, 0, 8, 10),
)


def seconds(job: Job, costs: Costs, workers: int, sample: int = 4_000) -> tuple[float, float]:
    """How long the job takes, and how busy the log's lock is. A sample of batches is simulated.

    Each event is one worker that asks for one thing: the vendor first, then the lock, commit after
    commit. They are served in the order of time, each resource to one after the other.
    """
    crowd = min(workers, job.batches)
    number = min(job.batches, max(sample, 16 * workers))
    events = [(0.0, worker, 0) for worker in range(crowd)]
    vendor = [0.0] * min(job.at_once, crowd)
    stays = job.batch * (1 - job.due) / job.due
    work = job.batch * costs.cpu + stays * costs.read
    lock = busy = token = last = 0.0
    done = begun = 0
    while done < number:
        now, worker, step = heappop(events)
        if step == 0:
            if begun == number:
                continue
            begun += 1
            start = max(now, heappop(vendor))
            if job.per_second:
                start = max(start, token)
                token = start + job.trips / job.per_second
            answered = start + job.trips * job.trip + job.batch * job.each
            heappush(vendor, answered)
            heappush(events, (answered + work, worker, 1))
            continue
        lock = max(now, lock) + costs.lock
        busy += costs.lock
        last = lock + costs.flush
        done += step == costs.commits
        heappush(events, (last, worker, 0 if step == costs.commits else step + 1))
    return last * job.batches / number, busy / last


def told(length: float) -> str:
    for unit, size in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if length >= 2 * size:
            return f"{length / size:.1f} {unit}"
    return f"{length:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in Costs.__dataclass_fields__:
        parser.add_argument(f"--{name}", type=float, default=getattr(Costs(), name))
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 16, 64, 256])
    asked = parser.parse_args()
    costs = replace(Costs(), **{n: getattr(asked, n) for n in Costs.__dataclass_fields__})
    costs = replace(costs, commits=round(costs.commits))
    print(f"{'job':46}" + "".join(f"{n:>14}" for n in asked.workers) + "   workers")
    for job in JOBS:
        cells = []
        for workers in asked.workers:
            length, busy = seconds(job, costs, workers)
            cells.append(f"{told(length)} {100 * busy:3.0f}%")
        print(f"{job.name:46}" + "".join(f"{cell:>14}" for cell in cells))
    print("each cell: how long, and how busy the audit log's lock is")


if __name__ == "__main__":
    main()
