"""Gmail: labels, the way through the Trash, crashes on that way, and what IMAP may hide."""

from __future__ import annotations

import imaplib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from retention.connectors.base import (
    Connector,
    Level,
    Outcome,
    Proof,
    Record,
    Ref,
    Result,
    Target,
    containers_of,
)
from retention.connectors.imap.labels import LIMITS, Seen
from retention.connectors.imap.settings import ImapLocation
from retention.connectors.imap.trashing import Trashing
from retention.connectors.mail_index import Numbers
from retention.errors import ConnectorError, PermanentFailure, TemporaryFailure
from tests.connectors.gmail_world import PASSWORD, USER, mail, open_gmail
from tests.connectors.imap_world import location
from tests.servers.gmail import GmailServer, HangUpError
from tests.servers.gmail_store import NORWEGIAN, TRASH, Account, Message

KUNDER = location("Kunder")
BOTH = location("Kunder", "INBOX", fields=("folder",))


class Box:
    """A server with one account that has two labels."""

    def __init__(self, **settings: Any) -> None:
        self.server = GmailServer()
        self.account: Account = self.server.user(USER, PASSWORD, **settings)
        self.account.create("Kunder")
        self.account.create("Faktura")

    def open(self, **changes: Any) -> Connector:
        return open_gmail(self.server.port, **changes)

    def find(self, target: Target = KUNDER, **changes: Any) -> list[Record]:
        connector = self.open(**changes)
        try:
            return [r for page in connector.find(target) for r in page.records]
        finally:
            connector.close()

    def erase(self, refs: Sequence[Ref], target: Target = KUNDER) -> list[Outcome]:
        connector = self.open()
        try:
            return list(connector.erase(target, refs))
        finally:
            connector.close()

    def verify(self, refs: Sequence[Ref], target: Target = KUNDER, **changes: Any) -> list[Proof]:
        connector = self.open(**changes)
        try:
            return list(connector.verify(target, refs, None))
        finally:
            connector.close()

    def there(self, message: Message) -> bool:
        return message.msgid in self.account.messages


@pytest.fixture
def box() -> Iterator[Box]:
    made = Box()
    with made.server:
        yield made


def key(message: Message) -> str:
    return f"gm/{message.msgid}"


# --- what a record is -----------------------------------------------------------------------


def test_one_message_with_many_labels_is_one_record(box: Box) -> None:
    """Found once, in whichever folder comes first, with every folder that shows it."""
    message = mail(box.account, "Kunder", "INBOX", "Faktura")
    (record,) = box.find(BOTH)
    assert record.ref.key == key(message)
    shown = {"Kunder", "INBOX", "Faktura", "[Gmail]/All Mail"}
    assert set(containers_of(record.ref)) == shown
    assert record.fields["folder"] == tuple(sorted(shown))


def test_overlapping_labels_are_found_once_also_after_a_crash(box: Box) -> None:
    """The cursor goes on behind the last page, and what another label showed stays found."""
    wanted = {key(mail(box.account, "INBOX", "Kunder", number=n)) for n in range(7)}
    wanted |= {key(mail(box.account, "Kunder", number=n)) for n in range(7, 12)}
    first = box.open(page=3)
    pages = first.find(BOTH)
    found = []
    cursors = []
    for page in pages:
        found.append([r.ref.key for r in page.records])
        cursors.append(page.cursor)
    first.close()
    assert sorted(k for part in found for k in part) == sorted(wanted)
    for at, cursor in enumerate(cursors):
        again = box.open(page=3)
        rest = [r.ref.key for page in again.find(BOTH, cursor) for r in page.records]
        again.close()
        assert sorted([k for part in found[: at + 1] for k in part] + rest) == sorted(wanted)


def test_any_two_locations_of_the_mailbox_may_share_a_message(box: Box) -> None:
    """Their containers overlap, so that the engine asks both, and a message names its labels."""
    connector = box.open()
    mine, other = (connector.containers(location(name)) for name in ("Kunder", "Faktura"))
    connector.close()
    assert set(mine) & set(other)
    assert not set(mine) & {"Faktura", "[Gmail]/All Mail"}


