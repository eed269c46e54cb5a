"""A story: a world fills, a service works in it, faults come, and at the end all must be well."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.chaos.faults.base import Fault, Steps
from tests.chaos.invariants import broken
from tests.chaos.stage import POLL, Figures, Stage
from tests.chaos.truth import Seen

LEAD = 1.5
"""Time is moved to so many seconds before the next full minute, when nothing is left to do."""
SETTLE_SECONDS = 420


@dataclass
class Told:
    """How a story ended."""

    seen: Seen
    broken: list[str]
    figures: Figures
    trail: list[str]
    logs: Path

    def report(self) -> str:
        """For whoever must find out why: what broke, the faults that came, the ends of the logs."""
        ends = [
            f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            for log in sorted(self.logs.glob("*.log"))
        ]
        return "\n".join(["", *self.broken[:30], "--- trail", *self.trail, *ends])


@dataclass
class _Going:
    fault: Fault
    steps: Steps
    resume_at: float


class Story:
    """Runs faults against a stage. `kills`: how many at least; each fault comes at least once."""

    def __init__(
        self,
        stage: Stage,
        faults: Sequence[Fault],
        *,
        kills: int,
        most_seconds: float = 1e9,
        between: tuple[float, float] = (0.0, 0.8),
    ) -> None:
        self.stage = stage
        self.chance: Random = stage.chance
        self.faults = list(faults)
        self.kills = kills
        self.most_seconds = most_seconds
        self.between = between
        self._going: list[_Going] = []

    def run(self) -> Told:
        """From the first record to the verdict."""
        stage, world = self.stage, self.stage.world
        began = time.monotonic()
        world.fill()
        world.hold_from_the_start()
        world.clocks.to_next_minute(6)
        stage.start()
        try:
            self._struck(began)
            self._end_faults()
            self._settle()
            self._end()
        finally:
            for program in stage.programs:
                program.kill_group()
        stage.note("the service has ended")
        if stage.wakeups is not None:
            counted = stage.wakeups
            stage.figures.wakeups_dropped = counted.dropped
            stage.figures.wakeups_doubled = counted.doubled
            stage.figures.wakeups = counted.passed + counted.dropped + counted.doubled
        stage.figures.seconds = time.monotonic() - began
        seen = world.look()
        seen.complaints = stage.complaints + stage.never_adopted() + _tracebacks(stage)
        return Told(seen, broken(seen), stage.figures, stage.trail, world.logs)

    # --- faults -----------------------------------------------------------------------------------

    def _struck(self, began: float) -> None:
        to_come = list(self.faults)
        self.chance.shuffle(to_come)
        count = 0
        while time.monotonic() - began < self.most_seconds:
            if not to_come and sum(self.stage.figures.kills.values()) >= self.kills:
                return
            self._until_at_work()
            self._pass(self.chance.uniform(*self.between))
            fault = to_come[-1] if to_come else self._any()
            if fault.alone or any(g.fault.alone for g in self._going):
                self._end_faults()
            if any(_excludes(g.fault, fault) for g in self._going):
                self.chance.shuffle(to_come)
                continue
            if self._begin(fault) and to_come:
                to_come.pop()
            count += 1
            if count % 3 == 0:
                self._hold()
            if count % 4 == 2:
                self.stage.world.order_checkpoint()
        if to_come:
            names = ", ".join(fault.name for fault in to_come)
            self.stage.complaints.append(f"there was no time for: {names}")
        if (number := sum(self.stage.figures.kills.values())) < self.kills:
            self.stage.complaints.append(f"there was time for {number} kills only")

    def _any(self) -> Fault:
        return self.chance.choices(self.faults, [fault.weight for fault in self.faults])[0]

    def _begin(self, fault: Fault) -> bool:
        steps = fault.strike(self.stage)
        wait = next(steps, None)
        if wait is None:
            return False
        self.stage.figures.faults[fault.name] += 1
        self._going.append(_Going(fault, steps, time.monotonic() + wait))
        if fault.alone:
            self._end_faults()
        return True

    def _pass(self, seconds: float) -> None:
        """Time goes by, and with it the faults that are under way."""
        until = time.monotonic() + seconds
        while True:
            for going in list(self._going):
                if time.monotonic() >= going.resume_at:
                    wait = next(going.steps, None)
                    if wait is None:
                        self._going.remove(going)
                    else:
                        going.resume_at = time.monotonic() + wait
            left = until - time.monotonic()
            if left <= 0:
                return
            self.stage.wait(min(POLL, left))

    def _end_faults(self) -> None:
        while self._going:
            self._pass(POLL)

    def _hold(self) -> None:
        """A hold in the midst of it: what has no intent yet must stay."""
        subject = self.stage.world.hold_next_claimant()
        if subject is not None:
            self.stage.figures.holds_midway += 1
            self.stage.note(f"hold on {subject}")

    # --- work -------------------------------------------------------------------------------------

    def _until_at_work(self, most: float = 30) -> None:
        """Until somebody holds a run; when there is nothing to do, more comes and time moves on."""
        until = time.monotonic() + most
        idle = 0
        while time.monotonic() < until:
            self._pass(POLL)
            if self.stage.leases():
                return
            idle = idle + 1 if self.stage.open_runs() == 0 else 0
            if idle > 5:
                self._next_firing()
                idle = -20
            elif idle == 0 and self._stuck():
                self._pass_time()

    def _next_firing(self) -> None:
        self.stage.world.arrive()
        self.stage.world.clocks.to_next_minute(LEAD)

    def _settle(self) -> None:
        """One more firing after the last fault, and then until nothing is left to do."""
        stage = self.stage
        stage.world.commands.wait()
        stage.world.hear_of_unanswered_holds()
        stage.note("the faults are over")
        until = time.monotonic() + SETTLE_SECONDS
        self._idle(until)
        self._next_firing()
        stage.wait(LEAD + 2)
        self._idle(until)
        while stage.world.due_left() and time.monotonic() < until:
            # A run that failed for a while waits for its moment: time moves on to it.
            self._pass_time()
            self._idle(until)

    def _end(self) -> None:
        """As an administrator ends it: whoever makes firings first; what is begun is finished."""
        stage = self.stage
        roles = {p.role for p in stage.programs}
        for role in ("scheduler", "daemon", "worker"):
            for program in (p for p in stage.programs if p.role == role):
                program.held_back = True
                code = program.end()
                if code != 0:
                    stage.complaints.append(f"{program.name} ended with {code} on SIGTERM")
            if role == "scheduler" and role in roles:
                self._idle(time.monotonic() + SETTLE_SECONDS / 4)
        for _ in range(5):
            if stage.open_runs() == 0 or "daemon" not in roles:
                break
            # A firing came while the daemons ended.
            stage.world.commands.run("daemon", "--once")

    def _idle(self, until: float) -> None:
        quiet = 0
        while quiet < 5 and time.monotonic() < until:
            self.stage.wait(2 * POLL)
            if self.stage.leases():
                quiet = 0
            elif self.stage.open_runs() == 0:
                quiet += 1
            else:
                quiet = 0
                if self._stuck():
                    self._pass_time()

    def _stuck(self) -> bool:
        """Runs are open and nobody works on them, nor will before time has passed."""
        stage = self.stage
        return stage.waiting() or stage.idle_seconds() > stage.world.size.lease + 4

    def _pass_time(self) -> None:
        self.stage.world.clocks.to_next_minute(LEAD)
        self._pass(LEAD + 2)


def _excludes(going: Fault, coming: Fault) -> bool:
    return going is coming or (going.touches != "" and going.touches == coming.touches)


def _tracebacks(stage: Stage) -> list[str]:
    """Errors that nobody meant to show."""
    out = []
    for program in stage.programs:
        text = program.log.read_text(encoding="utf-8", errors="replace")
        for number, block in enumerate(text.split("Traceback (most recent call last)")[1:]):
            last = next((x for x in block.splitlines()[1:] if x and not x.startswith(" ")), "")
            if number < 3:
                out.append(f"a traceback in {program.log.name}: {last}")
    return out
