"""The rules that one container's records are decided by, compiled once.

A *claim* is a location that a record belongs to; a *clause* is one policy seen through one
claim. A record has the clauses of every claim on it, whichever location it was read through.

Two generations stand side by side while a change waits for approval (the ratchet, design.md §5):
`approved` disposes, `current` must agree, and the minimums of both protect.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from retention.decide.facts import Asked
from retention.decide.masks import Mask
from retention.decide.starts import Node
from retention.policy.model import (
    Basis,
    Cutoff,
    LocationModel,
    Organisation,
    Policy,
    Then,
)
from retention.policy.periods import Period
from retention.policy.where import Filter

WITHDRAWABLE = frozenset({Basis.CONSENT, Basis.LEGITIMATE_INTEREST})
"""Bases that a subject can end alone: by withdrawing consent, by objecting (GDPR 7(3), 21)."""
OUTLIVES_ERASURE = frozenset({Basis.LEGAL_OBLIGATION, Basis.LEGAL_CLAIMS})
"""GDPR Art. 17(3)(b) and (e)."""
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
    matched_on: str | None = None
    """The subject key by which other locations of the cluster hold copies of the record."""

    @property
    def scopes(self) -> tuple[str, str]:
        """Names under which a withdrawal can be recorded."""
        return (self.purpose, self.cluster)

    @property
    def kin(self) -> tuple[str, str] | None:
        """The link that finds the people whom copies of the record name; None: no copies."""
        if self.matched_on is None or self.matched_on not in self.model.subject:
            return None
        return (f"{self.cluster}.", self.matched_on)


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

    label: str = field(init=False)
    """`policy@digest`, as it stands in reasons."""
    then: Then = field(init=False)
    keeps_forever: bool = field(init=False)
    """`then: keep` without a minimum: kept until the rule itself goes."""
    has_minimum: bool = field(init=False)
    """Whether it protects the record copy for some time."""
    has_maximum: bool = field(init=False)
    """Whether it says when the record goes; a minimum alone does too, unless it only keeps."""
    date_sources: tuple[str, ...] = field(init=False)
    """Sources of the dates that its starting point reads."""
    counts: dict[Any, Any] | None = field(default=None, repr=False)
    """Ends counted before, by starting day; None: count anew each time."""

    def __post_init__(self) -> None:
        digest = self.digest.rpartition(":")[2][:12]
        then = self.said.then.kind
        forever = then is Then.KEEP and self.minimum is None
        periods = self.maximum is not None or self.minimum is not None
        leaves = self.start.leaves() if self.start else ()
        for name, value in (
            ("label", f"{self.policy}@{digest}" if digest else self.policy),
            ("then", then),
            ("keeps_forever", forever),
            ("has_minimum", self.claim.protects and (self.minimum is not None or forever)),
            ("has_maximum", then is not Then.KEEP and periods),
            ("date_sources", tuple(n.source for n in leaves if n.source is not None)),
        ):
            object.__setattr__(self, name, value)

    @property
    def reviews_always(self) -> bool:
        """`then: review` without any period: looked at every time."""
        return self.then is Then.REVIEW and not self.has_maximum


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
    answers: dict[Any, tuple[bool | None, ...]] = field(default_factory=dict)
    idle: dict[tuple[bool | None, ...], frozenset[str]] = field(default_factory=dict)

    @property
    def two_generations(self) -> bool:
        """Whether some policy's approved version differs from the one in the files."""
        return self.approved is not self.current

    def clauses(self) -> tuple[Clause, ...]:
        """Of both generations, each once."""
        return tuple(dict.fromkeys((*self.approved, *self.current)))


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
