"""Mail and servers that mean harm, or say what few others say: nothing lost, nothing wrong gone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.connectors import mail_headers
from retention.connectors.base import Bound, Condition, Connector, Level, Op, Outcome, Ref, Result
from retention.connectors.imap import collecting, erasing, wholes, wire
from retention.connectors.imap.connector import ImapConnector
from retention.connectors.imap.copies import _plain
from retention.connectors.imap.failures import LostError
from retention.connectors.imap.wire import Wire
from retention.connectors.mail_places import Places, erase, join
from retention.connectors.mail_threads import references
from retention.errors import PermanentFailure, TemporaryFailure
from tests.connectors.imap_world import ScriptedServer, location, open_imap, plain
from tests.servers.dovecot import Dovecot

OLD = datetime(2024, 1, 10, 8, 30, tzinfo=UTC)
INBOX = location("INBOX")
BY_FLAGS = location("INBOX", where=(Condition("flags", Op.NOT_IN, ("\\Flagged",)),))
DATE = b'INTERNALDATE "10-Jan-2024 08:30:00 +0000"'
HEADER = b"BODY[HEADER.FIELDS (MESSAGE-ID)]"
UNIQUE = [b"* 2 EXISTS", b"* OK [UIDVALIDITY 7] x"]
Answers = dict[bytes, list[bytes] | bytes | None]


def refs_of(connector: Connector, target: Any = INBOX) -> list[Ref]:
    return [r.ref for page in connector.find(target) for r in page.records]


def session_of(connector: Connector) -> Any:
    return cast(ImapConnector, connector)._session


# --- copies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("turned", [False, True])
def test_a_copy_whose_id_is_folded_is_found(dovecot: Dovecot, turned: bool) -> None:
    """A gateway folded the Message-ID of one of the two: the message is not gone."""
    mailbox = dovecot.user()
    ids = [
        "<first.half.second.half@odd.example.com>",
        "<first.half\r\n .second.half@odd.example.com>",
    ]
    one, other = reversed(ids) if turned else ids
    mailbox.append("INBOX", plain(message_id=one), received=OLD)
    mailbox.append("Elsewhere", plain(message_id=other), received=OLD)
    connector, second = open_imap(mailbox), open_imap(mailbox)
    refs = refs_of(connector)
    assert [o.result for o in connector.erase(INBOX, refs)] == [Result.DISPOSED]
    assert [p.level for p in second.verify(INBOX, refs, None)] == [Level.PRESENT]
    connector.close()
    second.close()


def test_ids_that_no_server_could_search_for_are_read() -> None:
    """Very long ids make commands that servers refuse, encoded words are decoded by them."""
    assert _plain("<a@b.example>")
    assert not any(map(_plain, ["<" + "a" * 600 + "@b.example>", "<=?utf-8?q?a?=@b.example>"]))


def test_a_rebuilt_folder_proves_nothing_of_messages_without_id(dovecot: Dovecot) -> None:
    """UIDVALIDITY changed, and with it perhaps every internal date: unknown, not gone."""
    mailbox = dovecot.user()
    mailbox.append("Kept", plain(), received=OLD)
    target = location("Kept")
    connector = open_imap(mailbox)
    refs = refs_of(connector, target)
    connector.close()
    with mailbox.client() as client:
        client.delete_folder("Kept")
    # As a repair would do it: the same message, received today.
    mailbox.append("Kept", plain())
    connector = open_imap(mailbox)
    assert [p.level for p in connector.verify(target, refs, None)] == [Level.UNKNOWN]
    connector.close()


# --- folders ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "told",
    [[b"* 2 EXISTS", b"* OK [UIDNEXT 30] x"], [*UNIQUE, b"* NO [UIDNOTSTICKY] x"]],
)
def test_folders_without_lasting_numbers_are_refused(told: list[bytes]) -> None:
    """Where UIDs mean something else tomorrow, nothing can be named for certain."""
    answers: Answers = {b"SELECT": told, b"EXAMINE": told, b"SEARCH": [b"* SEARCH 3"]}
    with ScriptedServer(answers) as running:
        connector = open_imap(running.mailbox)
        for act in (
            lambda: refs_of(connector),
            lambda: list(connector.erase(INBOX, [Ref("INBOX", "INBOX/0/3", "0.1")])),
        ):
            with pytest.raises(PermanentFailure) as caught:
                act()
            assert caught.value.code == "no_uidvalidity"
        connector.close()
        assert not any(b"EXPUNGE" in line for line in running.heard)


def test_a_server_that_tells_no_next_number_is_asked_for_the_last() -> None:
    """Else what arrives later would lie behind the end, and never be looked at."""
    answers: Answers = {
        b"EXAMINE": UNIQUE,
        b"FETCH 2 (UID)": [b"* 2 FETCH (UID 9)"],
    }
    with ScriptedServer(answers) as running:
        connector = open_imap(running.mailbox)
        assert session_of(connector).open("INBOX").uidnext == 10
        connector.close()


def test_names_that_look_like_numbers_are_names() -> None:
    """Atoms such as 007 and NIL are folders' names, letter by letter."""
    lines = [b"* LIST () NIL " + name for name in (b"007", b"NIL", b"INBOX")]
    with ScriptedServer({b"LIST": lines}) as running:
        connector = open_imap(running.mailbox)
        assert connector.containers(location("*")) == ("007", "INBOX", "NIL")
        list(connector.find(location("007")))
        connector.close()
        assert any(line.endswith(b'EXAMINE "007"') for line in running.heard)