def test_the_key_is_the_same_through_every_location(box: Box) -> None:
    """A hold on the message by one name holds it by all."""
    mail(box.account, "Kunder", "Faktura")
    keys = {r.ref.key for t in ("Kunder", "Faktura", "\\All") for r in box.find(location(t))}
    assert len(keys) == 1


def test_all_mail_and_trash_can_be_locations(box: Box) -> None:
    """Special uses work as folders; what lies in the Trash is expunged there."""
    kept, gone = mail(box.account, "INBOX", number=1), mail(box.account, "[Gmail]/Trash", number=2)
    assert [r.ref.key for r in box.find(location("\\All"))] == [key(kept)]
    bin_ = location("\\Trash")
    (record,) = box.find(bin_)
    assert record.ref.key == key(gone)
    assert [p.level for p in box.verify([record.ref], bin_)] == [Level.PRESENT]
    assert [o.result for o in box.erase([record.ref], bin_)] == [Result.DISPOSED]
    assert (box.there(kept), box.there(gone)) == (True, False)


def test_spam_is_expunged_where_it_lies(box: Box) -> None:
    """Spam is no part of All Mail; a location over it works all the same."""
    spam = mail(box.account, "[Gmail]/Spam")
    target = location("\\Junk")
    (record,) = box.find(target)
    assert [o.result for o in box.erase([record.ref], target)] == [Result.DISPOSED]
    assert not box.there(spam)
    assert not any("MOVE" in line for line in box.server.heard)


# --- deleting -------------------------------------------------------------------------------


@pytest.mark.parametrize("auto", [True, False])
@pytest.mark.parametrize("behaviour", ["archive", "trash", "deleteForever"])
@pytest.mark.parametrize("names", [None, NORWEGIAN])
def test_deleted_is_deleted_whatever_the_account_says(
    auto: bool, behaviour: str, names: dict[str, str] | None
) -> None:
    """A plain client's delete leaves the message in All Mail; ours leaves it nowhere."""
    made = Box(auto_expunge=auto, expunge_behaviour=behaviour, names=names)
    with made.server:
        naive, ours = (mail(made.account, "Kunder", number=n) for n in (1, 2))
        kept = mail(made.account, "Kunder", number=3)
        bystander = mail(made.account, made.account.special("\\Trash").name, number=4)
        with imaplib.IMAP4("127.0.0.1", made.server.port) as client:
            client.login(USER, PASSWORD)
            client.select("Kunder")
            client.uid("STORE", "1", "+FLAGS", "(\\Deleted)")
            client.expunge()
        assert made.there(naive) is (behaviour != "deleteForever")
        refs = [r.ref for r in made.find() if r.ref.key == key(ours)]
        assert [o.result for o in made.erase(refs)] == [Result.DISPOSED]
        assert not made.there(ours)
        assert made.there(kept)
        assert made.there(bystander)
        assert [p.level for p in made.verify(refs)] == [Level.GONE]


def test_nothing_in_the_trash_that_was_not_given_is_expunged() -> None:
    """Not even what its owner marked there: only single messages are expunged."""
    made = Box(auto_expunge=False)
    with made.server:
        marked = mail(made.account, "[Gmail]/Trash", number=1)
        made.account.mark(marked.msgid, made.account.special("\\Trash"))
        mail(made.account, "Kunder", number=2)
        refs = [r.ref for r in made.find()]
        assert [o.result for o in made.erase(refs)] == [Result.DISPOSED]
        assert made.there(marked)


def test_a_relabelled_message_is_left_alone(box: Box) -> None:
    """Labels are what was decided upon: another one may mean another rule."""
    message = mail(box.account, "Kunder")
    connector = box.open()
    (record,) = (r for page in connector.find(KUNDER) for r in page.records)
    box.account.copy(message.msgid, box.account.folders["Faktura"])
    (outcome,) = connector.erase(KUNDER, [record.ref])
    assert (outcome.result, outcome.code) == (Result.CHANGED, "labels")
    (again,) = connector.recheck(KUNDER, [record.ref.key])
    assert "Faktura" in containers_of(again.ref)
    assert again.ref.version == record.ref.version
    # Judged again with its new label, the same ref may be acted upon.
    (outcome,) = connector.erase(KUNDER, [record.ref])
    connector.close()
    assert outcome.result is Result.DISPOSED


