"""Files: half of a tree goes, the whole product beside bare cleaners, in one run.

    python -m benchmarks.bench_files [--files 100000] [--rounds 1]

Every contestant is a process of its own and gets a tree of its own with the same files. Ours is
everything from opening the home to the signed checkpoint: a plan in a ledger on disk, every file
decided, read again, written down as intended, set aside, looked at again, unlinked, flushed,
looked for by name and by inode on another session, and named in the audit log. `find -delete` and
systemd-tmpfiles unlink by age, and prove nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.contest import Cost, load, python, run, table, typical
from benchmarks.whole import write_policies

OURS = "retention, decided, audited, verified"
POLICY = "papers-ninety-days"
_A_FOLDER = 1_000


def policy_file(tree: Path) -> dict[str, Any]:
    """Files go after 90 days."""
    return {
        "systems": {"papers": {"connector": "files", "path": str(tree)}},
        "clusters": {
            "papers": {
                "title": "Papers",
                "subjects": "customers",
                "data": ["free_text"],
                "purpose": "answering enquiries",
                "basis": "legitimate_interest",
                "locations": {
                    "folder": {
                        "system": "papers",
                        "glob": "**/*.txt",
                        "dates": {"saved": "modified"},
                    }
                },
            }
        },
        "policies": {
            POLICY: {
                "title": "Papers go after 90 days",
                "applies_to": "papers",
                "starting_point": "saved",
                "delete_at_latest": "90 days",
                "then": "delete",
                "schedule": "0 3 * * *",
            }
        },
    }


def grown(tree: Path, count: int, now: datetime) -> None:
    """Every other file is old; those that stay are up to 60 days old."""
    for n in range(count):
        if n % _A_FOLDER == 0:
            (tree / f"{n // _A_FOLDER}").mkdir(parents=True)
        file = tree / f"{n // _A_FOLDER}" / f"{n}.txt"
        file.write_bytes(b"x" * 100)
        at = now.timestamp() - 86_400 * (200 + n % 700 if n % 2 == 0 else n % 60)
        os.utime(file, (at, at))


def ours(tree: Path) -> Cost:
    """The whole product in a process of its own, on a new ledger."""
    with tempfile.TemporaryDirectory() as folder:
        home = write_policies(Path(folder, "home"), **policy_file(tree))
        return python("whole", str(home), POLICY)


def find(tree: Path) -> Cost:
    """GNU or BSD find."""
    return run(["find", str(tree), "-name", "*.txt", "-type", "f", "-mtime", "+90", "-delete"])


def tmpfiles(tree: Path) -> Cost:
    """systemd-tmpfiles, by the time of modification."""
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder, "rules.conf")
        rules.write_text(f"e {tree} - - - m:90d\n", encoding="utf-8")
        return run(["systemd-tmpfiles", "--clean", str(rules)])


def tmpreaper(tree: Path) -> Cost:
    """tmpreaper, by the time of modification."""
    return run(["tmpreaper", "--mtime", "90d", str(tree)])


def contest(count: int, rounds: int) -> None:
    """All contestants in turn, each round with fresh trees; prints the table."""
    contestants: dict[str, Callable[[Path], Cost]] = {OURS: ours, "find -mtime +90 -delete": find}
    more: dict[str, tuple[str, Callable[[Path], Cost]]] = {
        "systemd-tmpfiles": ("systemd-tmpfiles --clean", tmpfiles),
        "tmpreaper": ("tmpreaper --mtime", tmpreaper),
    }
    for program, (name, compete) in more.items():
        if shutil.which(program):
            contestants[name] = compete
        else:
            print(f"{program} is not installed")
    costs: dict[str, list[Cost]] = {who: [] for who in contestants}
    now = datetime.now(UTC)
    for _ in range(rounds):
        for who, compete in contestants.items():
            with tempfile.TemporaryDirectory() as folder:
                tree = Path(folder, "tree")
                grown(tree, count, now)
                os.sync()
                costs[who].append(compete(tree))
                left = sum(len(names) for _, _, names in os.walk(tree))
                assert left == count // 2, f"{who} left {left} of {count}"
    table(
        f"Half of {count:,} files in folders of {_A_FOLDER:,}"
        f" ({rounds} round{'s' if rounds > 1 else ''}; {load()})",
        {who: typical(found) for who, found in costs.items()},
        OURS,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    contest(asked.files, asked.rounds)


if __name__ == "__main__":
    main()