def test_two_spellings_of_one_name_are_two_folders() -> None:
    """Modified UTF-7 and plain UTF-8 that read alike: neither hides the other."""
    lines = [b'* LIST () "/" "K&APw-"', b'* LIST () "/" "K\xc3\xbc"']
    with ScriptedServer({b"LIST": lines}) as running:
        connector = open_imap(running.mailbox)
        assert connector.containers(location("*")) == ("K&APw-", "K\xc3\xbc")
        connector.close()


def test_a_line_break_in_a_folder_is_no_command() -> None:
    """A name with a line break in it would be a command of its own."""
    name = b"A\r\nX1 DELETE INBOX"
    lines = [b'* LIST () "/" {%d}\r\n%s' % (len(name), name)]
    with ScriptedServer({b"LIST": lines}) as running:
        connector = open_imap(running.mailbox)
        with pytest.raises(PermanentFailure) as caught:
            refs_of(connector, location("A*"))
        connector.close()
        assert not any(line.startswith(b"X1") for line in running.heard)
    assert caught.value.code == "folder_name"


# --- acts -------------------------------------------------------------------------------------


def test_what_changes_while_we_look_is_left_alone(
    dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flagged between our look at it and our look at the last: later changes do not cover it."""
    mailbox = dovecot.user()
    uids = mailbox.append("INBOX", *[plain()] * 3, received=OLD)
    connector = open_imap(mailbox)
    refs = refs_of(connector, BY_FLAGS)
    monkeypatch.setattr(erasing, "uid_sets", _one_by_one)
    send = Wire._send

    def sending(self: Wire, *commands: bytes) -> list[bytes]:
        if commands[0].startswith(b"UID FETCH %d (UID INTERNALDATE" % uids[1]):
            with mailbox.client() as client:
                client.select_folder("INBOX")
                client.add_flags([uids[0]], [b"\\Flagged"], silent=True)
                client.add_flags([uids[2]], [b"seen"], silent=True)
                client.remove_flags([uids[2]], [b"seen"], silent=True)
        return send(self, *commands)

    monkeypatch.setattr(Wire, "_send", sending)
    outcomes = {o.key: o.result for o in connector.erase(BY_FLAGS, refs)}
    assert outcomes[refs[0].key] is Result.CHANGED
    assert uids[0] in mailbox.uids("INBOX")
    assert outcomes[refs[1].key] is Result.DISPOSED
    connector.close()


def _one_by_one(uids: Any, longest: int = 1) -> Any:
    del longest
    return (b"%d" % uid for uid in sorted(uids))


def test_marks_are_taken_back_where_the_connection_broke() -> None:
    """Marked, and then the server hung up: the next client to expunge must not finish it."""
    answers: Answers = {
        b"UID EXPUNGE": None,
        b"UID FLAGS": [b"* 1 FETCH (UID 3 FLAGS (\\Deleted))"],
        b"UID INTERNALDATE FLAGS": [b"* 1 FETCH (UID 3 FLAGS () " + DATE + b")"],
    }
    with ScriptedServer(answers) as running:
        connector = open_imap(running.mailbox)
        ref = Ref("INBOX", "INBOX/7/3", "7.1704875400", "<a@b.example>")
        with pytest.raises(TemporaryFailure):
            list(connector.erase(INBOX, [ref]))
        connector.close()
        assert any(b"UID STORE 3 -FLAGS.SILENT (\\Deleted)" in line for line in running.heard)


def test_two_records_that_share_a_place_are_both_answered() -> None:
    """A key of two places and one of the second alone: one deletion, two answers."""
    done: list[str] = []

    def erased(refs: Sequence[Ref]) -> Any:
        done.extend(ref.key for ref in refs)
        return (Outcome(ref.key, Result.DISPOSED) for ref in refs)

    on = Places(lambda p: p[0], lambda keys: dict.fromkeys(keys, "v"), erased)
    both = Ref("a\0b", join(["a/1", "b/1"]), "")
    both = both._replace(version=",".join([_digest("v")] * 2))
    outcomes = list(erase([both, Ref("b", "b/1", "v")], on))
    assert sorted((o.key, o.result) for o in outcomes) == sorted(
        [(both.key, Result.DISPOSED), ("b/1", Result.DISPOSED)]
    )
    assert done == ["a/1", "b/1"]


def _digest(version: str) -> str:
    from retention.connectors.mail_places import _short

    return _short(version)


def test_copies_are_looked_for_in_the_folder_that_was_meant(
    dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever uses the session for another folder between two pages misleads nobody."""
    mailbox = dovecot.user()
    now = datetime(2026, 3, 1, tzinfo=UTC)
    young = [plain(message_id=f"<{n}@b.example>") for n in (8, 9, 1)]
    mailbox.append("INBOX", plain(message_id="<1@b.example>"), received=OLD)
    mailbox.append("Sent", *young, received=now)
    mailbox.append("Other", *[plain()] * 3, received=now)
    monkeypatch.setattr(wholes, "SIGN_OF_LIFE", -1.0)
    monkeypatch.setattr(collecting, "_CHUNK", 1)
    connector = open_imap(mailbox)
    bound = Bound("internal_date", datetime(2025, 1, 1, tzinfo=UTC))
    target = location("INBOX", "Sent", bounds=(bound,))
    records: list[Any] = []
    for page in connector.find(target):
        session_of(connector).open("Other", afresh=True)
        records += page.records
    (record,) = records
    assert record.ref.container == "INBOX\0Sent"
    assert record.dates["internal_date"] == now
    connector.close()


# --- answers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [
        [b"* ESEARCH UID ALL canary"],
        [b"* ESEARCH UID ALL 1:*"],
        [b"* SEARCH 3", b"* "],
    ],
)
def test_no_words_of_a_broken_server_get_out(lines: list[bytes]) -> None:
    """What is no IMAP is a lost connection, not an error that quotes it."""
    answers: Answers = {
        b"SEARCH": lines,
        b"FETCH": [b"* 1 FETCH (UID canary FLAGS () " + DATE + b")"],
    }
    with ScriptedServer(answers) as running:
        connector = open_imap(running.mailbox)
        with pytest.raises(TemporaryFailure) as caught:
            refs_of(connector)
        connector.close()
    assert "canary" not in str(caught.value) + repr(caught.value.__context__)


