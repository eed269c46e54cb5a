"""The label server keeps Gmail's rules as an ordinary client sees them: the standard library's."""

from __future__ import annotations

import imaplib
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.servers.gmail import GmailServer
from tests.servers.gmail_store import NORWEGIAN, Account

USER, PASSWORD = "post@example.org", "app-password"
OLD = datetime(2024, 1, 10, 8, 30, tzinfo=UTC)
DATA = b"From: a@example.com\r\nMessage-ID: <one@example.com>\r\nSubject: x\r\n\r\nHello.\r\n"
ALL, TRASH = '"[Gmail]/All Mail"', '"[Gmail]/Trash"'


_CLIENTS: list[imaplib.IMAP4] = []


@pytest.fixture
def server() -> Iterator[GmailServer]:
    with GmailServer() as running:
        yield running
        while _CLIENTS:
            _CLIENTS.pop().shutdown()


def connected(server: GmailServer) -> imaplib.IMAP4:
    client = imaplib.IMAP4("127.0.0.1", server.port)
    _CLIENTS.append(client)
    return client


def client_of(server: GmailServer) -> imaplib.IMAP4:
    client = connected(server)
    client.login(USER, PASSWORD)
    return client


def count(client: imaplib.IMAP4, folder: str) -> int:
    (told,) = client.status(folder, "(MESSAGES)")[1]
    assert told is not None
    return int(told.rpartition(b" ")[2].rstrip(b")"))


def with_one(server: GmailServer, **settings: object) -> tuple[Account, imaplib.IMAP4]:
    account = server.user(USER, PASSWORD, **settings)
    account.create("Kunder")
    account.add("Kunder", DATA, OLD)
    return account, client_of(server)


@pytest.mark.parametrize("auto", [True, False])
@pytest.mark.parametrize(
    ("behaviour", "in_all", "in_trash"),
    [("archive", 1, 0), ("trash", 0, 1), ("deleteForever", 0, 0)],
)
def test_a_naive_delete_follows_the_setting(
    server: GmailServer, auto: bool, behaviour: str, in_all: int, in_trash: int
) -> None:
    """STORE and EXPUNGE in a label: by default the message only leaves the label."""
    _, client = with_one(server, auto_expunge=auto, expunge_behaviour=behaviour)
    client.select("Kunder")
    client.store("1", "+FLAGS", "(\\Deleted)")
    if auto:
        assert count(client, "Kunder") == 0
    else:
        assert count(client, "Kunder") == 1
        client.expunge()
    assert count(client, "Kunder") == 0
    assert (count(client, ALL), count(client, TRASH)) == (in_all, in_trash)


def test_another_label_outlives_an_expunge(server: GmailServer) -> None:
    """The setting decides only about the last folder that shows the message."""
    account, client = with_one(server, expunge_behaviour="deleteForever")
    client.select("Kunder")
    client.copy("1", "INBOX")
    client.store("1", "+FLAGS", "(\\Deleted)")
    assert (count(client, "INBOX"), count(client, ALL), len(account.messages)) == (1, 1, 1)


def test_trash_takes_a_message_out_of_everything(server: GmailServer) -> None:
    """MOVE to Trash removes every label and All Mail; expunging there is final."""
    account, client = with_one(server, auto_expunge=False)
    client.select("Kunder")
    client.copy("1", "INBOX")
    assert client.uid("MOVE", "1", TRASH)[0] == "OK"
    assert "COPYUID" in str(client.untagged_responses["OK"])
    assert [count(client, f) for f in ("Kunder", "INBOX", ALL, TRASH)] == [0, 0, 0, 1]
    client.select(TRASH)
    client.store("1", "+FLAGS", "(\\Deleted)")
    client.expunge()
    assert count(client, TRASH) == 0
    assert not account.messages


