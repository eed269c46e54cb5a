"""Processes of the service that die, sleep, or are wrong about the time."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import ClassVar

from tests.chaos.faults.base import Fault, Steps
from tests.chaos.stage import Stage


class _Kill(Fault):
    kills = True
    role: ClassVar[str]
    weight = 6

    def strike(self, stage: Stage) -> Steps:
        if (victim := stage.choose(self.role)) is not None:
            stage.note(f"{self.name}: {victim.name}")
            stage.orphan({victim.pid, *victim.children()})
            victim.kill()
            stage.figures.kills[self.name] += 1
            yield 0.2


class KillDaemon(_Kill):
    """The one process of the small installation dies."""

    name, role = "daemon killed", "daemon"


class KillWorker(_Kill):
    """The main process of a worker dies; the children of its pool find themselves alone."""

    name, role = "worker killed", "worker"


class KillScheduler(_Kill):
    """A scheduler dies, between two ticks or in one."""

    name, role, weight = "scheduler killed", "scheduler", 3


class KillPoolChild(Fault):
    """The process of a pool that has a run dies, and its parent lives."""

    name = "pool child killed"
    kills = True
    weight = 6

    def strike(self, stage: Stage) -> Steps:
        owner = stage.choose("worker")
        children = owner.children() if owner else []
        if owner is None or not children:
            return
        at_work = {lease.pid for lease in stage.leases()} & set(children)
        victim = stage.chance.choice(sorted(at_work or children))
        stage.note(f"{self.name}: {victim} of {owner.name}")
        stage.orphan({victim})
        stage.excuse_workers()
        with suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        stage.figures.kills[self.name] += 1
        yield 0.2


class Suspended(Fault):
    """A process is stopped for longer than its lease, and then goes on as if nothing had been."""

    name = "suspended past its lease"
    weight = 3

    def __init__(self, *roles: str) -> None:
        self.roles = roles

    def strike(self, stage: Stage) -> Steps:
        victim = stage.choose(stage.chance.choice(self.roles))
        if victim is None:
            return
        victim.busy = True
        try:
            stage.note(f"{self.name}: {victim.name} stopped")
            victim.pause()
            yield stage.world.size.lease + 1 + 2 * stage.chance.random()
        finally:
            victim.resume()
            victim.busy = False
            stage.note(f"{self.name}: {victim.name} goes on")


class _WrongClock(Fault):
    weight = 2
    seconds: ClassVar[tuple[int, int]]

    def __init__(self, *roles: str) -> None:
        self.roles = roles

    def strike(self, stage: Stage) -> Steps:
        victim = stage.choose(stage.chance.choice(self.roles))
        if victim is None:
            return
        by = stage.chance.randint(*self.seconds)
        victim.busy = True
        try:
            stage.note(f"{self.name}: {victim.name} by {by} s")
            stage.world.clocks.step(victim.name, by)
            yield 1.5 + 3 * stage.chance.random()
        finally:
            stage.world.clocks.step(victim.name, 0)
            victim.busy = False
            stage.note(f"{self.name}: {victim.name} is right again")


class ClockAhead(_WrongClock):
    """One process believes that it is later: every lease of others looks expired to it."""

    name, seconds = "clock ahead", (30, 300)


class ClockBehind(_WrongClock):
    """One process believes that it is earlier: its own leases have run out for all others."""

    name, seconds = "clock behind", (-7200, -30)
