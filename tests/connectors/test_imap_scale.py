"""A mailbox of 110,000 messages with UIDs of ten digits, as an old and busy one has them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.connectors.imap_world import plain
from tests.servers.dovecot import Dovecot
from tests.servers.mailbox import Mailbox
from tests.servers.process import program

ROOT = Path(__file__).resolve().parents[2]
OLD, NEW = datetime(2024, 1, 10, tzinfo=UTC), datetime(2026, 1, 10, tzinfo=UTC)
FIRST = 4_200_000_000


def grown(server: Dovecot, messages: int) -> Mailbox:
    """A mailbox with so many messages, old and new by turns of fifty, the server's own copies."""
    mailbox = server.user()
    mailbox.uids("INBOX")
    subprocess.run(
        [
            *(program("doveadm"), "-c", str(server.folder / "conf"), "mailbox", "update"),
            *("-u", mailbox.username, "--min-next-uid", str(FIRST), "INBOX"),
        ],
        check=True,
        capture_output=True,
    )
    for name, received in (("old", OLD), ("new", NEW)):
        letters = [plain(message_id=f"<{name}{n}@example.com>") for n in range(50)]
        mailbox.append("INBOX", *letters, received=received)
    number = 100
    with mailbox.client() as client:
        client.select_folder("INBOX")
        while number < messages:
            more = min(number, messages - number)
            _copy(client, f"1:{more}")
            number += more
    return mailbox


def _copy(client: Any, numbers: str) -> None:
    # IMAPClient would write every UID out; sequence numbers say it in a dozen letters.
    typ, _ = client._imap.copy(numbers, "INBOX")
    assert typ == "OK"


def worked(mailbox: Mailbox) -> dict[str, Any]:
    """What a process of its own did to the old half."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.connectors.imap_scale_child"),
            *(str(mailbox.port), mailbox.username, mailbox.password),
        ],
        check=True,
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "BEFORE": "2025-01-01T00:00:00+00:00"},
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize(
    ("capability", "messages"),
    [("", 110_000), ("IMAP4rev1 UIDPLUS LITERAL+", 30_000)],
    ids=["esearch", "without esearch"],
)
def test_a_large_mailbox_with_long_numbers(capability: str, messages: int) -> None:
    """Counted, found in windows, half erased, verified; memory flat, far under a list of it."""
    with Dovecot.start(storage="mdbox", capability=capability) as server:
        told = worked(grown(server, messages))
        server.kill()
    half = messages // 2
    assert told["count"] == told["scanned"] == messages
    assert told["smallest"] == FIRST
    assert told["outcomes"] == {"disposed": half}
    assert told["levels"] == {"gone": half}
    assert told["left"] == messages - half
    assert told["peak_mb"] - told["before_mb"] < 40
    assert told["peak_mb"] < 100