def test_a_message_that_left_the_location_is_left_alone(box: Box) -> None:
    """Archived meanwhile: no longer in the folder that the policy is about."""
    message = mail(box.account, "Kunder")
    refs = [r.ref for r in box.find()]
    box.account.move(message.msgid, box.account.folders["Kunder"], box.account.special("\\All"))
    assert [(o.result, o.code) for o in box.erase(refs)] == [(Result.CHANGED, "moved")]
    connector = box.open()
    assert list(connector.recheck(KUNDER, [key(message)])) == []
    connector.close()
    assert box.there(message)
    assert [p.level for p in box.verify(refs)] == [Level.PRESENT]


def test_what_its_owner_threw_away_meanwhile_goes_as_decided(box: Box) -> None:
    """It was to go, and the Trash is on the way: no reason to let it lie."""
    message = mail(box.account, "Kunder")
    refs = [r.ref for r in box.find()]
    box.account.copy(message.msgid, box.account.special("\\Trash"))
    assert [p.level for p in box.verify(refs)] == [Level.BIN]
    assert [o.result for o in box.erase(refs)] == [Result.DISPOSED]
    assert not box.there(message)


def test_a_message_rescued_from_the_trash_in_between_survives(box: Box) -> None:
    """Somebody drags it out between our two commands: it is kept, and nothing is claimed."""
    message = mail(box.account, "Kunder")
    refs = [r.ref for r in box.find()]

    def rescue(command: str, done: bool) -> None:
        if command.startswith("UID MOVE") and done:
            with box.server.lock:
                box.account.copy(message.msgid, box.account.folders["INBOX"])

    box.server.on_command = rescue
    (outcome,) = box.erase(refs)
    box.server.on_command = None
    assert outcome.result in (Result.FAILED_TEMPORARY, Result.UNKNOWN)
    assert box.there(message)
    assert [p.level for p in box.verify(refs)] == [Level.PRESENT]


def test_a_refused_move_is_told(box: Box) -> None:
    """Nothing is deleted, and nothing is claimed."""
    message = mail(box.account, "Kunder")
    refs = [r.ref for r in box.find()]

    def refuse(command: str, done: bool) -> None:
        if command.startswith("UID MOVE") and not done:
            # The folder is gone for this moment: NO [NONEXISTENT].
            box.account.special("\\Trash").shown = False
        elif command.startswith("UID MOVE"):
            box.account.special("\\Trash").shown = True

    box.server.on_command = refuse
    (outcome,) = box.erase(refs)
    assert outcome.result is Result.FAILED_PERMANENT
    assert box.there(message)
    assert message.where != TRASH


def test_many_are_moved_and_expunged_in_few_commands(box: Box) -> None:
    """Thousands go by sets of UIDs, not one by one."""
    for number in range(1200):
        mail(box.account, "Kunder", number=number)
    connector = box.open()
    refs = [r.ref for page in connector.find(KUNDER) for r in page.records][:1100]
    before = len(box.server.heard)
    outcomes = list(connector.erase(KUNDER, refs))
    connector.close()
    assert {o.result for o in outcomes} == {Result.DISPOSED}
    assert len(box.account.messages) == 100
    assert len(box.server.heard) - before < 80
    assert {p.level for p in box.verify(refs)} == {Level.GONE}


# --- dying on the way -----------------------------------------------------------------------


def commands_of(box: Box, refs: Sequence[Ref]) -> int:
    """How many commands an undisturbed act takes."""
    before = len(box.server.heard)
    box.erase(refs)
    return len(box.server.heard) - before


