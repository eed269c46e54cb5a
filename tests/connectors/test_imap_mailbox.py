"""What only a mail server does: other clients' marks, replaced folders, special uses, odd names."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from retention.connectors.base import (
    Bound,
    Condition,
    Divisible,
    Level,
    Op,
    Record,
    Ref,
    Result,
    Target,
)
from retention.connectors.imap import connector as imap_connector
from retention.connectors.imap import copies
from retention.errors import PermanentFailure
from tests.connectors.imap_world import (
    ACL_CONFIG,
    expunge,
    location,
    open_imap,
    plain,
    rights,
    short_lived,
)
from tests.servers.dovecot import Dovecot
from tests.servers.mailbox import Mailbox, message

OLD = datetime(2024, 1, 10, 8, 30, tzinfo=UTC)
INBOX = location("INBOX")


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    """A server with rights, a second folder marked \\Sent under a local name, quick logins."""
    config = (
        ACL_CONFIG
        + """
namespace inbox {
  mailbox "Sendte ting" {
    auto = create
    special_use = \\Sent
  }
}
"""
    )
    with short_lived(config=config) as running:
        yield running


@pytest.fixture
def mailbox(server: Dovecot) -> Mailbox:
    return server.user()


def found(mailbox: Mailbox, target: Target = INBOX) -> list[Record]:
    connector = open_imap(mailbox)
    try:
        return [record for page in connector.find(target) for record in page.records]
    finally:
        connector.close()


def refs(mailbox: Mailbox, target: Target = INBOX) -> list[Ref]:
    return [record.ref for record in found(mailbox, target)]


def erased(mailbox: Mailbox, given: list[Ref], target: Target = INBOX) -> list[Result]:
    connector = open_imap(mailbox)
    try:
        return [outcome.result for outcome in connector.erase(target, given)]
    finally:
        connector.close()


def proofs(mailbox: Mailbox, given: list[Ref], target: Target = INBOX) -> list[tuple[Level, str]]:
    connector = open_imap(mailbox)
    try:
        return [(p.level, p.how) for p in connector.verify(target, given, None)]
    finally:
        connector.close()


# --- acting ---------------------------------------------------------------------------------


def test_what_others_only_marked_stays(mailbox: Mailbox) -> None:
    """A foreign \\Deleted mark survives our act: a plain EXPUNGE would have removed it."""
    ours, foreign, other = mailbox.append("INBOX", plain(), plain(), plain(), received=OLD)
    with mailbox.client() as client:
        client.select_folder("INBOX")
        client.add_flags([foreign], [b"\\Deleted"])
        assert erased(mailbox, refs(mailbox)[:1]) == [Result.DISPOSED]
    assert mailbox.uids("INBOX") == [foreign, other]
    assert ours not in mailbox.uids("INBOX")
    with mailbox.client() as client:
        client.select_folder("INBOX", readonly=True)
        assert b"\\Deleted" in client.get_flags([foreign])[foreign]


def test_what_we_marked_before_a_crash_is_finished(mailbox: Mailbox) -> None:
    """A process that died between STORE and UID EXPUNGE leaves marks; a redo removes them."""
    uids = mailbox.append("INBOX", plain(), plain(), received=OLD)
    given = refs(mailbox)
    with mailbox.client() as client:
        client.select_folder("INBOX")
        client.add_flags(uids, [b"\\Deleted"])
    assert proofs(mailbox, given) == [(Level.MARKED, "uid fetch")] * 2
    assert erased(mailbox, given) == [Result.DISPOSED] * 2
    assert mailbox.uids("INBOX") == []


def test_a_refused_expunge_takes_its_marks_back(mailbox: Mailbox) -> None:
    """Without the right to expunge nothing stays marked, or the next client would delete it."""
    mailbox.create("Shared")
    target = location("Shared")
    uids = mailbox.append("Shared", plain(), plain(), received=OLD)
    given = refs(mailbox, target)
    with mailbox.client() as client:
        client.select_folder("Shared")
        client.add_flags([uids[1]], [b"\\Deleted"])
    with rights(mailbox, "Shared", "lrswt"):
        assert erased(mailbox, given, target) == [Result.FAILED_PERMANENT] * 2
    with mailbox.client() as client:
        client.select_folder("Shared", readonly=True)
        flags = client.get_flags(uids)
        assert b"\\Deleted" not in flags[uids[0]]
        assert b"\\Deleted" in flags[uids[1]]


def test_a_read_only_folder_is_refused(mailbox: Mailbox) -> None:
    """Without the right to write nothing is done."""
    mailbox.create("Shared")
    target = location("Shared")
    mailbox.append("Shared", plain(), received=OLD)
    given = refs(mailbox, target)
    with rights(mailbox, "Shared", "lr"):
        assert erased(mailbox, given, target) == [Result.FAILED_PERMANENT]
    assert len(mailbox.uids("Shared")) == 1


def test_flags_count_only_where_a_filter_uses_them(mailbox: Mailbox) -> None:
    """A flag set in between blocks the act when the policy filters on flags, else it does not."""
    uids = mailbox.append("INBOX", plain(), plain(), received=OLD)
    by_flags = location("INBOX", where=(Condition("flags", Op.NOT_IN, ("\\Flagged",)),))
    with_filter, without = refs(mailbox, by_flags), refs(mailbox)
    with mailbox.client() as client:
        client.select_folder("INBOX")
        client.add_flags(uids, [b"\\Flagged"])
    assert erased(mailbox, with_filter[:1], by_flags) == [Result.CHANGED]
    assert erased(mailbox, without[1:]) == [Result.DISPOSED]
    assert mailbox.uids("INBOX") == uids[:1]


def test_a_replaced_folder_voids_what_was_found(mailbox: Mailbox) -> None:
    """Same name, same UIDs, another UIDVALIDITY: nothing is touched and the error says why."""
    mailbox.append("Letters", plain(message_id="<one@example.com>"), received=OLD)
    target = location("Letters")
    given = refs(mailbox, target)
    with mailbox.client() as client:
        client.delete_folder("Letters")
    mailbox.append("Letters", plain(message_id="<two@example.com>"), received=OLD)
    assert [r.ref.key for r in found(mailbox, target)] != [r.key for r in given]
    connector = open_imap(mailbox)
    with pytest.raises(PermanentFailure, match="UIDVALIDITY"):
        list(connector.recheck(target, [given[0].key]))
    assert [o.result for o in connector.erase(target, given)] == [Result.CHANGED]
    connector.close()
    assert len(mailbox.uids("Letters")) == 1
    assert [level for level, _ in proofs(mailbox, given, target)] == [Level.GONE]


def test_a_replaced_folder_that_still_has_the_message_is_no_success(mailbox: Mailbox) -> None:
    """After a change of UIDVALIDITY the message is looked for everywhere by its Message-ID."""
    same = plain(message_id="<same@example.com>")
    mailbox.append("Letters", same, received=OLD)
    target = location("Letters")
    given = refs(mailbox, target)
    with mailbox.client() as client:
        client.delete_folder("Letters")
    mailbox.append("Letters", same, received=OLD)
    assert [level for level, _ in proofs(mailbox, given, target)] == [Level.PRESENT]


def test_a_vanished_folder_proves_nothing(mailbox: Mailbox) -> None:
    """A folder that we may not see looks like one that is gone: unknown, never gone."""
    mailbox.append("Letters", plain(), received=OLD)
    target = location("INBOX", "Letters")
    given = refs(mailbox, target)
    with mailbox.client() as client:
        client.delete_folder("Letters")
    connector = open_imap(mailbox)
    assert list(connector.recheck(location("*"), [given[0].key])) == []
    for asked in (location("*"), target):
        assert [p.level for p in connector.verify(asked, given, None)] == [Level.UNKNOWN]
    connector.close()


# --- copies ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 20])
def test_copies_elsewhere_are_no_success(mailbox: Mailbox, count: int) -> None:
    """Gone from its folder, but still in another one: present, whichever way they are counted."""
    letters = [plain(message_id=f"<{n}@example.com>") for n in range(count)]
    mailbox.append("INBOX", *letters, received=OLD)
    mailbox.append("Archive", letters[0], plain(message_id="<10@example.com.other>"), received=OLD)
    given = refs(mailbox)
    assert set(erased(mailbox, given)) == {Result.DISPOSED}
    told = proofs(mailbox, given)
    assert told[0] == (Level.PRESENT, "copy in another folder")
    assert {level for level, _ in told[1:]} <= {Level.GONE}


def test_messages_without_id_are_traced_by_size_and_date(mailbox: Mailbox) -> None:
    """A copy keeps both; another message without id is not taken for one."""
    one, two = plain(body="one"), plain(body="another one")
    mailbox.append("INBOX", one, two, received=OLD)
    with mailbox.client() as client:
        client.select_folder("INBOX")
        client.copy([1], "Trash")
    given = refs(mailbox)
    assert all(ref.trace.startswith("#") for ref in given)
    erased(mailbox, given)
    assert [level for level, _ in proofs(mailbox, given)] == [Level.PRESENT, Level.GONE]


def test_what_is_known_of_other_folders_is_kept_up_to_date(mailbox: Mailbox) -> None:
    """One session: a copy that comes is seen, a copy that goes is forgotten."""
    letters = [plain(message_id=f"<{n}@example.com>") for n in range(12)]
    mailbox.append("INBOX", *letters, received=OLD)
    mailbox.append("Archive", plain(message_id="<else@example.com>"), received=OLD)
    given = refs(mailbox)
    erased(mailbox, given)
    connector = open_imap(mailbox)

    def present() -> list[str]:
        told = connector.verify(INBOX, given, None)
        return [p.key for p in told if p.level is Level.PRESENT]

    assert present() == []
    mailbox.append("Archive", letters[3], letters[4], received=OLD)
    assert present() == [given[3].key, given[4].key]
    expunge(mailbox, "Archive", [2])
    assert present() == [given[4].key]
    connector.close()


def test_a_folder_we_may_not_read_does_not_stop_the_look(mailbox: Mailbox) -> None:
    """Other people's folders may be closed to us; what can be read is."""
    letter = plain(message_id="<x@example.com>")
    mailbox.append("INBOX", letter, received=OLD)
    mailbox.append("Closed", letter, received=OLD)
    given = refs(mailbox)
    erased(mailbox, given)
    with rights(mailbox, "Closed", "l"):
        assert [level for level, _ in proofs(mailbox, given)] == [Level.GONE]
    assert [level for level, _ in proofs(mailbox, given)] == [Level.PRESENT]


