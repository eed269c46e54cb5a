"""One message in several places, and threads: one record that stands for all of them.

A record lies in one place (a message in a folder) or in several: copies of one message in the
folders of a location, or all messages of a thread. Its key names every place, so nothing is
deleted that the key does not name; its dates are the latest of its places and its people are
everybody's, so putting places together can only make a disposal later, never sooner.

Pure, and shared by the connectors that hold mail. What they add is how to read and erase places.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from enum import StrEnum
from hashlib import blake2b
from operator import itemgetter
from typing import NamedTuple

from retention.connectors import mail_headers
from retention.connectors.base import (
    TOGETHER,
    Content,
    Level,
    Outcome,
    Proof,
    Record,
    Ref,
    Result,
    Target,
    Value,
    When,
)
from retention.connectors.mail_folders import MailFolder
from retention.connectors.mail_sources import DATES, Message, Own, Sources
from retention.connectors.mail_threads import references
from retention.errors import PermanentFailure

MARK = "|"
"""Before each place in a key that names several."""
_GONE = "-"
_GROWN = "*"
_PER_PLACE = frozenset({"folder", "flags", "size"})
"""Sources in which copies of one message differ."""
_IDENTITY = "\0identity"
_CITED = "\0cited"


class Unit(StrEnum):
    """What a record of a mail location is."""

    MESSAGE = "message"
    THREAD = "thread"


# --- keys -----------------------------------------------------------------------------------------


def join(places: Sequence[str]) -> str:
    """The key of a record that lies in these places; of one place, its own key as it is."""
    if len(places) == 1:
        return places[0]
    return "".join(MARK + p.replace("%", "%25").replace(MARK, "%7C") for p in places)


def split(key: str) -> tuple[str, ...]:
    """The places that a key names. Raises PermanentFailure for what `join` did not make."""
    if not key.startswith(MARK):
        return (key,)
    parts = key[1:].split(MARK)
    places = tuple(p.replace("%7C", MARK).replace("%25", "%") for p in parts)
    if len(places) < 2 or not all(places) or join(places) != key:
        raise PermanentFailure("a key is none of this connector's", code="bad_key")
    return places


def several(key: str) -> bool:
    """Does this key name more than one place?"""
    return key.startswith(MARK)


def nameable(folders: tuple[MailFolder, ...], place: str) -> tuple[MailFolder, ...]:
    """These folders, as long as keys can tell their messages from records in several places.

    Raises PermanentFailure.
    """
    if any(f.name.startswith(MARK) or TOGETHER in f.name for f in folders):
        raise PermanentFailure(
            f"a folder's name begins with `{MARK}`, which marks several places in a key, or holds"
            " a null character",
            hint="rename the folder, or leave it out of `folders`",
            place=place,
            code="folder_name",
        )
    return folders


# --- what belongs together ------------------------------------------------------------------------


def together(target: Target, unit: Unit, folders: int) -> bool:
    """Whether records of this location may lie in several places.

    Not in a single folder; nor where something asks for what differs from copy to copy: such a
    filter speaks of a copy, and each is then judged by itself.
    """
    if unit is Unit.THREAD:
        return True
    asked = {*target.dates, *target.fields, *(c.source for c in target.where)}
    return folders > 1 and not asked & _PER_PLACE


class WholeSources(Sources):
    """Reads of each message also what tells whether it belongs to another one."""

    def __init__(self, target: Target, own: Own, unit: Unit) -> None:
        super().__init__(target, own)
        self._unit = unit
        more = {"date", "from", "subject"}
        more |= {"in-reply-to", "references"} if unit is Unit.THREAD else set()
        self.headers = tuple(sorted({*self.headers, *more}))

    def fields(self, message: Message) -> dict[str, Value]:
        """With two fields that `Part.of` takes out again."""
        found = super().fields(message)
        found[_IDENTITY] = identity(message.headers)
        if self._unit is Unit.THREAD:
            found[_CITED] = references(message.headers)
        return found


class Part(NamedTuple):
    """One place of a record, as it was read, and what it belongs to."""

    record: Record
    identity: bytes
    """Equal for copies of one message and for nothing else."""
    cited: tuple[str, ...]
    """Message-IDs that it refers to, itself first; empty where threads do not matter."""

    @classmethod
    def of(cls, read: Record) -> Part:
        """From a record that was read with `WholeSources`."""
        plain = {k: v for k, v in read.fields.items() if k not in (_IDENTITY, _CITED)}
        cited = read.fields.get(_CITED)
        own = read.ref.trace or read.ref.key
        told = f"{own}\0{read.fields[_IDENTITY]}"
        return cls(
            Record(read.ref, read.dates, plain),
            blake2b(told.encode("utf-8", "surrogateescape"), digest_size=16).digest(),
            (own.strip("<>"), *cited) if isinstance(cited, tuple) else (),
        )


def identity(headers: mail_headers.Headers) -> str:
    """What copies of a message share beside its Message-ID, which anybody may use again.

    Date, From and Subject as the sender wrote them; size, Received and the like differ between
    what was sent and what came back. A list that changes the subject makes another message.
    """
    told = (
        b" ".join(b" ".join(headers.get(name, ())).split()) for name in ("date", "from", "subject")
    )
    return blake2b(b"\0".join(told), digest_size=16).hexdigest()


# --- one record of several ------------------------------------------------------------------------


def merge(
    places: Sequence[str], parts: Sequence[Record | None], grown: Sequence[Record] = ()
) -> Record | None:
    """The record in these places. `parts`: each as it was read now, None where it is gone.

    `grown`: messages that belong to it too and that its key does not name: they count for dates
    and people, and `erase` leaves such a record alone. None where no place is left.
    """
    here = [part for part in parts if part is not None]
    if not here:
        return None
    if len(places) == 1 and not grown:
        return here[0]
    counted = [*here, *grown]
    first = here[0]
    traces = dict.fromkeys(part.ref.trace for part in here if part.ref.trace)
    return Record(
        Ref(
            TOGETHER.join(dict.fromkeys(part.ref.container for part in counted)),
            join(places),
            version_of([part and part.ref.version for part in parts]) + (_GROWN if grown else ""),
            " ".join(traces),
        ),
        {source: _latest(part.dates[source] for part in counted) for source in first.dates},
        {
            source: _all_of(source, [part.fields[source] for part in counted])
            for source in first.fields
        },
    )


def version_of(versions: Sequence[str | None]) -> str:
    """One text for the versions of all places, in their order; None: the place is gone."""
    if len(versions) == 1:
        return versions[0] or ""
    return ",".join(_GONE if version is None else _short(version) for version in versions)


def _short(version: str) -> str:
    digest = blake2b(version.encode("utf-8", "surrogateescape"), digest_size=6).digest()
    return b64encode(digest, altchars=b"._").decode("ascii")


def _latest(dates: Iterable[When]) -> When:
    """The latest; None as soon as one is unknown, because that one may be the latest."""
    latest: When = None
    for when in dates:
        if when is None:
            return None
        if latest is None or _instant(when) > _instant(latest):
            latest = when
    return latest


def _instant(when: datetime | date) -> tuple[date, float]:
    if isinstance(when, datetime):
        return when.date(), when.timestamp()
    return when, float("inf")


def _all_of(source: str, values: Sequence[Value]) -> Value:
    if source in DATES:
        return _latest([v if isinstance(v, date) else None for v in values])
    if source == "size":
        return sum(v for v in values if isinstance(v, int))
    found: dict[str, None] = {}
    for value in values:
        texts = value if isinstance(value, tuple) else () if value is None else (str(value),)
        found.update(dict.fromkeys(texts))
    if len(found) > 1 or any(isinstance(value, tuple) for value in values):
        return tuple(found)
    return next(iter(found), None)


def traces(ref: Ref) -> tuple[str, ...]:
    """The traces of all messages that a record stands for."""
    return tuple(ref.trace.split(" ")) if ref.trace else ()


# --- the calls of a connector, over places --------------------------------------------------------

Read = Callable[[Sequence[str]], Iterator[Record]]
"""Records of single places, those that are there."""
Beside = Callable[[Sequence[str]], Mapping[str, Sequence[str]]]
"""Key → places that belong to its record now, besides those that the key names."""


def recheck(keys: Sequence[str], read: Read, beside: Beside | None = None) -> Iterator[Record]:
    """Records of these keys as they are now: present as long as one place is."""
    more = beside(keys) if beside is not None else {}
    if not more and not any(map(several, keys)):
        yield from read(keys)
        return
    named = {key: split(key) for key in keys}
    wanted = dict.fromkeys(p for places in (*named.values(), *more.values()) for p in places)
    found = {record.ref.key: record for record in read(list(wanted))}
    for key, places in named.items():
        grown = [found[p] for p in more.get(key, ()) if p in found]
        record = merge(places, [found.get(p) for p in places], grown)
        if record is not None:
            yield record


class Refused(NamedTuple):
    """Instead of a place's version: why it could not be erased."""

    code: str


