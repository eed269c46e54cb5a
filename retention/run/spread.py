"""A run over several locations, or over one large one: spread over shards.

Each shard is a row of its own below the run, with its own lease, token, cursor and batches, so
that any process can work on it, and one slow system holds up nobody else. The run's row keeps the
firing's identity, the limits over everything, the approval, and the end:

    split → every shard discovers and decides → limits and approval over all → every shard acts
    and verifies → the run ends

A run that waits for its shards is asleep; the shard that is the last to arrive wakes it in the
transaction of its own arrival. It looks by itself once a minute all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import Connection, Row, insert, select, update

from retention.connectors.base import Cap, Divisible
from retention.connectors.registry import manifest
from retention.errors import ConnectorError, ExitCode, RetentionError, UsageError
from retention.ledger import tables as t
from retention.ledger.store import stamp
from retention.run import ending, evidence, tally
from retention.run.claim import FINAL, Claim, RunState
from retention.run.context import Context
from retention.run.in_force import InForce
from retention.run.report import Report
from retention.run.sessions import Sessions, target
from retention.run.tally import OLDEST, Trouble

MOST = 200
"""Shards of one run at most."""
LOOK_AGAIN = timedelta(minutes=1)
ARRIVED = frozenset({RunState.READY, *FINAL})


def has_shards(ctx: Context, run_id: int) -> bool:
    """Whether this run was spread."""
    with ctx.ledger.read() as tx:
        row = tx.execute(select(t.run.c.id).where(t.run.c.parent_id == run_id).limit(1)).first()
    return row is not None


def split(ctx: Context, in_force: InForce, claim: Claim) -> Report | None:
    """Spread a run that has not begun. None: one process may as well do all of it.

    The shards are written in one transaction with the run's new state, so there are all or none.
    """
    bundle = in_force.bundle_of(claim.policy)
    names = bundle.locations_of(bundle.policies[claim.policy])
    with Sessions(ctx, bundle) as sessions:
        cut = {name: _spans(ctx, sessions, name) for name in names}
        parts = [(name, span) for name in names for span in cut[name]]
        if len(parts) < 2:
            return None
        totals = {name: _total(sessions, name) for name in names if len(cut[name]) > 1}
    if len(parts) > MOST:
        parts = [(name, None) for name in names]
    now = ctx.clock.now()
    with ctx.ledger.write() as tx:
        claim.fence(ctx, tx, state=str(RunState.DISCOVERING), turn=stamp(now))
        tx.execute(
            insert(t.run),
            [
                {
                    "policy": claim.policy,
                    "digest": claim.digest,
                    "due_at": stamp(claim.due_at),
                    "kind": f"{claim.kind}/{number}",
                    "state": str(RunState.PENDING),
                    "created_at": stamp(claim.created_at),
                    "parent_id": claim.run_id,
                    "shard": number,
                    "location": name,
                    "span": span,
                    "system": bundle.location(name).system,
                    "turn": _turn(ctx, number),
                }
                for number, (name, span) in enumerate(parts, 1)
            ],
        )
        for name, total in totals.items():
            tx.execute(
                insert(t.scan).values(
                    run_id=claim.run_id, location=name, state="read", total=total, totals={}
                )
            )
        _sleep(ctx, claim, tx)
    claim.state = RunState.DISCOVERING
    return Report.of(claim, {"shards": len(parts)})


def _spans(ctx: Context, sessions: Sessions, name: str) -> tuple[str | None, ...]:
    """How a location is cut. Whatever fails here is met again, and told, by the shard itself."""
    if ctx.pace.shards < 2:
        return (None,)
    with suppress(RetentionError):
        system = sessions.bundle.location(name).system
        if Cap.SHARDS in manifest(sessions.bundle.systems[system].connector).capabilities:
            session = sessions.acting(system)
            if isinstance(session, Divisible):
                aim = target(sessions.bundle, name)
                return session.spans(aim, ctx.pace.shards, ctx.pace.shard_records)
    return (None,)


def _total(sessions: Sessions, name: str) -> int | None:
    with suppress(ConnectorError, UsageError):
        system = sessions.bundle.location(name).system
        return sessions.acting(system).count(target(sessions.bundle, name))
    return None


def _turn(ctx: Context, number: int) -> str:
    """A shard's place in the queue: a second behind the one before it.

    So a run with a hundred shards lets other policies in between.
    """
    return stamp(ctx.clock.now() + timedelta(seconds=number))


def _sleep(ctx: Context, claim: Claim, tx: Connection) -> None:
    """Until a shard wakes it; in a transaction that `fence` has opened."""
    later = stamp(ctx.clock.now() + LOOK_AGAIN)
    tx.execute(
        update(t.run)
        .where(t.run.c.id == claim.run_id, t.run.c.token == claim.token)
        .values(not_before=later, turn=later, lease_until=None, owner=None)
    )


def arrived(ctx: Context, tx: Connection, claim: Claim) -> None:
    """A shard has come as far as it may alone: the last one wakes the run.

    In the shard's own transaction, after its new state was written. The run's row is locked
    first, so that of two shards that arrive together the later one sees the other.
    """
    run = t.run.c
    tx.execute(select(run.id).where(run.id == claim.parent_id).with_for_update()).first()
    on_the_way = select(run.id).where(
        run.parent_id == claim.parent_id, run.state.not_in([str(s) for s in ARRIVED])
    )
    if tx.execute(on_the_way.limit(1)).first() is None:
        tx.execute(
            update(t.run)
            .where(run.id == claim.parent_id)
            .values(not_before=None, turn=stamp(ctx.clock.now()))
        )


@dataclass(slots=True)
class Spread:
    """A claimed run that has shards: looks how far they are, and takes the next common step."""

    ctx: Context
    in_force: InForce
    claim: Claim
    counts: Counter[str] = field(default_factory=Counter)

    def work(self) -> Report:
        """The next step, if every shard has arrived at it; else sleep."""
        shards = self._shards()
        states = {RunState(shard.state) for shard in shards}
        if self.claim.state is RunState.DISCOVERING:
            if not states <= ARRIVED:
                return self._wait_for_shards()
            return self._decide()
        if states - FINAL == {RunState.READY}:
            # Approved while it waited: now the shards may act.
            return self._let_act()
        if not states <= FINAL:
            return self._wait_for_shards()
        return self._finish(shards)

    def _shards(self) -> list[Row[object]]:
        with self.ctx.ledger.read() as tx:
            self.counts = Counter(tally.discovered(tx, self.claim.run_id))
            rows = tx.execute(
                select(t.run).where(t.run.c.parent_id == self.claim.run_id).order_by(t.run.c.shard)
            )
            return list(rows.all())

    def _wait_for_shards(self) -> Report:
        with self.ctx.ledger.write() as tx:
            self.claim.fence(self.ctx, tx)
            _sleep(self.ctx, self.claim, tx)
        return Report.of(self.claim, self.counts)

    def _decide(self) -> Report:
        """Limits over the whole plan, then approval, before the first act."""
        ctx, claim = self.ctx, self.claim
        if broken := ending.over_limits(ctx, self.in_force, claim):
            ending.stop(ctx, claim, self.counts, broken)
            claim.state = RunState.STOPPED
            return Report.of(claim, self.counts, ExitCode.LIMIT, tuple(broken))
        with ctx.ledger.write() as tx:
            claim.fence(ctx, tx, counts=dict(self.counts))
            evidence.planned(ctx, tx, claim, self.counts)
        if ending.must_wait(self.in_force, claim, self.counts):
            note = ending.wait(ctx, claim, self.counts)
            return Report.of(claim, self.counts, ExitCode.WITHHELD, (note,))
        return self._let_act()

    def _let_act(self) -> Report:
        ctx, claim = self.ctx, self.claim
        with ctx.ledger.write() as tx:
            claim.fence(ctx, tx, state=str(RunState.APPLYING), counts=dict(self.counts))
            ready = (
                t.run.c.parent_id == claim.run_id,
                t.run.c.state == str(RunState.READY),
            )
            for shard in tx.execute(select(t.run.c.id, t.run.c.shard).where(*ready)).all():
                tx.execute(
                    update(t.run)
                    .where(t.run.c.id == shard.id)
                    .values(
                        state=str(RunState.APPLYING), not_before=None, turn=_turn(ctx, shard.shard)
                    )
                )
            _sleep(ctx, claim, tx)
        claim.state = RunState.APPLYING
        return Report.of(claim, self.counts)

    def _finish(self, shards: list[Row[object]]) -> Report:
        counts: Counter[str] = Counter()
        for shard in shards:
            counts.update({n: c for n, c in _counts(shard).items() if n != OLDEST})
        counts[OLDEST] = max(_counts(shard).get(OLDEST, 0) for shard in shards)
        troubles = [trouble for shard in shards for trouble in troubles_of(shard)]
        self.claim.state, code = ending.finish(self.ctx, self.claim, counts, troubles)
        said = tuple(sorted({trouble.said for trouble in troubles}))
        return Report.of(self.claim, counts, code, said)


def _counts(shard: Row[object]) -> dict[str, int]:
    found: dict[str, int] = shard.counts
    return found


def troubles_of(shard: Row[object]) -> Iterator[Trouble]:
    """What went wrong in a shard that has ended."""
    if shard.cause:
        yield Trouble.read(shard.cause, shard.note)
