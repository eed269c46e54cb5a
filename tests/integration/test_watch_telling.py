"""Alarms on their way to people: real mail and web servers, several processes, failures."""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Barrier, Thread

import pytest
from sqlalchemy import select, update

from retention.ledger import tables as t
from retention.ledger.store import Ledger
from retention.settings import load
from retention.watch import memory
from retention.watch.channel import Refused, Sender
from retention.watch.mail import Mail
from retention.watch.message import Message
from retention.watch.telling import Teller
from retention.watch.watch import channels
from retention.watch.webhook import Webhook
from tests.integration.shop import SetClock
from tests.integration.watched import Mailbox, Web, clear_alarm, mailbox, raise_alarm, web
from tests.servers.certificate import write_certificate
from tests.servers.postgres import Postgres

FROM = {"alarm_mail_from": "retention@example.org"}


@pytest.fixture
def clock() -> SetClock:
    """Noon."""
    return SetClock()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty one."""
    opened = Ledger.open(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield opened
    opened.close()


@pytest.fixture
def box() -> Iterator[Mailbox]:
    """A mail server without TLS."""
    with mailbox() as server:
        yield server


@pytest.fixture
def hook() -> Iterator[Web]:
    """A web server."""
    with web() as server:
        yield server


def teller(ledger: Ledger, clock: SetClock, owner: str = "host:1", **senders: Sender) -> Teller:
    """One process that tells over these channels."""
    return Teller(ledger, clock, owner, senders, "example.org/retention", "Europe/Oslo")


def mail(
    port: int, query: str = "?tls=none", to: str = "admin@example.org", **more: object
) -> Mail:
    """A channel to a mail server of this machine."""
    url = f"smtp://127.0.0.1:{port}{query}"
    found = Mail.of(load(**{"smtp_url": url, "alarm_mail_to": to, **FROM, **more}))
    assert found is not None
    return found


def webhook(server: Web, secret: Path | None = None) -> Webhook:
    """A channel to a web server of this machine."""
    found = Webhook.of(
        load(alarm_webhook_url=f"{server.url}/alarms", alarm_webhook_secret_file=secret)
    )
    assert found is not None
    return found


def test_an_alarm_is_mailed_once_reminded_of_and_its_end_mailed(
    ledger: Ledger, clock: SetClock, box: Mailbox
) -> None:
    """Weeks of one alarm: three mails, each readable, with plain headers."""
    ours = teller(ledger, clock, mail=mail(box.port, to="admin@example.org, dpo@example.org"))
    assert ours.round() == {}
    number = raise_alarm(ledger, clock.now())
    for hours in (0, 1, 22, 2):
        clock.forward(hours=hours)
        ours.round()
    assert len(box.messages) == 2
    clear_alarm(ledger, clock.now(), number)
    for _ in range(30):
        clock.forward(minutes=1)
        ours.round()
    began, lasts, ended = box.messages
    assert began["Subject"] == "[retention example.org/retention] 1 alarm: limit (form)"
    assert "STILL NEEDS SOMEBODY" in lasts.get_content()
    assert ended["Subject"] == "[retention example.org/retention] over: limit (form)"
    assert "What to do: Look at `retention plan form`." in began.get_content()
    assert began["Auto-Submitted"] == "auto-generated"
    assert set(map(str, box.envelopes)) == {
        "('retention@example.org', ['admin@example.org', 'dpo@example.org'])"
    }


def test_an_alarm_that_clears_itself_at_once_is_not_told(
    ledger: Ledger, clock: SetClock, box: Mailbox
) -> None:
    """It lasted less than the settle time."""
    ours = teller(ledger, clock, mail=mail(box.port))
    number = raise_alarm(ledger, clock.now(), age=0)
    clock.forward(seconds=30)
    ours.round()
    clear_alarm(ledger, clock.now(), number)
    clock.forward(hours=1)
    ours.round()
    assert box.messages == []


def test_a_storm_is_two_mails(ledger: Ledger, clock: SetClock, box: Mailbox) -> None:
    """What comes up within five minutes of a mail is gathered into the next."""
    ours = teller(ledger, clock, mail=mail(box.port))
    for number in range(40):
        raise_alarm(ledger, clock.now(), policy=f"p{number}")
        clock.forward(seconds=7)
        ours.round()
    clock.forward(minutes=5)
    ours.round()
    assert [str(m["Subject"]).partition("] ")[2].partition(":")[0] for m in box.messages] == [
        "1 alarm",
        "39 alarms",
    ]


def test_a_webhook_gets_a_signed_body(
    ledger: Ledger, clock: SetClock, hook: Web, tmp_path: Path
) -> None:
    """The signature covers every byte that was sent."""
    (tmp_path / "secret").write_text("hunter2\n", encoding="utf-8")
    raise_alarm(ledger, clock.now())
    assert teller(ledger, clock, webhook=webhook(hook, tmp_path / "secret")).round() == {
        "webhook": True
    }
    ((method, path, headers, body),) = hook.requests
    assert (method, path, headers["Content-Type"]) == ("POST", "/alarms", "application/json")
    expected = hmac.new(b"hunter2", body, hashlib.sha256).hexdigest()
    assert headers["X-Retention-Signature"] == f"sha256={expected}"
    assert json.loads(body)["alarms"][0]["state"] == "began"


@pytest.mark.parametrize("status", [301, 302, 307, 400, 404, 500, 503])
def test_only_2xx_is_success_and_no_redirect_is_followed(
    ledger: Ledger, clock: SetClock, hook: Web, status: int
) -> None:
    """A body with names of policies goes nowhere but to the address that was set."""
    with web() as elsewhere:
        hook.status, hook.headers = status, {"Location": elsewhere.url}
        raise_alarm(ledger, clock.now())
        assert teller(ledger, clock, webhook=webhook(hook)).round() == {"webhook": False}
        assert (len(hook.requests), elsewhere.requests) == (1, [])


def test_a_failed_delivery_is_tried_again_and_raises_no_alarm(
    ledger: Ledger, clock: SetClock, hook: Web
) -> None:
    """The failure is counted in the ledger, where the metrics find it; the alarm arrives later."""
    ours = teller(ledger, clock, webhook=webhook(hook))
    hook.status = 500
    raise_alarm(ledger, clock.now())
    for _ in range(3):
        ours.round()
        clock.forward(minutes=5)
    with ledger.read() as tx:
        assert memory.Memory.read(tx).channels["webhook"].failures == 3
        assert len(tx.execute(select(t.alarm)).all()) == 1
        assert tx.execute(select(t.alarm.c.told_at)).scalar_one() is None
    hook.status = 200
    ours.round()
    ours.round()
    assert len(hook.requests) == 4
    with ledger.read() as tx:
        assert memory.Memory.read(tx).channels["webhook"].failures == 0


def test_one_channel_that_fails_does_not_hold_up_the_other(
    ledger: Ledger, clock: SetClock, hook: Web, box: Mailbox
) -> None:
    """Mail tells at once and only once; the webhook gets it when it answers again."""
    ours = teller(ledger, clock, mail=mail(box.port), webhook=webhook(hook))
    hook.status = 500
    raise_alarm(ledger, clock.now())
    assert ours.round() == {"mail": True, "webhook": False}
    hook.status = 204
    clock.forward(seconds=20)
    assert ours.round() == {"webhook": True}
    clock.forward(hours=1)
    assert ours.round() == {}
    assert len(box.messages) == 1


def test_what_a_mail_server_refuses_is_a_code_and_no_words(box: Mailbox) -> None:
    """A server's answer may quote anything."""
    box.answer = "554 go away, ola.nordmann@example.com"
    with pytest.raises(Refused) as caught:
        mail(box.port).send(_message())
    assert str(caught.value) == "SMTPDataError 554"
    with pytest.raises(Refused) as caught:
        mail(box.port, to="nobody@example.org").send(_message())
    assert str(caught.value) == "SMTPRecipientsRefused"


