"""Threads: what refers to what, in a header, in a file of groups, on a server and on disk."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.connectors.base import (
    Bound,
    Connector,
    Level,
    Record,
    Ref,
    Result,
    Target,
    Value,
)
from retention.connectors.imap.settings import ImapLocation
from retention.connectors.mail_groups import Groups
from retention.connectors.mail_headers import split as headers_of
from retention.connectors.mail_places import Part, Unit, split
from retention.connectors.mail_threads import Threads, references
from retention.connectors.maildir.settings import MaildirLocation
from tests.connectors import imap_world, maildir_world
from tests.connectors.imap_world import ACL_CONFIG, expunge, open_imap, plain, rights, short_lived
from tests.connectors.maildir_world import deliver, folder_path, open_maildir
from tests.servers.dovecot import Dovecot
from tests.servers.mailbox import Mailbox

OLD = datetime(2024, 1, 10, 8, 30, tzinfo=UTC)
NEW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


# --- headers ----------------------------------------------------------------------------------


def cited(*lines: str) -> tuple[str, ...]:
    return references(headers_of("\r\n".join([*lines, "", ""]).encode()))


@pytest.mark.parametrize(
    ("lines", "ids"),
    [
        (["References: <a@x> <b@x>"], ("a@x", "b@x")),
        (["References: <a@x>\r\n\t<b@x>", "In-Reply-To: <b@x>"], ("a@x", "b@x")),
        (["In-Reply-To: <c@x> from kari <kari@example.com>"], ("c@x",)),
        (["In-Reply-To: your letter of Tuesday"], ()),
        (["References: <a@x><b@x>, <c@x>"], ("a@x", "b@x", "c@x")),
        (["References: <a@\r\n x> <> < > <b"], ("a@x",)),
        (["References: <a@x>", "References: <b@x>"], ("a@x", "b@x")),
        (["Subject: Re: hello"], ()),
    ],
)
def test_what_a_message_refers_to(lines: list[str], ids: tuple[str, ...]) -> None:
    """All of References and the first of In-Reply-To; nothing is guessed from subjects."""
    assert cited(*lines) == ids


def test_ten_thousand_references() -> None:
    """A hostile header counts as its beginning and its end, in no time and no memory."""
    many = " ".join(f"<{n}@x>" for n in range(10_000))
    found = cited(f"References: {many}")
    assert len(found) == 100
    assert (found[0], found[-1]) == ("0@x", "9999@x")
    assert cited("References: " + "<" * 3_000_000) == ()


# --- what is connected ------------------------------------------------------------------------


def part(uid: int, own: str, refers: Sequence[str] = ()) -> Part:
    ref = Ref("INBOX", f"INBOX/7/{uid}", "7", f"<{own}>" if own else "")
    fields: dict[str, Value] = {"\0identity": "x", "\0cited": tuple(refers)}
    return Part.of(Record(ref, {"internal_date": OLD}, fields))


def threads(parts: Sequence[Part]) -> list[set[int]]:
    groups = Groups(Unit.THREAD)
    for one in parts:
        groups.add("INBOX", [(int(one.record.ref.key.rpartition("/")[2]), one)])
    found = [{int(p.rpartition("/")[2]) for p in split(w.record.ref.key)} for w in groups.wholes()]
    groups.close()
    return found


def test_answers_to_a_lost_message_are_one_thread() -> None:
    """What both refer to connects them, there or not; a copy has the same id."""
    assert threads([part(1, "a", ["lost"]), part(2, "c", ["lost"]), part(3, "d")]) == [{1, 2}, {3}]
    assert threads([part(1, "a"), part(2, "a"), part(3, "")]) == [{1, 2}, {3}]


def test_messages_without_id_are_not_one_thread() -> None:
    """Having no Message-ID connects nothing."""
    assert threads([part(1, ""), part(2, ""), part(3, "", ["a"]), part(4, "a")]) == [
        {1},
        {2},
        {3, 4},
    ]


def test_a_loop_of_references_ends() -> None:
    """Messages that refer to each other, and to themselves, are one thread."""
    assert threads([part(1, "a", ["b"]), part(2, "b", ["c"]), part(3, "c", ["a", "c"])]) == [
        {1, 2, 3}
    ]


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdefgh"), max_size=3)),
        min_size=1,
        max_size=12,
    ),
    st.randoms(),
)
@settings(deadline=None, max_examples=60)
def test_threads_are_what_references_connect(
    messages: list[tuple[str, list[str]]], chance: random.Random
) -> None:
    """Exactly the connected ones, each message in one thread, whatever the order of arrival."""
    parts = [part(n, own, refers) for n, (own, refers) in enumerate(messages, 1)]
    expected: list[tuple[set[str], set[int]]] = []
    for number, (own, refers) in enumerate(messages, 1):
        ids, numbers = {own, *refers}, {number}
        for other in [e for e in expected if e[0] & ids]:
            expected.remove(other)
            ids, numbers = ids | other[0], numbers | other[1]
        expected.append((ids, numbers))
    chance.shuffle(parts)
    assert threads(parts) == sorted((n for _, n in expected), key=min)


def test_a_hundred_thousand_messages_fit() -> None:
    """What is held in memory of each is a few bytes; the rest is in the file."""
    tracemalloc.start()
    known = Threads()
    for number in range(100_000):
        known.add()
        known.connect([number, number // 10])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000
    assert known.root(99_999) == 0
    tracemalloc.start()
    groups = Groups(Unit.THREAD)
    for start in range(0, 10_000, 500):
        numbers = range(start, start + 500)
        groups.add("INBOX", [(n, part(n, f"{n}@x", [f"{n // 10}@x"])) for n in numbers])
    (whole,) = groups.wholes()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    groups.close()
    assert len(split(whole.record.ref.key)) == 10_000
    assert peak < 40_000_000


# --- mailboxes --------------------------------------------------------------------------------


class Post:
    """A mailbox, as a server or as files, and a location of INBOX and Sent by threads."""

    def __init__(self, mailbox: Mailbox | None, root: Path) -> None:
        self.mailbox = mailbox
        self.root = root
        self.number = 0
        for folder in ("INBOX", "Sent", "Archive"):
            if mailbox is None:
                folder_path(root, folder)
            elif folder != "INBOX":
                mailbox.create(folder)

    def target(self, unit: Unit = Unit.THREAD, *folders: str) -> Target:
        folders = folders or ("INBOX", "Sent")
        dates, fields = ("internal_date",), ("from", "message_id")
        if self.mailbox is None:
            found = maildir_world.location(*folders, dates=dates, fields=fields)
            return replace(found, settings=MaildirLocation(folders=folders, unit=unit))
        found = imap_world.location(*folders, dates=dates, fields=fields)
        return replace(found, settings=ImapLocation(folders=folders, unit=unit))

    def open(self) -> Connector:
        return open_maildir(self.root) if self.mailbox is None else open_imap(self.mailbox)

    def put(
        self,
        folder: str,
        own: str,
        *refers: str,
        at: datetime = OLD,
        sender: str = "kari@example.com",
        subject: str = "a question",
    ) -> str:
        """A message; its key."""
        told = f"References: {' '.join(f'<{r}@example.com>' for r in refers)}" if refers else ""
        data = plain(
            sender=sender, subject=subject, date=OLD, message_id=f"<{own}@example.com>", extra=told
        )
        self.number += 1
        if self.mailbox is None:
            base = f"{self.number:04}.a.host"
            deliver(folder_path(self.root, folder), base, data, at)
            return f"{folder}/{base}"
        (uid,) = self.mailbox.append(folder, data, received=at)
        with self.mailbox.client() as client:
            epoch = client.select_folder(folder, readonly=True)[b"UIDVALIDITY"]
        return f"{folder}/{epoch}/{uid}"

    def remove(self, key: str) -> None:
        """Another client deletes it."""
        folder, _, last = key.rpartition("/")
        if self.mailbox is not None:
            expunge(self.mailbox, folder.rpartition("/")[0], [int(last)])
            return
        for part in ("cur", "new"):
            for file in (folder_path(self.root, folder) / part).glob(f"{last}*"):
                file.unlink()

    def left(self, *folders: str) -> int:
        """Messages that are there now, by another route."""
        if self.mailbox is not None:
            return sum(len(self.mailbox.uids(f)) for f in folders or ("INBOX", "Sent"))
        return sum(
            1
            for f in folders or ("INBOX", "Sent")
            for part in ("cur", "new")
            for _ in (folder_path(self.root, f) / part).iterdir()
        )


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with short_lived(config=ACL_CONFIG) as running:
        yield running


@pytest.fixture(params=["imap", "maildir"])
def post(request: pytest.FixtureRequest, server: Dovecot, tmp_path: Path) -> Post:
    root = tmp_path / "Maildir"
    return Post(server.user() if request.param == "imap" else None, root)


def records(post: Post, unit: Unit = Unit.THREAD, *folders: str) -> list[Record]:
    connector = post.open()
    try:
        return [r for page in connector.find(post.target(unit, *folders)) for r in page.records]
    finally:
        connector.close()


def test_a_thread_is_one_record(post: Post) -> None:
    """With all of its messages, its latest date, and everybody who wrote."""
    first = post.put("INBOX", "1", sender="kari@example.com")
    answer = post.put("Sent", "2", "1", at=OLD + timedelta(days=5), sender="bo@example.com")
    other = post.put("INBOX", "9")
    third = post.put("INBOX", "3", "1", "2", sender="eva@example.com", subject="Re: else")
    found = {frozenset(split(r.ref.key)): r for r in records(post)}
    assert found.keys() == {frozenset({first, answer, third}), frozenset({other})}
    thread = found[frozenset({first, answer, third})]
    assert thread.dates["internal_date"] == OLD + timedelta(days=5)
    senders = thread.fields["from"]
    assert isinstance(senders, tuple)
    assert set(senders) == {"kari@example.com", "bo@example.com", "eva@example.com"}
    assert found[frozenset({other})].ref.key == other


def test_a_thread_goes_as_a_whole(post: Post) -> None:
    """One outcome, every message gone, none of another thread's."""
    post.put("INBOX", "1")
    post.put("Sent", "2", "1")
    post.put("INBOX", "9")
    refs = [r.ref for r in records(post) if "|" in r.ref.key]
    connector = post.open()
    target = post.target()
    assert [o.result for o in connector.erase(target, refs)] == [Result.DISPOSED]
    assert [p.level for p in connector.verify(target, refs, None)] == [Level.GONE]
    assert [o.result for o in connector.erase(target, refs)] == [Result.ALREADY_ABSENT]
    connector.close()
    assert post.left() == 1


