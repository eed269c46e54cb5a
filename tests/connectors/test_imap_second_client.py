"""A second mail program works on the mailbox during a whole run, and loses nothing by us."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retention.connectors.base import Bound, Condition, Level, Op, Ref, Result
from retention.run.approval import approve_policy
from retention.run.home import Home
from retention.settings import load
from tests.connectors.imap_world import location, open_imap, plain
from tests.connectors.restless import ASIDE, Restless, ids
from tests.servers.dovecot import Dovecot
from tests.servers.mailbox import Mailbox

DUE, YOUNG = 450, 150
BOUND = datetime(2025, 6, 1, tzinfo=UTC)


def filled(server: Dovecot) -> Mailbox:
    """Old and young messages by turns; a folder to move things to."""
    mailbox = server.user()
    mailbox.create(ASIDE)
    now = datetime.now(UTC)
    letters = [
        (plain(message_id=f"<due{n}@example.com>"), BOUND - timedelta(days=100, minutes=n))
        for n in range(DUE)
    ]
    young = [
        (plain(message_id=f"<young{n}@example.com>"), now - timedelta(days=1, minutes=n))
        for n in range(YOUNG)
    ]
    mixed = [m for n in range(YOUNG) for m in (*letters[3 * n : 3 * n + 3], young[n])]
    mailbox.write("INBOX", mixed)
    mailbox.uids("INBOX")
    return mailbox


def nothing_lost(mailbox: Mailbox, other: Restless) -> None:
    """What was not due is there, marked or moved as the other client left it."""
    inbox, aside = ids(mailbox, "INBOX"), ids(mailbox, ASIDE)
    young = {f"<young{n}@example.com>" for n in range(YOUNG)} | other.appended
    assert young - other.expunged <= inbox | aside
    # A mark that it set is still there, unless it moved the message itself.
    assert (other.marked & young) - other.moved - other.expunged <= ids(mailbox, "INBOX", "DELETED")
    # Nothing carries a mark of ours.
    assert ids(mailbox, "INBOX", "DELETED") <= other.marked | other.expunged
    assert other.moved | other.copied <= aside


@pytest.mark.parametrize(("seed", "by_flags"), [(1, False), (3, True)])
def test_the_connector_beside_another_client(dovecot: Dovecot, seed: int, by_flags: bool) -> None:
    """Find, recheck, erase, verify: nothing of the other client's is lost, nothing is glossed over.

    With a filter on flags, what the other one flags after our last look stays as well.
    """
    mailbox = filled(dovecot)
    where = (Condition("flags", Op.NOT_IN, ("\\Flagged",)),) if by_flags else ()
    target = location("INBOX", where=where, bounds=(Bound("internal_date", BOUND),))
    outcomes: dict[str, Result] = {}
    acting = open_imap(mailbox, page=50)
    with Restless(mailbox, seed) as other:
        refs: list[Ref] = []
        for page in acting.find(target):
            refs += [r.ref for r in page.records if "due" in r.ref.trace]
        for at in range(0, len(refs), 6):
            keys = [r.key for r in refs[at : at + 6]]
            again = [r.ref for r in acting.recheck(target, keys)]
            assert set(again) <= set(refs) or by_flags
            outcomes |= {o.key: o.result for o in acting.erase(target, again)}
    acting.close()
    nothing_lost(mailbox, other)
    assert other.acts > 10
    looking = open_imap(mailbox)
    levels = {p.key: p.level for p in looking.verify(target, refs, None)}
    looking.close()
    inbox, aside = ids(mailbox, "INBOX"), ids(mailbox, ASIDE)
    for ref in refs:
        left = ref.trace in inbox or ref.trace in aside
        assert (levels[ref.key] is not Level.GONE) == left
        if outcomes.get(ref.key) is Result.CHANGED:
            assert by_flags
            assert left or ref.trace in other.expunged
        if outcomes.get(ref.key) is Result.DISPOSED:
            assert ref.trace not in inbox
    told = Counter(outcomes.values())
    assert told[Result.DISPOSED] > DUE / 3
    assert set(told) <= {
        Result.DISPOSED,
        Result.ALREADY_ABSENT,
        Result.CHANGED,
        Result.FAILED_TEMPORARY,
    }


def test_a_whole_run_beside_another_client(dovecot: Dovecot, tmp_path: Path) -> None:
    """The engine too: what the other one moved away is counted as still there, not as gone."""
    mailbox = filled(dovecot)
    home = _home(mailbox, tmp_path)
    settings = load(
        policies=home / "policies",
        home=home / "state",
        origin="example.org/test",
        batch_records=10,
    )
    with Home.open(settings, actor="user:test") as opened:
        approve_policy(opened.ctx, opened.in_force, "mail-yearly", by="user:test")
        opened.reload()
        with Restless(mailbox, 4) as other:
            report = opened.executor().run_now("mail-yearly")
    nothing_lost(mailbox, other)
    assert other.acts > 10
    inbox, aside = ids(mailbox, "INBOX"), ids(mailbox, ASIDE)
    left = {name for name in inbox | aside if name.startswith("<due")}
    counts = Counter(report.counts)
    # Moved before they were found: not this run's, and there for the next one to see.
    assert counts["due"] <= DUE
    gone = DUE - len(left)
    assert counts["verified"] <= gone
    assert counts["verified"] >= gone - len(other.expunged)
    if counts["still_there"]:
        assert report.exit_code != 0
    assert counts["verified"] + counts["still_there"] + counts["unknown"] >= counts["disposed"]


def _home(mailbox: Mailbox, folder: Path) -> Path:
    secret = folder / "secret"
    secret.write_text(mailbox.password, encoding="utf-8")
    secret.chmod(0o600)
    (folder / "policies").mkdir()
    said = {
        "organisation": {
            "name": "Fjellvik Verksted",
            "country": "NO",
            "timezone": "Europe/Oslo",
        },
        "systems": {
            "mail": {
                "connector": "imap",
                "host": mailbox.host,
                "port": mailbox.port,
                "tls": "none",
                "username": mailbox.username,
                "password": {"file": str(secret)},
            }
        },
        "clusters": {
            "letters": {
                "purpose": "answering letters",
                "basis": "legitimate_interest",
                "locations": {
                    "mail": {
                        "system": "mail",
                        "folders": ["INBOX"],
                        "dates": {"received": "internal_date"},
                        "subject": {"email": ["from", "to"]},
                    }
                },
            }
        },
        "policies": {
            "mail-yearly": {
                "applies_to": "letters",
                "starting_point": "received",
                "delete_at_latest": "180 days",
                "then": "delete",
                "schedule": "0 3 * * *",
            }
        },
    }
    (folder / "policies" / "mail.yaml").write_text(json.dumps(said), encoding="utf-8")
    return folder