# --- folders --------------------------------------------------------------------------------

ODD_FOLDERS = (
    "with space",
    'quo"te',
    "back\\slash",
    "R&D",
    "Åse & Bjørn",
    "日本",
    "NIL",
    "123",
    "brace{3}",
    "(paren)",
    "[Gmail]",
    "per%cent",
    "hash#1",
    "Customers/Anna/2024",
)


def test_odd_folder_names(mailbox: Mailbox) -> None:
    """Quotes, braces, other alphabets: every folder is found, read, emptied and verified."""
    for name in ODD_FOLDERS:
        mailbox.append(name, plain(message_id=f"<{abs(hash(name))}@example.com>"), received=OLD)
    connector = open_imap(mailbox)
    for name in ODD_FOLDERS:
        target = location(name)
        assert connector.containers(target) == (name,)
        (record,) = (r for page in connector.find(target) for r in page.records)
        assert record.ref.key.startswith(f"{name}/")
        assert [o.result for o in connector.erase(target, [record.ref])] == [Result.DISPOSED]
        assert [p.level for p in connector.verify(target, [record.ref], None)] == [Level.GONE]
    connector.close()


def test_special_uses_patterns_and_unsubscribed_folders(mailbox: Mailbox) -> None:
    """Special uses are flags, not names; patterns cover levels; a pattern may match nothing."""
    mailbox.create("Customers/Anna", "Customers/Bo/2024")
    connector = open_imap(mailbox)
    assert connector.containers(location("\\Sent")) == ("Sendte ting", "Sent")
    assert connector.containers(location("\\Trash", "inbox")) == ("INBOX", "Trash")
    assert connector.containers(location("Customers/*")) == ("Customers/Anna", "Customers/Bo/2024")
    assert connector.containers(location("Nothing*")) == ()
    assert list(connector.find(location("Nothing*"))) == []
    assert connector.count(location("Nothing*")) == 0
    connector.close()


