"""The ledger is full, restarts, or loses power with everybody."""

from __future__ import annotations

import signal
from typing import ClassVar

from tests.chaos.faults.base import Fault, Steps
from tests.chaos.ledgers import PostgresLedger, send
from tests.chaos.stage import Stage


class DiskFull(Fault):
    """The ledger's disk is full: disposal must stop, somebody must say so, and it must go on."""

    name = "ledger's disk full"
    alone = True
    words = (
        "ledger unreachable",
        "LedgerUnreachable",
        "[ledger]",
        "[audit]",
        "does not answer",
        "cannot be written",
    )

    def strike(self, stage: Stage) -> Steps:
        world = stage.world
        told_before = {p.name: p.log.stat().st_size for p in stage.programs if p.log.exists()}
        exits_before = sum(len(p.exits) for p in stage.programs)
        stage.note(f"{self.name}: no block is left")
        stage.excused = True
        try:
            world.ledger.before_full()
            world.ledger.disk.fill()
            # What had its intent before may still be carried out.
            yield 2.0
            size, before = stage.log_size(), world.deleted()
            yield 3.0
            lost = world.deleted() - before
            # Where the log still grows, what is written fits into pages that are there already.
            stopped = stage.log_size() == size
            owed = stopped and stage.open_runs() != 0
            said = self._said(stage, told_before, exits_before)
            for _ in range(20):
                if said or not owed:
                    break
                # Who waits for a system writes nothing, and notices nothing, for as long.
                yield 1.0
                said = self._said(stage, told_before, exits_before)
        finally:
            world.ledger.disk.free()
            world.ledger.revive()
        stage.note(f"{self.name}: there is space again; {'it was' if said else 'nobody'} said so")
        if lost and stopped:
            stage.complaints.append(f"{lost} records were disposed of and no log was written")
        if owed and not said:
            stage.complaints.append("nobody said that the ledger's disk was full")
        yield 2.0
        stage.excused = False

    def _said(self, stage: Stage, told_before: dict[str, int], exits_before: int) -> bool:
        """Whether anybody has logged it, or ended because of it, since then."""
        return sum(len(p.exits) for p in stage.programs) > exits_before or any(
            word in p.log.read_text(errors="replace")[told_before.get(p.name, 0) :]
            for p in stage.programs
            for word in self.words
        )


class _LedgerRestart(Fault):
    alone = True
    sig: ClassVar[signal.Signals]

    def strike(self, stage: Stage) -> Steps:
        ledger = stage.world.ledger
        assert isinstance(ledger, PostgresLedger)
        stage.note(self.name)
        stage.excused = True
        ledger.restart(self.sig)
        yield 2.0
        stage.excused = False


class LedgerRestartedFast(_LedgerRestart):
    """An orderly restart of PostgreSQL: sessions are ended, transactions rolled back."""

    name, sig = "ledger restarted (fast)", signal.SIGINT


class LedgerRestartedImmediately(_LedgerRestart):
    """PostgreSQL drops everything and recovers from its log."""

    name, sig = "ledger restarted (immediate)", signal.SIGQUIT


class PowerCut(Fault):
    """Everything dies at one moment, and what was not yet synced to the ledger's disk is lost."""

    name = "power cut"
    kills = True
    alone = True

    def strike(self, stage: Stage) -> Steps:
        world = stage.world
        stage.note(self.name)
        stage.orphan({pid for p in stage.programs if p.alive for pid in (p.pid, *p.children())})
        server = world.ledger.processes()
        for program in stage.programs:
            program.held_back = True
            program.pause()
        send(server, signal.SIGSTOP)
        world.ledger.disk.cut()
        world.commands.drop()
        for program in stage.programs:
            program.kill_group()
        send(server, signal.SIGKILL)
        # One for each process that a supervisor starts; their children die as well.
        stage.figures.kills[self.name] += len(stage.programs) + bool(server)
        world.ledger.lose_power()
        for program in stage.programs:
            program.held_back = False
        yield 1.0
