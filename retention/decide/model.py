"""What goes into a decision and what comes out. Plain data, no I/O, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

from retention.policy.model import Bundle, Scalar


class Action(StrEnum):
    """The fate of one record in one run; the names of the totals in `plan --json`."""

    DELETE = "delete"
    ANONYMISE = "anonymise"
    HAND_OVER = "hand_over"
    RESTRICT = "restrict"
    REVIEW = "review"
    KEEP = "keep"
    HELD = "held"
    BLOCKED = "blocked"


DISPOSALS = frozenset({Action.DELETE, Action.ANONYMISE, Action.HAND_OVER})


@dataclass(frozen=True, slots=True)
class Hold:
    """An order that suspends disposal of what it matches, until released plus its grace.

    Exactly one scope is set: a subject (keyed hash), a cluster, a location, or a location with a
    record (pseudonym). A released hold stays in force through `grace_until`.
    """

    id: int
    case: str
    subject: str | None = None
    cluster: str | None = None
    location: str | None = None
    record: str | None = None
    grace_until: datetime | None = None
    released: bool = False


@dataclass(frozen=True, slots=True)
class LinkedStart:
    """A date of another cluster, found for the subjects of this record.

    `matched` is False when no record of that cluster has any of these subjects; `active` is True
    when at least one of them has no such date yet (the relationship goes on).
    """

    matched: bool
    active: bool
    latest: date | datetime | None


@dataclass(frozen=True, slots=True)
class SubjectState:
    """What is known about the people of one record at this moment.

    `hashes`: keyed hashes of all subject keys. `events`: event name → latest instant it fired and
    was not revoked. `withdrawn`: purpose or cluster name → instant of withdrawal or objection.
    `linked`: (`cluster.date`, `matched_on`) → what that cluster says.
    """

    hashes: frozenset[str] = frozenset()
    events: Mapping[str, datetime] = field(default_factory=dict)
    withdrawn: Mapping[str, datetime] = field(default_factory=dict)
    linked: Mapping[tuple[str, str], LinkedStart] = field(default_factory=dict)
    restricted: bool = False
    erasure_verified: datetime | None = None
    access_open: bool = False


NOBODY = SubjectState()


@dataclass(frozen=True, slots=True)
class Rules:
    """The policies that are in force for a decision.

    `bundle`: files as they are now. `digests`: policy → digest. `may_dispose`: policies whose
    approved version is the one in `bundle`. `approved`: for policies that changed or vanished
    since approval, policy → (digest, bundle as it was approved). Ratchet: minimums of both
    versions protect; disposal needs the approved version to be due, and the current version too
    where it still exists (design.md §5, docs/explanation/ratchet.md).
    """

    bundle: Bundle
    digests: Mapping[str, str]
    may_dispose: frozenset[str]
    approved: Mapping[str, tuple[str, Bundle]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Moment:
    """When a decision is made: the instant, and each policy's next firing after it.

    `next_fire` may lack a policy that fires on events only: then a due record is due at once.
    `clock_went_back` is set by the engine when the ledger has seen a later instant.
    """

    now: datetime
    next_fire: Mapping[str, datetime] = field(default_factory=dict)
    clock_went_back: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The fate of one record, with reasons.

    `earliest`: first civil date on which disposal is allowed, None: no minimum applies, or not
    known. `due`: last civil date on which the record may exist; None: no maximum known.
    `policy`: the deciding policy, "" where none. `mask`: source → value, for anonymise and for
    field-level disposal. `hand_over_to`: a folder; `copy_to`: a location. `changes_on`: the date on
    which this verdict changes by itself.
    """

    action: Action
    policy: str = ""
    digest: str = ""
    earliest: date | None = None
    due: date | None = None
    because: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    changes_on: date | None = None
    would_change_if: str = ""
    overdue_days: int = 0
    mask: Mapping[str, Scalar] | None = None
    hand_over_to: str | None = None
    copy_to: str | None = None
    suppress: tuple[str, ...] = ()
    holds: tuple[int, ...] = ()
