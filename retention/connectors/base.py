"""What a connector is. Read this first when you write one.

A connector object is **one session** with one system: it connects when first asked, keeps its
connection, and is closed by `close`. The engine opens one to discover and act, and another,
later, to verify, so that verification never trusts the session that acted.

What the engine does, and a connector therefore must not: decide what is due, loop over policies,
retry, limit rates, redact, log, write evidence. What a connector must do:

- stream: hold one page, never a table or a mailbox, in memory;
- act only on the refs it was given, never by a filter, never on an empty list;
- act only where the record is still what it was (`Ref.version`), and say `changed` otherwise;
- answer for every ref exactly once; an unknown result is `unknown`, never a guess;
- raise `TemporaryFailure`, `PermanentFailure` or `CredentialsRefused` with a message that holds
  no personal data, no secret and no text that the system sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Flag, StrEnum, auto
from typing import Any, NamedTuple, Protocol, runtime_checkable

from pydantic import BaseModel

Scalar = str | int | float | bool | None
Value = Scalar | tuple[str, ...] | date | datetime
"""A field's value. Headers with several addresses are tuples; dates in `fields` stay dates."""
When = datetime | date | None
"""A record's date: an aware instant (UTC), a civil date where the system holds no time, or None."""


TOGETHER = "\0"
"""Between the containers of one record; no container's name may hold it."""


class Ref(NamedTuple):
    """One record in one system, by an id that is never reused."""

    container: str
    """Table, folder, sheet or directory, as `containers` names it. Of a record that lies in
    several (a message and its copies): all of them, joined by `TOGETHER`; whatever claims one of
    them claims the record."""
    key: str
    """Native key, unique within its location and stable (for mail: folder, UIDVALIDITY, UID)."""
    version: str = ""
    """The connector's own fingerprint of what the decision rests on; the act's precondition."""
    trace: str = ""
    """What verification needs to find copies (a Message-ID). Personal: blanked with the key."""


class Record(NamedTuple):
    """A record as it was read just now. `dates` and `fields` are keyed by source name."""

    ref: Ref
    dates: Mapping[str, When]
    fields: Mapping[str, Value]


class Page(NamedTuple):
    """Some records of one container."""

    records: Sequence[Record]
    cursor: str
    """Where the next page starts, JSON text; a hint, void when the container's epoch changes."""
    scanned: int
    """Records looked at to make this page, matching or not; for progress bars."""


class Op(StrEnum):
    """Comparisons of a structured filter."""

    IN = "in"
    NOT_IN = "not_in"
    BEFORE = "before"
    AFTER = "after"
    MATCHES = "matches"
    EMPTY = "empty"


class Condition(NamedTuple):
    """One structured filter on one source; all of a query's conditions hold together."""

    source: str
    op: Op
    value: Any
    """IN, NOT_IN: scalars in a tuple. BEFORE, AFTER: date. MATCHES: regex (search). EMPTY: bool."""


class Bound(NamedTuple):
    """Push-down hint: a record whose date `source` is not before `instant` may be left out.

    A record without that date must never be left out: it is reported, not forgotten.
    """

    source: str
    instant: datetime


@dataclass(frozen=True, slots=True)
class Target:
    """A location as a connector sees it: its name, its settings, and what to read of it."""

    name: str
    settings: BaseModel
    """An instance of `Manifest.location_settings`."""
    dates: tuple[str, ...] = ()
    """Sources to read as dates (keys of `Record.dates`)."""
    fields: tuple[str, ...] = ()
    """Sources to read as values (keys of `Record.fields`)."""
    where: tuple[Condition, ...] = ()
    """Push down what you can; the engine compares every condition again."""
    bounds: tuple[Bound, ...] = ()
    """Push down what you can; the engine compares every date again."""
    span: str | None = None
    """Only this part of the location, as `Divisible.spans` named it; None: all of it. It narrows
    `find` only."""


class Cap(Flag):
    """What a connector can do. Policies that need more than this are findings of `validate`."""

    NONE = 0
    DELETE = auto()
    MASK = auto()
    """Replace field values (anonymise, field-level disposal)."""
    READ = auto()
    """Give a record's whole content (hand over)."""
    CONDITIONAL = auto()
    """The precondition is checked by the system itself, in one step with the act."""
    PUSH_DOWN = auto()
    """Old records can be found without reading all of them."""
    CHILDREN = auto()
    BIN = auto()
    """Moves to the system's bin first (`grace`)."""
    COPIES = auto()
    """Verification also looks for copies elsewhere in the system."""
    SHARDS = auto()
    """A large location can be cut into spans (`Divisible`), for several workers at once."""
    RECEIVE = auto()
    """Takes in copies of records that lie elsewhere (`Receiving`), before those are deleted."""


class Finality(StrEnum):
    """When a deleted record is really gone."""

    IMMEDIATE = "immediate"
    DEFERRED = "deferred"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Manifest:
    """A connector described as data."""

    kind: str
    title: str
    capabilities: Cap
    system_settings: type[BaseModel]
    location_settings: type[BaseModel]
    max_batch: int = 500
    """Records that one call may name, where they can be dealt with in about two seconds."""
    whole: bool = False
    """Each act rewrites a whole file: as many records as `max_batch` are given at once, however
    long it takes."""
    finality: Finality = Finality.IMMEDIATE
    serial: bool = False
    """One request at a time, or the vendor bans us."""
    notes: tuple[str, ...] = ()
    """What this connector cannot see or prove, in plain words (server backups, …)."""
    places: Callable[[str], tuple[str, ...]] | None = None
    """The keys that a key is made of, where it names a record in several places: each as if the
    record lay there alone. A hold on one of them holds the record. Never connects."""
    patterned: Callable[[Any], bool] = bool
    """Whether these location settings name containers by pattern, so that a container that was
    renamed may turn up among theirs. Unless said otherwise they may."""