class Places(NamedTuple):
    """How a connector acts on single places."""

    container: Callable[[str], str]
    """The folder of a place."""
    versions: Callable[[Sequence[str]], Mapping[str, str | Refused]]
    """Versions of places as they are now, or what is in the way. Missing: gone."""
    erase: Callable[[Sequence[Ref]], Iterator[Outcome]]
    """Delete single places; one outcome each."""


_WHOLE = frozenset({Result.DISPOSED, Result.ALREADY_ABSENT})


def erase(refs: Sequence[Ref], on: Places, beside: Beside | None = None) -> Iterator[Outcome]:
    """One outcome per ref: disposed only when every place is gone.

    Every place is looked at before the first is touched, and a record one place of which could
    not be erased keeps those that are left. Folder by folder over all refs: few changes of folder.
    """
    if beside is None and not any(several(ref.key) for ref in refs):
        yield from on.erase(refs)
        return
    acts = yield from _checked(refs, on, beside)
    by_folder: dict[str, list[tuple[str, _Act]]] = {}
    for act in acts:
        for place in act.left:
            by_folder.setdefault(on.container(place), []).append((place, act))
    for folder, inside in sorted(by_folder.items(), key=itemgetter(0)):
        here: dict[str, list[_Act]] = {}
        for place, act in inside:
            if act.whole:
                # Two records may share a place: one was found before the other's key was made.
                here.setdefault(place, []).append(act)
        given = [Ref(folder, p, act.left[p], act.ref.trace) for p, (act, *_) in here.items()]
        for outcome in on.erase(given) if given else ():
            for act in here[outcome.key]:
                act.note(outcome)
        for act in dict.fromkeys(act for _, act in inside):
            if act.settled():
                yield act.outcome()


