"""IMAP: dispose of half of a mailbox, the connector beside a bare imaplib loop, in one run.

    python -m benchmarks.bench_imap [--messages 20000] [--rounds 3]

All work on a fresh mailbox of the same throw-away Dovecot with the same messages. The bare loop
searches, fetches one header a message, marks and expunges in batches of 1,000, and looks at
nothing afterwards; the other one only deletes, by 5,000. The connector finds, rechecks every
record, checks the precondition, expunges, looks, and verifies on a second connection, with the
copies in other folders; `--batch` says how many records one act takes.
"""

from __future__ import annotations

import argparse
import imaplib
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

from pydantic import SecretStr

from retention.connectors import imap
from retention.connectors.base import Bound, Connector, Level, Opened, Ref, Result, Target
from retention.connectors.imap.settings import ImapLocation, ImapSystem, Tls
from tests.servers.dovecot import Dovecot
from tests.servers.mailbox import Mailbox

NOW = datetime(2026, 6, 1, tzinfo=UTC)
BOUND = NOW - timedelta(days=90)
FIELDS = ("from", "to", "cc")


def messages(count: int) -> Iterator[tuple[bytes, datetime]]:
    """Every other message is old. One correspondent in fifty messages writes again."""
    for n in range(count):
        old = n % 2 == 0
        received = NOW - timedelta(days=200 if old else 10, seconds=n)
        sender = f"customer{n % 400}@example.com"
        yield (
            (
                f"Return-Path: <{sender}>\r\nReceived: from mx.example.net by mail.example.org\r\n"
                f"From: Customer {n % 400} <{sender}>\r\nTo: Post <post@example.org>\r\n"
                f"Subject: Question {n}\r\nMessage-ID: <{n}.{id(old)}@mail.example.com>\r\n"
                f"Date: {received:%a, %d %b %Y %H:%M:%S +0000}\r\n"
                f"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
                + "Hello, this is a question of the usual length.\r\n"
                * 20
            ).encode(),
            received,
        )


def filled(server: Dovecot, count: int) -> Mailbox:
    """A mailbox that the server has indexed."""
    mailbox = server.user()
    mailbox.write("INBOX", messages(count))
    mailbox.uids("INBOX")
    return mailbox


def bare(mailbox: Mailbox, batch: int = 1000, *, headers: bool = True) -> int:
    """What a careful person's script does, or, without headers, a careless one's."""
    client = imaplib.IMAP4(mailbox.host, mailbox.port)
    client.login(mailbox.username, mailbox.password)
    client.select("INBOX")
    _, data = client.uid("SEARCH", f"BEFORE {BOUND:%d-%b-%Y}")
    uids = data[0].split()
    for start in range(0, len(uids), batch):
        numbers = b",".join(uids[start : start + batch]).decode()
        if headers:
            client.uid("FETCH", numbers, "(BODY.PEEK[HEADER.FIELDS (DATE FROM MESSAGE-ID)])")
        client.uid("STORE", numbers, "+FLAGS.SILENT", "(\\Deleted)")
        client.uid("EXPUNGE", numbers)
    client.logout()
    return len(uids)


def session(mailbox: Mailbox) -> Connector:
    """A session as the engine opens it, without wrappers."""
    settings = ImapSystem(
        host=mailbox.host,
        port=mailbox.port,
        tls=Tls.NONE,
        username=mailbox.username,
        password=SecretStr(mailbox.password),
    )
    return imap.connect(Opened("mail", settings, "."))


def connector(mailbox: Mailbox, spent: dict[str, float], batch: int) -> int:
    """Find, recheck, erase, verify, as a run does, without decisions and ledger."""
    target = Target(
        "mail/inbox",
        ImapLocation(folders=("INBOX",)),
        ("internal_date",),
        FIELDS,
        (),
        (Bound("internal_date", BOUND),),
    )
    acting = session(mailbox)
    refs: list[Ref] = []
    start = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal start
        now = time.perf_counter()
        spent[name] = spent.get(name, 0.0) + now - start
        start = now

    for page in acting.find(target):
        refs += [r.ref for r in page.records]
    lap("find")
    for at in range(0, len(refs), batch):
        part = refs[at : at + batch]
        again = [r.ref for r in acting.recheck(target, [r.key for r in part])]
        assert len(again) == len(part)
        lap("recheck")
        outcomes = list(acting.erase(target, again))
        assert {o.result for o in outcomes} == {Result.DISPOSED}
        lap("erase")
    acting.close()
    looking = session(mailbox)
    for at in range(0, len(refs), 5000):
        proofs = list(looking.verify(target, refs[at : at + 5000], None))
        assert {p.level for p in proofs} == {Level.GONE}
    looking.close()
    lap("verify")
    return len(refs)


def timed(work: Callable[[], int], expected: int) -> float:
    start = time.perf_counter()
    done = work()
    took = time.perf_counter() - start
    assert done == expected, f"{done} of {expected}"
    return took


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--storage", default="maildir")
    parser.add_argument("--batch", type=int, default=500)
    asked = parser.parse_args()
    times: dict[str, list[float]] = {"bare": [], "deletes": [], "connector": []}
    spent: dict[str, float] = {}
    with Dovecot.start(storage=asked.storage, durable=True) as server:
        for _ in range(asked.rounds):
            for name, values in times.items():
                mailbox = filled(server, asked.messages)
                work = {
                    "bare": partial(bare, mailbox),
                    "deletes": partial(bare, mailbox, 5000, headers=False),
                    "connector": partial(connector, mailbox, spent, asked.batch),
                }[name]
                values.append(timed(work, asked.messages // 2))
    medians = {name: statistics.median(values) for name, values in times.items()}
    for name, value in medians.items():
        rounds = " ".join(f"{v:.2f}" for v in times[name])
        print(f"{name:10} median {value:.2f} s, best {min(times[name]):.2f} s  ({rounds})")
    print(" ".join(f"{k} {v / asked.rounds:.2f} s" for k, v in spent.items()))
    ratio = medians["connector"] / medians["deletes"]
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    best = min(times["connector"]) / min(times["deletes"])
    print(
        f"to the loop that only deletes: ratio of medians {ratio:.2f}, of bests {best:.2f}"
        f"   peak memory {rss:.0f} MB"
    )
    return 0 if ratio <= 1.3 else 1


if __name__ == "__main__":
    sys.exit(main())