@pytest.mark.parametrize("code", [b"inuse", b"THROTTLED", b"ExpungeIssued"])
def test_codes_are_read_in_any_case(code: bytes) -> None:
    """A passing trouble is tried again, however it is spelt."""
    with ScriptedServer({b"SEARCH": b"NO [" + code + b"] x"}) as running:
        connector = open_imap(running.mailbox)
        with pytest.raises(TemporaryFailure):
            refs_of(connector)
        connector.close()


def test_who_is_still_at_it_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may say that it goes on; not for ever."""
    monkeypatch.setattr(wire, "_PATIENCE", -1.0)
    with ScriptedServer({b"SEARCH": [b"* OK still searching"]}) as running:
        connector = open_imap(running.mailbox)
        with pytest.raises(TemporaryFailure) as caught:
            refs_of(connector)
        connector.close()
    assert caught.value.code == "timeout"


def test_an_answer_that_nobody_read_to_its_end_ends_the_connection() -> None:
    """Its rest would be taken for the answer to the next command."""
    with ScriptedServer({b"SEARCH": [b"* SEARCH 3", b"* SEARCH 4"]}) as running:
        connector = open_imap(running.mailbox)
        one = session_of(connector).wire
        answers = one.stream(b"UID SEARCH ALL")
        next(answers)
        answers.close()
        with pytest.raises(LostError):
            one.run(b"NOOP")
        connector.close()


# --- messages ---------------------------------------------------------------------------------


def test_headers_without_end_are_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a message is reported without dates, so it is never due; whole messages may be long."""
    monkeypatch.setattr(wire, "LONGEST", 1000)
    long = b"Message-ID: <a@b.example>\r\n" * 100
    answers: Answers = {
        b"SEARCH": [b"* SEARCH 3"],
        b"RFC822.SIZE": [b"* 1 FETCH (UID 3 " + DATE + b" RFC822.SIZE 70)"],
        b"BODY.PEEK[]": [b"* 1 FETCH (UID 3 BODY[] {%d}\r\n%s)" % (len(long), long)],
        b"FETCH": [
            b"* 1 FETCH (UID 3 " + DATE + b" " + HEADER + b" {%d}\r\n%s)" % (len(long), long)
        ],
    }
    with ScriptedServer(answers) as running:
        connector = open_imap(running.mailbox)
        (record,) = (r for page in connector.find(INBOX) for r in page.records)
        (content,) = connector.read(INBOX, [record.ref])
        connector.close()
    assert (record.dates, record.ref.trace) == ({"internal_date": None}, "#70@1704875400")
    assert content.data == long