def keys_of(manifest: Manifest, key: str) -> tuple[str, ...]:
    """The keys of the places that a key names, one at least."""
    return manifest.places(key) if manifest.places is not None else (key,)


def containers_of(ref: Ref) -> tuple[str, ...]:
    """The containers that a record lies in, one at least."""
    return tuple(ref.container.split(TOGETHER))


class Probe(NamedTuple):
    """One finding of `doctor`: a right, an excess right, a setting that falsifies results."""

    check: str
    ok: bool
    detail: str
    hint: str = ""


class Result(StrEnum):
    """What became of one record in one act."""

    DISPOSED = "disposed"
    RECEIVED = "received"
    """Of a copy that was taken in, or that was there already; never of a disposal."""
    ALREADY_ABSENT = "already_absent"
    CHANGED = "changed"
    """Not what it was when it was decided upon: left alone."""
    LOCKED_BY_LAW = "locked_by_law"
    LOCKED_BY_VENDOR = "locked_by_vendor"
    FAILED_TEMPORARY = "failed_temporary"
    FAILED_PERMANENT = "failed_permanent"
    UNKNOWN = "unknown"
    """The system did not say; the engine looks."""


class Outcome(NamedTuple):
    """The result for one ref. `code` is a short stable word, never the system's own text."""

    key: str
    result: Result
    code: str = ""
    until: datetime | None = None


class Level(StrEnum):
    """How far gone a record is, honest to the word."""

    PRESENT = "present"
    MARKED = "marked"
    BIN = "in_bin"
    VENDOR = "with_vendor"
    GONE = "gone"
    CLEAN = "clean"
    """Gone, and no residue in copies."""
    ATTESTED = "attested"
    UNKNOWN = "unknown"


class Proof(NamedTuple):
    """What a look on a new connection found for one ref."""

    key: str
    level: Level
    how: str
    """The route of the look, a short stable phrase: `select by key`."""
    until: datetime | None = None


class Content(NamedTuple):
    """One record's whole content, for a hand-over."""

    key: str
    media_type: str
    filename: str
    data: bytes


@runtime_checkable
class Connector(Protocol):
    """One session with one system."""

    def describe(self) -> Manifest:
        """Capabilities and settings as data. Never connects."""

    def probe(self, targets: Sequence[Target]) -> Iterator[Probe]:
        """Check credentials, rights, excess rights, and that each target exists as described."""

    def containers(self, target: Target) -> tuple[str, ...]:
        """The concrete containers a location covers now (table name, resolved folders, sheets).

        Two locations that share a container share its records. Raises PermanentFailure when a
        container named literally does not exist.
        """

    def count(self, target: Target) -> int | None:
        """Records in all, cheaply, ignoring `bounds`; None when only a scan could tell."""

    def find(self, target: Target, cursor: str | None = None) -> Iterator[Page]:
        """Every record that may match `where` and `bounds`, in pages, in bounded memory.

        Nothing may be acted upon while this runs; the engine spools it first.
        """

    def recheck(self, target: Target, keys: Sequence[str]) -> Iterator[Record]:
        """Read these records again, now. A key that yields no record is absent."""

    def erase(self, target: Target, refs: Sequence[Ref]) -> Iterator[Outcome]:
        """Delete exactly these, each only if its version still fits. One outcome per ref."""

    def mask(
        self, target: Target, refs: Sequence[Ref], values: Mapping[str, Scalar]
    ) -> Iterator[Outcome]:
        """Overwrite these sources of exactly these records. One outcome per ref."""

    def read(self, target: Target, refs: Sequence[Ref]) -> Iterator[Content]:
        """The whole content of each record, for a hand-over."""

    def verify(
        self,
        target: Target,
        refs: Sequence[Ref],
        control: Ref | None,
        masked: Mapping[str, Scalar] | None = None,
    ) -> Iterator[Proof]:
        """Look for each record by another route than the act's answer. One proof per ref.

        `control` is a record known to exist: where it cannot be read, every proof is `unknown`
        (a lost permission must not read as "gone"). With `masked`, the record should exist and
        these sources should hold these values: then the level is `gone`.
        """

    def close(self) -> None:
        """End the session. May be called twice."""


@runtime_checkable
class Divisible(Protocol):
    """A session with a system of which large locations can be cut (`Cap.SHARDS`)."""

    def spans(self, target: Target, most: int, least: int) -> tuple[str | None, ...]:
        """Cut a location into at most `most` parts of about `least` records or more, cheaply.

        Together they hold every record that `find` without a span would give, also those that
        are added meanwhile at either end, and no record lies in two. `(None,)`: not worth a cut.
        """


class Arrival(NamedTuple):
    """A copy of a record that lies elsewhere, on its way into a location."""

    key: str
    """The key that the copy gets: the same each time that this record is copied."""
    values: Mapping[str, Value]
    """Source name here → value. Instants are aware; each system stores them in its own way."""


@runtime_checkable
class Receiving(Protocol):
    """A session with a system that takes in copies of records (`Cap.RECEIVE`)."""

    def receive(self, target: Target, arrivals: Sequence[Arrival]) -> Iterator[Outcome]:
        """Add these records, each under its key and once. One outcome per arrival.

        A key that is there already is left as it is, and answered `received` too: the engine
        reads every copy again on another session, and compares, before anything is deleted.
        """


@dataclass(slots=True)
class Opened:
    """What a factory gets: a system's name, its settings with secrets resolved, and its folder."""

    system: str
    settings: BaseModel
    base: str
    """Folder of the policy files; relative paths start here."""
    extras: Mapping[str, Any] = field(default_factory=dict)
