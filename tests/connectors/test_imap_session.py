"""Connecting, protecting, logging in; servers that cannot be trusted with an act; `doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from imapclient import IMAPClient
from pydantic import SecretStr, ValidationError

from retention.connectors.base import Connector, Level, Probe, Ref, Result
from retention.connectors.imap import connecting
from retention.connectors.imap.settings import ImapSystem, Tls
from retention.errors import ConnectorError, CredentialsRefused, PermanentFailure, TemporaryFailure
from tests.connectors.imap_world import (
    ACL_CONFIG,
    CutWire,
    ScriptedServer,
    location,
    open_imap,
    plain,
    rights,
    short_lived,
)
from tests.servers.dovecot import Dovecot
from tests.servers.mailbox import Mailbox
from tests.servers.process import free_port

OLD = datetime(2024, 1, 10, 8, 30, tzinfo=UTC)
INBOX = location("INBOX")


def failing(connector: Connector) -> ConnectorError:
    """The error of a first look."""
    with pytest.raises(ConnectorError) as caught:
        connector.containers(INBOX)
    connector.close()
    return caught.value


# --- credentials ----------------------------------------------------------------------------


def test_a_wrong_password_is_told_without_it(dovecot: Dovecot) -> None:
    """Refused credentials have an error of their own, and neither secret nor name is in it."""
    mailbox = dovecot.user()
    error = failing(open_imap(mailbox, password=SecretStr("not the password")))
    assert isinstance(error, CredentialsRefused)
    assert "not the password" not in str(error) + repr(error.__context__)
    assert mailbox.username not in str(error)
    assert error.place == "mail"


@pytest.mark.parametrize("password", ["blank in it", 'q"uo\\te', "pässwörd 日本", "{3}", "~`$&;"])
def test_odd_passwords_work(dovecot: Dovecot, password: str) -> None:
    """Quotes, blanks, other alphabets: a password is only a password."""
    mailbox = dovecot.user(password=password)
    connector = open_imap(mailbox)
    assert "INBOX" in connector.containers(location("*"))
    connector.close()


def test_login_where_there_is_nothing_better() -> None:
    """A server without AUTHENTICATE PLAIN gets LOGIN, quoted; other alphabets cannot."""
    with ScriptedServer({}) as running:
        connector = open_imap(running.mailbox)
        assert connector.containers(INBOX) == ("INBOX",)
        connector.close()
        assert any(b'LOGIN "post@example.org" "a\\"b c"' in line for line in running.heard)
        error = failing(open_imap(running.mailbox, password=SecretStr("pässwörd")))
        assert isinstance(error, PermanentFailure)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"NO [AUTHENTICATIONFAILED] canary", CredentialsRefused),
        (b"NO canary", CredentialsRefused),
        (b"NO [UNAVAILABLE] canary", TemporaryFailure),
        (b"NO [PRIVACYREQUIRED] canary", PermanentFailure),
        (None, TemporaryFailure),
    ],
)
def test_refused_logins_are_told_apart(answer: bytes | None, kind: type[ConnectorError]) -> None:
    """Wrong secret, passing trouble and missing TLS are three things; no word of the server's."""
    with ScriptedServer({b"LOGIN": answer}) as running:
        error = failing(open_imap(running.mailbox))
    assert type(error) is kind
    assert "canary" not in str(error) + repr(error.__context__) + repr(error.__cause__)


def test_no_login_where_the_server_forbids_it() -> None:
    """LOGINDISABLED: the password stays at home, and the hint says TLS."""
    offers = {b"CAPABILITY": [b"* CAPABILITY IMAP4rev1 LOGINDISABLED"]}
    with ScriptedServer(offers) as running:
        error = failing(open_imap(running.mailbox))
        assert not any(b"LOGIN " in line for line in running.heard)
    assert "tls" in error.hint


HEADER = b"BODY[HEADER.FIELDS (MESSAGE-ID)]"
DATE = b'INTERNALDATE "10-Jan-2024 08:30:00 +0000"'


