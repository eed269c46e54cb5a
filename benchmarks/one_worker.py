"""One process of the worker's kind: claims and works slices until nothing is left.

`python -m benchmarks.one_worker HOME` says `ready`, waits for a line, and begins.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from sqlalchemy import select

from benchmarks.whole import settings
from retention.ledger import tables as t
from retention.run.claim import FINAL
from retention.run.home import Home

_OPEN = select(t.run.c.id).where(t.run.c.state.not_in([str(s) for s in FINAL])).limit(1)


def finished(home: Home) -> bool:
    """Whether every run has come to its end."""
    with home.ctx.ledger.read() as tx:
        return tx.execute(_OPEN).first() is None


def main() -> None:
    with Home.open(settings(Path(sys.argv[1])), actor="worker") as home:
        executor = home.executor()
        print("ready", flush=True)
        sys.stdin.readline()
        while not finished(home):
            while executor.slice() is not None:
                pass
            # The others still work on what is left; it may come back to us.
            time.sleep(0.2)


if __name__ == "__main__":
    main()