@pytest.mark.parametrize("looked", [True, False])
def test_an_answer_that_comes_meanwhile_keeps_the_thread(post: Post, looked: bool) -> None:
    """Seen at the second look, and, where it comes later still, by the act itself."""
    keys = [post.put("INBOX", "1"), post.put("Sent", "2", "1")]
    target = post.target()
    connector = post.open()
    (record,) = (r for page in connector.find(target) for r in page.records)
    answer = post.put("INBOX", "3", "2", at=NEW, sender="eva@example.com")
    ref = record.ref
    if looked:
        (again,) = connector.recheck(target, [ref.key])
        assert again.ref.key == ref.key
        assert again.dates["internal_date"] == NEW
        assert "eva@example.com" in str(again.fields["from"])
        assert again.ref.version != ref.version
        ref = again.ref
    told = [(o.result, o.code) for o in connector.erase(target, [ref])]
    connector.close()
    assert told == [(Result.CHANGED, "grown")]
    assert post.left() == 3
    (now,) = records(post)
    assert set(split(now.ref.key)) == {*keys, answer}


def test_an_answer_to_a_single_message_keeps_it(post: Post) -> None:
    """A thread of one message has the key of a message, and can grow as well."""
    post.put("INBOX", "1")
    target = post.target()
    (record,) = records(post)
    post.put("Sent", "2", "1", at=NEW)
    connector = post.open()
    (again,) = connector.recheck(target, [record.ref.key])
    assert (again.ref.key, again.dates["internal_date"]) == (record.ref.key, NEW)
    for ref in (record.ref, again.ref):
        assert [o.result for o in connector.erase(target, [ref])] == [Result.CHANGED]
    connector.close()
    assert post.left() == 2