def test_unusual_answers_are_read() -> None:
    """Other order, other case, quoted strings, NIL, news of other messages: all read alike."""
    lines = [
        b'* 1 FETCH (BODY["HEADER".FIELDS (MESSAGE-ID)] "" UID 3)',
        b"* 1 FETCH (FLAGS (\\Seen) UID 3)",
        b"* 1 fetch (body[HEADER.FIELDS (MESSAGE-ID)] {27}\r\nMessage-ID: <a@b.example>\r\n "
        + DATE.replace(b"INTERNALDATE", b"InternalDate")
        + b" uid 3)",
        b"* 9 EXISTS",
        b"* OK [ALERT] hello {3}",
        b"* 2 FETCH (UID 4 " + HEADER + b" NIL " + DATE + b" RFC822.SIZE 70)",
    ]
    answers: dict[bytes, list[bytes] | bytes | None] = {
        b"SEARCH": [b"* SEARCH 3 4 (MODSEQ 5)"],
        b"RFC822.SIZE": [b"* 2 FETCH (UID 4 " + DATE + b" RFC822.SIZE 70)"],
        b"FETCH": lines,
    }
    with ScriptedServer(answers) as running:
        connector = open_imap(running.mailbox)
        records = [r for page in connector.find(INBOX) for r in page.records]
        connector.close()
    assert [(r.ref.key, r.ref.trace) for r in records] == [
        ("INBOX/7/3", "<a@b.example>"),
        ("INBOX/7/4", "#70@1704875400"),
    ]


@pytest.mark.parametrize(
    "answer",
    [
        [b"* 1 FETCH (UID 3 " + DATE + b")"],
        b"NO [EXPUNGEISSUED] canary",
        None,
        [b"* BYE canary"],
        [b"* 1 FETCH (UID 3 " + HEADER + b" {99999999999}"],
        [b"garbage"],
    ],
)
def test_half_an_answer_is_no_answer(answer: list[bytes] | bytes | None) -> None:
    """A message that is there and was not told all about is never silently left out."""
    answers: dict[bytes, list[bytes] | bytes | None] = {
        b"SEARCH": [b"* SEARCH 3"],
        b"UID FLAGS": [b"* 1 FETCH (UID 3 FLAGS ())"],
        b"FETCH": answer,
    }
    with ScriptedServer(answers) as running:
        connector = open_imap(running.mailbox)
        with pytest.raises(TemporaryFailure) as caught:
            list(connector.find(INBOX))
        connector.close()
    assert "canary" not in str(caught.value) + repr(caught.value.__context__)


def test_a_lying_expunge_is_found_out() -> None:
    """The server says OK and keeps the message: not disposed, and our mark is taken back."""
    answers: dict[bytes, list[bytes] | bytes | None] = {
        b"UID FLAGS": [b"* 1 FETCH (UID 3 FLAGS (\\Deleted))"],
        b"UID INTERNALDATE FLAGS": [b"* 1 FETCH (UID 3 FLAGS () " + DATE + b")"],
    }
    with ScriptedServer(answers) as running:
        connector = open_imap(running.mailbox)
        ref = Ref("INBOX", "INBOX/7/3", "7.1704875400", "<a@b.example>")
        outcomes = list(connector.erase(INBOX, [ref]))
        connector.close()
        assert running.heard[-2].endswith(b"UID STORE 3 -FLAGS.SILENT (\\Deleted)")
    assert [(o.result, o.code) for o in outcomes] == [(Result.FAILED_TEMPORARY, "still_there")]