@pytest.mark.parametrize("auto", [True, False])
@pytest.mark.parametrize("done", [True, False])
def test_dying_at_any_command_can_be_resumed(auto: bool, done: bool) -> None:
    """Cut before or after every command of an act: a new session finishes it, and hits no other."""
    rehearsal = Box(auto_expunge=auto)
    with rehearsal.server:
        mail(rehearsal.account, "Kunder", "INBOX")
        steps = commands_of(rehearsal, [r.ref for r in rehearsal.find()])
    for step in range(steps):
        made = Box(auto_expunge=auto)
        with made.server:
            due = [mail(made.account, "Kunder", "INBOX", number=n) for n in (1, 2)]
            kept = [mail(made.account, "Kunder", number=3)]
            kept.append(mail(made.account, "[Gmail]/Trash", number=4))
            refs = [r.ref for r in made.find() if r.ref.key in {key(m) for m in due}]
            cut = Cut(made.server, step, done=done)
            with suppress(TemporaryFailure):
                made.erase(refs)
            cut.off()
            # As the engine does it: look again, then act on what is there.
            connector = made.open()
            left = list(connector.recheck(KUNDER, [r.key for r in refs]))
            assert {r.ref.key for r in left} == {key(m) for m in due if made.there(m)}
            assert {r.ref.version for r in left} <= {refs[0].version, refs[1].version}
            outcomes = list(connector.erase(KUNDER, [r.ref for r in left]))
            connector.close()
            assert {o.result for o in outcomes} <= {Result.DISPOSED}
            assert set(made.account.messages) == {m.msgid for m in kept}
            assert not any(f.marked for f in made.account.folders.values())
            assert {p.level for p in made.verify(refs)} == {Level.GONE}


class Cut:
    """Cuts the line at the n-th command from now on, once."""

    def __init__(self, server: GmailServer, step: int, *, done: bool) -> None:
        self._server = server
        self._left = step
        self._done = done
        server.on_command = self

    def __call__(self, command: str, done: bool) -> None:
        if done is self._done and self._left >= 0:
            self._left -= 1
            if self._left < 0:
                raise HangUpError

    def off(self) -> None:
        self._server.on_command = None


# --- what IMAP may hide ---------------------------------------------------------------------


@pytest.mark.parametrize("special", ["\\All", "\\Trash", "\\Junk"])
def test_hidden_folders_stop_everything(box: Box, special: str) -> None:
    """Without All Mail, Trash and Spam nobody could say that a message is gone."""
    message = mail(box.account, "Kunder")
    refs = [r.ref for r in box.find()]
    box.account.special(special).shown = False
    for ask in (
        box.find,
        lambda: box.erase(refs),
        lambda: box.verify(refs),
    ):
        with pytest.raises(PermanentFailure) as caught:
            ask()
        assert caught.value.code == "gmail_hidden"
        assert "Show in IMAP" in caught.value.hint
    assert box.there(message)


def test_a_folder_size_limit_stops_discovery_and_proof() -> None:
    """A folder of exactly a limit's size hides older mail, the very mail that is looked for."""
    limit = min(LIMITS)
    made = Box(max_folder_size=limit)
    with made.server:
        for number in range(limit + 1):
            mail(made.account, "Kunder", number=number)
        with pytest.raises(PermanentFailure) as caught:
            made.find()
        assert caught.value.code == "gmail_folder_limit"
        connector = made.open()
        findings = {p.check: p for p in connector.probe([KUNDER])}
        connector.close()
        assert not findings["gmail: all mail"].ok
        refs = [Ref("Kunder", "gm/5", "gm.1")]
        assert [p.level for p in made.verify(refs)] == [Level.UNKNOWN]
        with pytest.raises(PermanentFailure):
            made.erase(refs)
        assert len(made.account.messages) == limit + 1
        assert len(made.find(gmail={"folder_limit": "none"})) == limit


def test_ids_are_remembered_exactly() -> None:
    """A message taken for one already seen would be forgotten: no hashes here."""
    seen = Numbers()
    numbers = [n * (2**61 - 1) % 2**64 for n in range(1, 70_000)]
    for number in numbers:
        seen.add(number)
    assert all(n in seen for n in numbers[::97])
    assert 5 not in seen
    # Equal modulo Python's own hash.
    assert (numbers[0] - (2**61 - 1)) not in seen


