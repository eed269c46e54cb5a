"""The whole product as a contestant: policy files, ledger, decisions, second look, act, evidence.

`python -m benchmarks.whole HOME POLICY` opens the home whose policies lie in HOME/policies,
approves the policy and runs it now, and prints what it did as one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from retention.run.approval import approve_policy
from retention.run.home import Home
from retention.settings import Settings, load

ORGANISATION: dict[str, Any] = {
    "name": "Bench",
    "country": "NO",
    "timezone": "Europe/Oslo",
    "limits": {"records": 100_000_000, "share": "100%"},
}


def write_policies(home: Path, **said: Any) -> Path:
    """A home with one policy file, whose limits let half of everything go. Returns the home."""
    folder = home / "policies"
    folder.mkdir(parents=True)
    text = json.dumps({"organisation": ORGANISATION, **said}, indent=1)
    (folder / "bench.yaml").write_text(text, encoding="utf-8")
    return home


def settings(home: Path) -> Settings:
    """Settings of a home that `write_policies` made; the ledger is SQLite on disk, fully synced."""
    return load(
        policies=home / "policies",
        home=home / "state",
        database_url=os.environ.get("BENCH_LEDGER"),
        origin="example.org/bench",
    )


def work(home: Path, policy: str) -> dict[str, Any]:
    """One run to its end; seconds, counts and the peak of memory before it began."""
    start = time.perf_counter()
    with Home.open(settings(home), actor="user:bench") as opened:
        approve_policy(opened.ctx, opened.in_force, policy, by="user:bench")
        opened.reload()
        ready = time.perf_counter()
        before = peak_mb()
        report = opened.executor().run_now(policy)
    done = time.perf_counter()
    assert report.exit_code == 0, report
    return {
        "work": done - start,
        "opening": ready - start,
        "before_mb": before,
        "verified": report.counts.get("verified", 0),
        "counts": dict(report.counts),
    }


def peak_mb() -> float:
    """This process's largest resident set so far."""
    status = Path("/proc/self/status")
    if not status.exists():
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / 1024
    line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    print(json.dumps(work(Path(sys.argv[1]), sys.argv[2])))
