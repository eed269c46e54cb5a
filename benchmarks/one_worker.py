"""One process of the worker's kind: claims and works slices until nothing is left.

`python -m benchmarks.one_worker HOME` says `ready`, waits for a line, and begins.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from benchmarks.whole import settings
from retention.run.claim import FINAL
from retention.run.home import Home
from retention.run.status import status


def finished(home: Home) -> bool:
    """Whether every policy's run has come to its end."""
    now = home.ctx.clock.now()
    rows = status(home.ctx.ledger, home.in_force, home.jobs, now)
    return all(row.last_state in {str(s) for s in FINAL} for row in rows)


def main() -> None:
    with Home.open(settings(Path(sys.argv[1])), actor="worker") as home:
        executor = home.executor()
        print("ready", flush=True)
        sys.stdin.readline()
        while not finished(home):
            while executor.slice() is not None:
                pass
            # The others still work on what is left; it may come back to us.
            time.sleep(0.05)


if __name__ == "__main__":
    main()
