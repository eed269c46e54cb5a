"""The rules that one container's records are decided by, compiled once.

A *claim* is a location that a record belongs to; a *clause* is one policy seen through one
claim. A record has the clauses of every claim on it, whichever location it was read through.

Two generations stand side by side while a change waits for approval (the ratchet, design.md §5):
`approved` disposes, `current` must agree, and the minimums of both protect.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from retention.decide.facts import Asked
from retention.decide.mandates import with_mandate
from retention.decide.masks import Mask, mask_of
from retention.decide.model import Rules
from retention.decide.starts import Kind, Node, compile_start
from retention.policy.model import (
    Basis,
    Bundle,
    Cutoff,
    LocationModel,
    Organisation,
    Policy,
    Role,
    Then,
)
from retention.policy.periods import Period
from retention.policy.where import Filter, WhereError, for_location, parse

WITHDRAWABLE = frozenset({Basis.CONSENT, Basis.LEGITIMATE_INTEREST})
"""Bases that a subject can end alone: by withdrawing consent, by objecting (GDPR 7(3), 21)."""
OUTLIVES_ERASURE = frozenset({Basis.LEGAL_OBLIGATION, Basis.LEGAL_CLAIMS})
"""GDPR Art. 17(3)(b) and (e)."""
_Name = TypeVar("_Name", bound=Hashable)
UNREADABLE = -1
"""Index of a filter that cannot be understood: it is never known to match, nor not to."""


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """A location that a record of this container belongs to, where `where` lets it."""

    index: int
    location: str
    cluster: str
    purpose: str
    basis: Basis | None
    protects: bool
    """True for the record copy: minimums bind it (design.md §5, role)."""
    model: LocationModel
    where: int | None
    standing: bool
    """True where the files as they are now make this claim, policies or none."""

    @property
    def scopes(self) -> tuple[str, str]:
        """Names under which a withdrawal can be recorded."""
        return (self.purpose, self.cluster)


@dataclass(frozen=True, slots=True, eq=False)
class Clause:
    """One policy seen through one claim."""

    policy: str
    digest: str
    said: Policy
    organisation: Organisation
    claim: Claim
    where: int | None
    tier: int
    """2: selected by `where`; 1: by cluster or location; 0: by "*"."""
    start: Node | None
    minimum: Period | None
    maximum: Period | None
    cutoff: Cutoff | None
    backstop_dates: tuple[str, ...]
    sources: frozenset[str]
    """Sources that a field-level policy is about; empty for the whole record."""
    mask: Mask | None
    masked: int | None
    disposes: bool
    """False: not approved; its minimum protects, nothing else counts."""
    waits: bool
    """True where this version, or the one beside it, waits for approval."""

    @property
    def label(self) -> str:
        """`policy@digest`, as it stands in reasons."""
        return f"{self.policy}@{self.digest[:12]}" if self.digest else self.policy

    @property
    def then(self) -> Then:
        """What happens when it is due."""
        return self.said.then.kind

    @property
    def keeps_forever(self) -> bool:
        """`then: keep` without a minimum: kept until the rule itself goes."""
        return self.then is Then.KEEP and self.minimum is None

    @property
    def has_minimum(self) -> bool:
        """Whether it protects the record copy for some time."""
        return self.claim.protects and (self.minimum is not None or self.keeps_forever)

    @property
    def has_maximum(self) -> bool:
        """Whether it says when the record goes; a minimum alone says so too, unless it only keeps."""
        return self.then is not Then.KEEP and (
            self.maximum is not None or self.minimum is not None
        )

    @property
    def reviews_always(self) -> bool:
        """`then: review` without any period: looked at every time."""
        return self.then is Then.REVIEW and not self.has_maximum

    def date_sources(self) -> tuple[str, ...]:
        """Sources of the dates that its starting point reads."""
        leaves = self.start.leaves() if self.start else ()
        return tuple(n.source for n in leaves if n.source is not None)


@dataclass(slots=True, eq=False)
class View:
    """Everything that decides about one container's records."""

    organisation: Organisation
    claims: tuple[Claim, ...]
    approved: tuple[Clause, ...]
    current: tuple[Clause, ...]
    asked: Asked
    exact: frozenset[str]
    """Dates whose time of day matters, because some period counts hours."""
    filters: tuple[tuple[Filter, ...], ...]
    where_fields: tuple[str, ...]
    masks: tuple[Mask, ...]
    zones: tuple[str, ...]
    blocked: tuple[str, ...] = ()
    """Locations of approved rules that nobody can say whether they cover this container."""
    memo: dict[Any, Any] = field(default_factory=dict)
    answers: dict[Any, tuple[bool | None, ...]] = field(default_factory=dict)

    @property
    def two_generations(self) -> bool:
        """Whether some policy's approved version differs from the one in the files."""
        return self.approved is not self.current

    def clauses(self) -> tuple[Clause, ...]:
        """Of both generations, each once."""
        return tuple(dict.fromkeys((*self.approved, *self.current)))


class _Builder:
    """Collects claims, filters, masks while clauses are compiled."""

    def __init__(self) -> None:
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
            start=compile_start(said.starting_point, model) if said.starting_point else None,
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
        )


def _tier(policy: Policy, claim: Claim) -> int:
    if policy.where is not None:
        return 2
    named = {claim.location, claim.cluster} & set(policy.applies_to)
    return 1 if named else 0


def compile_view(rules: Rules, system: str, covering: frozenset[str], unknown: frozenset[str]) -> View:
    """The rules for a container that the locations in `covering` cover.

    `unknown`: locations that nobody can say of whether they cover it.
    """
    made = _Builder()
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
    sources = {s for c in both for s in (*c.date_sources(), *c.backstop_dates)}
    hours = {s for c in both if counts_hours(c) for s in (*c.date_sources(), *c.backstop_dates)}
    return View(
        organisation=rules.bundle.organisation,
        claims=tuple(made.claims),
        approved=approved,
        current=approved if current is None else current,
        asked=Asked(
            dates={s: i for i, s in enumerate(sorted(sources))},
            events=_numbered(n.name for n in starts if n.kind is Kind.EVENT),
            links=_numbered(n.link for n in starts if n.link is not None),
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


def unknown_locations(rules: Rules, system: str, claims: Mapping[str, object]) -> frozenset[str]:
    """Locations of approved rules in this system whose containers the caller did not say."""
    return frozenset(
        location
        for name, (_, before) in rules.approved.items()
        if name in before.policies
        for location in before.locations_of(before.policies[name])
        if before.location(location).system == system and location not in claims
    )


def all_of(answers: tuple[bool | None, ...], *indices: int | None) -> bool | None:
    """Whether all these filters let a record through: False if one does not, None if unsure."""
    unsure = False
    for index in indices:
        if index is None:
            continue
        answer = None if index == UNREADABLE else answers[index]
        if answer is False:
            return False
        unsure = unsure or answer is None
    return None if unsure else True


