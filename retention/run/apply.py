"""Carrying out a plan, batch by batch.

For each: read the records again; in one transaction look at the holds again, decide again and
write the intents; act on exactly those records, each only if it is still what it was; in a
second transaction write what became of them. A crash between the two leaves an intent without an
outcome: `settle` then looks, and whatever is still there is planned, and judged, anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import takewhile
from time import monotonic
from typing import NamedTuple

from sqlalchemy import Connection, insert, select

from retention.connectors.base import Manifest, Outcome, Record, Result, Target
from retention.decide.model import Action, Verdict
from retention.errors import ConnectorError, Withheld
from retention.ledger import tables as t
from retention.ledger.store import stamp
from retention.run import batches, evidence, fates, hand_over, links
from retention.run.batches import Batch, Item, State
from retention.run.claim import Claim
from retention.run.context import Context
from retention.run.copying import Copying
from retention.run.survey import Survey, holds_already

MOST_ATTEMPTS = 5
"""A record that failed so often is left alone until a person looks."""
_GONE = {Result.DISPOSED, Result.ALREADY_ABSENT}
INTERRUPTED = "interrupted"
RECOVERED = "recovered"


class Fate(NamedTuple):
    """What a second look made of one planned record: act on it, or leave it, and why."""

    item: Item
    verdict: Verdict | None
    outcome: str
    """Empty: act. Else already_absent, held, changed."""


@dataclass(slots=True)
class Speed:
    """How many records fit into about two seconds, learnt from the last acts."""

    allowed: int

    def learn(self, records: int, seconds: float, aim: float) -> None:
        """Halve quickly, grow slowly: a hold must bite within seconds."""
        if records == 0:
            return
        if seconds > aim:
            self.allowed = max(1, int(records * aim / seconds))
        elif seconds < aim / 4:
            self.allowed = max(self.allowed, records * 2)


_FROZEN = select(t.freeze.c.reason).where(t.freeze.c.thawed_at.is_(None))


def frozen(tx: Connection) -> str | None:
    """The reason of the freeze in force, or None."""
    row = tx.execute(_FROZEN).first()
    return row.reason if row else None


def second_look(
    tx: Connection,
    survey: Survey,
    group: Sequence[Batch],
    present: Mapping[str, Record],
    *,
    strict: bool,
) -> list[list[Fate]]:
    """Judge every planned record again as it is now. `strict`: any change since the plan counts."""
    verdicts = dict(
        zip(present, survey.judge(tx, list(present.values())), strict=True) if present else ()
    )
    return [_fates(batch, present, verdicts, strict) for batch in group]


def _fates(
    batch: Batch, present: Mapping[str, Record], verdicts: Mapping[str, Verdict], strict: bool
) -> list[Fate]:
    how = batch.how
    wanted = (how.action, how.policy, how.mask)
    fates: list[Fate] = []
    agreed: Verdict | None = None
    for item in batch.items:
        key = item.key
        verdict = verdicts.get(key)
        if verdict is None:
            fates.append(Fate(item, None, Result.ALREADY_ABSENT))
            continue
        # Records with the same facts share one verdict: what was compared once holds for it.
        if verdict is not agreed:
            if verdict.action is Action.HELD:
                fates.append(Fate(item, verdict, "held"))
                continue
            if (verdict.action, verdict.policy, verdict.mask) != wanted:
                fates.append(Fate(item, verdict, Result.CHANGED))
                continue
            agreed = verdict
        ref = present[key].ref
        if ref.version == item.version:
            fates.append(Fate(item, verdict, ""))
        elif strict:
            fates.append(Fate(item, verdict, Result.CHANGED))
        else:
            # Decided anew on what the record is now: that version is the act's precondition.
            anew = item._replace(version=ref.version, trace=ref.trace or item.trace)
            fates.append(Fate(anew, verdict, ""))
    return fates


class Applier:
    """Works off the planned batches of one location of one run."""

    def __init__(
        self,
        ctx: Context,
        claim: Claim,
        survey: Survey,
        speed: Speed,
        count: Callable[[str, int], None],
    ) -> None:
        self.ctx = ctx
        self.claim = claim
        self.survey = survey
        self.speed = speed
        self.count = count
        self.aim: Target = replace(survey.target, where=(), bounds=())
        self.strict = claim.kind.startswith("plan")

    def apply(self, group: Sequence[Batch]) -> None:
        """One act on these batches of this location, from the second look to the outcome."""
        started = monotonic()
        self.claim.check(self.ctx)
        present = self._read_again([item.key for batch in group for item in batch.items])
        intended = self._intend(group, present)
        if not intended:
            return
        self.claim.check(self.ctx)
        outcomes, error = self._act(intended, present)
        self.settle(intended, outcomes, temporary=not (error and error.permanent))
        self.speed.learn(
            sum(len(batch.items) for batch in group),
            monotonic() - started,
            self.ctx.pace.batch_seconds,
        )
        if error is not None:
            raise error

    def _read_again(self, keys: Sequence[str]) -> dict[str, Record]:
        return {r.ref.key: r for r in self.survey.acting.recheck(self.aim, keys)}

    def _intend(self, group: Sequence[Batch], present: Mapping[str, Record]) -> list[Batch]:
        ctx, claim, system = self.ctx, self.claim, self.survey.system
        intended: list[Batch] = []
        with ctx.ledger.write() as tx:
            claim.fence(ctx, tx)
            if reason := frozen(tx):
                raise Withheld(f"disposal is frozen: {reason}", hint="retention thaw resumes it")
            at = ctx.clock.now()
            looked = second_look(tx, self.survey, group, present, strict=self.strict)
            for batch, judged in zip(group, looked, strict=True):
                left = [(f.item, f.outcome, "") for f in judged if f.outcome]
                go = tuple(f.item for f in judged if not f.outcome)
                if left:
                    evidence.done(ctx, tx, claim, batch, system, at, left)
                    if self.survey.copied:
                        fates.gone(tx, claim, [i.pseudonym for i, o, _ in left if o in _GONE])
                    self._count_all(outcome for _, outcome, _ in left)
                if go == batch.items:
                    ready = replace(batch, state=State.INTENDED)
                    batches.mark(tx, ready, State.INTENDED, at)
                else:
                    state = State.INTENDED if go else State.DROPPED
                    ready = replace(batch, items=go, state=state)
                    batches.save(tx, ready, at)
                if go:
                    records = [present[item.key] for item in go]
                    if self.strict and self.survey.copied:
                        people = [
                            (item.pseudonym, self.survey.whose(record))
                            for item, record in zip(go, records, strict=True)
                        ]
                        fates.expect(tx, claim, batch.location, people)
                    self._before_disposal(tx, ready, records)
                    evidence.intended(ctx, tx, claim, ready, system, at)
                    intended.append(ready)
        return intended

    def _count_all(self, outcomes: Iterable[str]) -> None:
        for outcome, number in Counter(outcomes).items():
            self.count(str(outcome), number)

    def _before_disposal(self, tx: Connection, batch: Batch, records: Sequence[Record]) -> None:
        """What must survive the record: its end date for linked mail, and its suppression."""
        ctx, survey = self.ctx, self.survey
        links.remember(ctx, tx, survey.model, survey.waited_for, records)
        if not batch.how.suppress:
            return
        scope = survey.location.partition("/")[0]
        wanted = {
            subject
            for record in records
            for kind, hashes in survey.hashes(record).items()
            if kind in batch.how.suppress
            for subject in hashes
        }
        known = set(
            tx.execute(
                select(t.suppression.c.subject).where(
                    t.suppression.c.scope == scope, t.suppression.c.subject.in_(wanted)
                )
            ).scalars()
        )
        fresh = sorted(wanted - known)
        if fresh:
            at = stamp(ctx.clock.now())
            tx.execute(
                insert(t.suppression),
                [{"subject": s, "scope": scope, "added_at": at} for s in fresh],
            )
            ctx.log.append(
                tx,
                ctx.clock.now(),
                "suppression.added",
                actor=ctx.actor,
                policy=batch.how.policy,
                scope=scope,
                count=len(fresh),
                run=self.claim.root,
            )

    def _act(
        self, group: Sequence[Batch], present: Mapping[str, Record]
    ) -> tuple[dict[str, Outcome], ConnectorError | None]:
        """The remote act. Outcomes that came before a failure count; the rest is unknown."""
        outcomes: dict[str, Outcome] = {}
        try:
            for outcome in self._remote(group, present):
                outcomes[outcome.key] = outcome
        except ConnectorError as error:
            return outcomes, error
        return outcomes, None

    def _remote(self, group: Sequence[Batch], present: Mapping[str, Record]) -> Iterator[Outcome]:
        connector, how = self.survey.acting, group[0].how
        items = [item for batch in group for item in batch.items]
        if how.action is Action.HAND_OVER and how.hand_over_to is not None:
            folder = self.ctx.folder / how.hand_over_to / f"run-{self.claim.root}"
            items = [
                item
                for batch in group
                for item in hand_over.export(connector, self.aim, batch, folder)
            ]
        said = self.survey.bundle.policies[how.policy].then.copy_to
        if how.copy_to is not None:
            if said is None or said.location != how.copy_to:
                # What was decided is not what the policy says: nothing may be deleted.
                yield from (Outcome(i.key, Result.FAILED_PERMANENT, "not_copied") for i in items)
                return
            copied = Copying(self.ctx, self.survey, said).transfer(items, present)
            yield from copied.stays
            items = copied.ready
        refs = [item.ref for item in items]
        if not refs:
            return
        if how.action is Action.ANONYMISE and how.mask is not None:
            yield from connector.mask(self.aim, refs, how.mask)
        else:
            yield from connector.erase(self.aim, refs)

    def settle(
        self,
        group: Sequence[Batch],
        outcomes: Mapping[str, Outcome],
        *,
        temporary: bool = True,
    ) -> None:
        """Write one outcome for every intent; where there is none, look first.

        Raises ConnectorError when the look fails: the intents then stay open for the next try.
        """
        unknown = [
            item
            for batch in group
            for item in batch.items
            if (o := outcomes.get(item.key)) is None or o.result is Result.UNKNOWN
        ]
        looked = self._look(group[0], unknown, temporary=temporary) if unknown else {}
        ctx, claim = self.ctx, self.claim
        with ctx.ledger.write() as tx:
            claim.fence(ctx, tx)
            for batch in group:
                results = [
                    looked.get(item.key) or _said(outcomes[item.key]) for item in batch.items
                ]
                self._write_outcomes(tx, batch, results)

    def _look(
        self, batch: Batch, items: Sequence[Item], *, temporary: bool
    ) -> dict[str, tuple[str, str]]:
        seen = {r.ref.key: r for r in self.survey.looking.recheck(self.aim, [i.key for i in items])}
        mask = batch.how.mask
        left = (
            (Result.FAILED_TEMPORARY, INTERRUPTED) if temporary else (Result.FAILED_PERMANENT, "")
        )
        return {
            item.key: (Result.ALREADY_ABSENT, RECOVERED)
            if (record := seen.get(item.key)) is None
            else (Result.DISPOSED, RECOVERED)
            if mask is not None and holds_already(record.fields, mask)
            else left
            for item in items
        }

    def _write_outcomes(
        self, tx: Connection, batch: Batch, results: Sequence[tuple[str, str]]
    ) -> None:
        ctx, at = self.ctx, self.ctx.clock.now()
        final = [(i, result, code) for i, (result, code) in zip(batch.items, results, strict=True)]
        again: list[Item] = []
        if batch.attempts + 1 < MOST_ATTEMPTS:
            again = [item for item, result, _ in final if result == Result.FAILED_TEMPORARY]
        answers = tuple([result for _, result, _ in final])
        self._count_all(a for a in answers if not again or a != Result.FAILED_TEMPORARY)
        batches.save(tx, replace(batch, state=State.ACTED, results=answers), at)
        evidence.done(ctx, tx, self.claim, batch, self.survey.system, at, final)
        if self.survey.copied:
            gone = [i.pseudonym for i, result, _ in final if result in _GONE]
            fates.gone(tx, self.claim, gone)
        if again:
            number = self.claim.next_batch(tx)
            batches.add(
                tx,
                [
                    replace(
                        batch,
                        no=number,
                        items=tuple(again),
                        state=State.PLANNED,
                        results=(),
                        attempts=batch.attempts + 1,
                    )
                ],
            )


def _said(outcome: Outcome) -> tuple[str, str]:
    return outcome.result, outcome.code


def next_group(
    ctx: Context, claim: Claim, kind: Callable[[str], Manifest], speed: Speed, skip: Collection[str]
) -> list[Batch]:
    """The next batches that one act may take: one location, one way. Empty: nothing is left.

    `kind`: a location's connector. One that rewrites a whole file for each act takes as many
    batches as it can; any other takes what fits into about two seconds, be it several batches or
    a part of one. Locations in `skip` failed and wait.
    """
    with ctx.ledger.read() as tx:
        taken = batches.take(tx, claim.run_id, State.PLANNED, 1, skip)
        if not taken:
            return []
        first = taken[0]
        manifest = kind(first.location)
        allowed = manifest.max_batch if manifest.whole else min(manifest.max_batch, speed.allowed)
        if len(first.items) <= allowed:
            at_once = max(1, allowed // batches.MOST)
            if at_once > 1:
                taken = batches.take(tx, claim.run_id, State.PLANNED, at_once, skip)
            return _alike(taken)
    with ctx.ledger.write() as tx:
        claim.fence(ctx, tx)
        head, tail = batches.split(first, allowed, claim.next_batch(tx))
        batches.save(tx, head, ctx.clock.now())
        batches.add(tx, [tail])
        return [head]


def _alike(taken: Sequence[Batch]) -> list[Batch]:
    """The first of these batches, and those right after it that one act can take together."""
    first = (taken[0].location, taken[0].how.key())
    return list(takewhile(lambda b: (b.location, b.how.key()) == first, taken))


def backoff(attempts: int) -> timedelta:
    """How long a system that failed is left alone: 5 s, 10 s, … at most 5 minutes."""
    return timedelta(seconds=min(300, 5 * 2 ** min(attempts, 6)))
