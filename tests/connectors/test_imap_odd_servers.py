"""Servers that can less, or answer otherwise: no UIDPLUS, CONDSTORE, QRESYNC, lacking rights."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from retention.connectors.base import Condition, Connector, Level, Op, Ref, Result, Target
from retention.connectors.imap import erasing, lifting
from retention.connectors.imap.settings import WithoutUidplus
from retention.connectors.imap.wire import Wire
from retention.errors import PermanentFailure, TemporaryFailure
from tests.connectors.imap_world import (
    ACL_CONFIG,
    CutWire,
    ScriptedServer,
    expunge,
    location,
    open_imap,
    plain,
    rights,
    short_lived,
)
from tests.servers.dovecot import Dovecot
from tests.servers.mailbox import Mailbox

OLD = datetime(2024, 1, 10, 8, 30, tzinfo=UTC)
INBOX = location("INBOX")
BY_FLAGS = location("INBOX", where=(Condition("flags", Op.NOT_IN, ("\\Flagged",)),))
LIFT: dict[str, Any] = {"without_uidplus": WithoutUidplus.LIFT_MARKS}


def found(connector: Connector, target: Target = INBOX) -> list[Ref]:
    return [r.ref for page in connector.find(target) for r in page.records]


def marked(mailbox: Mailbox, folder: str = "INBOX") -> list[int]:
    with mailbox.client() as client:
        client.select_folder(folder, readonly=True)
        return list(client.search(["DELETED"]))


def flag(mailbox: Mailbox, flags: bytes, *uids: int, folder: str = "INBOX") -> None:
    """Another client flags messages."""
    with mailbox.client() as client:
        client.select_folder(folder)
        client.add_flags(list(uids), [flags], silent=True)


class Meanwhile:
    """Lets another client do something right before one of our commands goes out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, command: bytes, act: Any) -> None:
        self.times = 0
        send = Wire._send

        def sending(wire: Wire, *commands: bytes) -> list[bytes]:
            if any(command in one for one in commands):
                self.times += 1
                if self.times == 1:
                    act()
            return send(wire, *commands)

        monkeypatch.setattr(Wire, "_send", sending)


# --- no UIDPLUS -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain_server() -> Iterator[Dovecot]:
    """It admits to no extension at all."""
    with short_lived(capability="IMAP4rev1 LITERAL+") as running:
        yield running


def test_foreign_marks_are_lifted_and_put_back(plain_server: Dovecot) -> None:
    """With `lift_marks` ours go, and what others marked is there, marked as before."""
    mailbox = plain_server.user()
    uids = mailbox.append("INBOX", *[plain()] * 6, received=OLD)
    connector = open_imap(mailbox, **LIFT)
    refs = found(connector)
    flag(mailbox, b"\\Deleted", uids[1], uids[2], uids[4])
    outcomes = list(connector.erase(INBOX, [refs[0], refs[2]]))
    assert [o.result for o in outcomes] == [Result.DISPOSED] * 2
    assert mailbox.uids("INBOX") == [uids[1], *uids[3:]]
    assert marked(mailbox) == [uids[1], uids[4]]
    told = {p.check: p for p in connector.probe([INBOX])}
    assert told["uidplus"].ok
    assert "lifted" in told["uidplus"].detail
    connector.close()


