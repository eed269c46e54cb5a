"""Scheduling and working, one claim-and-slice path for the daemon and for Celery's workers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic, sleep

from sqlalchemy import func, or_, select

from retention.connectors.registry import manifest
from retention.errors import (
    Busy,
    ExitCode,
    FenceLost,
    RetentionError,
    UsageError,
    Withheld,
)
from retention.ledger import tables as t
from retention.ledger.store import instant, stamp
from retention.run import evidence
from retention.run.claim import FINAL, Claim, RunState, Waiting, claim, waiting
from retention.run.compact import compact
from retention.run.context import Context
from retention.run.in_force import InForce, Standing
from retention.run.moments import Moments
from retention.run.pipeline import Run
from retention.run.report import Report
from retention.run.spread import Spread, has_shards, split
from retention.run.tick import new_run, tick
from retention.schedule.model import Job

COMPACT_EVERY = timedelta(hours=6)
CODES = {
    RunState.DONE: ExitCode.OK,
    RunState.PARTIAL: ExitCode.UNVERIFIED,
    RunState.STOPPED: ExitCode.LIMIT,
    RunState.WAITING: ExitCode.WITHHELD,
}
"""How a run that another process ended is told."""


@dataclass(slots=True)
class Executor:
    """Ticks and works off what is owed, one slice after another.

    The same for the embedded daemon and for the processes of a Celery worker. `stop` is asked
    between batches and between slices. `patient`: a slice goes on while nothing else waits, which
    saves reading the registers again; not for processes with a time limit of their own. `outdated`:
    whether policies or approvals changed, so that this executor should be replaced by a new one.
    """

    ctx: Context
    in_force: InForce
    jobs: Mapping[str, Job]
    stop: Callable[[], bool] = lambda: False
    told: Callable[[Report], None] = lambda _report: None
    checkpoint_every: timedelta = timedelta(hours=1)
    patient: bool = True
    outdated: Callable[[], bool] = lambda: False
    _signed: datetime | None = field(default=None)
    _compacted: datetime | None = field(default=None)

    def tick(self) -> None:
        """Write down what is owed by now as runs. Any number of processes may do so at any time."""
        tick(self.ctx, self.in_force, self.jobs)
        now = self.ctx.clock.now()
        if self._compacted is None or now - self._compacted >= COMPACT_EVERY:
            compact(self.ctx)
            self._compacted = now

    def once(self) -> list[Report]:
        """Do what is owed now, to the end: `daemon --once`, or one round of the daemon."""
        self.tick()
        ticked = self.ctx.clock.now()
        reports = []
        while not self.stop():
            report = self.slice()
            if report is None:
                break
            reports.append(report)
            if self.outdated():
                # What protects acts at once: the rest is done under what is in force now.
                break
            if self.ctx.clock.now() - ticked >= self.ctx.pace.slice:
                # Other policies' firings must not wait until a long run has ended.
                self.tick()
                ticked = self.ctx.clock.now()
        self.sign()
        return reports

    def waiting(
        self, most: int = 1_000, *, systems: Collection[str] | None = None
    ) -> list[Waiting]:
        """Runs and shards that could be claimed now, in the order in which they would be."""
        return waiting(self.ctx, most, systems=systems, serial=self.serial())

    def slice(
        self, *, run_id: int | None = None, systems: Collection[str] | None = None
    ) -> Report | None:
        """Claim a free run or shard and work on it for a while. None: nothing is free.

        `run_id`: only this one; else the one that has waited longest. `systems`: only shards of
        these, and runs that are of no single system. Raises LedgerUnreachable, LedgerMoved,
        AuditUnwritable.
        """
        taken = claim(self.ctx, run_id, systems=systems, serial=self.serial())
        return None if taken is None else self._attempt(taken)

    def _attempt(self, taken: Claim) -> Report:
        try:
            report = self.work(taken)
        except FenceLost:
            note = "another process took it over"
            return Report.of(taken, {}, ExitCode.BUSY, (note,))
        except RetentionError:
            raise
        except Exception as error:  # noqa: BLE001  # one policy's bug must not stop the others
            report = self._bug(taken, error)
        self.told(report)
        return report

    def serial(self) -> frozenset[str]:
        """Systems that take one request at a time."""
        found = set()
        for bundle in (self.in_force.bundle, *(a.bundle for a in self.in_force.approved.values())):
            for name, system in bundle.systems.items():
                with suppress(UsageError):
                    if manifest(system.connector).serial:
                        found.add(name)
        return frozenset(found)

    def work(self, taken: Claim) -> Report:
        """Go on with one claimed run or shard."""
        if taken.policy not in self.jobs or not self.in_force.may_run(taken.policy):
            return self._set_aside(taken)
        if taken.part is None and not taken.kind.startswith("plan"):
            if taken.state is RunState.PENDING:
                if report := split(self.ctx, self.in_force, taken):
                    return report
            elif has_shards(self.ctx, taken.run_id):
                return Spread(self.ctx, self.in_force, taken).work()
        moments = Moments(self.ctx, self.jobs)
        return Run(self.ctx, self.in_force, taken, moments, self._slice_over()).work()

    def _slice_over(self) -> Callable[[], bool]:
        """Whether to give the run back: the process ends, or its time is up and others wait."""
        until = self.ctx.clock.now() + self.ctx.pace.slice

        def over() -> bool:
            nonlocal until
            if self.stop():
                return True
            if self.ctx.clock.now() < until:
                return False
            if self.patient and not self._others_wait():
                until = self.ctx.clock.now() + self.ctx.pace.slice
                return False
            return True

        return over

    def _others_wait(self) -> bool:
        now = self.ctx.clock.now()
        upcoming = self._next_firing()
        owed = upcoming is not None and upcoming <= now
        return owed or self.outdated() or bool(self.waiting(1))

    def _next_firing(self) -> datetime | None:
        with self.ctx.ledger.read() as tx:
            text = tx.execute(select(func.min(t.schedule.c.next_fire))).scalar_one_or_none()
        return instant(text) if text else None

    def run_now(self, policy: str) -> Report:
        """One firing now, of an approved policy, worked off in the foreground.

        Raises Withheld where it is not approved, Busy where another process works on it.
        """
        standing = self.in_force.standing(policy)
        if standing is Standing.BROKEN:
            raise UsageError(
                f"the policy `{policy}` has errors",
                hint="retention validate shows them",
                code="policy-broken",
            )
        if not self.in_force.may_run(policy):
            raise Withheld(
                f"the policy `{policy}` is not approved",
                hint=f"look at `retention plan {policy}`, then `retention approve {policy}`",
                code="not-approved",
            )
        now = self.ctx.clock.now()
        with self.ctx.ledger.write() as tx:
            run_id = new_run(
                tx,
                policy,
                self.in_force.digest_of(policy),
                now,
                "manual",
                now,
                system=self.in_force.only_system(policy),
            )
        if run_id is None:
            raise Busy(f"a run of `{policy}` for this moment exists already", place=policy)
        return self.finish(run_id)

    def finish(self, run_id: int) -> Report:
        """Go on with this run, and its shards, until it ends, waits, or is paused.

        Shards that other processes hold are waited for. Raises Busy where another process works on
        all of it, or another run of its policy comes first.
        """
        reports: list[Report] = []
        patience = monotonic() + 2 * self.ctx.pace.lease.total_seconds()
        while True:
            # Asked before the claim: what they let go of afterwards is there to be claimed.
            held = self._others_hold(run_id)
            taken = claim(self.ctx, root=run_id, serial=self.serial())
            if taken is None:
                if not reports:
                    raise Busy("another process works on this run, or on another one of its policy")
                if held and monotonic() < patience and not self.stop():
                    sleep(0.1)
                    continue
                return self._so_far(run_id, reports)
            report = self._attempt(taken)
            patience = monotonic() + 2 * self.ctx.pace.lease.total_seconds()
            reports.append(report)
            ours = report.part is None and (
                report.state in FINAL or not has_shards(self.ctx, run_id)
            )
            if ours or report.state is RunState.WAITING or self.stop():
                return report

    def _others_hold(self, run_id: int) -> bool:
        """Whether a process that is alive works on this run or on a shard of it."""
        with self.ctx.ledger.read() as tx:
            held = tx.execute(
                select(t.run.c.id)
                .where(
                    or_(t.run.c.id == run_id, t.run.c.parent_id == run_id),
                    t.run.c.lease_until > stamp(self.ctx.clock.now()),
                )
                .limit(1)
            ).first()
        return held is not None

    def _so_far(self, run_id: int, reports: list[Report]) -> Report:
        """How a run stands that others have ended, or that waits for its next try."""
        with self.ctx.ledger.read() as tx:
            row = tx.execute(select(t.run).where(t.run.c.id == run_id)).one()
        state = RunState(row.state)
        if state not in CODES:
            return next((r for r in reversed(reports) if r.exit_code), reports[-1])
        notes = (row.note,) if row.note else ()
        return Report(run_id, row.policy, state, row.counts, notes, CODES[state])

    def _bug(self, taken: Claim, error: Exception) -> Report:
        """Put a run aside for a while and raise an alarm; only the error's class is told."""
        name = type(error).__name__
        later = self.ctx.clock.now() + timedelta(minutes=5)
        with self.ctx.ledger.write() as tx:
            evidence.alarm(self.ctx, tx, taken.policy, "bug", name)
        with suppress(FenceLost):
            taken.release(self.ctx, not_before=later, note=f"a bug: {name}")
        return Report.of(taken, {}, ExitCode.BUG, (f"bug: {name}",))

    def _set_aside(self, taken: Claim) -> Report:
        """A run whose policy may not act now goes back, and is looked at again in a minute."""
        later = self.ctx.clock.now() + timedelta(minutes=1)
        note = "the policy is not in force now"
        taken.release(self.ctx, not_before=later, note=note)
        return Report.of(taken, {}, ExitCode.WITHHELD, (note,))

    def sign(self) -> None:
        """Sign the log's state, where the last time is long ago."""
        now = self.ctx.clock.now()
        if self._signed is None or now - self._signed >= self.checkpoint_every:
            self.ctx.log.checkpoint(now)
            self._signed = now
