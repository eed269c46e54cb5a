"""One run, or one shard of a run, from its claim to its evidence.

recover open intents → read the registers that start periods → discover and decide all →
limits → approval → apply batch by batch → verify → finish. Each step leaves the ledger in a state
from which any process can go on; see docs/explanation/run-protocol.md. A shard stops before the
limits, which are the whole run's (see `spread`), and its end is part of the run's end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import groupby

from sqlalchemy import select

from retention.connectors.base import Manifest, Result
from retention.connectors.registry import manifest
from retention.decide.model import Moment
from retention.errors import (
    ConnectorError,
    ExitCode,
    PermanentFailure,
    UsageError,
    Withheld,
)
from retention.ledger import tables as t
from retention.ledger.store import stamp
from retention.run import batches, discover, ending, evidence, spread, tally
from retention.run.apply import Applier, Speed, backoff, frozen, next_group
from retention.run.batches import Batch, State, Way
from retention.run.claim import Claim, RunState
from retention.run.context import Context
from retention.run.in_force import InForce
from retention.run.links import Links
from retention.run.report import Report
from retention.run.sessions import Sessions
from retention.run.survey import Survey
from retention.run.tally import Trouble
from retention.run.verify import CHUNK, record, verify


class Paused(Exception):  # no error: a request that was met
    """The process was asked to end: the batch at hand is finished, the run is given back."""


@dataclass(slots=True)
class Run:
    """One claimed run or shard.

    `moment` gives now and each policy's next firing; `stop` asks to pause.
    """

    ctx: Context
    in_force: InForce
    claim: Claim
    moment: Callable[[], Moment]
    stop: Callable[[], bool] = lambda: False
    counts: Counter[str] = field(default_factory=Counter)
    problems: dict[str, ConnectorError] = field(default_factory=dict)
    _surveys: dict[str, Survey] = field(default_factory=dict)
    _links: Links = field(default_factory=Links)
    _speed: Speed = field(default_factory=lambda: Speed(batches.MOST))

    def work(self) -> Report:
        """Go on with the run until it is finished, waits, or is paused.

        Raises FenceLost when another process took it over, AuditUnwritable when the log cannot
        be trusted, LedgerUnreachable; connector failures become part of the report.
        """
        bundle = self.in_force.bundle_of(self.claim.policy)
        with self._closing(), Sessions(self.ctx, bundle) as sessions:
            self.ctx.log.check(self.ctx.clock.now())
            try:
                with self.ctx.ledger.read() as tx:
                    self.counts = tally.counts_of(tx, self.claim.run_id)
                self._recover(sessions)
                if self.claim.state in (RunState.PENDING, RunState.DISCOVERING):
                    self._discover(sessions)
                    if report := self._arrive() if self.claim.part else self._halted():
                        return report
                self._apply(sessions)
                self._verify(sessions)
                return self._finish()
            except Paused:
                self.claim.release(self.ctx)
                return self._report(self.claim.state)
            except Withheld as held:
                soon = self.ctx.clock.now() + timedelta(seconds=20)
                self.claim.release(self.ctx, not_before=soon, note=held.message)
                return self._report(self.claim.state, ExitCode.WITHHELD, held.message)

    # --- steps --------------------------------------------------------------------------------

    def _recover(self, sessions: Sessions) -> None:
        """Resolve open intents first: look whether each act happened."""
        with self.ctx.ledger.read() as tx:
            pending = batches.take(tx, self.claim.run_id, State.INTENDED, 1_000_000)
        for (location, _), group in groupby(pending, key=_way):
            try:
                self._applier(sessions, location).settle(list(group), {})
            except ConnectorError as error:
                self._problem(sessions, location, error)

    def _discover(self, sessions: Sessions) -> None:
        self._enter(RunState.DISCOVERING)
        for location in self._locations():
            with self.ctx.ledger.read() as tx:
                done = tx.execute(
                    select(t.scan.c.state).where(
                        t.scan.c.run_id == self.claim.run_id, t.scan.c.location == location
                    )
                ).scalar_one_or_none()
            if done == "read":
                continue
            self._pause()
            try:
                survey = self._survey(sessions, location)
                discover.discover(self.ctx, self.claim, survey, self.claim.policy, self._pause)
            except ConnectorError as error:
                self._problem(sessions, location, error)
                if self._give_up(error):
                    discover.failed(self.ctx, self.claim, location, error)
        with self.ctx.ledger.read() as tx:
            # Set, not added: after a retry the same locations are summed up again.
            for name, number in tally.discovered(tx, self.claim.run_id).items():
                self.counts[name] = number

    def _arrive(self) -> Report:
        """A shard has decided all of its records: the limits look at all shards together."""
        if self._may_retry():
            return self._later()
        self.claim.state = RunState.READY
        with self.ctx.ledger.write() as tx:
            self.claim.fence(self.ctx, tx, state=str(RunState.READY), counts=dict(self.counts))
            self.claim.let_go(tx)
            spread.arrived(self.ctx, tx, self.claim)
        return self._report(RunState.READY)

    def _halted(self) -> Report | None:
        """Limits over the whole plan, then approval, before the first act."""
        if self._may_retry():
            return self._later()
        if broken := ending.over_limits(self.ctx, self.in_force, self.claim):
            ending.stop(self.ctx, self.claim, self.counts, broken)
            return self._report(RunState.STOPPED, ExitCode.LIMIT, *broken)
        with self.ctx.ledger.write() as tx:
            self.claim.fence(self.ctx, tx, counts=dict(self.counts))
            evidence.planned(self.ctx, tx, self.claim, self.counts)
        if ending.must_wait(self.in_force, self.claim, self.counts):
            note = ending.wait(self.ctx, self.claim, self.counts)
            return self._report(RunState.WAITING, ExitCode.WITHHELD, note)
        self._enter(RunState.APPLYING)
        return None

    def _apply(self, sessions: Sessions) -> None:
        if self.claim.state is RunState.VERIFYING:
            return
        with self.ctx.ledger.read() as tx:
            if reason := frozen(tx):
                raise Withheld(f"disposal is frozen: {reason}", hint="retention thaw resumes it")
        while True:
            self._pause()
            group = next_group(
                self.ctx,
                self.claim,
                self._kind,
                self._speed,
                self.problems,
            )
            if not group:
                break
            location = group[0].location
            try:
                bundle = self.in_force.bundle_of(self.claim.policy)
                self._links.refresh(self.ctx, sessions, bundle)
                self._applier(sessions, location).apply(group)
            except ConnectorError as error:
                self._problem(sessions, location, error)

    def _verify(self, sessions: Sessions) -> None:
        if self.claim.state is not RunState.VERIFYING and not self.problems:
            self._enter(RunState.VERIFYING)
        while group := self._acted():
            self._pause()
            location = group[0].location
            try:
                survey = self._survey(sessions, location)
                verify(self.ctx, self.claim, survey, group, self._count)
            except ConnectorError as error:
                self._problem(sessions, location, error)

    def _acted(self) -> list[Batch]:
        """The next batches to verify: one location, one way, as many as one look may take."""
        with self.ctx.ledger.read() as tx:
            first = batches.take(tx, self.claim.run_id, State.ACTED, 1, self.problems)
            if not first:
                return []
            room = self._kind(first[0].location).max_batch // batches.MOST
            acted = batches.take(
                tx, self.claim.run_id, State.ACTED, max(CHUNK, room), self.problems
            )
        return [b for b in acted if (b.location, b.how.key()) == _way(first[0])]

    def _kind(self, location: str) -> Manifest:
        """What the connector of a location's system can do, and take at once."""
        system = self.in_force.bundle_of(self.claim.policy).systems[self._system_of(location)]
        return manifest(system.connector)

    def _finish(self) -> Report:
        if self._may_retry():
            return self._later()
        self.counts["failed_temporary"] += self._give_up_rest()
        self._give_up_intents()
        self._give_up_looking()
        if self.claim.part:
            return self._finish_shard()
        state, code = ending.finish(self.ctx, self.claim, self.counts, self._troubles())
        return self._report(state, code)

    def _finish_shard(self) -> Report:
        """The shard's end; the run adds up all of them, and writes the evidence of the whole."""
        troubles = self._troubles()
        state, code = tally.verdict(self.claim, self.counts, troubles)
        told = {"cause": troubles[0].cause, "note": troubles[0].said} if troubles else {}
        with self.ctx.ledger.write() as tx:
            self.claim.fence(
                self.ctx,
                tx,
                state=str(state),
                finished_at=stamp(self.ctx.clock.now()),
                counts=dict(self.counts),
                **told,
            )
            batches.blank(tx, self.claim.run_id)
            self.claim.let_go(tx)
            spread.arrived(self.ctx, tx, self.claim)
        return self._report(state, code)

    def _troubles(self) -> list[Trouble]:
        """Every location that failed, in this process or in one that worked on the run before."""
        with self.ctx.ledger.read() as tx:
            found = tally.unread(tx, self.claim.run_id)
        found |= {name: Trouble.of(error) for name, error in self.problems.items()}
        return list(found.values())

    # --- what the steps lean on -----------------------------------------------------------------

    def _locations(self) -> tuple[str, ...]:
        if self.claim.part:
            return (self.claim.part.location,)
        bundle = self.in_force.bundle_of(self.claim.policy)
        return bundle.locations_of(bundle.policies[self.claim.policy])

    def _survey(self, sessions: Sessions, location: str) -> Survey:
        if location not in self._surveys:
            try:
                survey = Survey(
                    self.ctx,
                    sessions,
                    self.in_force.rules(),
                    self.in_force.bundle_of(self.claim.policy),
                    location,
                    policy=self.claim.policy,
                    moment=self.moment,
                    links=self._links,
                    span=self.claim.part.span if self.claim.part else None,
                )
            except UsageError as error:
                # Settings that were sound when approved may fit no more (a removed connector).
                raise PermanentFailure(
                    error.message, hint=error.hint, place=location, code=error.code
                ) from None
            self._links.read(self.ctx, sessions, survey.bundle, survey.decider.links)
            self._surveys[location] = survey
        return self._surveys[location]

    def _applier(self, sessions: Sessions, location: str) -> Applier:
        survey = self._survey(sessions, location)
        return Applier(self.ctx, self.claim, survey, self._speed, self._count)

    def _count(self, name: str, number: int) -> None:
        self.counts[name] += number

    def _pause(self) -> None:
        if self.stop():
            raise Paused

    def _enter(self, state: RunState) -> None:
        with self.ctx.ledger.write() as tx:
            self.claim.fence(self.ctx, tx, state=str(state), counts=dict(self.counts))
        self.claim.state = state

    def _problem(self, sessions: Sessions, location: str, error: ConnectorError) -> None:
        """Remember the first failure of a location and start its system's next try afresh."""
        self.problems.setdefault(location, error)
        survey = self._surveys.pop(location, None)
        system = survey.system if survey else self._system_of(location)
        sessions.drop(system)

    def _system_of(self, location: str) -> str:
        return self.in_force.bundle_of(self.claim.policy).location(location).system

    def _give_up(self, error: ConnectorError) -> bool:
        """Whether trying again later is no use, or no longer allowed by the retry window."""
        waited = self.ctx.clock.now() - self.claim.created_at
        return error.permanent or waited >= self.ctx.pace.retry_window

    def _may_retry(self) -> bool:
        return any(not self._give_up(error) for error in self.problems.values())

    def _later(self) -> Report:
        again = self.ctx.clock.now() + backoff(self.claim.attempts)
        note = "; ".join(sorted(str(e) for e in self.problems.values()))
        with self.ctx.ledger.write() as tx:
            self.claim.fence(self.ctx, tx, counts=dict(self.counts))
        self.claim.release(self.ctx, not_before=again, note=note)
        return self._report(self.claim.state, ExitCode.UNVERIFIED)

    def _give_up_rest(self) -> int:
        """Planned records that no try reached: dropped, and counted as failed. Returns how many."""
        number = 0
        while True:
            with self.ctx.ledger.write() as tx:
                self.claim.fence(self.ctx, tx)
                left = batches.take(tx, self.claim.run_id, State.PLANNED, 100)
                for batch in left:
                    number += len(batch.items)
                    batches.drop(tx, batch)
            if not left:
                return number

    def _give_up_intents(self) -> None:
        """Intents whose act nobody could look at: each still gets its one outcome, `unknown`."""
        with self.ctx.ledger.write() as tx:
            self.claim.fence(self.ctx, tx)
            at = self.ctx.clock.now()
            for batch in batches.take(tx, self.claim.run_id, State.INTENDED, 1_000_000):
                unknown = [(item, Result.UNKNOWN, "not_seen") for item in batch.items]
                system = self._system_of(batch.location)
                evidence.done(self.ctx, tx, self.claim, batch, system, at, unknown)
                batches.mark(tx, batch, State.VERIFIED, at)
                self._count("unknown", len(batch.items))

    def _give_up_looking(self) -> None:
        """Disposals that no look could prove: written down as unknown, never as gone."""
        with self.ctx.ledger.read() as tx:
            left = batches.take(tx, self.claim.run_id, State.ACTED, 1_000_000)
        for batch in left:
            record(self.ctx, self.claim, self._system_of(batch.location), [batch], {}, self._count)

    def _report(self, state: RunState, code: ExitCode = ExitCode.OK, *notes: str) -> Report:
        self.claim.state = state
        problems = sorted(str(e) for e in self.problems.values())
        return Report.of(self.claim, self.counts, code, (*notes, *problems))

    @contextmanager
    def _closing(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._links.close()


def _way(batch: Batch) -> tuple[str, Way]:
    return batch.location, batch.how.key()
