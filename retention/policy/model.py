"""The grammar of policy files, as pydantic models: the file format and its JSON Schema.

A `Bundle` is everything one organisation's folder says, merged. Names in a bundle are plain
strings; a location is always spoken of as `cluster/location` (e.g. `enquiries/form`).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from retention.policy.periods import Period

Scalar = str | int | float | bool | None


class Basis(StrEnum):
    """GDPR Art. 6(1) and the two grounds of Art. 17(3) that outlive an erasure request."""

    CONSENT = "consent"
    CONTRACT = "contract"
    LEGAL_OBLIGATION = "legal_obligation"
    LEGITIMATE_INTEREST = "legitimate_interest"
    VITAL_INTEREST = "vital_interest"
    PUBLIC_TASK = "public_task"
    LEGAL_CLAIMS = "legal_claims"


class Role(StrEnum):
    """`earliest` binds the record copy; `due` binds every copy (design.md §5)."""

    RECORD_COPY = "record_copy"
    WORKING_COPY = "working_copy"
    BACKUP = "backup"


class Then(StrEnum):
    """What a policy says happens to a record that is due."""

    DELETE = "delete"
    ANONYMISE = "anonymise"
    HAND_OVER = "hand_over"
    COPY_TO = "copy_to"
    RESTRICT = "restrict"
    REVIEW = "review"
    KEEP = "keep"


DESTRUCTIVE = frozenset({Then.DELETE, Then.ANONYMISE, Then.HAND_OVER, Then.COPY_TO})


class Cutoff(StrEnum):
    """Closing point that a starting point is moved to."""

    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"
    ACCOUNTING_YEAR = "accounting_year"
    YEAR_OF_ACCOUNTING_YEAR = "year_of_accounting_year"
    """End of the calendar year in which the accounting year closed (Sweden; Finnish vouchers)."""


def _parse_period(value: Any) -> Any:
    return Period.parse(value) if isinstance(value, str) else value


PeriodField = Annotated[Period, BeforeValidator(_parse_period)]


class Strict(BaseModel):
    """Unknown fields are errors; nothing accepted goes unenforced."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, arbitrary_types_allowed=True
    )


