"""How long a command of the program takes to start, beside an interpreter that does nothing.

    python -m benchmarks.bench_startup [--rounds 10]

The commands take turns, so that a busy moment of the machine hits all alike. `status` runs in a
folder as `retention init` leaves it, with a ledger. The target is 0.3 s for `--help`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.contest import load

PROGRAM = [sys.executable, "-m", "retention"]
TARGET = 0.3


def commands(folder: Path) -> dict[str, list[str]]:
    """What is measured, the peer last."""
    script = Path(sys.executable).with_name("retention")
    program = [str(script)] if script.exists() else PROGRAM
    subprocess.run([*program, "init", str(folder)], check=True, capture_output=True)
    subprocess.run([*program, "status"], check=False, capture_output=True, cwd=folder)
    return {
        "retention --help": [*program, "--help"],
        "retention --version": [*program, "--version"],
        "retention status": [*program, "status"],
        "beside: python -c pass": [sys.executable, "-c", "pass"],
        "beside: import of pydantic, sqlalchemy, typer": [
            *(sys.executable, "-c"),
            "import pydantic, sqlalchemy, typer",
        ],
    }


def timed(command: list[str], folder: Path) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "start")
        measured = commands(folder)
        times: dict[str, list[float]] = {name: [] for name in measured}
        for command in measured.values():
            timed(command, folder)
        for _ in range(asked.rounds):
            for name, command in measured.items():
                times[name].append(timed(command, folder))
    print(f"\nstart-up, {asked.rounds} rounds; {load()}")
    print(f"{'':48}{'median s':>10}{'best s':>9}")
    for name, found in times.items():
        print(f"{name:48}{median(found):>10.3f}{min(found):>9.3f}")
    print(f"target for --help: {TARGET} s")


if __name__ == "__main__":
    main()