def test_a_page_of_long_headers_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is bearable and all are not: those beyond the allowance are reported without dates."""
    monkeypatch.setattr(wire, "_PLENTY", 1500)
    monkeypatch.setattr(wire, "_PIECE", 100)
    long = b"X: y\r\n" * 150
    lines = [
        b"* 1 FETCH (UID %d " % uid + DATE + b" " + HEADER + b" {%d}\r\n%s)" % (len(long), long)
        for uid in (3, 4)
    ]
    answers: Answers = {
        b"SEARCH": [b"* SEARCH 3 4"],
        b"RFC822.SIZE": [
            b"* 1 FETCH (UID %d " % uid + DATE + b" RFC822.SIZE 70)" for uid in (3, 4)
        ],
        b"FETCH": lines,
    }
    with ScriptedServer(answers) as running:
        connector = open_imap(running.mailbox)
        records = [r for page in connector.find(INBOX) for r in page.records]
        connector.close()
    assert [r.dates["internal_date"] for r in records] == [OLD, None]


def test_a_crowd_is_not_remembered(dovecot: Dovecot) -> None:
    """A message to thousands is read again for the second look, not kept for it."""
    mailbox = dovecot.user()
    crowd = ",\r\n ".join(f"p{n}@example.com" for n in range(2_000))
    mailbox.append("INBOX", plain(extra=f"Cc: {crowd}"), plain(), received=OLD)
    connector = open_imap(mailbox)
    target = location("INBOX", fields=("cc",))
    refs = refs_of(connector, target)
    assert len(cast(ImapConnector, connector)._found._records) == 1
    again = list(connector.recheck(target, [r.key for r in refs]))
    assert sorted(len(cast("tuple[str, ...]", r.fields["cc"])) for r in again) == [0, 2_000]
    connector.close()


_AS_BEFORE = re.compile(r'"(?:[^"\\]|\\.)*"(?!@)', re.DOTALL)
_LOCAL_AS_BEFORE = re.compile(r'"(?:[^"\\]|\\.)*"(?=@)', re.DOTALL)


@settings(deadline=None, max_examples=300)
@given(st.text('"\\@a<, ', max_size=14))
def test_quotes_are_paired_as_a_pattern_would(value: str) -> None:
    """The linear way finds what backtracking found."""
    expected = [m.span() for m in _AS_BEFORE.finditer(value)]
    assert list(mail_headers._quotes(value, local=False)) == expected
    expected = [m.span() for m in _LOCAL_AS_BEFORE.finditer(value)]
    assert list(mail_headers._quotes(value, local=True)) == expected


@pytest.mark.parametrize("unit", ['"\\', '\\"', '"\\"@', '"a'])
def test_hostile_quotes_cost_no_more_than_their_length(unit: str) -> None:
    """Sixty thousand quotes and backslashes took half a minute for each header."""
    value = (unit * (60_000 // len(unit)) + " real@example.com").encode()
    assert "real@example.com" in mail_headers.addresses([value])


def test_hostile_encoded_words_stay_as_written() -> None:
    """A subject of unfinished encoded words is not worth a minute."""
    value = "=?a?q?x" * 30_000
    assert mail_headers.decoded(value) == value


def test_answers_to_a_million_messages_are_not_followed() -> None:
    """References are counted up to a hundred, and In-Reply-To headers too."""
    headers = {"in-reply-to": [b"<%d@b.example>" % n for n in range(5_000)]}
    assert len(references(headers)) == 100
