"""Reading a location and judging every record of it; the same for plans, runs and second looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import NamedTuple

from sqlalchemy import Connection

from retention.connectors.base import (
    TOGETHER,
    Bound,
    Connector,
    Record,
    Ref,
    Target,
    containers_of,
    keys_of,
)
from retention.connectors.registry import manifest
from retention.decide.decider import Decider
from retention.decide.model import (
    NOBODY,
    Hold,
    Moment,
    Rules,
    SubjectState,
    Verdict,
)
from retention.errors import CredentialsRefused, PermanentFailure
from retention.policy.model import Bundle
from retention.run.context import Context
from retention.run.links import Link, Links, links_into, texts
from retention.run.sessions import Sessions, settings_of, target
from retention.subjects.state import Events, active_holds, any_ended, any_events, events_of


class Judged(NamedTuple):
    """A page of a location with the fate of each of its records."""

    records: Sequence[Record]
    verdicts: Sequence[Verdict]
    cursor: str
    scanned: int


class Survey:
    """One location as seen through the policies: what to read of it, and what becomes of it.

    `policy`: the one whose disposal is wanted; its dates are pushed down to the system. None:
    every record is read (plans with `--all`, registers). `span`: only this part of the location.
    """

    def __init__(
        self,
        ctx: Context,
        sessions: Sessions,
        rules: Rules,
        bundle: Bundle,
        location: str,
        *,
        policy: str | None,
        moment: Callable[[], Moment],
        links: Links,
        span: str | None = None,
    ) -> None:
        self.ctx = ctx
        self.bundle = bundle
        self.location = location
        self.model = bundle.location(location)
        self.system = self.model.system
        self.kind = manifest(bundle.systems[self.system].connector)
        self.sessions = sessions
        self.links = links
        self.moment = moment
        self.policy = policy
        self.span = span
        cluster = location.partition("/")[0]
        before = (b for _, b in rules.approved.values())
        self.waited_for: frozenset[Link] = frozenset().union(
            *(links_into(b, cluster) for b in (bundle, rules.bundle, *before))
        )
        """Links that start in this location's dates, of any policy in force."""
        self.claims = _claims(sessions, rules, bundle, self.system, location)
        self.decider = Decider(rules, self.system, location, self.claims)
        self.target = self._target(bounded=policy is not None)

    def _target(self, *, bounded: bool) -> Target:
        decider = self.decider
        copied = decider.copied
        bounds: tuple[Bound, ...] = ()
        where: tuple[tuple[str, str, object], ...] = ()
        if bounded and self.policy is not None:
            pushed = decider.bounds(
                self.policy, self.moment(), nobody_ended=not self._somebody_ended()
            )
            bounds = tuple(Bound(source, self._wider(before)) for source, before in pushed)
            where = decider.conditions(self.policy)
        return target(
            self.bundle,
            self.location,
            dates=tuple(dict.fromkeys((*decider.dates, *self._waited_for_dates(), *copied[0]))),
            fields=tuple(dict.fromkeys((*decider.fields, *self._waited_for_keys(), *copied[1]))),
            where=where,
            bounds=bounds,
            span=self.span,
        )

    def _waited_for_dates(self) -> Iterator[str]:
        """Sources of the dates that must be known when a record goes: other clusters count on."""
        for source, _ in sorted(self.waited_for):
            if column := self.model.dates.get(source.partition(".")[2]):
                yield column

    def _waited_for_keys(self) -> Iterator[str]:
        keys = self.model.subject_sources()
        for _, kind in sorted(self.waited_for):
            yield from keys.get(kind, ())

    def _wider(self, before: datetime) -> datetime:
        """A bound moved up by a twentieth of its age.

        Some of the records just too young are then read as well: verification needs one that
        stays, to show that it sees anything at all.
        """
        age = self.moment().now - before
        return before + max(age, timedelta(0)) / 20

    def _somebody_ended(self) -> bool:
        """Whether anybody withdrew or objected here: then young records may be due too."""
        scopes = {
            scope
            for name, containers in self.claims.items()
            if containers
            for cluster in (name.partition("/")[0],)
            for scope in (cluster, self._purpose(cluster))
            if scope
        }
        with self.ctx.ledger.read() as tx:
            return any_ended(tx, scopes)

    def _purpose(self, cluster: str) -> str | None:
        known = self.bundle.clusters.get(cluster)
        return known.purpose if known else None

    def total(self) -> int | None:
        """Records of the location in all, if the system can tell cheaply."""
        return self.acting.count(target(self.bundle, self.location))

    @property
    def acting(self) -> Connector:
        """The session that discovers and acts."""
        return self.sessions.acting(self.system)

    @property
    def looking(self) -> Connector:
        """The other session, that only looks."""
        return self.sessions.looking(self.system)

    def pages(self, cursor: str | None = None) -> Iterator[Judged]:
        """Every record that may matter, page by page, judged as of now."""
        for page in self.acting.find(self.target, cursor):
            with self.ctx.ledger.read() as tx:
                verdicts = self.judge(tx, page.records)
            yield Judged(page.records, verdicts, page.cursor, page.scanned)

    def judge(self, tx: Connection, records: Sequence[Record]) -> list[Verdict]:
        """The fate of these records, with holds and people as this transaction sees them."""
        holds = active_holds(tx, self.moment().now)
        state = self._states(tx, records, holds)
        moment = self.moment()
        decide = self.decider.decide
        by_record = any(hold.record for hold in holds)
        return [
            decide(
                _lies_in(record.ref),
                record.dates,
                record.fields,
                NOBODY if state is None else state(record.ref.key),
                holds,
                self._held_name(record, holds) if by_record else "",
                moment,
            )
            for record in records
        ]

    def _held_name(self, record: Record, holds: Sequence[Hold]) -> str:
        """The name under which a hold was set on this record, by any location, or on a copy."""
        wanted = {hold.record for hold in holds if hold.record}
        keys, lies_in = keys_of(self.kind, record.ref.key), containers_of(record.ref)
        for name, containers in self.claims.items():
            if not containers.isdisjoint(lies_in):
                for key in keys:
                    mark = self.ctx.hasher.record(self.system, name, key)
                    if mark in wanted:
                        return mark
        kin = self.links.kin_of(self.decider.links, self.hashes(record))
        return next((mark for mark in kin if mark in wanted), "")

    def _states(
        self, tx: Connection, records: Sequence[Record], holds: Sequence[Hold]
    ) -> Callable[[str], SubjectState] | None:
        """What is known of each record's people, by key. None: nothing that could matter."""
        decider = self.decider
        events = any_events(tx)
        if not (events or decider.links or any(hold.subject for hold in holds)):
            return None
        hashed = {r.ref.key: self.hashes(r) for r in records}
        people = {
            key: {
                *(h for hs in kinds.values() for h in hs),
                *self.links.kin_of(decider.links, kinds),
            }
            for key, kinds in hashed.items()
        }
        known = events_of(tx, set().union(*people.values())) if events else Events({})

        def state(key: str) -> SubjectState:
            kinds = hashed[key]
            found = known.state(people[key])
            if not decider.links:
                return found
            return replace(found, linked=self.links.of(tx, decider.links, kinds))

        return state

    @property
    def copied(self) -> bool:
        """Whether other locations may hold copies of these records."""
        return self._shared_key is not None

    def whose(self, record: Record) -> str:
        """The keyed hash by which copies of this record are known in other locations of its
        cluster; "" where there are none, or where it names nobody or several."""
        if self._shared_key is None:
            return ""
        found = set(self.hashes(record).get(self._shared_key, ()))
        return found.pop() if len(found) == 1 else ""

    @cached_property
    def _shared_key(self) -> str | None:
        cluster = self.bundle.clusters[self.location.partition("/")[0]]
        if len(cluster.locations) < 2:
            return None
        if cluster.matched_on is not None:
            return cluster.matched_on
        everywhere = [set(model.subject) for model in cluster.locations.values()]
        return next(
            (k for k in self.model.subject if all(k in known for known in everywhere)), None
        )

    def hashes(self, record: Record) -> dict[str, list[str]]:
        """Kind → keyed hashes of the record's people, as every claiming location names them."""
        out: dict[str, list[str]] = {}
        for kind, value in self.decider.subjects(record.fields):
            out.setdefault(kind, []).extend(
                self.ctx.hasher.subject(kind, text) for text in texts(value)
            )
        return out


