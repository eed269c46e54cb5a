"""Whole runs on a real mailbox whose messages lie in several folders, or are threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from retention.cli.scopes import hold_scope
from retention.connectors.imap import wholes
from retention.connectors.imap.connector import ImapConnector
from retention.connectors.imap.erasing import Erasing
from retention.errors import ExitCode
from retention.run.claim import claim
from retention.run.orders import add_hold
from retention.run.plan import Plan, Planned
from retention.run.report import Report
from retention.subjects.holds import Scope
from tests.connectors.imap_world import plain
from tests.integration.shop import NOW, Shop
from tests.servers.dovecot import Dovecot
from tests.servers.mailbox import Mailbox

HEAD = """
organisation: {{name: Fjellvik Verksted, country: NO, timezone: Europe/Oslo}}
systems:
  mail: {{connector: imap, host: 127.0.0.1, port: {port}, tls: none, username: "{user}",
         password: {{file: {secret}}}}}
clusters:
  letters:
    purpose: answering letters
    basis: legitimate_interest
    locations:
      mail: {{system: mail, folders: {folders}, unit: {unit}, dates: {{received: internal_date}},
             subject: {{email: [from, to]}}}}
{more}"""
POLICY = """
  mail-monthly:
    applies_to: letters
    starting_point: received
    delete_at_latest: 1 month
    then: delete
    schedule: "0 3 * * *"
"""
FOLDERS = "[INBOX, Sent, Archive, '\\Trash']"
LONG_AGO = NOW - timedelta(days=100)


class Killed(BaseException):
    """The process ends here."""


class Office(Shop):
    """A shop with a mailbox."""

    box: Mailbox

    def begin(self, box: Mailbox, *, unit: str = "message", **more: str) -> None:
        """Approve the policy for this mailbox."""
        self.box = box
        secret = self.folder / "password"
        secret.write_text(box.password)
        values = {"folders": FOLDERS, "more": "", **more}
        policies = values.pop("policies", POLICY)
        self.write(
            policies,
            head=HEAD,
            port=box.port,
            user=box.username,
            secret=secret,
            unit=unit,
            **values,
        )
        self.approve(*(n for n in ("mail-monthly", "contracts") if f"  {n}:" in policies))

    def letter(
        self,
        own: str,
        *folders: str,
        to: str = "",
        at: datetime = LONG_AGO,
        sender: str = "kari@example.com",
    ) -> None:
        """A message, in these folders."""
        extra = f"References: <{to}@example.com>" if to else ""
        data = plain(sender=sender, date=LONG_AGO, message_id=f"<{own}@example.com>", extra=extra)
        for folder in folders:
            self.box.append(folder, data, received=at)

    def planned(self) -> list[Planned]:
        with self.open() as home:
            plan = Plan(home.ctx, home.in_force, home.jobs, ["mail-monthly"], home.in_force.rules())
            found = list(plan.items())
            assert not plan.problems
            return found

    def hold(self, scope: Callable[[Any], Scope]) -> None:
        with self.open() as home:
            add_hold(
                home.ctx, scope(home), case="C-1", reason="claim", owner="legal", review_by=NOW
            )

    def disposed(self) -> Report:
        return self.run("mail-monthly")

    def left(self) -> dict[str, int]:
        """Messages by folder, read by another client."""
        counts = {f: len(self.box.uids(f)) for f in ("INBOX", "Sent", "Archive", "Trash", "Other")}
        return {folder: count for folder, count in counts.items() if count}


@pytest.fixture
def office(tmp_path: Path, dovecot: Dovecot) -> Office:
    office = Office(tmp_path)
    box = dovecot.user()
    with box.client() as client:
        known = {name for _, _, name in client.list_folders()}
        for folder in {"Sent", "Archive", "Trash", "Other"} - known:
            client.create_folder(folder)
    office.begin(box)
    return office


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """`meanwhile(do)`: another client does this between discovery and the act."""

    def arrange(do: Callable[[], None]) -> None:
        recheck = ImapConnector.recheck
        done: list[bool] = []

        def first(self: ImapConnector, *words: Any) -> Iterator[Any]:
            if not done:
                done.append(True)
                do()
            return recheck(self, *words)

        monkeypatch.setattr(ImapConnector, "recheck", first)

    return arrange


# --- copies -----------------------------------------------------------------------------------


def test_copies_are_planned_once_and_go_together(office: Office) -> None:
    """In the inbox, in Sent, in the archive and in the bin: one record, one proof, nothing left."""
    office.letter("1", "INBOX", "Sent", "Archive", "Trash")
    office.letter("2", "INBOX")
    office.letter("3", "INBOX", "Sent", at=NOW - timedelta(days=2))
    assert len([p for p in office.planned() if p.verdict.action == "delete"]) == 2
    report = office.disposed()
    assert report.exit_code is ExitCode.OK
    assert report.counts["verified"] == report.counts["disposed"] == 2
    assert office.left() == {"INBOX": 1, "Sent": 1}


def test_a_young_copy_keeps_the_old_one(office: Office) -> None:
    """Somebody put it into the archive last week: the message is as young as that."""
    office.letter("1", "INBOX")
    office.letter("1", "Archive", at=NOW - timedelta(days=7))
    report = office.disposed()
    assert report.exit_code is ExitCode.OK
    assert office.left() == {"INBOX": 1, "Archive": 1}


def test_a_copy_that_protects_is_seen_in_whichever_folder_it_lies(office: Office) -> None:
    """A longer rule for one folder holds for the message, wherever else it lies."""
    contracts = """
  contracts:
    purpose: fulfilling contracts
    basis: contract
    locations:
      kept: {{system: mail, folders: [Sent], dates: {{received: internal_date}},
             subject: {{email: [from, to]}}}}