def test_who_marks_meanwhile_stops_the_expunge(
    plain_server: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mark that appears before the EXPUNGE goes out: nothing goes, all marks are as they were."""
    mailbox = plain_server.user()
    uids = mailbox.append("INBOX", *[plain()] * 4, received=OLD)
    connector = open_imap(mailbox, **LIFT)
    refs = found(connector)
    flag(mailbox, b"\\Deleted", uids[1])
    Meanwhile(monkeypatch, b"+FLAGS", lambda: flag(mailbox, b"\\Deleted", uids[3]))
    (outcome,) = connector.erase(INBOX, refs[:1])
    assert (outcome.result, outcome.code) == (Result.FAILED_TEMPORARY, lifting.OTHERS_MARK)
    assert mailbox.uids("INBOX") == uids
    assert marked(mailbox) == [uids[1], uids[3]]
    (outcome,) = connector.erase(INBOX, refs[:1])
    assert outcome.result is Result.DISPOSED
    assert (mailbox.uids("INBOX"), marked(mailbox)) == (uids[1:], [uids[1], uids[3]])
    connector.close()


def test_marks_are_put_back_after_a_lost_connection(plain_server: Dovecot) -> None:
    """The answer to EXPUNGE is lost: the foreign mark is back on a new connection."""
    mailbox = plain_server.user()
    uids = mailbox.append("INBOX", *[plain()] * 3, received=OLD)
    wire = CutWire(mailbox.host, mailbox.port)
    connector = open_imap(mailbox, port=wire.port, **LIFT)
    refs = found(connector)
    flag(mailbox, b"\\Deleted", uids[1])
    with wire.set("lose"), pytest.raises(TemporaryFailure):
        list(connector.erase(INBOX, refs[:1]))
    assert marked(mailbox) == [uids[1]]
    assert mailbox.uids("INBOX") == uids[1:]
    connector.close()
    wire.close()


@pytest.mark.parametrize("dies_before", [b"+FLAGS", b"EXPUNGE"])
def test_a_crash_in_the_middle_loses_no_message(
    plain_server: Dovecot, monkeypatch: pytest.MonkeyPatch, dies_before: bytes
) -> None:
    """Killed between lifting and putting back: a foreign mark may be lost, its message never.

    The next try finishes what was begun.
    """
    mailbox = plain_server.user()
    uids = mailbox.append("INBOX", *[plain()] * 3, received=OLD)
    connector = open_imap(mailbox, **LIFT)
    refs = found(connector)
    flag(mailbox, b"\\Deleted", uids[1])

    def die() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        Meanwhile(patched, dies_before, die)
        # What a killed process cannot do either:
        patched.setattr(lifting, "_put_back", lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            list(connector.erase(INBOX, refs[:1]))
    assert mailbox.uids("INBOX") == uids
    assert uids[2] not in marked(mailbox)
    again = open_imap(mailbox, **LIFT)
    assert [o.result for o in again.erase(INBOX, refs[:1])] == [Result.DISPOSED]
    assert mailbox.uids("INBOX") == uids[1:]
    again.close()


# --- changes in between -----------------------------------------------------------------------


@pytest.mark.parametrize("capability", ["", "IMAP4rev1 UIDPLUS"])
def test_what_is_flagged_before_the_act_stays(
    dovecot: Dovecot, capability: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With CONDSTORE the server itself leaves alone what changed after our last look."""
    if capability:
        with short_lived(capability=capability) as running:
            _flagged_meanwhile(running.user(), monkeypatch, b"UID INTERNALDATE FLAGS)")
    else:
        _flagged_meanwhile(dovecot.user(), monkeypatch, b"UNCHANGEDSINCE")


def _flagged_meanwhile(mailbox: Mailbox, patch: pytest.MonkeyPatch, moment: bytes) -> None:
    uids = mailbox.append("INBOX", *[plain()] * 4, received=OLD)
    connector = open_imap(mailbox)
    refs = found(connector, BY_FLAGS)
    Meanwhile(patch, moment, lambda: flag(mailbox, b"\\Flagged", uids[1], uids[2]))
    outcomes = [o.result for o in connector.erase(BY_FLAGS, refs)]
    assert sorted(outcomes) == sorted([Result.DISPOSED, Result.DISPOSED] + [Result.CHANGED] * 2)
    assert mailbox.uids("INBOX") == uids[1:3]
    assert marked(mailbox) == []
    connector.close()


def test_what_another_client_moves_away_is_told(
    dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Moved between our look and the mark: it is not touched where it went, and not called gone."""
    mailbox = dovecot.user()
    letters = [plain(message_id=f"<{n}@b.example>") for n in range(3)]
    uids = mailbox.append("INBOX", *letters, received=OLD)
    connector = open_imap(mailbox)
    refs = found(connector)

    def move(uid: int) -> None:
        with mailbox.client() as client:
            client.select_folder("INBOX")
            client.move([uid], "Trash")

    move(uids[0])
    Meanwhile(monkeypatch, b"UID STORE", lambda: move(uids[1]))
    outcomes = {o.key: o for o in connector.erase(INBOX, refs)}
    assert outcomes[refs[0].key].result is Result.ALREADY_ABSENT
    # Dovecot does nothing to a set of which a part has just gone: that is told, and tried again.
    left = [r for r in refs if outcomes[r.key].result is Result.FAILED_TEMPORARY]
    assert marked(mailbox) == []
    assert {o.result for o in connector.erase(INBOX, left)} <= {Result.DISPOSED}
    assert mailbox.uids("INBOX") == []
    assert len(mailbox.uids("Trash")) == 2
    looking = open_imap(mailbox)
    told = {p.key: (p.level, p.how) for p in looking.verify(INBOX, refs, None)}
    looking.close()
    assert [told[r.key][0] for r in refs] == [Level.PRESENT, Level.PRESENT, Level.GONE]
    connector.close()


def test_vanished_is_understood(dovecot: Dovecot) -> None:
    """After ENABLE QRESYNC the server says VANISHED instead of EXPUNGE; nothing is miscounted."""
    mailbox = dovecot.user()
    uids = mailbox.append("INBOX", *[plain()] * 5, received=OLD)
    connector: Any = open_imap(mailbox)
    refs = found(connector)
    connector._session.wire.run(b"ENABLE QRESYNC")
    expunge(mailbox, "INBOX", [uids[4]])
    outcomes = [o.result for o in connector.erase(INBOX, refs)]
    assert outcomes.count(Result.DISPOSED) == 4
    assert outcomes.count(Result.ALREADY_ABSENT) == 1
    assert {p.level for p in connector.verify(INBOX, refs, None)} == {Level.GONE}
    connector.close()


@pytest.mark.parametrize(
    ("answer", "changed"),
    [
        (b"OK [MODIFIED 4,6:7] Conditional STORE failed", {4, 6, 7}),
        (b"NO [MODIFIED 4] some are gone", {4}),
        (b"OK done", set()),
    ],
)
def test_what_the_server_says_changed_is_left_alone(answer: bytes, changed: set[int]) -> None:
    """MODIFIED comes with OK or NO, as one number or as ranges (RFC 7162 §3.1.3)."""
    with ScriptedServer({b"UNCHANGEDSINCE": answer}) as running:
        connector: Any = open_imap(running.mailbox)
        assert connector._session.wire.store_unchanged(b"3:7", 12) == changed
        connector.close()


# --- few commands -----------------------------------------------------------------------------


def test_few_commands_remove_many(dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two thousand messages: one STORE and one UID EXPUNGE, in ranges, in one go."""
    mailbox = dovecot.user()
    mailbox.write("INBOX", ((plain(message_id=f"<{n}@b.example>"), OLD) for n in range(2_000)))
    connector = open_imap(mailbox)
    refs = found(connector)
    sent: list[tuple[bytes, ...]] = []
    send = Wire._send

    def sending(wire: Wire, *commands: bytes) -> list[bytes]:
        sent.append(commands)
        return send(wire, *commands)

    monkeypatch.setattr(Wire, "_send", sending)
    kept = refs.pop(1_000)
    assert {o.result for o in connector.erase(INBOX, refs)} == {Result.DISPOSED}
    acts = [commands for commands in sent if any(b"EXPUNGE" in one for one in commands)]
    assert acts == [
        (
            b"UID STORE 1:1000,1002:2000 +FLAGS.SILENT (\\Deleted)",
            b"UID EXPUNGE 1:1000,1002:2000",
        )
    ]
    assert len(sent) <= 4
    assert [r.key for r in found(connector)] == [kept.key]
    connector.close()


# --- rights -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def acl_server() -> Iterator[Dovecot]:
    with short_lived(config=ACL_CONFIG) as running:
        yield running


@pytest.mark.parametrize(
    ("letters", "code"),
    [("lr", "read_only"), ("lrswe", "lacks_right_t"), ("lrswt", "lacks_right_e"), ("lrte", "")],
)
def test_lacking_rights_are_noticed_before_a_mark_is_set(
    acl_server: Dovecot, monkeypatch: pytest.MonkeyPatch, letters: str, code: str
) -> None:
    """Found, but not to be acted upon: a permanent failure that names the right, and no STORE."""
    mailbox = acl_server.user()
    mailbox.append("Shared", plain(), plain(), received=OLD)
    target = location("Shared")
    with rights(mailbox, "Shared", letters):
        connector = open_imap(mailbox)
        refs = found(connector, target)
        stores = Meanwhile(monkeypatch, b"STORE", lambda: None)
        outcomes = {(o.result, o.code) for o in connector.erase(target, refs)}
        told = {p.check: p for p in connector.probe([target])}
        connector.close()
    assert len(refs) == 2
    check = told["location post/mail: rights"]
    if code:
        assert outcomes == {(Result.FAILED_PERMANENT, code)}
        assert stores.times == 0
        assert len(mailbox.uids("Shared")) == 2
        assert not check.ok
        for right in code.removeprefix("lacks_right_") if code != "read_only" else "te":
            assert f"({right})" in check.detail
            assert right in check.hint
    else:
        assert outcomes == {(Result.DISPOSED, "")}
        assert check.ok


def test_a_server_that_cannot_keep_marks_is_left_alone() -> None:
    """\\Deleted is not among the PERMANENTFLAGS: nothing is marked, and the code says why."""
    usual = [b"* 2 EXISTS", b"* OK [UIDVALIDITY 7] x", b"* OK [UIDNEXT 30] x"]
    answers = {b"SELECT": [*usual, b"* OK [PERMANENTFLAGS (\\Seen)] x"]}
    with ScriptedServer(answers) as running:
        connector = open_imap(running.mailbox)
        ref = Ref("INBOX", "INBOX/7/3", "7.1704875400", "<a@b.example>")
        assert [(o.result, o.code) for o in connector.erase(INBOX, [ref])] == [
            (Result.FAILED_PERMANENT, "cannot_mark")
        ]
        assert not any(b"STORE" in line for line in running.heard)
        connector.close()


def test_read_only_is_heard_in_the_answer_to_select() -> None:
    """SELECT says [READ-ONLY]: no mark is tried."""
    answers: dict[bytes, list[bytes] | bytes | None] = {b"SELECT": b"OK [READ-ONLY] looked only"}
    with ScriptedServer(answers) as running:
        connector = open_imap(running.mailbox)
        ref = Ref("INBOX", "INBOX/7/3", "7.1704875400", "<a@b.example>")
        assert [(o.result, o.code) for o in connector.erase(INBOX, [ref])] == [
            (Result.FAILED_PERMANENT, "read_only")
        ]
        assert not any(b"STORE" in line for line in running.heard)
        connector.close()


def test_refusing_is_the_default(plain_server: Dovecot) -> None:
    """Without UIDPLUS nothing is deleted unless it was asked for in so many words."""
    connector = open_imap(plain_server.user())
    with pytest.raises(PermanentFailure) as caught:
        erasing.refuse_unsafe(connector._session)  # type: ignore[attr-defined]  # the real one
    connector.close()
    assert caught.value.code == "no_uidplus"