def test_an_answer_that_is_gone_again_keeps_nothing(post: Post) -> None:
    """Only what is there counts."""
    post.put("INBOX", "1")
    connector = post.open()
    target = post.target()
    (record,) = (r for page in connector.find(target) for r in page.records)
    answer = post.put("Sent", "2", "1", at=NEW)
    assert [r.dates["internal_date"] for r in connector.recheck(target, [record.ref.key])] == [NEW]
    post.remove(answer)
    (again,) = connector.recheck(target, [record.ref.key])
    assert again == record
    assert [o.result for o in connector.erase(target, [again.ref])] == [Result.DISPOSED]
    connector.close()


def test_what_is_left_of_a_thread_is_the_same_record(post: Post) -> None:
    """A message that another client deleted leaves a record with the same key, to be erased."""
    first, second = post.put("INBOX", "1"), post.put("Sent", "2", "1")
    target = post.target()
    connector = post.open()
    (record,) = (r for page in connector.find(target) for r in page.records)
    post.remove(first)
    (again,) = connector.recheck(target, [record.ref.key])
    assert again.ref.key == record.ref.key
    assert again.ref.version != record.ref.version
    assert [o.result for o in connector.erase(target, [again.ref])] == [Result.DISPOSED]
    connector.close()
    assert post.left() == 0
    assert second not in str(records(post))


