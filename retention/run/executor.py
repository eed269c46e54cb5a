"""The embedded executor: schedule and work in one process, no server beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from retention.errors import (
    Busy,
    ExitCode,
    FenceLost,
    RetentionError,
    UsageError,
    Withheld,
)
from retention.run import evidence
from retention.run.claim import Claim, claim
from retention.run.context import Context
from retention.run.in_force import InForce, Standing
from retention.run.moments import Moments
from retention.run.pipeline import Report, Run
from retention.run.tick import new_run, tick
from retention.schedule.model import Job


@dataclass(slots=True)
class Executor:
    """Ticks and works off what is owed. `stop` is asked between batches and between runs."""

    ctx: Context
    in_force: InForce
    jobs: Mapping[str, Job]
    stop: Callable[[], bool] = lambda: False
    told: Callable[[Report], None] = lambda _report: None
    checkpoint_every: timedelta = timedelta(hours=1)
    _signed: datetime | None = field(default=None)

    def once(self) -> list[Report]:
        """Do what is owed now, to the end: `daemon --once`, or one round of the daemon."""
        tick(self.ctx, self.in_force, self.jobs)
        reports = []
        while not self.stop():
            taken = claim(self.ctx)
            if taken is None:
                break
            try:
                report = self.work(taken)
            except FenceLost:
                continue
            except RetentionError:
                raise
            except Exception as error:  # noqa: BLE001  # one policy's bug must not stop the others
                report = self._bug(taken, error)
            self.told(report)
            reports.append(report)
        self._sign()
        return reports

    def work(self, taken: Claim) -> Report:
        """Go on with one claimed run."""
        if taken.policy not in self.jobs or not self.in_force.may_run(taken.policy):
            return self._set_aside(taken)
        return Run(self.ctx, self.in_force, taken, Moments(self.ctx, self.jobs), self.stop).work()

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
            run_id = new_run(tx, policy, self.in_force.digest_of(policy), now, "manual", now)
        if run_id is None:
            raise Busy(f"a run of `{policy}` for this moment exists already", place=policy)
        return self.finish(run_id)

    def finish(self, run_id: int) -> Report:
        """Claim this run and go on with it until it ends, waits, or is paused."""
        taken = claim(self.ctx, run_id)
        if taken is None:
            raise Busy("another process works on this run")
        return self.work(taken)

    def _bug(self, taken: Claim, error: Exception) -> Report:
        """Put a run aside for a while and raise an alarm; only the error's class is told."""
        name = type(error).__name__
        later = self.ctx.clock.now() + timedelta(minutes=5)
        with self.ctx.ledger.write() as tx:
            evidence.alarm(self.ctx, tx, taken.policy, "bug", name)
        with suppress(FenceLost):
            taken.release(self.ctx, not_before=later, note=f"a bug: {name}")
        return Report(taken.run_id, taken.policy, taken.state, {}, (f"bug: {name}",), ExitCode.BUG)

    def _set_aside(self, taken: Claim) -> Report:
        """A run whose policy may not act now goes back, and is looked at again in a minute."""
        later = self.ctx.clock.now() + timedelta(minutes=1)
        note = "the policy is not in force now"
        taken.release(self.ctx, not_before=later, note=note)
        return Report(taken.run_id, taken.policy, taken.state, {}, (note,), ExitCode.WITHHELD)

    def _sign(self) -> None:
        now = self.ctx.clock.now()
        if self._signed is None or now - self._signed >= self.checkpoint_every:
            self.ctx.log.checkpoint(now)
            self._signed = now
