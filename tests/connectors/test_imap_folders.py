"""Folders as servers really name them: namespaces, separators, alphabets, odd LIST answers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from retention.connectors.base import Level, Record, Result
from retention.errors import PermanentFailure
from tests.connectors.imap_world import ScriptedServer, location, open_imap, plain, short_lived
from tests.servers.dovecot import Dovecot
from tests.servers.mailbox import Mailbox

OLD = datetime(2024, 1, 10, 8, 30, tzinfo=UTC)
PREFIXED = """
namespace inbox {
  prefix = INBOX.
  mailbox Arkiv {
    auto = create
    special_use = \\Archive
  }
}
"""


@pytest.fixture(scope="module")
def prefixed() -> Iterator[Dovecot]:
    """A server of the Courier kind: `INBOX.Customers.Anna`."""
    with short_lived(separator=".", config=PREFIXED) as running:
        yield running


def covered(mailbox: Mailbox, *folders: str) -> tuple[str, ...]:
    connector = open_imap(mailbox)
    try:
        return connector.containers(location(*folders))
    finally:
        connector.close()


def test_policies_need_not_know_prefix_and_separator(prefixed: Dovecot) -> None:
    """`Customers/*` and `Sent` mean what a person means, whatever the server puts around them."""
    mailbox = prefixed.user()
    mailbox.create("INBOX.Customers.Anna", "INBOX.Customers.Bo.2024", "INBOX.Customers.Åse & Co")
    everybody = (
        "INBOX.Customers.Anna",
        "INBOX.Customers.Bo.2024",
        "INBOX.Customers.Åse & Co",
    )
    assert covered(mailbox, "Customers/*") == everybody
    assert covered(mailbox, "INBOX.Customers.*") == everybody
    assert covered(mailbox, "INBOX/Customers/*") == everybody
    assert covered(mailbox, "Customers/%") == (everybody[0], everybody[2])
    assert covered(mailbox, "INBOX.Customers.%") == (everybody[0], everybody[2])
    assert covered(mailbox, "Customers/%/2024") == (everybody[1],)
    assert covered(mailbox, "Customers/Å*") == (everybody[2],)
    assert covered(mailbox, "Sent", "\\Trash") == ("INBOX.Sent", "INBOX.Trash")
    assert covered(mailbox, "\\Archive", "\\Junk") == ("INBOX.Arkiv", "INBOX.Junk")
    assert covered(mailbox, "inbox") == ("INBOX",)


def test_a_folder_of_folders_is_not_opened(prefixed: Dovecot) -> None:
    """\\Noselect: passed over by patterns, refused as a name, with a hint that helps."""
    mailbox = prefixed.user()
    mailbox.create("INBOX.Customers.Anna")
    assert "INBOX.Customers" not in covered(mailbox, "*")
    with pytest.raises(PermanentFailure) as caught:
        covered(mailbox, "Customers")
    assert "Customers/*" in caught.value.hint


def test_prefixed_mail_is_found_and_removed(prefixed: Dovecot) -> None:
    """From the pattern to the proof, in a folder whose name is in another alphabet."""
    mailbox = prefixed.user()
    mailbox.append("INBOX.Kunder.日本 & Åse", plain(message_id="<1@b.example>"), received=OLD)
    target = location("Kunder/*")
    connector = open_imap(mailbox)
    (record,) = (r for page in connector.find(target) for r in page.records)
    assert record.ref.container == "INBOX.Kunder.日本 & Åse"
    assert [o.result for o in connector.erase(target, [record.ref])] == [Result.DISPOSED]
    assert [p.level for p in connector.verify(target, [record.ref], None)] == [Level.GONE]
    connector.close()


def test_one_level_in_other_servers(dovecot: Dovecot) -> None:
    """`%` ends at the next level, `*` does not; a folder that is really called so is meant."""
    mailbox = dovecot.user()
    mailbox.create("Customers/Anna", "Customers/Bo/2024", "50% off")
    assert covered(mailbox, "Customers/%") == ("Customers/Anna",)
    assert covered(mailbox, "Customers/*") == ("Customers/Anna", "Customers/Bo/2024")
    assert covered(mailbox, "50% off") == ("50% off",)


ODD = ("back\\slash", 'quo"te', "Åse & Bjørn", "brace{3}", "100%", "日本", "R&D-")


def test_odd_names_without_literal_plus() -> None:
    """A server that wants to be asked before each literal gets the same names right."""
    with short_lived(capability="IMAP4rev1 UIDPLUS") as running:
        mailbox = running.user()
        for name in ODD:
            mailbox.append(name, plain(), received=OLD)
        connector = open_imap(mailbox)
        for name in ODD:
            target = location(name)
            (record,) = (r for page in connector.find(target) for r in page.records)
            assert [o.result for o in connector.erase(target, [record.ref])] == [Result.DISPOSED]
        connector.close()


@pytest.mark.parametrize(
    ("listed", "name", "spelt"),
    [
        (b'* LIST () "/" "K\xc3\xa5re"', "Kåre", b'"K\xc3\xa5re"'),
        (b'* LIST () "/" {7}\r\nA {3} B', "A {3} B", b'"A {3} B"'),
        (b'* LIST () "/" K&AOU-re', "Kåre", b"K&AOU-re"),
        (b'* LIST () NIL "flat"', "flat", b"flat"),
        (b'* LIST () "/" "broken &AO- name"', "broken &AO- name", b'"broken &AO- name"'),
    ],
)
def test_names_go_back_as_they_came(listed: bytes, name: str, spelt: bytes) -> None:
    """UTF-8 unasked for, literals, no separator, broken UTF-7: the server gets its own spelling."""
    answers: dict[bytes, list[bytes] | bytes | None] = {
        b"CAPABILITY": [b"* CAPABILITY IMAP4rev1 UIDPLUS UTF8=ACCEPT LITERAL+"],
        b"LIST": [listed],
        b"SEARCH": [b"* SEARCH"],
    }
    with ScriptedServer(answers) as running:
        connector = open_imap(running.mailbox)
        assert list(connector.find(location(name))) == []
        connector.close()
        opened = [line.partition(b"EXAMINE ")[2] for line in running.heard if b"EXAMINE" in line]
    assert [o.strip(b'"') for o in opened] == [spelt.strip(b'"')]


# --- people -----------------------------------------------------------------------------------


def people(mailbox: Mailbox, folder: str, message: bytes) -> Record:
    mailbox.append(folder, message, received=OLD)
    target = location(folder, fields=("from", "to", "cc", "bcc", "reply_to"))
    connector = open_imap(mailbox, own=["post@example.org"])
    (record,) = (r for page in connector.find(target) for r in page.records)
    connector.close()
    return record


def test_blind_copies_in_sent_are_people_too(dovecot: Dovecot) -> None:
    """Sent keeps Bcc: who was written to without the others' knowledge is a subject key."""
    letter = (
        b"From: post@example.org\r\nTo: post@example.org\r\n"
        b'Bcc: "Hansen, Kari" <KARI@example.com>,\r\n Ola <ola@example.com>\r\n'
        b"Bcc: third@example.com\r\nMessage-ID: <1@b.example>\r\n\r\nx\r\n"
    )
    record = people(dovecot.user(), "Sent", letter)
    assert record.fields["bcc"] == ("kari@example.com", "ola@example.com", "third@example.com")
    assert record.fields["to"] == ()


def test_who_answers_go_to_is_a_person_too(dovecot: Dovecot) -> None:
    """A form's mail comes from the form: only Reply-To names who wrote it."""
    letter = (
        b"From: Form <post@example.org>\r\nTo: post@example.org\r\n"
        b"Reply-To: =?utf-8?q?Kari_B=C3=B8?= <kari@example.com>\r\n\r\nx\r\n"
    )
    record = people(dovecot.user(), "INBOX", letter)
    assert record.fields["reply_to"] == ("kari@example.com",)
    assert record.fields["from"] == ()