@pytest.mark.parametrize(
    ("name", "hint"),
    [("Custmers/Anna", "Customers/Anna"), ("Customers", "Customers/*"), ("\\All", "name the")],
)
def test_a_folder_that_is_not_there(mailbox: Mailbox, name: str, hint: str) -> None:
    """A literal name must exist; the hint offers only names close to what was written."""
    mailbox.create("Customers/Anna")
    connector = open_imap(mailbox)
    with pytest.raises(PermanentFailure) as caught:
        connector.containers(location(name))
    connector.close()
    assert hint in caught.value.hint
    assert caught.value.place == "post/mail"


def test_dots_between_levels() -> None:
    """Where the server writes `Customers.Anna`, a policy may say `Customers/*`."""
    with short_lived(separator=".") as running:
        mailbox = running.user()
        mailbox.append("Customers.Anna", plain(), received=OLD)
        (record,) = found(mailbox, location("Customers/*"))
        assert record.ref.container == "Customers.Anna"


# --- finding --------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [-14, -1, 0, 1, 14])
def test_bounds_round_outwards(mailbox: Mailbox, hours: int) -> None:
    """BEFORE knows days of an unnamed zone only: what is before the bound is always found."""
    edge = datetime(2024, 5, 1, tzinfo=UTC) + timedelta(hours=hours)
    for minutes in (-1, 1):
        mailbox.append("INBOX", plain(), received=edge + timedelta(minutes=minutes))
    dates = {
        r.dates["internal_date"]
        for r in found(mailbox, location("INBOX", bounds=(Bound("internal_date", edge),)))
    }
    assert edge - timedelta(minutes=1) in dates