def test_a_copy_of_any_message_elsewhere_is_no_success(post: Post) -> None:
    """The thread is gone when no message of it is left in the mailbox."""
    post.put("INBOX", "1")
    post.put("Sent", "2", "1")
    post.put("Archive", "2", "1")
    refs = [r.ref for r in records(post)]
    connector = post.open()
    target = post.target()
    assert [o.result for o in connector.erase(target, refs)] == [Result.DISPOSED]
    told = [(p.level, p.how) for p in connector.verify(target, refs, None)]
    connector.close()
    assert told == [(Level.PRESENT, "copy in another folder")]


def test_a_thread_is_handed_over_whole(post: Post) -> None:
    """All of its messages in one file."""
    post.put("INBOX", "1")
    post.put("Sent", "2", "1")
    refs = [r.ref for r in records(post)]
    connector = post.open()
    (content,) = connector.read(post.target(), refs)
    connector.close()
    assert content.filename.endswith(".mbox")
    for own in (b"<1@example.com>", b"<2@example.com>"):
        assert b"Message-ID: " + own in content.data


# --- copies of messages -----------------------------------------------------------------------


def test_copies_are_one_record_whatever_their_dates(post: Post) -> None:
    """Every folder's copy is a place; the youngest counts; a bound hides none of them."""
    keys = [post.put(f, "1") for f in ("INBOX", "Sent")]
    keys.append(post.put("Archive", "1", at=NEW))
    post.put("INBOX", "2")
    target = post.target(Unit.MESSAGE, "INBOX", "Sent", "Archive")
    found = {r.ref.key: r for r in records(post, Unit.MESSAGE, "INBOX", "Sent", "Archive")}
    assert len(found) == 2
    (whole,) = (r for key, r in found.items() if key.startswith("|"))
    assert sorted(split(whole.ref.key)) == sorted(keys)
    assert whole.dates["internal_date"] == NEW
    bounded = replace(target, bounds=(Bound("internal_date", OLD + timedelta(days=20)),))
    connector = post.open()
    seen = [r for page in connector.find(bounded) for r in page.records]
    scanned = sum(page.scanned for page in connector.find(bounded))
    connector.close()
    assert {r.dates["internal_date"] for r in seen} <= {OLD, NEW}
    assert [r.dates["internal_date"] for r in seen if not r.ref.key.startswith("|")] == [OLD]
    assert scanned == 2