def test_one_message_has_one_id_and_a_uid_in_each_folder(server: GmailServer) -> None:
    """X-GM-MSGID is the same in every folder; X-GM-LABELS leaves out the folder's own label."""
    account, client = with_one(server)
    message = next(iter(account.messages.values()))
    account.add("INBOX", DATA)
    client.select("Kunder")
    client.copy("1", "INBOX")
    assert client.fetch("1", "(X-GM-MSGID X-GM-LABELS UID)")[1] == [
        b'1 (X-GM-MSGID %d X-GM-LABELS ("\\\\Inbox") UID 1)' % message.msgid
    ]
    client.select(ALL)
    (told,) = client.uid("SEARCH", "X-GM-MSGID", str(message.msgid))[1]
    labels = client.uid("FETCH", told.decode(), "(X-GM-LABELS)")[1][0]
    assert labels == b'1 (UID 1 X-GM-LABELS ("\\\\Inbox" "Kunder"))'
    client.select("INBOX")
    assert client.uid("SEARCH", "X-GM-MSGID", str(message.msgid))[1] == [b"2"]


def test_what_is_hidden_is_not_there(server: GmailServer) -> None:
    """Labels with "Show in IMAP" off, chats, and mail beyond the folder size limit do not show."""
    account, client = with_one(server, max_folder_size=1)
    account.add("Kunder", DATA, OLD.replace(year=2025))
    account.add("Kunder", DATA, OLD.replace(year=2023))
    account.add("Kunder", DATA, OLD, chat=True)
    client.select("Kunder")
    assert client.uid("SEARCH", "ALL")[1] == [b"2"]
    account.special("\\Trash").shown = False
    listed = b"".join(x for x in client.list()[1] if isinstance(x, bytes))
    assert b"Trash" not in listed
    assert b"\\All" in listed
    assert client.select(TRASH)[0] == "NO"


def test_names_are_in_the_account_holders_language(server: GmailServer) -> None:
    """Special uses stay, names do not."""
    server.user(USER, PASSWORD, names=NORWEGIAN)
    listed = [x for x in client_of(server).list()[1] if isinstance(x, bytes) and b"\\Trash" in x]
    assert listed == [b'(\\HasNoChildren \\Trash) "/" "[Gmail]/Papirkurv"']


def test_tokens_log_in_and_bad_ones_get_a_challenge(server: GmailServer) -> None:
    """XOAUTH2 and OAUTHBEARER; an error is told in JSON and wants a last empty word."""
    server.user(USER, PASSWORD)
    server.tokens.add("good")
    for mechanism, form, last in (
        ("XOAUTH2", "user={0}\1auth=Bearer {1}\1\1", b""),
        ("OAUTHBEARER", "n,a={0},\1auth=Bearer {1}\1\1", b"\1"),
    ):
        good = Words(form.format(USER, "good").encode(), last)
        assert connected(server).authenticate(mechanism, good)[0] == "OK"
        bad = Words(form.format(USER, "bad").encode(), last)
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            connected(server).authenticate(mechanism, bad)
        assert b'"status": "400"' in bad.heard[1]


class Words:
    """What a client says in an exchange, and what it heard."""

    def __init__(self, *words: bytes) -> None:
        self._words = iter(words)
        self.heard: list[bytes] = []

    def __call__(self, challenge: bytes) -> bytes:
        self.heard.append(challenge)
        return next(self._words)


def test_append_search_and_headers(server: GmailServer) -> None:
    """A client's own message gets a label, a UID and its date; searches find it."""
    server.user(USER, PASSWORD)
    client = client_of(server)
    when = imaplib.Time2Internaldate(OLD)
    assert b"APPENDUID" in client.append("INBOX", "(\\Seen)", when, DATA)[1][0]
    client.select("INBOX")
    for keys, found in (
        (("BEFORE", "11-Jan-2024"), [b"1"]),
        (("BEFORE", "10-Jan-2024"), [b""]),
        (("OR", "X-GM-MSGID", "5", "HEADER", "Message-ID", "one@"), [b"1"]),
        (("X-GM-RAW", '"rfc822msgid:one@example.com"'), [b"1"]),
        (("NOT", "(SEEN UID 1:*)"), [b""]),
    ):
        assert client.uid("SEARCH", *keys)[1] == found
    told = client.fetch("1", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)] INTERNALDATE FLAGS)")[1][0]
    assert isinstance(told, tuple)
    assert told[1] == b"Subject: x\r\n\r\n"
