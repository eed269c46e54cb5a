"""Decisions for the records of some containers of one system, compiled once per run.

`Decider.decide` is a pure function of its arguments and of the rules. It reduces a record to
`Facts` and remembers verdicts by them: thousands of records of one day share one decision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import cached_property
from typing import Any

from retention.decide.case import At
from retention.decide.compile import compile_view, unknown_locations
from retention.decide.facts import Facts, Value, When
from retention.decide.holds import covers, split
from retention.decide.judge import judge, unreadable
from retention.decide.model import Hold, Moment, Rules, SubjectState, Verdict
from retention.decide.reach import Bound, Condition, bound, conditions
from retention.decide.reading import REMEMBERED, facts_of
from retention.decide.rules import (
    WITHDRAWABLE,
    Clause,
    View,
    all_of,
)
from retention.policy.counting import zone_of
from retention.policy.model import Bundle


class Decider:
    """The decision for records of some containers of one system.

    `location`: full name of the location through which records are read. `claims`: every
    location of this system, those of approved bundles too → the containers it covers now.
    A record is claimed by every location that covers its container and whose `where` lets it.
    `remember`: False decides every record anew (for tests and comparisons).
    """

    def __init__(
        self,
        rules: Rules,
        system: str,
        location: str,
        claims: Mapping[str, frozenset[str]],
        *,
        remember: bool = True,
    ) -> None:
        self.rules = rules
        self.system = system
        self.location = location
        self.claims = claims
        self._remember = remember
        self._unknown = unknown_locations(rules, system, {*claims, location})
        self._views: dict[str | frozenset[str], View] = {}
        self._memo: dict[Any, Verdict] = {}
        self._moment: Moment | None = None
        self._at = At(date.min, {}, clock_went_back=False)
        self._given: tuple[Hold, ...] = ()
        self._in_force: tuple[tuple[Hold, ...], datetime | None] = ((), None)
        self._everything = self._compile(frozenset(self._overlapping()))

    def _overlapping(self) -> set[str]:
        """Locations that share a container with the one that is read."""
        own = self.claims.get(self.location, frozenset())
        return {self.location, *(n for n, covered in self.claims.items() if covered & own)}

    def _compile(self, covering: frozenset[str]) -> View:
        return compile_view(
            self.rules, self.system, covering, self._unknown, remember=self._remember
        )

    # what to read ---------------------------------------------------------------------------

    @cached_property
    def dates(self) -> tuple[str, ...]:
        """Sources that must be read as dates."""
        return tuple(self._everything.asked.dates)

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Sources that must be read as fields: of filters, of subjects, of masks."""
        view = self._everything
        people = {s for c in view.claims for ss in c.model.subject_sources().values() for s in ss}
        masked = {s for m in view.masks for s in m.sources}
        return tuple(sorted({*view.where_fields, *people, *masked}))

    @cached_property
    def copied(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Sources of dates and of fields that some rule copies elsewhere before it deletes."""
        dates: dict[str, None] = {}
        fields: dict[str, None] = {}
        for clause in self._everything.clauses():
            there = clause.said.then.copy_to
            for name in there.values.values() if there else ():
                model = clause.claim.model
                found = dates if name in model.dates else fields
                found.update(dict.fromkeys(model.sources_of(name)))
        return tuple(dates), tuple(fields)

    @cached_property
    def links(self) -> frozenset[tuple[str, str]]:
        """(`cluster.date`, `matched_on`) that `SubjectState.linked` must answer."""
        return frozenset(self._everything.asked.links)

    @cached_property
    def needs_subjects(self) -> bool:
        """Whether some rule depends on who a record is about, holds and requests aside."""
        view = self._everything
        return bool(
            view.asked.events
            or view.asked.links
            or any(c.basis in WITHDRAWABLE for c in view.claims)
        )

    def subjects(self, fields: Mapping[str, Value]) -> tuple[tuple[str, str], ...]:
        """(kind, raw key) of the people of a record, by every claiming location's mapping."""
        found: dict[tuple[str, str], None] = {}
        for kind, source in self._subject_sources:
            value = fields.get(source)
            for one in value if isinstance(value, tuple) else (value,):
                if one is not None and one != "":
                    found[kind, str(one)] = None
        return tuple(found)

    @cached_property
    def _subject_sources(self) -> tuple[tuple[str, str], ...]:
        return tuple(
            dict.fromkeys(
                (kind, source)
                for c in self._everything.claims
                for kind, sources in c.model.subject_sources().items()
                for source in sources
            )
        )

    # what can be left to the system ---------------------------------------------------------

    def bounds(
        self, policy: str, moment: Moment, *, nobody_ended: bool = False
    ) -> tuple[Bound, ...]:
        """(source, instant): records with a known date not before it cannot be this policy's now.

        Conservative: none where it cannot be said by one date of the record. A withdrawal, an
        objection or an erasure request makes young records due, so purposes that a subject can
        end have bounds only where the caller knows that nobody did (`nobody_ended`). Records
        that carry a date after now are reviewed under no policy and may be left out too.
        """
        clauses = self._clauses_of(policy)
        if not clauses or any(c.waits for c in clauses):
            return ()
        before = self._in_days(moment).fire(policy)
        return bound(clauses, before, nobody_ended=nobody_ended)

    def conditions(self, policy: str) -> tuple[Condition, ...]:
        """(source, op, value): filters that every record of this policy read here passes.

        The location's own filter and, where the policy reaches these records through this
        location only, the policy's. While a change waits for approval, what both versions say.
        """
        versions = [self._conditions_of(b, policy) for b in self._bundles(policy) if self._reads(b)]
        common = set.intersection(*map(_hashable, versions)) if versions else set()
        found = {k: v for said in versions for k, v in _keyed(said).items()}
        return tuple(found[key] for key in sorted(common))

    def _bundles(self, policy: str) -> list[Bundle]:
        approved = self.rules.approved.get(policy)
        return [self.rules.bundle, *([approved[1]] if approved else [])]

    def _reads(self, bundle: Bundle) -> bool:
        return self.location in bundle.locations()

    def _conditions_of(self, bundle: Bundle, policy: str) -> list[Condition]:
        location = bundle.location(self.location)
        said = bundle.policies.get(policy)
        through = {c.claim.location for c in self._clauses_of(policy)}
        only_here = said is not None and through <= {self.location}
        wheres = [location.where, said.where if said is not None and only_here else None]
        return sorted(conditions(location, wheres), key=_condition_key)

    def _clauses_of(self, policy: str) -> list[Clause]:
        return [c for c in self._everything.clauses() if c.policy == policy]

    # the decision ---------------------------------------------------------------------------

    def decide(
        self,
        container: str | frozenset[str],
        dates: Mapping[str, When],
        fields: Mapping[str, Value],
        state: SubjectState | None,
        holds: Sequence[Hold] | None,
        pseudonym: str | Callable[[], str],
        moment: Moment,
    ) -> Verdict:
        """The fate of one record of that container, or of all of these that it lies in.

        `dates` and `fields` by source. `state` or `holds` None: that register cannot be read,
        and nothing is disposed of. `pseudonym`: the record's, or how to get it; asked for only
        where a hold names a single record.
        """
        if holds is None:
            return unreadable("hold")
        if state is None:
            return unreadable("subject")
        if moment is not self._moment:
            self._look_at(moment)
        view = self._views.get(container) or self._view(container)
        facts = facts_of(
            view, dates, fields, state, (moment.now, self._at.today), remember=self._remember
        )
        held = self._held(view, facts, state, holds, pseudonym, moment.now) if holds else ()
        if not self._remember:
            return judge(view, facts, held, self._at)
        key = (container, facts[1:], held)
        verdict = self._memo.get(key)
        if verdict is None:
            if len(self._memo) >= REMEMBERED:
                self._memo.clear()
            verdict = self._memo[key] = judge(view, facts, held, self._at)
        return verdict

    def _view(self, container: str | frozenset[str]) -> View:
        lies_in = {container} if isinstance(container, str) else container
        covering = {n for n, covered in self.claims.items() if not covered.isdisjoint(lies_in)}
        view = self._views[container] = self._compile(frozenset({self.location, *covering}))
        return view

    def _look_at(self, moment: Moment) -> None:
        at = self._in_days(moment)
        if at != self._at:
            self._memo.clear()
        self._at, self._moment = at, moment

    def _in_days(self, moment: Moment) -> At:
        """In doubt about the zone (an old and a new one) the earlier day: later for disposal."""
        zones = [zone_of(z) for z in self._everything.zones]
        names = {c.policy for c in self._everything.clauses()}

        def day(instant: datetime) -> date:
            return min(instant.astimezone(z).date() for z in zones)

        return At(
            today=day(moment.now),
            fires={p: day(at) for p, at in moment.next_fire.items() if p in names},
            clock_went_back=moment.clock_went_back,
        )

    def _held(
        self,
        view: View,
        facts: Facts,
        state: SubjectState,
        holds: Sequence[Hold],
        pseudonym: str | Callable[[], str],
        now: datetime,
    ) -> tuple[Hold, ...]:
        given = tuple(holds)
        if self._in_force[1] != now or given != self._given:
            self._given, self._in_force = given, (split(given, now), now)
        active = self._in_force[0]
        if not active:
            return ()
        claims = [c for c in view.claims if all_of(facts.where, c.where) is not False]
        locations = frozenset({self.location, *(c.location for c in claims)})
        clusters = frozenset(name.partition("/")[0] for name in locations)
        return tuple(h for h in active if covers(h, clusters, locations, state.hashes, pseudonym))


def _condition_key(condition: Condition) -> str:
    return repr((condition[0], condition[1], condition[2]))


def _keyed(said: Sequence[Condition]) -> dict[str, Condition]:
    return {_condition_key(c): c for c in said}


def _hashable(said: Sequence[Condition]) -> set[str]:
    return set(_keyed(said))