@pytest.mark.parametrize("refused", [b"UID STORE 3 +FLAGS", b"UID EXPUNGE"])
def test_a_refused_act_leaves_the_session_usable(refused: bytes) -> None:
    """Both commands go in one piece; whichever is refused, the answers stay in step."""
    answers: dict[bytes, list[bytes] | bytes | None] = {
        refused: b"NO canary",
        b"UID FLAGS": [b"* 1 FETCH (UID 3 FLAGS ())"],
        b"UID INTERNALDATE FLAGS": [b"* 1 FETCH (UID 3 FLAGS () " + DATE + b")"],
    }
    with ScriptedServer(answers) as running:
        connector = open_imap(running.mailbox)
        ref = Ref("INBOX", "INBOX/7/3", "7.1704875400", "<a@b.example>")
        for _ in range(2):
            (outcome,) = connector.erase(INBOX, [ref])
            assert (outcome.result, outcome.code) == (Result.FAILED_PERMANENT, "refused")
        connector.close()


def test_a_line_break_in_a_secret_is_refused(dovecot: Dovecot) -> None:
    """It would be a command of its own on the wire."""
    error = failing(open_imap(dovecot.user(), password=SecretStr("x\r\nA1 DELETE INBOX")))
    assert isinstance(error, CredentialsRefused)
    assert "DELETE" not in str(error)


def test_a_token_needs_a_server_that_takes_tokens(dovecot: Dovecot) -> None:
    """Without XOAUTH2 and OAUTHBEARER a token is never sent as a password."""
    error = failing(open_imap(dovecot.user(), password=None, oauth=SecretStr("token-canary")))
    assert isinstance(error, PermanentFailure)
    assert "token-canary" not in str(error)


@pytest.mark.parametrize("mechanism", ["xoauth2", "oauthbearer"])
def test_tokens_are_offered_as_the_server_wants(mechanism: str) -> None:
    """Both mechanisms log in to a real server, one that takes any token."""
    config = f"""
auth_mechanisms = {mechanism}
passdb {{
  driver = static
  args = nopassword=y
  mechanisms = {mechanism}
}}
"""
    with short_lived(config=config) as running:
        connector = open_imap(running.user(), password=None, oauth=SecretStr("token"))
        assert connector.containers(INBOX) == ("INBOX",)
        connector.close()


def test_settings_want_one_credential() -> None:
    """Password or token: not both, not neither."""
    with pytest.raises(ValidationError):
        ImapSystem.model_validate({"host": "mail.example.org", "username": "post@example.org"})
    with pytest.raises(ValidationError):
        ImapSystem.model_validate(
            {"host": "mail.example.org", "username": "x", "password": "in the file"}
        )


# --- the wire -------------------------------------------------------------------------------


def test_nobody_answers() -> None:
    """An unreachable server is worth another try."""
    mailbox = Mailbox("127.0.0.1", free_port(), "post@example.org", "x", Path())
    assert isinstance(failing(open_imap(mailbox)), TemporaryFailure)


def test_a_session_heals_after_a_lost_connection(dovecot: Dovecot) -> None:
    """After a break the next call connects again; nothing is half-read."""
    mailbox = dovecot.user()
    mailbox.append("INBOX", *[plain()] * 3, received=OLD)
    wire = CutWire(mailbox.host, mailbox.port)
    connector = open_imap(mailbox, port=wire.port)
    refs = [r.ref for page in connector.find(INBOX) for r in page.records]
    with wire.set("lose"), pytest.raises(TemporaryFailure):
        list(connector.erase(INBOX, refs[:1]))
    assert [r.ref for r in connector.recheck(INBOX, [r.key for r in refs])] == refs[1:]
    connector.close()
    wire.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(certificate, key) for 127.0.0.1, signed by itself."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.example.org")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=365 * 80))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


@pytest.fixture(scope="module")
def protected(certificate: tuple[Path, Path]) -> Iterator[tuple[Dovecot, int, str]]:
    """(server that wants TLS, port of implicit TLS, its certificate's path)."""
    port = free_port()
    config = f"""
ssl = required
ssl_cert = <{certificate[0]}
ssl_key = <{certificate[1]}
disable_plaintext_auth = yes
login_trusted_networks =
service imap-login {{
  inet_listener imaps {{
    port = {port}
    ssl = yes
  }}
}}
"""
    with short_lived(config=config) as running:
        yield running, port, str(certificate[0])