def test_the_same_id_with_another_subject_is_another_message(post: Post) -> None:
    """An id that somebody used again puts nothing together."""
    post.put("INBOX", "1")
    post.put("Sent", "1", subject="something else")
    assert len(records(post, Unit.MESSAGE)) == 2


def test_a_filter_on_folders_judges_each_copy_by_itself(post: Post) -> None:
    """What differs between copies cannot be asked of a message."""
    post.put("INBOX", "1")
    post.put("Sent", "1")
    target = replace(post.target(Unit.MESSAGE), fields=("folder",))
    connector = post.open()
    found = [r for page in connector.find(target) for r in page.records]
    connector.close()
    assert [r.fields["folder"] for r in found] == ["INBOX", "Sent"]


def test_a_single_folder_is_read_as_ever(post: Post) -> None:
    """Nothing to put together: no collecting, and two deliveries of one message are two records."""
    post.put("INBOX", "1")
    post.put("INBOX", "1")
    assert len(records(post, Unit.MESSAGE, "INBOX")) == 2
    assert len(records(post, Unit.MESSAGE, "INBOX", "Sent")) == 1


def test_going_on_after_a_break_in_several_folders(post: Post) -> None:
    """Collected again, behind the cursor; what arrived meanwhile changes nothing before it."""
    for n in range(8):
        post.put("INBOX", str(n))
        post.put("Sent", str(n))
    target = post.target(Unit.MESSAGE)
    whole = [r.ref.key for r in records(post, Unit.MESSAGE)]
    small = (
        open_maildir(post.root, page=3) if post.mailbox is None else open_imap(post.mailbox, page=3)
    )
    first = next(iter(small.find(target)))
    small.close()
    connector = post.open()
    if post.mailbox is not None:
        post.put("INBOX", "7")
    rest = [r.ref.key for page in connector.find(target, first.cursor) for r in page.records]
    connector.close()
    assert [r.ref.key for r in first.records] + rest == whole


def test_a_cursor_of_another_shape_is_void(post: Post) -> None:
    """Folders that came or went between break and going on: found anew, never half."""
    for n in range(4):
        post.put("INBOX", str(n))
        post.put("Sent", str(n))
    connector = post.open()
    alone, both = post.target(Unit.MESSAGE, "INBOX"), post.target(Unit.MESSAGE)
    cursors = [next(iter(connector.find(t))).cursor for t in (alone, both)]
    for target, cursor in zip((both, alone), cursors, strict=True):
        with pytest.raises(Exception, match="void") as caught:
            list(connector.find(target, cursor))
        assert getattr(caught.value, "permanent", False)
    connector.close()


def test_a_right_that_lacks_in_one_folder_spares_the_whole_message(server: Dovecot) -> None:
    """Said as failed, and what is in the first folder is not touched before the second is seen."""
    post = Post(server.user(), Path())
    post.put("INBOX", "1")
    post.put("Sent", "1")
    target = post.target(Unit.MESSAGE)
    refs = [r.ref for r in records(post, Unit.MESSAGE)]
    assert post.mailbox is not None
    for letters, code in (("lr", "read_only"), ("lrswt", "lacks_right_e")):
        with rights(post.mailbox, "Sent", letters):
            connector = post.open()
            (told,) = connector.erase(target, refs)
            connector.close()
        assert (told.result, told.code) == (Result.FAILED_PERMANENT, code)
        assert post.left() == 2