def test_one_recipient_who_is_not_there_does_not_cost_the_others_their_mail(
    box: Mailbox,
) -> None:
    """It is delivered to whom it can be."""
    mail(box.port, to="nobody@example.org, admin@example.org").send(_message())
    assert [to for _, to in box.envelopes] == [["admin@example.org"]]


def test_a_server_that_is_not_there_is_a_refusal(ledger: Ledger, clock: SetClock) -> None:
    """The class of the error, nothing else; the round goes on."""
    with mailbox() as gone:
        pass
    raise_alarm(ledger, clock.now())
    assert teller(ledger, clock, mail=mail(gone.port)).round() == {"mail": False}


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "smtps"])
def test_mail_goes_over_tls_to_a_server_that_proves_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, implicit: bool
) -> None:
    """With the login that was set; and not at all where the certificate is unknown."""
    write_certificate(tmp_path / "cert", tmp_path / "key")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    (tmp_path / "password").write_text("hunter2", encoding="utf-8")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert"))
    with mailbox(tls, implicit=implicit) as box:
        scheme = "smtps" if implicit else "smtp"
        secure = mail(
            box.port,
            smtp_url=f"{scheme}://robot@localhost:{box.port}",
            smtp_password_file=tmp_path / "password",
        )
        secure.send(_message())
        assert box.logins == [b"robot:hunter2"]
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(Refused, match="SSLCertVerificationError"):
            secure.send(_message())
    assert len(box.messages) == 1