"""
    keep = """  contracts:
    applies_to: contracts
    starting_point: received
    keep_at_least: 5 years
    then: keep
"""
    more = contracts.replace("{{", "{").replace("}}", "}")
    office.begin(office.box, more=more, policies=POLICY + keep)
    office.letter("1", "INBOX", "Sent")
    office.letter("2", "INBOX")
    report = office.disposed()
    assert report.counts["disposed"] == 1
    assert office.left() == {"INBOX": 1, "Sent": 1}


@pytest.mark.parametrize("before", [True, False])
def test_a_held_record_is_held_in_every_place(office: Office, before: bool) -> None:
    """Named before or after it was copied: the hold is on the message."""
    office.letter("1", "INBOX")
    if not before:
        office.letter("1", "Sent", "Archive")
    key = office.planned()[0].record.ref.key
    office.hold(lambda home: hold_scope(home, None, None, "letters/mail", key)[0])
    if before:
        office.letter("1", "Archive")
    report = office.disposed()
    assert report.counts.get("disposed", 0) == 0
    assert [p.verdict.action for p in office.planned()] == ["held"]
    assert office.left()["INBOX"] == 1


def test_a_place_that_moves_during_the_run(
    office: Office, meanwhile: Callable[[Callable[[], None]], None]
) -> None:
    """What another client moves away is not claimed to be gone; the next run finds it."""
    office.letter("1", "INBOX", "Sent")
    office.letter("2", "INBOX", "Sent")

    def move(folder: str) -> Callable[[], None]:
        def now() -> None:
            with office.box.client() as client:
                client.select_folder("INBOX")
                client.move([1], folder)

        return now

    meanwhile(move("Other"))
    report = office.disposed()
    assert report.counts["disposed"] == 2
    assert report.counts["still_there"] == 1
    assert office.left() == {"Other": 1}


def test_a_place_that_moves_within_the_location_goes_with_the_next_run(
    office: Office, meanwhile: Callable[[Callable[[], None]], None]
) -> None:
    """It has a new name; nothing else is touched, and nothing of it is lost sight of."""
    office.letter("1", "INBOX", "Sent")

    def move() -> None:
        with office.box.client() as client:
            client.select_folder("INBOX")
            client.move([1], "Archive")

    meanwhile(move)
    office.disposed()
    assert office.left() == {"Archive": 1}
    office.clock.forward(days=1)
    assert office.disposed().exit_code is ExitCode.OK
    assert office.left() == {}


def test_a_crash_between_two_folders_is_resumed(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the first folder's expunge: the rest is found by the same record and erased."""
    for n in range(3):
        office.letter(str(n), "INBOX", "Sent", "Trash")
    office.letter("9", "Archive", at=NOW - timedelta(days=1))
    folder = Erasing.folder

    def killed(self: Erasing, name: str, *words: Any) -> Iterator[Any]:
        yield from folder(self, name, *words)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Erasing, "folder", killed)
        with pytest.raises(Killed):
            office.disposed()
    assert office.left() == {"Sent": 3, "Trash": 3, "Archive": 1}
    office.clock.forward(minutes=2)
    reports = office.daemon_once()
    assert {r.exit_code for r in reports} == {ExitCode.OK}
    assert sum(r.counts.get("disposed", 0) for r in reports) == 3
    assert office.left() == {"Archive": 1}
    told = [name for entry in office.entries("batch.verified") for name in entry["records"]]
    assert len(told) == len(set(told)) == 3


