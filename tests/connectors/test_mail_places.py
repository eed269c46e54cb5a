"""One message in several places: keys, what belongs together, one record of several, acts."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.connectors import mail_headers, mail_places
from retention.connectors.base import (
    TOGETHER,
    Level,
    Outcome,
    Proof,
    Record,
    Ref,
    Result,
    Value,
    containers_of,
)
from retention.connectors.mail_groups import Groups
from retention.connectors.mail_places import Part, Places, Refused, Unit, join, merge, split
from retention.errors import PermanentFailure, TemporaryFailure

OLD = datetime(2024, 1, 10, 8, 30, tzinfo=UTC)
FOLDERS = ("Archive", "INBOX", "Sent", "Åse & Bo")
TEXTS = st.text(max_size=30)
KEYS = st.text(min_size=1, max_size=20).filter(lambda k: not k.startswith("|"))


def part(
    folder: str = "INBOX",
    uid: int = 1,
    *,
    identity: str = "x",
    trace: str = "<a@example.com>",
    received: datetime | None = OLD,
    people: Sequence[str] = ("kari@example.com",),
    cited: Sequence[str] | None = None,
) -> Part:
    """A message as a connector reads it."""
    fields: dict[str, Value] = {"from": tuple(people), "\0identity": identity}
    if cited is not None:
        fields["\0cited"] = tuple(cited)
    ref = Ref(folder, f"{folder}/7/{uid}", f"7.{uid}", trace)
    return Part.of(Record(ref, {"internal_date": received}, fields))


def collected(parts: Sequence[Part], unit: Unit = Unit.MESSAGE) -> list[Record]:
    """Records of these places."""
    groups = Groups(unit)
    for one in parts:
        ref = one.record.ref
        groups.add(ref.container, [(int(ref.key.rpartition("/")[2]), one)])
    found = [whole.record for whole in groups.wholes()]
    groups.close()
    return found


# --- keys -----------------------------------------------------------------------------------


@given(st.lists(KEYS, min_size=1, max_size=5))
def test_a_key_names_exactly_its_places(places: list[str]) -> None:
    """Whatever folders are called, no key can be read as other places than it was made of."""
    assert split(join(places)) == tuple(places)


@given(st.lists(KEYS, min_size=2, max_size=4), st.lists(KEYS, min_size=1, max_size=4))
def test_different_places_have_different_keys(one: list[str], other: list[str]) -> None:
    """No folder's name can make one record's key look like another's."""
    assert (join(one) == join(other)) == (one == other)


@given(TEXTS)
def test_what_is_no_key_is_refused(text: str) -> None:
    """A key with the mark is either of ours or refused; without it, it is one place."""
    try:
        assert join(split(text)) == text
    except PermanentFailure:
        assert text.startswith("|")


def test_one_place_keeps_the_key_that_other_programs_know() -> None:
    """A message in one place has the key that it always had."""
    assert join(["Customers/Anna/7/12"]) == "Customers/Anna/7/12"
    assert join(["A|b/7/1", "C%/7/2"]) == "|A%7Cb/7/1|C%25/7/2"


@pytest.mark.parametrize("key", ["|", "||", "|a", "|a|", "|a|b%", "|a|b%41"])
def test_keys_that_nothing_makes(key: str) -> None:
    """Half a key, an empty place, a foreign escape."""
    with pytest.raises(PermanentFailure):
        split(key)


# --- what belongs together ------------------------------------------------------------------


@st.composite
def mailboxes(draw: st.DrawFn) -> list[Part]:
    """Messages, few ids and identities, so that they meet in every way."""
    number = draw(st.integers(1, 25))
    return [
        part(
            draw(st.sampled_from(FOLDERS)),
            uid,
            identity=draw(st.sampled_from("xyz")),
            trace=draw(st.sampled_from(["<a@x>", "<b@x>", "#12@99", ""])),
            received=draw(st.sampled_from([OLD, OLD + timedelta(days=9), None])),
            people=draw(st.lists(st.sampled_from(["k@x", "b@x", "c@x"]), max_size=2)),
            cited=(),
        )
        for uid in range(1, number + 1)
    ]