def test_tls_of_both_kinds(protected: tuple[Dovecot, int, str]) -> None:
    """Implicit and STARTTLS, certificate checked against the named authority."""
    server, port, authority = protected
    mailbox = server.user()
    for changes in ({"tls": Tls.IMPLICIT, "port": port}, {"tls": Tls.STARTTLS}):
        connector = open_imap(mailbox, ca_file=authority, **changes)
        assert connector.containers(INBOX) == ("INBOX",)
        told = {p.check: p for p in connector.probe([INBOX])}
        assert told["tls"].ok
        connector.close()


def test_an_untrusted_certificate_ends_it(protected: tuple[Dovecot, int, str]) -> None:
    """No password goes to a server that cannot prove its name."""
    server, port, authority = protected
    mailbox = server.user()
    unknown = failing(open_imap(mailbox, tls=Tls.IMPLICIT, port=port))
    assert (unknown.code, unknown.permanent) == ("tls", True)
    other_name = failing(
        open_imap(mailbox, tls=Tls.IMPLICIT, port=port, host="localhost", ca_file=authority)
    )
    assert (other_name.code, other_name.permanent) == ("tls", True)
    assert failing(open_imap(mailbox, tls=Tls.STARTTLS)).code == "tls"


def test_no_password_without_tls_unless_it_was_said(
    protected: tuple[Dovecot, int, str], dovecot: Dovecot
) -> None:
    """TLS asked for and not offered is an error, never a fallback."""
    assert isinstance(failing(open_imap(dovecot.user(), tls=Tls.STARTTLS)), PermanentFailure)
    assert failing(open_imap(dovecot.user(), tls=Tls.IMPLICIT)).code == "tls"
    assert ImapSystem.model_fields["tls"].default is Tls.IMPLICIT


@pytest.mark.parametrize(
    "answers",
    [
        {b"CAPABILITY": [b"* CAPABILITY IMAP4rev1 UIDPLUS AUTH=PLAIN"]},
        {
            b"CAPABILITY": [b"* CAPABILITY IMAP4rev1 UIDPLUS STARTTLS AUTH=PLAIN"],
            b"STARTTLS": b"NO not today",
        },
        {
            b"CAPABILITY": [b"* CAPABILITY IMAP4rev1 UIDPLUS STARTTLS AUTH=PLAIN"],
            b"STARTTLS": None,
        },
    ],
    ids=["stripped", "refused", "hung up"],
)
def test_whoever_takes_starttls_away_gets_no_password(
    answers: dict[bytes, list[bytes] | bytes | None],
) -> None:
    """A man in the middle hides or refuses STARTTLS: nothing is sent that he could use."""
    with ScriptedServer(answers) as running:
        failing(open_imap(running.mailbox, tls=Tls.STARTTLS))
        assert not any(b"LOGIN" in line or b"AUTHENTICATE" in line for line in running.heard)


@pytest.mark.parametrize(
    ("peer", "here"),
    [("127.0.0.1", True), ("127.8.9.10", True), ("::1", True), ("10.0.0.5", False),
     ("192.0.2.7", False), ("fe80::1%eth0", False), ("2001:db8::1", False)],
)  # fmt: skip
def test_only_this_machine_may_do_without_tls(peer: str, here: bool) -> None:
    """What counts is where the connection really leads, not how the host is called."""

    class Connected:
        def getpeername(self) -> tuple[str, int]:
            return peer, 143

    assert connecting._on_this_machine(Connected()) is here  # type: ignore[arg-type]  # as a socket tells it