class Secret(Strict):
    """Where a secret lies. Exactly one of the two; the secret itself never stands in a file."""

    env: str | None = Field(default=None, description="Name of an environment variable.")
    file: str | None = Field(default=None, description="Path of a file holding the secret.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("say either `env: NAME` or `file: PATH`")
        return self


class YearEnds(Strict):
    """An accounting year that changed: each year end that differs, then the rule after it."""

    ends: tuple[str, ...] = Field(description="Explicit year ends, YYYY-MM-DD, ascending.")
    then: str = Field(description="Month and day of every later year end, MM-DD.")


class LimitsModel(Strict):
    """More than any of these stops a run before its first act. Zero means zero."""

    records: int | None = Field(default=None, ge=0)
    share: str | None = Field(default=None, pattern=r"^\d{1,3}(\.\d+)?\s*%$")
    growth: str | None = Field(default=None, pattern=r"^\d+(\.\d+)?\s*x$")


class Organisation(Strict):
    """Who promises, where, in which time zone."""

    name: str
    country: str = Field(pattern=r"^[A-Z]{2}$")
    timezone: str
    accounting_year_ends: str | YearEnds = "12-31"
    limits: LimitsModel = LimitsModel(records=10_000)
    owner: str | None = None


class SystemModel(BaseModel):
    """A place where data lives. Fields beyond these are the connector's, which checks them."""

    model_config = ConfigDict(extra="allow", frozen=True)

    connector: str
    title: str | None = None
    rate: str | None = Field(
        default=None, pattern=r"^\d+/(s|min|h)$", description="At most so many requests, e.g. 4/s."
    )

    @property
    def settings(self) -> dict[str, Any]:
        """The connector's own fields."""
        return dict(self.model_extra or {})


class LocationModel(BaseModel):
    """Where records of a cluster lie in a system. Extra fields belong to the connector."""

    model_config = ConfigDict(extra="allow", frozen=True)

    system: str
    title: str | None = None
    role: Role = Role.RECORD_COPY
    where: dict[str, Any] | None = None
    dates: dict[str, str] = Field(default_factory=dict)
    subject: dict[str, str | list[str]] = Field(default_factory=dict)
    fields: dict[str, str] = Field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """The connector's own fields (table, key, folders, sheet, …)."""
        return dict(self.model_extra or {})

    def source(self, name: str) -> str:
        """The column, header or attribute that a logical field name stands for."""
        return self.fields.get(name, name)

    def subject_sources(self) -> dict[str, tuple[str, ...]]:
        """Subject kind → the columns or headers that hold it."""
        return {k: (v,) if isinstance(v, str) else tuple(v) for k, v in self.subject.items()}

    def sources_of(self, name: str) -> tuple[str, ...]:
        """What a date, a field, or a kind of subject key stands for; any other name for itself."""
        if name in self.dates:
            return (self.dates[name],)
        if name not in self.fields and name in self.subject:
            return self.subject_sources()[name]
        return (self.source(name),)


class Cluster(Strict):
    """Records of one kind, processed for one purpose on one legal basis."""

    title: str | None = None
    subjects: str | None = None
    data: tuple[str, ...] = ()
    matched_on: str | None = Field(
        default=None,
        description="Subject key by which its locations hold copies of the same records.",
    )
    purpose: str | None = None
    basis: Basis | None = None
    special: bool = Field(
        default=False, description="Special category or national identity numbers."
    )
    source: str | None = None
    law: str | None = None
    locations: dict[str, LocationModel] = Field(default_factory=dict)


class Start(Strict):
    """A starting point: exactly one of date, event, latest_of, earliest_of.

    `date` is a date name of the location, or `cluster.date` of another cluster with `matched_on`.
    """

    date: str | None = None
    matched_on: str | None = None
    event: str | None = None
    latest_of: tuple[Start, ...] | None = None
    earliest_of: tuple[Start, ...] | None = None
    sliding: bool = Field(default=False, description="The date may move again (last activity).")

    @field_validator("latest_of", "earliest_of", mode="before")
    @classmethod
    def _members(cls, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return tuple({"date": v} if isinstance(v, str) else v for v in value)
        return value

    @model_validator(mode="after")
    def _one(self) -> Self:
        said = [
            n for n in ("date", "event", "latest_of", "earliest_of") if getattr(self, n) is not None
        ]
        if len(said) != 1:
            raise ValueError("say exactly one of date, event, latest_of, earliest_of")
        if self.matched_on is not None and (self.date is None or "." not in self.date):
            raise ValueError("matched_on belongs to a date of another cluster: `cluster.date`")
        if self.date is not None and "." in self.date and self.matched_on is None:
            raise ValueError("a date of another cluster needs `matched_on`")
        if any(m is not None and len(m) == 0 for m in (self.latest_of, self.earliest_of)):
            raise ValueError("an empty list has no latest and no earliest")
        return self

    def leaves(self) -> tuple[Start, ...]:
        """The single dates and events below this starting point."""
        members = self.latest_of or self.earliest_of
        return tuple(x for m in members for x in m.leaves()) if members else (self,)


class HandOver(Strict):
    """Export, verify the export, then delete."""

    to: str


class CopyTo(Strict):
    """Copy into another location, look at the copy there, then delete."""

    location: str = Field(description="`cluster/location` that the copy goes into.")
    values: dict[str, str] = Field(
        min_length=1,
        description="Column there → date, field, or subject key of the record here.",
    )


class ThenModel(Strict):
    """`then:` normalised: `delete`, or one of `{anonymise: {…}}`, `{hand_over: {to: …}}`,
    `{copy_to: {location: …, values: {…}}}`."""

    kind: Then
    anonymise: dict[str, Any] | None = None
    hand_over: HandOver | None = None
    copy_to: CopyTo | None = None


_DETAILED = (Then.ANONYMISE, Then.HAND_OVER, Then.COPY_TO)


def _parse_then(value: Any) -> Any:
    if isinstance(value, ThenModel):
        return value
    if isinstance(value, str):
        if value in _DETAILED:
            raise ValueError(f"`{value}` needs details, e.g. `{value}: {{…}}`")
        return {"kind": value}
    if isinstance(value, dict) and len(value) == 1:
        ((kind, detail),) = value.items()
        if kind in _DETAILED:
            return {"kind": kind, kind: detail}
    if isinstance(value, dict) and "kind" in value:
        return value
    raise ValueError(
        "expected delete, anonymise: {…}, hand_over: {to: …}, "
        "copy_to: {location: …, values: {…}}, restrict, review or keep"
    )


class LastOf(Strict):
    """Not before both are reached."""

    last_of: tuple[str, ...] = Field(min_length=2)


class Review(Strict):
    """Who looks at what is due, and by when."""

    by: str
    within: PeriodField | None = None


class Approval(StrEnum):
    """When a human must have approved a plan before anything is disposed of."""

    CHANGE = "change"
    EACH_RUN = "each_run"
    NONE = "none"


class Misfire(StrEnum):
    """What happens to firings that were missed while nothing was running."""

    COALESCE = "coalesce"
    ALL = "all"
    SKIP = "skip"


class Policy(Strict):
    """A deletion rule: starting point + minimum and/or maximum + what then + schedule."""

    title: str | None = None
    applies_to: Annotated[
        tuple[str, ...], BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)
    ]
    where: dict[str, Any] | None = None
    mandate: str | None = None
    starting_point: Annotated[
        Start | None, BeforeValidator(lambda v: {"date": v} if isinstance(v, str) else v)
    ] = None
    cutoff: Cutoff | None = None
    keep_at_least: PeriodField | None = None
    delete_at_latest: PeriodField | None = None
    backstop: PeriodField | None = Field(
        default=None,
        description="Latest end for a sliding start, counted from the first known date.",
    )
    cap: bool = False
    then: Annotated[ThenModel, BeforeValidator(_parse_then)]
    fields: tuple[str, ...] = ()
    schedule: str | LastOf = "@daily"
    misfire: Misfire = Misfire.COALESCE
    both_day_fields: bool = False
    limits: LimitsModel | None = None
    approval: Approval = Approval.CHANGE
    grace: PeriodField | None = None
    suppress: Annotated[
        tuple[str, ...],
        BeforeValidator(lambda v: (v,) if isinstance(v, str) else v),
    ] = ()
    review: Review | None = None
    supersedes: Annotated[
        tuple[str, ...],
        BeforeValidator(lambda v: (v,) if isinstance(v, str) else v),
        Field(validation_alias=AliasChoices("supersedes")),
    ] = ()
    owner: str | None = None
    source: str | None = None
    law: str | None = None

    @property
    def destructive(self) -> bool:
        """True where carrying this out cannot be undone."""
        return self.then.kind in DESTRUCTIVE


class Bundle(Strict):
    """Everything one organisation's policy folder says, merged and resolved."""

    organisation: Organisation
    systems: dict[str, SystemModel] = Field(default_factory=dict)
    clusters: dict[str, Cluster] = Field(default_factory=dict)
    policies: dict[str, Policy] = Field(default_factory=dict)

    def location(self, name: str) -> LocationModel:
        """The location called `cluster/location`. Raises KeyError."""
        cluster, _, location = name.partition("/")
        return self.clusters[cluster].locations[location]

    def locations(self) -> dict[str, LocationModel]:
        """All locations by their full name, in file order."""
        return {
            f"{c}/{name}": location
            for c, cluster in self.clusters.items()
            for name, location in cluster.locations.items()
        }

    def locations_of(self, policy: Policy) -> tuple[str, ...]:
        """Full names of the locations that a policy's `applies_to` selects, in file order."""
        if "*" in policy.applies_to:
            return tuple(self.locations())
        wanted = dict.fromkeys(target.partition("/")[0] for target in policy.applies_to)
        # Most policies name one cluster: no walk over thousands of others to keep the order.
        clusters = wanted if len(wanted) == 1 else (c for c in self.clusters if c in wanted)
        return tuple(
            f"{c}/{key}"
            for c in clusters
            if c in self.clusters
            for key in self.clusters[c].locations
            if c in policy.applies_to or f"{c}/{key}" in policy.applies_to
        )