def test_a_server_without_tls_gets_neither_mail_nor_password(box: Mailbox, tmp_path: Path) -> None:
    """Unless the settings say so; and then a password only on this machine."""
    (tmp_path / "password").write_text("hunter2", encoding="utf-8")
    with pytest.raises(Refused, match="SMTPNotSupportedError"):
        mail(box.port, query="").send(_message())
    url = f"smtp://robot@127.0.0.1:{box.port}?tls=none"
    local = mail(box.port, smtp_url=url, smtp_password_file=tmp_path / "password")
    local.send(_message())
    assert box.logins == [b"robot:hunter2"]
    far = replace(local, host="0.0.0.0")
    with pytest.raises(Refused, match="TLS"):
        far.send(_message())
    assert len(box.logins) == 1


@dataclass
class Slow:
    """A channel that remembers what it was given."""

    got: list[Message] = field(default_factory=list)

    def send(self, message: Message) -> None:
        self.got.append(message)


def _together(tellers: list[Teller]) -> None:
    barrier = Barrier(len(tellers))

    def work(one: Teller) -> None:
        barrier.wait()
        for _ in range(3):
            one.round()

    threads = [Thread(target=work, args=(one,)) for one in tellers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_of_several_machines_one_tells(
    engine: str, tmp_path: Path, clock: SetClock, postgres: Postgres
) -> None:
    """Eight at the same moment, thrice: each alarm is told once."""
    url = postgres.new_database() if engine == "postgresql" else f"sqlite:///{tmp_path / 'x.db'}"
    ledgers = [Ledger.open(url) for _ in range(8)]
    channel = Slow()
    for number in range(5):
        raise_alarm(ledgers[0], clock.now(), policy=f"p{number}")
    _together([teller(one, clock, f"host:{n}", mail=channel) for n, one in enumerate(ledgers)])
    assert [len(message.tellings) for message in channel.got] == [5]
    for one in ledgers:
        one.close()


def test_what_a_process_began_to_tell_and_died_is_told_by_another(
    ledger: Ledger, clock: SetClock
) -> None:
    """After the lease, not before; a lease of a clock that was wrong does not count."""
    raise_alarm(ledger, clock.now())

    class Dying:
        def send(self, message: Message) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        teller(ledger, clock, "host:1", mail=Dying()).round()
    channel = Slow()
    other = teller(ledger, clock, "host:2", mail=channel)
    assert other.round() == {}
    clock.forward(minutes=4)
    assert other.round() == {"mail": True}
    with ledger.write() as tx:
        value = json.dumps({"owner": "host:3", "until": "2099-01-01T00:00:00.000Z"})
        tx.execute(update(t.meta).where(t.meta.c.key == memory.KEY).values(value=value))
    raise_alarm(ledger, clock.now())
    assert other.round() == {"mail": True}
    assert len(channel.got) == 2


def test_both_channels_come_from_the_settings(hook: Web, box: Mailbox, clock: SetClock) -> None:
    """As the daemon opens them."""
    chosen = load(
        smtp_url=f"smtp://127.0.0.1:{box.port}?tls=none",
        alarm_mail_to="admin@example.org",
        alarm_webhook_url=hook.url,
        **FROM,
    )
    for sender in channels(chosen).values():
        sender.send(_message())
    assert (len(box.messages), len(hook.requests)) == (1, 1)


def _message() -> Message:
    return Message((), "example.org/retention", "Europe/Oslo", SetClock().now())