class _Act:
    """One record while its places are erased."""

    def __init__(self, ref: Ref, left: dict[str, str]) -> None:
        self.ref = ref
        self.left = left
        """Place → the version it had just now; without those that are done with."""
        self.codes: list[str] = []
        self.failed: Outcome | None = None
        self._told = False

    @property
    def whole(self) -> bool:
        return self.failed is None

    def note(self, outcome: Outcome) -> None:
        del self.left[outcome.key]
        if outcome.result in _WHOLE:
            self.codes.append(outcome.code)
        elif self.failed is None or outcome.result is Result.FAILED_PERMANENT:
            self.failed = outcome

    def settled(self) -> bool:
        """Whether the answer is known, and was not given yet."""
        if self._told or (self.left and self.whole):
            return False
        self._told = True
        return True

    def outcome(self) -> Outcome:
        if self.failed is not None:
            return self.failed._replace(key=self.ref.key)
        return Outcome(self.ref.key, Result.DISPOSED, next(filter(None, self.codes), ""))


def _checked(
    refs: Sequence[Ref], on: Places, beside: Beside | None
) -> Generator[Outcome, None, list[_Act]]:
    """Outcomes of what is left alone; returns what may be acted upon."""
    more = beside([ref.key for ref in refs]) if beside is not None else {}
    named = {ref.key: split(ref.key) for ref in refs}
    wanted = dict.fromkeys(p for places in (*named.values(), *more.values()) for p in places)
    now = on.versions(list(wanted))
    acts: list[_Act] = []
    for ref in refs:
        places = named[ref.key]
        there = {p: now[p] for p in places if p in now}
        refused = _refused(ref, places, now, [p for p in more.get(ref.key, ()) if p in now])
        if refused is not None:
            yield refused
        elif not there:
            yield Outcome(ref.key, Result.ALREADY_ABSENT)
        else:
            acts.append(_Act(ref, {p: v for p, v in there.items() if isinstance(v, str)}))
    return acts