def _lies_in(ref: Ref) -> str | frozenset[str]:
    """One container, as for nearly every record, or all of them."""
    return frozenset(containers_of(ref)) if TOGETHER in ref.container else ref.container


def _claims(
    sessions: Sessions, rules: Rules, bundle: Bundle, system: str, own: str
) -> dict[str, frozenset[str]]:
    """Every location of this system and the containers it covers now.

    Raises ConnectorError where one cannot be told that matters to `own`: a location that
    protects records must not be overlooked because its folder was renamed and now matches a
    pattern of ours. Where ours are named one by one, another's missing table is only missing.
    """
    out: dict[str, frozenset[str]] = {}
    strict = manifest(bundle.systems[system].connector).patterned(settings_of(bundle, own))
    for source in (bundle, rules.bundle, *(b for _, b in rules.approved.values())):
        if system not in source.systems or source.systems[system] != bundle.systems[system]:
            continue
        for name, model in source.locations().items():
            if model.system == system and name not in out:
                aim = Target(name=name, settings=settings_of(source, name))
                try:
                    out[name] = frozenset(sessions.acting(system).containers(aim))
                except PermanentFailure as error:
                    if strict or name == own or isinstance(error, CredentialsRefused):
                        raise
                    out[name] = frozenset()
    return out


def holds_already(fields: Mapping[str, object], mask: Mapping[str, object]) -> bool:
    """Whether a record already shows what masking would write."""
    missing = object()
    return all(
        fields.get(source, missing) in (value, _as_empty(value)) for source, value in mask.items()
    )


def _as_empty(value: object) -> object:
    # A spreadsheet has no null: an emptied cell reads as an empty text.
    return "" if value is None else value