def test_a_long_look_keeps_its_lease(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """While everything is collected nobody else takes the run over."""
    for n in range(3):
        office.letter(str(n), "INBOX", "Sent")
    monkeypatch.setattr(wholes, "SIGN_OF_LIFE", -1.0)
    find, seen = ImapConnector.find, []

    def slow(self: ImapConnector, *words: Any) -> Iterator[Any]:
        for page in find(self, *words):
            office.clock.forward(seconds=20)
            yield page
            with office.open() as other:
                seen.append((len(page.records), claim(other.ctx)))

    monkeypatch.setattr(ImapConnector, "find", slow)
    assert office.disposed().exit_code is ExitCode.OK
    assert [records for records, _ in seen][:2] == [0, 0]
    assert {taken for _, taken in seen} == {None}
    assert office.left() == {}


# --- threads ----------------------------------------------------------------------------------


@pytest.fixture
def threads(office: Office) -> Office:
    """A thread of three messages, all old, and a single one."""
    office.begin(office.box, unit="thread")
    office.letter("1", "INBOX")
    office.letter("2", "Sent", to="1", sender="post@example.org")
    office.letter("3", "INBOX", to="2", sender="eva@example.com")
    office.letter("8", "INBOX")
    return office


def test_threads_go_as_a_whole(threads: Office) -> None:
    """Three messages, one verdict, one proof."""
    assert [p.verdict.action for p in threads.planned()] == ["delete", "delete"]
    report = threads.disposed()
    assert report.exit_code is ExitCode.OK
    assert report.counts["verified"] == 2
    assert threads.left() == {}


def test_a_hold_on_one_correspondent_keeps_the_whole_thread(threads: Office) -> None:
    """Eva wrote one message of three."""
    threads.hold(lambda home: Scope(subject=home.ctx.hasher.subject("email", "eva@example.com")))
    report = threads.disposed()
    assert report.counts["disposed"] == 1
    assert threads.left() == {"INBOX": 2, "Sent": 1}


def test_an_answer_during_the_run_keeps_the_thread(
    threads: Office, meanwhile: Callable[[Callable[[], None]], None]
) -> None:
    """It came after everything was found and before anything was erased."""
    meanwhile(lambda: threads.letter("4", "INBOX", to="3", at=NOW))
    report = threads.disposed()
    assert (report.counts["disposed"], report.counts["changed"]) == (1, 1)
    assert threads.left() == {"INBOX": 3, "Sent": 1}
    threads.clock.forward(days=60)
    assert threads.disposed().exit_code is ExitCode.OK
    assert threads.left() == {}


def test_an_old_answer_that_arrives_late_goes_with_the_next_run(
    threads: Office, meanwhile: Callable[[Callable[[], None]], None]
) -> None:
    """It does not make the thread younger, but nothing goes that no plan has named."""
    meanwhile(lambda: threads.letter("4", "INBOX", to="3"))
    assert threads.disposed().counts["changed"] == 1
    assert threads.left() == {"INBOX": 3, "Sent": 1}
    threads.clock.forward(days=1)
    assert threads.disposed().exit_code is ExitCode.OK
    assert threads.left() == {}


def test_a_crash_within_a_thread_is_resumed(
    threads: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The messages that are left are found by what the plan has named, by a new process."""
    folder = Erasing.folder

    def killed(self: Erasing, name: str, *words: Any) -> Iterator[Any]:
        yield from folder(self, name, *words)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Erasing, "folder", killed)
        with pytest.raises(Killed):
            threads.disposed()
    assert threads.left() == {"Sent": 1}
    threads.clock.forward(minutes=2)
    assert {r.exit_code for r in threads.daemon_once()} == {ExitCode.OK}
    assert threads.left() == {}
