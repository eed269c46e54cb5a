"""Whole runs against a mailbox with labels: two rules for one message, and what the log says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retention.errors import ExitCode
from retention.run.orders import add_hold
from retention.subjects.holds import Scope
from tests.connectors.gmail_world import PASSWORD, USER, mail
from tests.integration.shop import NOW, Shop
from tests.servers.gmail import GmailServer
from tests.servers.gmail_store import Account, Message

HEAD = """
organisation: {{name: Fjellvik Verksted, country: NO, timezone: Europe/Oslo}}
systems:
  mail:
    connector: imap
    host: 127.0.0.1
    port: {port}
    tls: none
    username: post@example.org
    password: {{file: secret}}
    recoverable: {recoverable}
clusters:
  letters:
    purpose: answering customers
    basis: legitimate_interest
    locations:
      letters: {{system: mail, folders: [Kunder], dates: {{received: internal_date}},
                subject: {{email: [from]}}}}
  invoices:
    purpose: accounting
    basis: legal_obligation
    locations:
      sent: {{system: mail, folders: [Faktura], dates: {{issued: internal_date}},
             subject: {{email: [from]}}}}
"""
POLICIES = """
  letters-monthly:
    applies_to: letters
    starting_point: received
    delete_at_latest: 1 month
    then: delete
    schedule: "0 3 * * *"
  invoices-five-years:
    applies_to: invoices
    starting_point: issued
    keep_at_least: 5 years
    then: keep
    schedule: "0 4 * * *"
"""
OLD = datetime(2026, 1, 10, 8, 30, tzinfo=UTC)


class Post(Shop):
    """The shop's service over a Gmail account."""

    def begin(self, server: GmailServer, recoverable: str = "none") -> Account:
        account = server.user(USER, PASSWORD)
        for name in ("Kunder", "Faktura"):
            account.create(name)
        # The folder of the policy files is where relative paths begin.
        (self.folder / "policies" / "secret").write_text(PASSWORD)
        self.write(POLICIES, head=HEAD, port=server.port, recoverable=recoverable)
        self.approve("letters-monthly", "invoices-five-years")
        return account


@pytest.fixture
def server() -> Iterator[GmailServer]:
    with GmailServer() as running:
        yield running


@pytest.fixture
def post(tmp_path: Path) -> Post:
    return Post(tmp_path)


def old(account: Account, *folders: str, number: int) -> Message:
    return mail(account, *folders, number=number, received=OLD + timedelta(minutes=number))


def test_a_label_of_another_rule_keeps_the_message(post: Post, server: GmailServer) -> None:
    """Deleting would take it from there too, so the longer rule decides."""
    account = post.begin(server)
    gone = [old(account, "Kunder", number=1), old(account, "INBOX", "Kunder", number=2)]
    kept = [
        old(account, "Kunder", "Faktura", number=3),
        old(account, "Faktura", number=4),
        old(account, "INBOX", number=5),
        mail(account, "Kunder", number=6, received=NOW - timedelta(days=3)),
    ]
    report = post.run("letters-monthly")
    assert report.exit_code is ExitCode.OK, report.problems
    assert report.counts["verified"] == len(gone)
    assert set(account.messages) == {m.msgid for m in kept}


def test_a_hold_by_the_other_name_holds(post: Post, server: GmailServer) -> None:
    """The key is the same through every location, and any of their names holds the message."""
    account = post.begin(server)
    # Only just old enough: the invoice rule would keep it anyway, so it is held by Kunder's name.
    held, gone = (old(account, "Kunder", number=n) for n in (1, 2))
    with post.open() as home:
        mark = home.ctx.hasher.record("mail", "letters/letters", f"gm/{held.msgid}")
        add_hold(
            home.ctx,
            Scope(record=mark),
            case="C-1",
            reason="claim",
            owner="legal",
            review_by=NOW + timedelta(days=90),
        )
    post.run("letters-monthly")
    assert set(account.messages) == {held.msgid}
    assert gone.msgid not in account.messages


def test_what_administrators_can_bring_back_is_pending(post: Post, server: GmailServer) -> None:
    """Not `verified` before the provider's own period is over."""
    account = post.begin(server, recoverable="25 days")
    old(account, "Kunder", number=1)
    old(account, "INBOX", number=2)
    mail(account, "Kunder", number=6, received=NOW - timedelta(days=3))
    report = post.run("letters-monthly")
    assert report.counts["pending_vendor"] == 1
    assert not report.counts.get("verified")
    (looked,) = post.entries("batch.verified")
    assert (looked["outcome"], looked["proof"]) == ("pending_vendor", "with_vendor")


def test_a_mailbox_that_hides_mail_is_an_alarm(post: Post, server: GmailServer) -> None:
    """Nothing is deleted where it could not be proved."""
    account = post.begin(server)
    message = old(account, "Kunder", number=1)
    account.special("\\Trash").shown = False
    report = post.run("letters-monthly")
    assert report.exit_code is not ExitCode.OK
    assert message.msgid in account.messages