def _refused(
    ref: Ref, places: Sequence[str], now: Mapping[str, str | Refused], grown: Sequence[str]
) -> Outcome | None:
    if grown or ref.version.endswith(_GROWN):
        return Outcome(ref.key, Result.CHANGED, "grown")
    for place in places:
        # Noticed before any other place is touched: a record goes as a whole or stays.
        if isinstance(found := now.get(place), Refused):
            return Outcome(ref.key, Result.FAILED_PERMANENT, found.code)
    decided = ref.version.split(",") if len(places) > 1 else [ref.version]
    if len(decided) != len(places):
        return Outcome(ref.key, Result.CHANGED)
    for place, version in zip(places, decided, strict=True):
        # A place that is gone meanwhile spoils nothing; one that differs, or is back, does.
        is_now = now.get(place)
        if isinstance(is_now, str) and version != (_short(is_now) if len(places) > 1 else is_now):
            return Outcome(ref.key, Result.CHANGED)
    return None


_WORST = (Level.PRESENT, Level.MARKED, Level.UNKNOWN)
"""What any place of a record can be that keeps the record from being gone, the surest first."""


def verify(
    refs: Sequence[Ref],
    container: Callable[[str], str],
    look: Callable[[Sequence[Ref]], Iterator[Proof]],
) -> Iterator[Proof]:
    """One proof per ref: gone only when every place is. `look`: proofs of single places."""
    if not any(several(ref.key) for ref in refs):
        yield from look(refs)
        return
    named = {ref.key: split(ref.key) for ref in refs}
    single = {p: Ref(container(p), p, "", ref.trace) for ref in refs for p in named[ref.key]}
    proofs = {proof.key: proof for proof in look(list(single.values()))}
    for ref in refs:
        found = [proofs[p] for p in named[ref.key] if p in proofs]
        if len(found) < len(named[ref.key]):
            continue
        bad = [p for level in _WORST for p in found if p.level is level]
        yield (bad[0] if bad else found[0])._replace(key=ref.key)


def content(ref: Ref, name: str, messages: Sequence[bytes]) -> Content:
    """A record's messages for a hand-over. `name`: a file's name that says nothing."""
    distinct = list(dict.fromkeys(messages))
    if len(distinct) == 1:
        return Content(ref.key, "message/rfc822", f"{name}.eml", distinct[0])
    return Content(ref.key, "application/mbox", f"{name}.mbox", _mbox(distinct))


def _mbox(messages: Iterable[bytes]) -> bytes:
    """Messages in one file, in the mboxrd form: what looks like its separator is quoted."""
    out = []
    for message in messages:
        lines = message.replace(b"\r\n", b"\n").rstrip(b"\n").split(b"\n")
        quoted = [b">" + n if n.lstrip(b">").startswith(b"From ") else n for n in lines]
        out += [b"From MAILER-DAEMON Thu Jan  1 00:00:00 1970", *quoted, b""]
    return b"\n".join(out)
