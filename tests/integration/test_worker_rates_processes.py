"""A rate limit over real processes, a real Redis and a real PostgreSQL, with real time."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from retention.ledger.store import Ledger
from retention.worker.buckets import connect
from tests.servers.postgres import Postgres
from tests.servers.redis import Redis

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import sys, time
from retention.ledger.store import Ledger
from retention.worker.buckets import shared_buckets
url, broker, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
bucket = shared_buckets(Ledger.open(url, upgrade=False), broker, "test:")("account", "20/s")
end = time.monotonic() + seconds
while time.monotonic() < end:
    bucket.take()
    print(time.monotonic(), flush=True)
"""


def test_four_processes_share_a_rate_while_redis_forgets_and_dies(
    tmp_path: Path, postgres: Postgres
) -> None:
    """20 a second among four, flushed twice, killed once: never more, and not much less."""
    url = postgres.new_database()
    Ledger.open(url).close()
    with Redis.start() as server:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", CODE, url, server.url, "5"],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            for _ in range(4)
        ]
        client = connect(server.url)
        for _ in range(2):
            time.sleep(1.5)
            client.flushall()
        client.close()
        time.sleep(1)
        server.kill()
        said = [process.communicate(timeout=60)[0] for process in processes]
    made = sorted(float(line) for out in said for line in out.splitlines())
    assert all(out for out in said), "everybody had a share"
    # Time is told after the request, by a machine that is busy: allow for a late print.
    late = 0.25
    for i, first in enumerate(made):
        for j in range(i, len(made)):
            assert j - i + 1 <= 20 + 20 * (made[j] - first + late) + 1
    print(f"{len(made)} requests in {made[-1] - made[0]:.1f} s at 20/s")