def test_no_password_in_the_clear_to_another_machine(
    dovecot: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`tls: none` is for this machine: elsewhere the login is refused before it is sent."""
    monkeypatch.setattr(connecting, "_on_this_machine", lambda _: False)
    error = failing(open_imap(dovecot.user()))
    assert (error.code, error.permanent) == ("tls", True)
    assert "starttls" in error.hint


# --- servers that are refused ---------------------------------------------------------------


def acted(running: Dovecot) -> tuple[ConnectorError, list[Probe], int]:
    """What an act on this server ends with, what `doctor` says, and how many messages are left."""
    mailbox = running.user()
    mailbox.append("INBOX", *[plain()] * 3, received=OLD)
    connector = open_imap(mailbox, page=2)
    refs = [r.ref for page in connector.find(INBOX) for r in page.records]
    assert len(refs) == 3
    with pytest.raises(PermanentFailure) as caught:
        list(connector.erase(INBOX, refs))
    told = list(connector.probe([INBOX]))
    levels = {p.level for p in connector.verify(INBOX, refs, None)}
    assert levels == {Level.PRESENT}
    connector.close()
    return caught.value, told, len(mailbox.uids("INBOX"))


def test_without_uidplus_nothing_is_deleted() -> None:
    """A plain EXPUNGE would remove other people's marked mail. Finding works without ESEARCH."""
    with short_lived(capability="IMAP4rev1 SASL-IR LITERAL+") as running:
        error, told, left = acted(running)
    assert error.code == "no_uidplus"
    assert left == 3
    assert [p.ok for p in told if p.check == "uidplus"] == [False]


def test_gmail_that_hides_all_mail_is_refused() -> None:
    """There, expunging removes a label and the message stays where nobody could see it."""
    with short_lived(capability="+X-GM-EXT-1") as running:
        mailbox = running.user()
        mailbox.append("INBOX", plain(), received=OLD)
        connector = open_imap(mailbox)
        told = list(connector.probe([INBOX]))
        with pytest.raises(PermanentFailure) as caught:
            list(connector.find(INBOX))
        with pytest.raises(PermanentFailure):
            list(connector.erase(INBOX, [Ref("INBOX", "gm/1", "gm.1")]))
        connector.close()
        assert len(mailbox.uids("INBOX")) == 1
    assert caught.value.code == "gmail_hidden"
    assert [p.ok for p in told if p.check == "gmail: all mail"] == [False]


# --- doctor ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def acl_server() -> Iterator[Dovecot]:
    with short_lived(config=ACL_CONFIG) as running:
        yield running


def test_doctor_knows_rights_that_lack_and_rights_too_many(acl_server: Dovecot) -> None:
    """Missing rights are a finding before the first night, excess ones are named."""
    mailbox = acl_server.user()
    mailbox.append("Shared", plain(), received=OLD)
    target = location("Shared")
    connector = open_imap(mailbox)
    good = {p.check: p for p in connector.probe([target])}
    connector.close()
    assert all(p.ok for p in good.values())
    assert "(x)" in good["location post/mail: excess rights"].detail
    with rights(mailbox, "Shared", "lrs"):
        connector = open_imap(mailbox)
        bad = {p.check: p for p in connector.probe([target])}
        connector.close()
    assert not bad["location post/mail: rights"].ok
    assert "mark as deleted (t), expunge (e)" in bad["location post/mail: rights"].detail


def test_doctor_reports_instead_of_failing(dovecot: Dovecot) -> None:
    """Bad credentials and missing folders are findings with hints."""
    mailbox = dovecot.user()
    connector = open_imap(mailbox)
    told = [p for p in connector.probe([location("Nowhere")]) if not p.ok]
    connector.close()
    assert [p.check for p in told] == ["location post/mail"]
    connector = open_imap(mailbox, password=SecretStr("wrong"))
    told = list(connector.probe([INBOX]))
    connector.close()
    assert [(p.check, p.ok) for p in told] == [("credentials", False)]


# --- pins -----------------------------------------------------------------------------------


def test_the_library_still_leads_to_its_connection(dovecot: Dovecot) -> None:
    """We read by the thousand over IMAPClient's imaplib object: if it moves, this fails first."""
    mailbox = dovecot.user()
    client: Any = IMAPClient(mailbox.host, port=mailbox.port, ssl=False)
    try:
        inner = client._imap
        assert all(callable(getattr(inner, name)) for name in ("send", "readline", "read"))
    finally:
        client.shutdown()