@given(mailboxes(), st.randoms())
@settings(deadline=None, max_examples=60)
def test_every_place_is_in_exactly_one_record(parts: list[Part], chance: random.Random) -> None:
    """Nothing is lost, nothing twice, and only copies of one message are together, in any order."""
    records = collected(parts)
    places = [p for record in records for p in split(record.ref.key)]
    assert sorted(places) == sorted(p.record.ref.key for p in parts)
    by_key = {p.record.ref.key: p for p in parts}
    for record in records:
        assert len({by_key[p].identity for p in split(record.ref.key)}) == 1
    assert len(records) == len({p.identity for p in parts})
    chance.shuffle(parts)
    assert collected(parts) == records


@given(mailboxes())
@settings(deadline=None, max_examples=60)
def test_together_is_never_sooner(parts: list[Part]) -> None:
    """A record is as young as its youngest place, undated if one is, and about everybody."""
    by_key = {p.record.ref.key: p.record for p in parts}
    for record in collected(parts):
        places = [by_key[p] for p in split(record.ref.key)]
        dates = [p.dates["internal_date"] for p in places]
        known = [d for d in dates if isinstance(d, datetime)]
        latest = max(known) if len(known) == len(dates) else None
        assert record.dates["internal_date"] == latest
        people = record.fields["from"]
        assert isinstance(people, tuple)
        for place in places:
            told = place.fields["from"]
            assert isinstance(told, tuple)
            assert set(told) <= set(people)
        assert set(containers_of(record.ref)) == {p.ref.container for p in places}


def test_the_same_id_is_not_the_same_message() -> None:
    """Another date, sender or subject under a known Message-ID: a record of its own."""
    headers = {
        "date": [b"Wed, 10 Jan 2024 08:30:00 +0000"],
        "from": [b"Kari <kari@example.com>"],
        "subject": [b"An offer"],
    }
    same = {**headers, "subject": [b"An\r\n offer"], "received": [b"from elsewhere"]}
    first = mail_places.identity(headers)
    assert mail_places.identity(same) == first
    for name in headers:
        assert mail_places.identity({**headers, name: [b"else"]}) != first
        assert mail_places.identity({n: v for n, v in headers.items() if n != name}) != first
    moved = {"date": headers["from"], "from": headers["date"], "subject": headers["subject"]}
    assert mail_places.identity(moved) != first


def test_going_on_behind_a_place() -> None:
    """The order is that of first places, so a cursor is one."""
    parts = [part(f, n, trace=f"<{n % 7}@x>") for f in FOLDERS for n in range(1, 15)]
    groups = Groups(Unit.MESSAGE)
    for one in parts:
        groups.add(one.record.ref.container, [(int(one.record.ref.key.rpartition("/")[2]), one)])
    wholes = list(groups.wholes())
    assert len(wholes) == 7
    for n, whole in enumerate(wholes):
        assert [w.record for w in groups.wholes(whole.first)] == [w.record for w in wholes[n + 1 :]]
    groups.close()


