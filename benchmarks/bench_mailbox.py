"""Mail: half of a mailbox goes, the whole product beside bare clients, in one run.

    python -m benchmarks.bench_mailbox [--messages 20000 100000] [--rounds 1]

Every contestant is a process of its own and gets a mailbox of its own with the same messages on
one throw-away Dovecot, which syncs to disk. Ours is everything from opening the home to the
signed checkpoint: a plan in a ledger on disk, every message decided by its correspondents and its
date, read again, written down as intended, expunged by UID, looked for again on another
connection in every folder, and named in the audit log. The loops search by date and delete; one
of them fetches three headers of every message, which is the least that anything must do that
wants to know whose mail it deletes. imapfilter (`apt install imapfilter`) searches and deletes.
The aim: at most 1.3 times the loop that only deletes, by 5,000, and no slower than imapfilter.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.contest import Cost, load, python, run, table, typical
from benchmarks.whole import write_policies
from tests.servers.dovecot import Dovecot
from tests.servers.mailbox import Mailbox

OURS = "retention, decided, audited, verified"
CUT = 150
"""Days: between the young messages and the old ones; the peers delete what is older."""
POLICY = "mail-quarterly"

IMAPFILTER = """
options.timeout = 600
options.create = false
options.subscribe = false
options.starttls = false
account = IMAP {{
  server = "{host}", port = {port}, username = "{username}", password = "{password}",
}}
account.INBOX:is_older({days}):delete_messages()
"""


def policy_file(mailbox: Mailbox) -> dict[str, Any]:
    """Mail of the inbox goes after 90 days."""
    return {
        "systems": {
            "mail": {
                "connector": "imap",
                "host": mailbox.host,
                "port": mailbox.port,
                "tls": "none",
                "username": mailbox.username,
                "password": {"env": "BENCH_PASSWORD"},
                "own": ["post@example.org"],
            }
        },
        "clusters": {
            "correspondence": {
                "title": "Mail with people who asked something",
                "subjects": "correspondents",
                "data": ["email", "free_text"],
                "purpose": "answering enquiries",
                "basis": "legitimate_interest",
                "locations": {
                    "inbox": {
                        "system": "mail",
                        "folders": ["INBOX"],
                        "dates": {"received": "internal_date"},
                        "subject": {"email": ["from", "to", "cc"]},
                    }
                },
            }
        },
        "policies": {
            POLICY: {
                "title": "Mail goes after 90 days",
                "applies_to": "correspondence",
                "starting_point": "received",
                "delete_at_latest": "90 days",
                "then": "delete",
                "schedule": "0 3 * * *",
            }
        },
    }


def messages(count: int, now: datetime) -> Iterator[tuple[bytes, datetime]]:
    """Every other message is old; those that stay are up to 85 days old. About 1.3 kB each."""
    for n in range(count):
        days = 200 + n % 700 if n % 2 == 0 else n % 85
        received = now - timedelta(days=days, seconds=n)
        sender = f"customer{n % 400}@example.com"
        yield (
            (
                f"Return-Path: <{sender}>\r\nReceived: from mx.example.net by mail.example.org\r\n"
                f"From: Customer {n % 400} <{sender}>\r\nTo: Post <post@example.org>\r\n"
                f"Subject: Question {n}\r\nMessage-ID: <{n}.bench@mail.example.com>\r\n"
                f"Date: {received:%a, %d %b %Y %H:%M:%S +0000}\r\n"
                "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
                + "Hello, this is a question of the usual length.\r\n"
                * 20
            ).encode(),
            received,
        )


def pattern(server: Dovecot, count: int, now: datetime) -> Mailbox:
    """A mailbox that nobody opens: what each contestant gets a copy of."""
    mailbox = server.user()
    mailbox.write("INBOX", messages(count, now))
    return mailbox


def copied(server: Dovecot, mailbox: Mailbox) -> Mailbox:
    """A mailbox of its own with the same messages, that the server has indexed."""
    copy = server.user()
    # Hard links: a hundred thousand files are there in seconds, and deleting costs the same.
    subprocess.run(["cp", "-al", str(mailbox.home), str(copy.home)], check=True)
    copy.uids("INBOX")
    return copy


def ours(mailbox: Mailbox) -> Cost:
    """The whole product in a process of its own, on a new ledger."""
    with tempfile.TemporaryDirectory() as folder:
        home = write_policies(Path(folder, "home"), **policy_file(mailbox))
        return python("whole", str(home), POLICY, BENCH_PASSWORD=mailbox.password)


def loop(mailbox: Mailbox, batch: int, *also: str) -> Cost:
    """A bare imaplib loop."""
    before = datetime.now(UTC) - timedelta(days=CUT)
    return python(
        "bare_mail",
        *(mailbox.host, str(mailbox.port), mailbox.username, mailbox.password),
        *(f"{before:%d-%b-%Y}", str(batch)),
        *also,
    )


def imapfilter(mailbox: Mailbox) -> Cost:
    """imapfilter with its settings above."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.lua")
        config.write_text(
            IMAPFILTER.format(
                host=mailbox.host,
                port=mailbox.port,
                username=mailbox.username,
                password=mailbox.password,
                days=CUT,
            ),
            encoding="utf-8",
        )
        return run(["imapfilter", "-c", str(config)], {"HOME": folder})


def contest(count: int, rounds: int) -> None:
    """All contestants in turn, each round with fresh mailboxes; prints the table."""
    contestants: dict[str, Callable[[Mailbox], Cost]] = {
        OURS: ours,
        "imaplib, by 5,000": lambda mailbox: loop(mailbox, 5000),
        "imaplib, by 5,000, headers of each": lambda mailbox: loop(mailbox, 5000, "--headers"),
        "imaplib, by 1,000, headers of each": lambda mailbox: loop(mailbox, 1000, "--headers"),
    }
    if shutil.which("imapfilter"):
        contestants["imapfilter is_older, delete_messages"] = imapfilter
    else:
        print("imapfilter is not installed: apt install imapfilter")
    costs: dict[str, list[Cost]] = {who: [] for who in contestants}
    now = datetime.now(UTC)
    with Dovecot.start(durable=True) as server:
        source = pattern(server, count, now)
        for _ in range(rounds):
            for who, compete in contestants.items():
                mailbox = copied(server, source)
                costs[who].append(compete(mailbox))
                left = len(mailbox.uids("INBOX"))
                assert left == count // 2, f"{who} left {left} of {count}"
                shutil.rmtree(mailbox.home)
    table(
        f"Dovecot (maildir): half of {count:,} messages"
        f" ({rounds} round{'s' if rounds > 1 else ''}; {load()})",
        {who: typical(found) for who, found in costs.items()},
        OURS,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, nargs="+", default=[20_000])
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    for count in asked.messages:
        contest(count, asked.rounds)


if __name__ == "__main__":
    main()