def test_bounds_leave_most_of_a_mailbox_unread(mailbox: Mailbox) -> None:
    """The server does the sorting out: new mail is not fetched."""
    mailbox.append("INBOX", *[plain()] * 3, received=OLD + timedelta(days=300))
    mailbox.append("INBOX", *[plain()] * 2, received=OLD)
    bound = Bound("internal_date", OLD + timedelta(days=30))
    assert len(found(mailbox, location("INBOX", bounds=(bound,)))) == 2


def test_our_own_addresses_are_no_correspondents(mailbox: Mailbox) -> None:
    """The username and the listed addresses are left out, in any case of letters."""
    mailbox.append(
        "INBOX",
        plain(
            sender=f"Us <{mailbox.username.upper()}>, Sales@Example.org, Kari <KARI@example.com>",
            extra='Cc: "Hansen, Ola" <ola@example.com>, x:;\r\nReply-To: kari@example.com',
        ),
    )
    target = location("INBOX", fields=("from", "to", "cc", "bcc", "reply_to", "flags", "size"))
    connector = open_imap(mailbox, own=["sales@example.org", "POST@example.org"])
    ((record,),) = (page.records for page in connector.find(target))
    connector.close()
    size = record.fields["size"]
    assert isinstance(size, int)
    assert size > 100
    assert {k: v for k, v in record.fields.items() if k not in ("size", "flags")} == {
        "from": ("kari@example.com",),
        "to": (),
        "cc": ("ola@example.com",),
        "bcc": (),
        "reply_to": ("kari@example.com",),
    }


def test_an_unknown_source_is_refused(mailbox: Mailbox) -> None:
    """A typing error in a policy does not become an empty field."""
    connector = open_imap(mailbox)
    with pytest.raises(PermanentFailure, match="`received`"):
        list(connector.find(location("INBOX", dates=("received",))))
    connector.close()


def test_huge_and_broken_headers(mailbox: Mailbox) -> None:
    """Ten thousand recipients, raw bytes, wrong encodings, no dates: found, and never guessed."""
    many = ",\r\n ".join(f"Person {n} <p{n}@example.com>" for n in range(10_000))
    huge = f"To: {many}\r\nMessage-ID: <huge@example.com>\r\n\r\nx\r\n".encode()
    raw = b"From: Bj\xf8rn <bjorn@example.com>\r\nSubject: =?nonsense?q?=FF?= \xff\r\n\r\nx\r\n"
    odd = b"From: =?utf-8?q?Ola_=3Cola=40example=2Ecom=3E?=\r\nDate: not at all\r\n\r\nx\r\n"
    date = b"Date: Wed, 10 Jan %d 08:30:00 +0000\r\n"
    twice = date % 2024 + date % 2018 + b"\r\nx\r\n"
    mailbox.append("INBOX", huge, raw, odd, twice, received=OLD)
    records = found(
        mailbox, location("INBOX", dates=("date_header",), fields=("from", "to", "subject"))
    )
    by_uid = {int(r.ref.key.rpartition("/")[2]): r for r in records}
    recipients = by_uid[1].fields["to"]
    assert isinstance(recipients, tuple)
    assert len(recipients) == 10_000
    assert by_uid[2].fields["from"] == ("bjorn@example.com",)
    assert by_uid[3].fields["from"] == ("ola@example.com",)
    assert [by_uid[n].dates["date_header"] for n in (1, 2, 3, 4)] == [None] * 4