def test_what_is_collected_has_no_name_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody else can open it, and nothing of it is left when the process is killed."""
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path))
    groups = Groups(Unit.MESSAGE)
    people = [f"person{n}@example.com" for n in range(200)]
    groups.add("INBOX", [(n, part(uid=n, trace=f"<{n}@x>", people=people)) for n in range(2000)])
    files = [os.path.realpath(fd) for fd in Path("/proc/self/fd").iterdir()]
    assert list(tmp_path.iterdir()) == []
    assert any(f.endswith(" (deleted)") and "etilqs" in f for f in files)
    assert sum(1 for _ in groups.wholes()) == 2000
    groups.close()


def test_no_room_for_the_file_passes() -> None:
    """A full disk is a temporary failure, without what SQLite says."""
    groups = Groups(Unit.MESSAGE)
    groups.close()
    with pytest.raises(TemporaryFailure) as caught:
        groups.add("INBOX", [(1, part())])
    assert not isinstance(caught.value.__context__, sqlite3.Error)


# --- one record of several --------------------------------------------------------------------


def test_a_record_of_several() -> None:
    """It names all places and containers, and its version changes with any of them."""
    one, two = part("INBOX", 1).record, part("Sent", 2, people=["bo@example.com"]).record
    whole = merge(["INBOX/7/1", "Sent/7/2"], [one, two])
    assert whole is not None
    assert whole.ref.container == f"INBOX{TOGETHER}Sent"
    assert whole.ref.key == "|INBOX/7/1|Sent/7/2"
    assert whole.ref.trace == "<a@example.com>"
    assert whole.fields == {"from": ("kari@example.com", "bo@example.com")}
    other = merge(["INBOX/7/1", "Sent/7/2"], [one, two._replace(ref=two.ref._replace(version="8"))])
    half = merge(["INBOX/7/1", "Sent/7/2"], [one, None])
    assert other is not None
    assert half is not None
    assert len({whole.ref.version, other.ref.version, half.ref.version}) == 3
    assert half.ref.key == whole.ref.key
    assert merge(["INBOX/7/1"], [None]) is None


# --- acting on places -------------------------------------------------------------------------


class Shelf:
    """Places with versions, some of which cannot be erased; remembers what was asked."""

    def __init__(
        self, places: Mapping[str, str | Refused], stuck: Mapping[str, Result] | None = None
    ):
        self.places = dict(places)
        self.stuck = dict(stuck or {})
        self.asked: list[str] = []

    def on(self) -> Places:
        return Places(lambda p: p.split("/")[0], self.versions, self.erase)

    def versions(self, places: Sequence[str]) -> dict[str, str | Refused]:
        return {p: self.places[p] for p in places if p in self.places}

    def erase(self, refs: Sequence[Ref]) -> Iterator[Outcome]:
        for ref in refs:
            self.asked.append(ref.key)
            if ref.key in self.stuck:
                yield Outcome(ref.key, self.stuck[ref.key], "stuck")
            elif self.places.get(ref.key) is None:
                yield Outcome(ref.key, Result.ALREADY_ABSENT)
            elif self.places[ref.key] != ref.version:
                yield Outcome(ref.key, Result.CHANGED)
            else:
                del self.places[ref.key]
                yield Outcome(ref.key, Result.DISPOSED)


def ref_of(*places: str, versions: Sequence[str | None]) -> Ref:
    return Ref("A", join(places), mail_places.version_of(versions))


_VERSIONS = st.sampled_from(["1", "2"])


@given(
    st.dictionaries(st.sampled_from([f"{f}/{n}" for f in "AB" for n in range(4)]), _VERSIONS),
    st.sets(st.sampled_from([f"{f}/{n}" for f in "AB" for n in range(4)])),
    st.sampled_from([Result.FAILED_TEMPORARY, Result.FAILED_PERMANENT, Result.CHANGED]),
    st.lists(st.booleans(), min_size=8, max_size=8),
)
@settings(deadline=None, max_examples=200)
def test_one_outcome_and_never_more_than_was_named(
    there: dict[str, str], stuck: set[str], how: Result, alone: list[bool]
) -> None:
    """Disposed means that every place is gone; a place that is not what it was spares them all."""
    names = [f"{f}/{n}" for f in "AB" for n in range(4)]
    refs = [ref_of(f"A/{n}", f"B/{n}", versions=["1", "1"]) for n in range(3)]
    refs += [ref_of(p, versions=["1"]) for p in ("A/3", "B/3") if alone[3]]
    shelf = Shelf(there, dict.fromkeys(stuck, how))
    outcomes = list(mail_places.erase(refs, shelf.on()))
    assert sorted(o.key for o in outcomes) == sorted(r.key for r in refs)
    for outcome in outcomes:
        places = split(outcome.key)
        was = [there.get(p) for p in places]
        left = [p for p in places if p in shelf.places]
        if outcome.result in (Result.DISPOSED, Result.ALREADY_ABSENT):
            assert not left or (len(places) == 1 and outcome.key not in there)
        if outcome.result is Result.ALREADY_ABSENT:
            assert was == [None] * len(places)
        if "2" in was:
            assert outcome.result not in (Result.DISPOSED, Result.ALREADY_ABSENT)
            assert left == [p for p in places if p in there]
    named = {p for r in refs for p in split(r.key)}
    assert {p: v for p, v in there.items() if p not in named} == {
        p: v for p, v in shelf.places.items() if p not in named
    }
    assert set(shelf.asked) <= set(names)


def test_a_place_that_cannot_go_keeps_the_rest() -> None:
    """After the first refusal nothing more of that record is touched, of others it is."""
    there = dict.fromkeys(("A/1", "B/1", "C/1", "A/2", "B/2"), "1")
    shelf = Shelf(there, {"B/1": Result.FAILED_PERMANENT})
    refs = [
        ref_of("A/1", "B/1", "C/1", versions=["1"] * 3),
        ref_of("A/2", "B/2", versions=["1"] * 2),
    ]
    told = {o.key: (o.result, o.code) for o in mail_places.erase(refs, shelf.on())}
    assert told == {
        refs[0].key: (Result.FAILED_PERMANENT, "stuck"),
        refs[1].key: (Result.DISPOSED, ""),
    }
    assert shelf.places == {"B/1": "1", "C/1": "1"}
    assert "C/1" not in shelf.asked


def test_what_a_crash_left_is_finished_and_what_came_back_is_not() -> None:
    """A place that was gone at the second look and is there again is none that was decided on."""
    shelf = Shelf({"B/1": "1"})
    ref = ref_of("A/1", "B/1", versions=["1", "1"])
    assert [o.result for o in mail_places.erase([ref], shelf.on())] == [Result.DISPOSED]
    assert [o.result for o in mail_places.erase([ref], shelf.on())] == [Result.ALREADY_ABSENT]
    shelf = Shelf({"A/1": "1", "B/1": "1"})
    half = ref_of("A/1", "B/1", versions=[None, "1"])
    assert [o.result for o in mail_places.erase([half], shelf.on())] == [Result.CHANGED]
    assert shelf.asked == []


def test_a_folder_that_is_not_there_spares_the_record() -> None:
    """Nobody can tell whether its place is gone."""
    shelf = Shelf({"A/1": "1", "B/1": Refused("folder_missing")})
    ref = ref_of("A/1", "B/1", versions=["1", "1"])
    (told,) = mail_places.erase([ref], shelf.on())
    assert (told.result, told.code) == (Result.FAILED_PERMANENT, "folder_missing")
    assert shelf.asked == []


@pytest.mark.parametrize(
    ("found", "level"),
    [
        ((Level.GONE, Level.GONE), Level.GONE),
        ((Level.GONE, Level.PRESENT), Level.PRESENT),
        ((Level.UNKNOWN, Level.PRESENT), Level.PRESENT),
        ((Level.MARKED, Level.GONE), Level.MARKED),
        ((Level.GONE, Level.UNKNOWN), Level.UNKNOWN),
    ],
)
def test_gone_only_when_every_place_is(found: tuple[Level, Level], level: Level) -> None:
    """One place that is there, or that nobody can look at, is enough."""
    ref = ref_of("A/1", "B/1", versions=["1", "1"])
    proofs = dict(zip(("A/1", "B/1"), found, strict=True))

    def look(refs: Sequence[Ref]) -> Iterator[Proof]:
        yield from (Proof(r.key, proofs[r.key], "looked") for r in refs)

    (told,) = mail_places.verify([ref], lambda p: p[0], look)
    assert (told.key, told.level) == (ref.key, level)


def test_a_hand_over_gives_every_message_once() -> None:
    """Copies that are the same are one file; what differs goes into one mbox, nothing lost."""
    ref = ref_of("A/1", "B/1", versions=["1", "1"])
    same = mail_places.content(ref, "1-2", [b"Subject: x\r\n\r\nhello", b"Subject: x\r\n\r\nhello"])
    assert (same.filename, same.data) == ("1-2.eml", b"Subject: x\r\n\r\nhello")
    two = mail_places.content(ref, "1-2", [b"A: b\r\n\r\nFrom me\r\n", b"C: d\r\n\r\n>From you"])
    assert (two.filename, two.media_type) == ("1-2.mbox", "application/mbox")
    assert two.data == (
        b"From MAILER-DAEMON Thu Jan  1 00:00:00 1970\nA: b\n\n>From me\n\n"
        b"From MAILER-DAEMON Thu Jan  1 00:00:00 1970\nC: d\n\n>>From you\n"
    )


def test_message_ids_in_headers_are_what_traces_are() -> None:
    """A folded id is the same id."""
    assert mail_headers.message_id([b"<a\r\n b@example.com>"]) == "<ab@example.com>"
