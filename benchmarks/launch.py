"""Runs one command and tells what it cost: `launch.py ANSWER COMMAND…`, alone and small.

A process's peak memory starts at that of the process it was forked from; so the contestants are
not children of the benchmark, which may be large, but of this.
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> None:
    answer, *command = sys.argv[1:]
    start = time.perf_counter()
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, spent = os.wait4(child, 0)
    told = {
        "code": os.waitstatus_to_exitcode(status),
        "wall": time.perf_counter() - start,
        "cpu": spent.ru_utime + spent.ru_stime,
        "peak": spent.ru_maxrss / (1024 if sys.platform == "linux" else 1024 * 1024),
    }
    with open(answer, "w", encoding="utf-8") as file:  # noqa: PTH123  # pathlib would cost memory
        json.dump(told, file)


if __name__ == "__main__":
    main()
