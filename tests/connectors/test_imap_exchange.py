"""Exchange: what is expunged lies in Recoverable Items for a while, and proofs say until when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from retention.connectors.base import Level, Ref, Result
from retention.connectors.imap import manifest
from retention.run.evidence import OUTCOMES
from tests.connectors.imap_world import location, open_imap, plain, short_lived
from tests.servers.dovecot import Dovecot

OLD = datetime(2024, 1, 10, 8, 30, tzinfo=UTC)
INBOX = location("INBOX")


class Noon:
    """The first of March."""

    def now(self) -> datetime:
        return datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def exchange() -> Iterator[Dovecot]:
    """A server that greets as Exchange does."""
    config = "\nlogin_greeting = The Microsoft Exchange IMAP4 service is ready. [dABlAHMAdAA=]\n"
    with short_lived(config=config) as running:
        yield running


def erased(server: Dovecot, **settings: Any) -> tuple[list[Ref], dict[str, Any]]:
    """What was deleted of three messages, and the proofs of the first two."""
    mailbox = server.user()
    mailbox.append("INBOX", *(plain(message_id=f"<{n}@x.example>") for n in range(3)), received=OLD)
    connector = open_imap(mailbox, **settings)
    refs = [r.ref for page in connector.find(INBOX) for r in page.records]
    assert [o.result for o in connector.erase(INBOX, refs[:1])] == [Result.DISPOSED]
    connector.close()
    looking = open_imap(mailbox, **settings)
    looking._clock = Noon()  # type: ignore[attr-defined]  # the plain connector's
    proofs = {p.key: p for p in looking.verify(INBOX, refs[:2], refs[2])}
    looking.close()
    return refs, proofs


@pytest.mark.parametrize(
    ("settings", "level", "until"),
    [
        ({}, Level.VENDOR, datetime(2026, 3, 16, tzinfo=UTC)),
        ({"recoverable": "30 days"}, Level.VENDOR, datetime(2026, 4, 1, tzinfo=UTC)),
        ({"recoverable": "36 hours"}, Level.VENDOR, datetime(2026, 3, 3, 12, tzinfo=UTC)),
        ({"recoverable": "none"}, Level.GONE, None),
        ({"profile": "none"}, Level.GONE, None),
        (
            {"profile": "none", "recoverable": "7 days"},
            Level.VENDOR,
            datetime(2026, 3, 9, tzinfo=UTC),
        ),
    ],
)
def test_a_proof_says_until_when_it_can_be_brought_back(
    exchange: Dovecot, settings: Mapping[str, Any], level: Level, until: datetime | None
) -> None:
    """Fourteen days unless said otherwise, rounded late; what is still there is just there."""
    refs, proofs = erased(exchange, **settings)
    assert (proofs[refs[0].key].level, proofs[refs[0].key].until) == (level, until)
    assert (proofs[refs[1].key].level, proofs[refs[1].key].until) == (Level.PRESENT, None)


def test_another_server_defers_nothing(dovecot: Dovecot) -> None:
    """Only who says that it is Exchange is treated as such, unless the settings say so."""
    refs, proofs = erased(dovecot)
    assert proofs[refs[0].key].level is Level.GONE
    refs, proofs = erased(dovecot, profile="exchange")
    assert proofs[refs[0].key].level is Level.VENDOR


def test_with_the_vendor_is_not_verified() -> None:
    """In the log and in a run's counts it is pending, not verified."""
    assert OUTCOMES[Level.VENDOR] == "pending_vendor"


def test_doctor_and_manifest_say_so(exchange: Dovecot) -> None:
    """Before anybody relies on it."""
    connector = open_imap(exchange.user())
    findings = {p.check: p for p in connector.probe([INBOX])}
    connector.close()
    assert "14 days" in findings["finality"].detail
    assert any("Exchange" in note for note in manifest.notes)
    assert not any("refused" in note for note in manifest.notes)
