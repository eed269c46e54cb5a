"""Every benchmark in turn: `python -m benchmarks [--quick] [NAME…]`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks.contest import load

ROOT = Path(__file__).resolve().parents[1]

BENCHMARKS: dict[str, tuple[list[str], list[str]]] = {
    "startup": ([], ["--rounds", "3"]),
    "tick": ([], ["--policies", "1000"]),
    "cron": ([], []),
    "decide": ([], ["--records", "50000"]),
    "audit": ([], ["--pseudonyms", "50000", "--entries", "100000"]),
    "sql": ([], ["--rows", "20000"]),
    "imap": ([], ["--messages", "2000", "--rounds", "1"]),
    "mailbox": ([], ["--messages", "2000"]),
    "files": ([], ["--files", "2000"]),
    "spreadsheet": ([], ["--rows", "5000"]),
    "memory": ([], ["--rows", "10000", "50000"]),
    "ledger": ([], ["--seconds", "1", "--processes", "1", "4"]),
    "workers": ([], ["--rows", "1000", "--workers", "1", "2", "--milliseconds", "20"]),
    "service": ([], ["--seconds", "10", "--times", "3"]),
}
"""Name → arguments in full, and for a quick look; the order is that of the run."""


def main() -> int:
    """Run them; exit code 1 if one of them failed or missed a target that it checks itself."""
    parser = argparse.ArgumentParser(
        description="Run every benchmark in turn, or those that are named."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="small sizes: whether they run at all")
    asked = parser.parse_args()
    if unknown := set(asked.names) - BENCHMARKS.keys():
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    print(load(), flush=True)
    failed = []
    for name in asked.names or BENCHMARKS:
        print(f"\n=== {name} ===", flush=True)
        arguments = BENCHMARKS[name][1 if asked.quick else 0]
        command = [sys.executable, "-m", f"benchmarks.bench_{name}", *arguments]
        if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
            failed.append(name)
    if failed:
        print(f"\nfailed or below target: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
