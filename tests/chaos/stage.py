"""The service in its world: who is at work, who is killed, and how soon the work goes on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.chaos.ledgers import FINAL, Lease, Unreadable, leases, open_runs, waiting
from tests.chaos.programs import Program
from tests.chaos.wakeups import WakeUps
from tests.chaos.world import World

POLL = 0.1
NOT_RESTARTED = {"daemon": (1, 2), "scheduler": (1, 2), "worker": (2,)}
"""`RestartPreventExitStatus` of our systemd units: what only a person can put right."""


@dataclass
class Figures:
    """What is printed at the end."""

    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    resumed_after: list[float] = field(default_factory=list)
    """Seconds from a kill until somebody else held what the killed process had held."""
    given_up: int = 0
    """Workers that ended by themselves when Redis or their pool went away."""
    holds_midway: int = 0
    answers_cut: int = 0
    wakeups: int = 0
    wakeups_dropped: int = 0
    wakeups_doubled: int = 0
    seconds: float = 0.0


@dataclass
class _Orphan:
    lease: Lease
    since: float


class Stage:
    """The service's processes, tended by a supervisor while time passes."""

    def __init__(
        self,
        world: World,
        programs: list[Program],
        chance: Random,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.world = world
        self.told = told
        self.programs = programs
        self.chance = chance
        self.figures = Figures()
        self.trail: list[str] = []
        self.excused = False
        """A fault that a process may end by, such as a ledger that is away."""
        self.complaints: list[str] = []
        self.wakeups: WakeUps | None = None
        self._orphans: list[_Orphan] = []
        self._began = time.monotonic()
        self._looked = 0.0
        self._at_work = time.monotonic()
        self._broker_excuse = 0.0

    # --- time passes ------------------------------------------------------------------------------

    def start(self) -> None:
        for program in self.programs:
            program.start()

    def note(self, what: str) -> None:
        """One more step of the trail."""
        at = time.monotonic() - self._began
        self.trail.append(f"{at:7.1f} s  {what}")
        self.told(self.trail[-1])

    def tend(self) -> None:
        """Restart who died, and see whether orphaned work was taken up."""
        self.world.commands.hear()
        for program in self.programs:
            code = program.tend()
            if code is not None:
                self.note(f"{program.name} ended by itself with {code}")
                if code in NOT_RESTARTED[program.role]:
                    why = "after which its supervisor leaves it down"
                    self.complaints.append(f"{program.name} ended by itself with {code}, {why}")
                elif program.role == "worker" and time.monotonic() < self._broker_excuse:
                    self.figures.given_up += 1
                elif not self.excused:
                    self.complaints.append(f"{program.name} ended by itself with {code}")
        if self._orphans and time.monotonic() - self._looked > 2 * POLL:
            self._looked = time.monotonic()
            self._adopted()

    def excuse_workers(self, seconds: float = 20) -> None:
        """Celery itself gives a worker up, sometimes, whose Redis or whose new children went away.

        It ends with an error and is started again; nothing else may come of it.
        """
        self._broker_excuse = time.monotonic() + seconds

    def wait(self, seconds: float) -> None:
        """Let the world go on for a while."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.tend()
            time.sleep(min(POLL, max(0.0, until - time.monotonic())))

    # --- who is at work ---------------------------------------------------------------------------

    def leases(self) -> list[Lease]:
        """Live leases; none where the ledger does not answer."""
        world = self.world
        try:
            found = leases(world.ledger, world.clocks.now(), world.size.lease)
        except Unreadable:
            return []
        if found:
            self._at_work = time.monotonic()
        return found

    def idle_seconds(self) -> float:
        """How long ago somebody was last seen at work; `leases` is what looks."""
        return time.monotonic() - self._at_work

    def waiting(self) -> bool:
        """Nobody is at work, because what is open waits for its moment."""
        world = self.world
        try:
            waits = waiting(world.ledger, world.clocks.now(), world.size.lease)
        except Unreadable:
            return False
        # Between two slices, and until the next look, nobody holds anything for a moment.
        return waits > 0 and not self.leases() and self.idle_seconds() > 2.5

    def open_runs(self) -> int | None:
        """Runs not yet at their end; None where the ledger does not answer."""
        try:
            return open_runs(self.world.ledger)
        except Unreadable:
            return None

    def log_size(self) -> int | None:
        """Entries in the log; None where the ledger does not answer."""
        try:
            return int(self.world.ledger.ask("SELECT count(*) FROM audit_entry")[0][0])
        except Unreadable:
            return None

    def choose(self, role: str) -> Program | None:
        """A process of this role that lives and that no other fault has; rather one at work."""
        fit = [p for p in self.programs if p.role == role and p.alive and not p.busy]
        busy = {lease.pid for lease in self.leases()}
        at_work = [p for p in fit if busy & {p.pid, *p.children()}]
        if not fit:
            return None
        return self.chance.choice(at_work if at_work and self.chance.random() < 0.8 else fit)

    def orphan(self, pids: set[int]) -> None:
        """These processes are about to die: what they hold must be taken up by somebody."""
        now = time.monotonic()
        self._orphans += [_Orphan(lease, now) for lease in self.leases() if lease.pid in pids]

    def _adopted(self) -> None:
        try:
            rows = self.world.ledger.ask(
                f"SELECT id, token, CASE WHEN state IN {FINAL} THEN 1 ELSE 0 END FROM run"
            )
        except Unreadable:
            return
        state = {run: (token, final) for run, token, final in rows}
        left = []
        for orphan in self._orphans:
            token, final = state.get(orphan.lease.run, (orphan.lease.token + 1, 1))
            if token != orphan.lease.token or final:
                self.figures.resumed_after.append(time.monotonic() - orphan.since)
            else:
                left.append(orphan)
        self._orphans = left

    def never_adopted(self) -> list[str]:
        return [f"run {o.lease.run} was never taken up again" for o in self._orphans]