def test_thousands_of_messages_stream(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """5,000 messages in pages of 500, several windows: each once, and memory stays flat."""
    monkeypatch.setattr(imap_connector, "_WINDOW", 1_500)
    monkeypatch.setattr(copies, "_WINDOW", 700)
    letters = ((plain(message_id=f"<{n}@example.com>"), OLD) for n in range(5_000))
    mailbox.write("INBOX", letters)
    connector = open_imap(mailbox)
    keys: list[str] = []
    tracemalloc.start()
    for page in connector.find(location("INBOX", fields=("from", "to"))):
        assert len(page.records) <= 500
        keys += [r.ref.key for r in page.records]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(set(keys)) == len(keys) == 5_000
    assert peak < 8_000_000
    connector.close()
    given = refs(mailbox)
    assert erased(mailbox, given[::2]).count(Result.DISPOSED) == 2_500
    levels = [level for level, _ in proofs(mailbox, given)]
    assert (levels.count(Level.GONE), levels.count(Level.PRESENT)) == (2_500, 2_500)


def test_uids_of_ten_digits_far_apart(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """UIDs near the end of their range, with gaps of a billion, are no special case."""
    monkeypatch.setattr(imap_connector, "_WINDOW", 2)
    mailbox.write("INBOX", ((plain(message_id=f"<{n}@example.com>"), OLD) for n in range(7)))
    names = sorted(file.name for file in (mailbox.maildir / "cur").iterdir())
    uids = [5, 6, 1_000_000_000, 2_000_000_000, 4_294_967_000, 4_294_967_001, 4_294_967_200]
    lines = [f"{uid} :{name.partition(':2,')[0]}" for uid, name in zip(uids, names, strict=True)]
    listing = mailbox.maildir / "dovecot-uidlist"
    head = "3 V1700000000 N4294967201 G00112233445566778899aabbccddeeff"
    listing.write_text("\n".join([head, *lines, ""]), encoding="ascii")
    listing.chmod(0o666)
    given = refs(mailbox)
    assert [int(r.key.rpartition("/")[2]) for r in given] == uids
    assert erased(mailbox, given[1:6]) == [Result.DISPOSED] * 5
    assert mailbox.uids("INBOX") == [5, 4_294_967_200]


def test_a_recheck_asks_the_server_whatever_is_remembered(mailbox: Mailbox) -> None:
    """The same session, right after finding: what another client removed is absent at once."""
    uids = mailbox.append("INBOX", *[plain()] * 3, received=OLD)
    target = location("INBOX", fields=("from", "subject"))
    connector = open_imap(mailbox)
    before = [record for page in connector.find(target) for record in page.records]
    keys = [record.ref.key for record in before]
    expunge(mailbox, "INBOX", uids[1:2])
    assert list(connector.recheck(target, keys)) == [before[0], before[2]]
    assert list(connector.recheck(target, keys)) == [before[0], before[2]]
    fewer = location("INBOX", fields=("subject",))
    assert [set(r.fields) for r in connector.recheck(fewer, keys)] == [{"subject"}] * 2
    connector.close()


# --- spans ------------------------------------------------------------------------------------


def spans_of(mailbox: Mailbox, target: Target, most: int, least: int) -> tuple[str | None, ...]:
    connector = open_imap(mailbox)
    try:
        assert isinstance(connector, Divisible)
        return connector.spans(target, most, least)
    finally:
        connector.close()


def test_a_folder_is_cut_into_ranges_and_several_folders_are_not(mailbox: Mailbox) -> None:
    """Each message in one span, also what arrives; a cut of several would go through records."""
    mailbox.write("INBOX", [(message(), OLD) for _ in range(40)])
    spans = spans_of(mailbox, INBOX, 4, 10)
    assert len(spans) == 4
    mailbox.write("INBOX", [(message(), OLD)])
    parts = [[r.ref.key for r in found(mailbox, replace(INBOX, span=span))] for span in spans]
    assert max(map(len, parts)) <= 20
    assert sorted(key for part in parts for key in part) == sorted(
        r.ref.key for r in found(mailbox, INBOX)
    )
    assert sum(map(len, parts)) == 41
    assert spans_of(mailbox, location("*"), 4, 10) == (None,)


def test_a_folder_that_was_replaced_after_the_cut_voids_its_spans(mailbox: Mailbox) -> None:
    """Its UIDs mean other messages now: a permanent failure, and the next run cuts anew."""
    mailbox.append("Archive", *(message() for _ in range(30)), received=OLD)
    aim = location("Archive")
    spans = spans_of(mailbox, aim, 3, 10)
    assert len(spans) == 3
    with mailbox.client() as client:
        client.delete_folder("Archive")
    mailbox.append("Archive", *(message() for _ in range(30)), received=OLD)
    with pytest.raises(PermanentFailure, match="UIDVALIDITY"):
        found(mailbox, replace(aim, span=spans[1]))
