"""Contestants in processes of their own, and the table that they end in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

LAUNCH = Path(__file__).with_name("launch.py")
ROOT = Path(__file__).resolve().parents[1]


class ContestantFailedError(RuntimeError):
    """A contestant ended with an error; the end of what it said is the message."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one contestant took: seconds in all, seconds at work, seconds of processor, MB.

    `work` leaves the start of the interpreter out, which a service pays once; where a program
    cannot tell, it is all of its time. `told`: what the contestant printed as JSON.
    """

    wall: float
    work: float
    cpu: float
    peak: float
    told: Mapping[str, Any] = field(default_factory=dict)


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Run one command. Its last line, if that is a JSON object, may hold `work`."""
    with tempfile.TemporaryDirectory() as folder:
        answer, said = Path(folder, "answer"), Path(folder, "said")
        with said.open("wb") as output:
            subprocess.run(
                [sys.executable, "-I", "-S", str(LAUNCH), str(answer), *command],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                check=True,
            )
        cost = json.loads(answer.read_text(encoding="utf-8"))
        text = said.read_text(encoding="utf-8", errors="replace").strip()
    if cost["code"] != 0:
        raise ContestantFailedError(f"{command[0]} ended with {cost['code']}:\n{text[-2000:]}")
    last = text.rpartition("\n")[2]
    told = json.loads(last) if last.startswith("{") else {}
    return Cost(cost["wall"], told.get("work", cost["wall"]), cost["cpu"], cost["peak"], told)


def python(module: str, *arguments: str, **environment: str) -> Cost:
    """Run one contestant that is written in a module here."""
    return run([sys.executable, "-m", f"benchmarks.{module}", *arguments], environment)


def typical(costs: Sequence[Cost]) -> Cost:
    """The median of each figure."""
    return Cost(
        median(c.wall for c in costs),
        median(c.work for c in costs),
        median(c.cpu for c in costs),
        median(c.peak for c in costs),
        costs[-1].told,
    )


def table(title: str, costs: Mapping[str, Cost], ours: str) -> None:
    """Print the contestants. `times`: how often the contestant's time goes into ours."""
    print(f"\n{title}")
    print(f"{'':44}{'work s':>9}{'wall s':>9}{'cpu s':>8}{'peak MB':>9}{'ours takes':>12}")
    for name, cost in costs.items():
        ratio = "" if name == ours else f"{costs[ours].work / cost.work:.2f} ×"
        print(
            f"{name:44}{cost.work:>9.2f}{cost.wall:>9.2f}{cost.cpu:>8.2f}{cost.peak:>9.0f}{ratio:>12}"
        )


def load() -> str:
    """How busy the machine was, in words: figures from a busy one say little."""
    one, five, _ = os.getloadavg()
    return f"{os.cpu_count()} cores, load {one:.1f} now and {five:.1f} over five minutes"
