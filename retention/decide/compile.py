"""Compiling policies to clauses, for the containers of one system."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Any, TypeVar

from retention.decide.facts import Asked
from retention.decide.mandates import with_mandate
from retention.decide.masks import Mask, mask_of
from retention.decide.model import Rules
from retention.decide.rules import UNREADABLE, Claim, Clause, View
from retention.decide.starts import Kind, compile_start
from retention.policy.model import Bundle, LocationModel, Policy, Role, Then
from retention.policy.where import Filter, WhereError, for_location, parse

_Name = TypeVar("_Name", bound=Hashable)


class _Builder:
    """Collects claims, filters, masks while clauses are compiled."""

    def __init__(self, *, remember: bool) -> None:
        self.remember = remember
        self.claims: list[Claim] = []
        self.filters: list[tuple[Filter, ...]] = []
        self.masks: list[Mask] = []

    def where(self, said: Mapping[str, Any] | None, model: LocationModel) -> int | None:
        if said is None:
            return None
        try:
            found = for_location(parse(said), model)
        except WhereError:
            return UNREADABLE
        if found not in self.filters:
            self.filters.append(found)
        return self.filters.index(found)

    def claim(self, bundle: Bundle, name: str, *, standing: bool) -> Claim:
        cluster = name.partition("/")[0]
        said = bundle.clusters[cluster]
        model = bundle.location(name)
        made = Claim(
            index=len(self.claims),
            location=name,
            cluster=cluster,
            purpose=said.purpose or cluster,
            matched_on=said.matched_on,
            basis=said.basis,
            protects=model.role is Role.RECORD_COPY,
            model=model,
            where=self.where(model.where, model),
            standing=standing,
        )
        self.claims.append(made)
        return made

    def clause(
        self, bundle: Bundle, name: str, digest: str, claim: Claim, *, disposes: bool, waits: bool
    ) -> Clause:
        said = with_mandate(bundle.policies[name])
        model = claim.model
        mask = mask_of(said, model)
        if mask is not None and mask not in self.masks:
            self.masks.append(mask)
        return Clause(
            policy=name,
            digest=digest,
            said=said,
            organisation=bundle.organisation,
            claim=claim,
            where=self.where(said.where, model),
            tier=_tier(said, claim),
            start=compile_start(said.starting_point, model, claim.cluster, claim.matched_on)
            if said.starting_point
            else None,
            minimum=said.keep_at_least,
            maximum=said.delete_at_latest,
            cutoff=said.cutoff,
            backstop_dates=tuple(dict.fromkeys(model.dates.values())) if said.backstop else (),
            sources=(
                frozenset(model.source(f) for f in said.fields)
                if said.then.kind not in (Then.REVIEW, Then.RESTRICT)
                else frozenset()
            ),
            mask=mask,
            masked=None if mask is None else self.masks.index(mask),
            disposes=disposes,
            waits=waits,
            counts={} if self.remember else None,
        )


def _tier(policy: Policy, claim: Claim) -> int:
    if policy.where is not None:
        return 2
    named = {claim.location, claim.cluster} & set(policy.applies_to)
    return 1 if named else 0


def compile_view(
    rules: Rules,
    system: str,
    covering: frozenset[str],
    unknown: frozenset[str],
    *,
    remember: bool = True,
) -> View:
    """The rules for a container that the locations in `covering` cover.

    `unknown`: locations that nobody can say of whether they cover it.
    """
    made = _Builder(remember=remember)
    bundle = rules.bundle
    here = [n for n, m in bundle.locations().items() if m.system == system and n in covering]
    standing = {n: made.claim(bundle, n, standing=True) for n in here}
    approved: list[Clause] = []
    current: list[Clause] = []
    changed = False
    for name, policy in sorted(bundle.policies.items()):
        held_back = name in rules.approved or name not in rules.may_dispose
        for location in bundle.locations_of(policy):
            if location not in standing:
                continue
            clause = made.clause(
                bundle,
                name,
                rules.digests.get(name, ""),
                standing[location],
                disposes=name in rules.approved or not held_back,
                waits=held_back,
            )
            current.append(clause)
            if name not in rules.approved:
                approved.append(clause)
    for name, (digest, before) in sorted(rules.approved.items()):
        if name not in before.policies:
            continue
        changed = changed or name in bundle.policies
        for location in before.locations_of(before.policies[name]):
            if before.location(location).system != system or location not in covering:
                continue
            claim = made.claim(before, location, standing=False)
            clause = made.clause(before, name, digest, claim, disposes=True, waits=True)
            approved.append(clause)
            if name not in bundle.policies:
                current.append(clause)
    return _finish(made, rules, tuple(approved), tuple(current) if changed else None, unknown)


def _finish(
    made: _Builder,
    rules: Rules,
    approved: tuple[Clause, ...],
    current: tuple[Clause, ...] | None,
    unknown: frozenset[str],
) -> View:
    both = tuple(dict.fromkeys((*approved, *(current or ()))))
    starts = [n for c in both if c.start for n in c.start.leaves()]
    organisations = [rules.bundle.organisation, *(c.organisation for c in both)]
    zones = tuple(dict.fromkeys(o.timezone for o in organisations))
    sources = {s for c in both for s in (*c.date_sources, *c.backstop_dates)}
    hours = {s for c in both if counts_hours(c) for s in (*c.date_sources, *c.backstop_dates)}
    return View(
        organisation=rules.bundle.organisation,
        claims=tuple(made.claims),
        approved=approved,
        current=approved if current is None else current,
        asked=Asked(
            dates={s: i for i, s in enumerate(sorted(sources))},
            events=_numbered(n.name for n in starts if n.kind is Kind.EVENT),
            links=_numbered(
                (
                    *(n.link for n in starts if n.link is not None),
                    *(c.kin for c in made.claims if c.kin is not None),
                )
            ),
        ),
        # Two time zones disagree about the civil day, so the instant is kept.
        exact=frozenset(sources if len(zones) > 1 else hours),
        filters=tuple(made.filters),
        where_fields=tuple(sorted({f.field for fs in made.filters for f in fs})),
        masks=tuple(made.masks),
        zones=zones,
        blocked=tuple(sorted(unknown)),
    )


def _numbered(names: Iterable[_Name]) -> dict[_Name, int]:
    return {name: i for i, name in enumerate(dict.fromkeys(names))}


def counts_hours(clause: Clause) -> bool:
    """Whether the time of day matters to one of its periods."""
    periods = (clause.minimum, clause.maximum, clause.said.backstop)
    return any(p is not None and p.hours > 0 for p in periods)


def unknown_locations(rules: Rules, system: str, claims: Collection[str]) -> frozenset[str]:
    """Locations of approved rules in this system whose containers the caller did not say."""
    return frozenset(
        location
        for name, (_, before) in rules.approved.items()
        if name in before.policies
        for location in before.locations_of(before.policies[name])
        if before.location(location).system == system and location not in claims
    )