def test_another_profile_can_be_said() -> None:
    """`gmail` on a server that is none is refused; `none` on Gmail deletes nothing."""
    made = Box()
    with made.server:
        message = mail(made.account, "Kunder")
        plain = made.open(profile="none")
        refs = [r.ref for page in plain.find(KUNDER) for r in page.records]
        with pytest.raises(PermanentFailure) as caught:
            list(plain.erase(KUNDER, refs))
        plain.close()
        assert caught.value.code == "gmail"
        assert made.there(message)
        connector = made.open()
        with pytest.raises(PermanentFailure) as caught:
            list(connector.recheck(KUNDER, [refs[0].key]))
        connector.close()
        assert caught.value.code == "bad_key"


def test_threads_are_refused() -> None:
    """What belongs to a thread is not one thing at Gmail: a record is a message."""
    made = Box()
    with made.server:
        connector = made.open()
        settings = ImapLocation.model_validate({"folders": "Kunder", "unit": "thread"})
        with pytest.raises(PermanentFailure) as caught:
            connector.containers(Target("post/mail", settings))
        connector.close()
    assert "unit" in caught.value.hint


# --- how final ------------------------------------------------------------------------------


class Noon:
    def now(self) -> datetime:
        return datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("settings", "level", "until"),
    [
        ({"recoverable": "none"}, Level.GONE, None),
        ({"recoverable": None}, Level.VENDOR, datetime(2026, 3, 27, tzinfo=UTC)),
        ({"recoverable": "30 days"}, Level.VENDOR, datetime(2026, 4, 1, tzinfo=UTC)),
    ],
)
def test_a_proof_says_how_long_administrators_can_bring_it_back(
    box: Box, settings: Mapping[str, Any], level: Level, until: datetime | None
) -> None:
    """An organisation's account: 25 days unless said otherwise; the day rounds late."""
    mail(box.account, "Kunder")
    refs = [r.ref for r in box.find()]
    present = box.verify(refs, **settings)
    box.erase(refs)
    (proof,) = box.verify(refs, extras={"clock": Noon()}, **settings)
    assert [p.level for p in present] == [Level.PRESENT]
    assert (proof.level, proof.until) == (level, until)


def test_doctor_says_what_is_not_gone(box: Box) -> None:
    """How final it is, and how the account's settings are known, before the first night."""
    connector = box.open(recoverable=None)
    findings = {p.check: p for p in connector.probe([KUNDER])}
    connector.close()
    assert "25 days" in findings["finality"].detail
    assert findings["gmail: all mail"].ok
    assert "guessed" in findings["gmail: imap settings"].detail


def test_errors_of_the_way_hold_no_names(box: Box) -> None:
    """Folder names may be people's names."""
    box.account.create("Canary Person")
    mail(box.account, "Canary Person")
    target = location("Canary Person")
    refs = [r.ref for r in box.find(target)]
    box.server.on_command = Cut(box.server, 8, done=True)
    with pytest.raises(ConnectorError) as caught:
        box.erase(refs, target)
    assert "Canary" not in str(caught.value) + repr(caught.value.__context__)


def test_only_what_was_looked_at_is_moved_to_the_trash(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is replaced between the look and the move: whoever has the number now stays."""
    wanted, other = (mail(box.account, "Kunder", number=n) for n in (1, 2))
    connector = box.open()
    refs = [r.ref for page in connector.find(KUNDER) for r in page.records]
    theirs = next(n for n, r in enumerate(refs) if r.key == key(other))
    delete = Trashing.delete

    def replaced(trashing: Trashing, messages: Sequence[Seen]) -> Iterator[Any]:
        spots = [one.spot for one in messages]
        (mine,) = (one for one in messages if one.msgid == wanted.msgid)
        swapped = mine._replace(spot=spots[theirs])
        yield from delete(trashing, [swapped])
        yield (other.msgid, Result.CHANGED, "")

    monkeypatch.setattr(Trashing, "delete", replaced)
    outcomes = {o.key: o.result for o in connector.erase(KUNDER, refs)}
    connector.close()
    assert outcomes[key(wanted)] is not Result.DISPOSED
    assert key(other) in [r.ref.key for r in box.find(KUNDER)]
