"""Settings of being watched: what is refused, and that secrets are never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from retention.errors import UsageError
from retention.settings import load
from retention.watch.mail import Mail
from retention.watch.watch import channels
from retention.watch.webhook import Webhook

MAIL = {
    "smtp_url": "smtp://robot%40example.org@mail.example.org:2525",
    "alarm_mail_from": "retention@example.org",
    "alarm_mail_to": "admin@example.org, dpo@example.org",
}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("metrics_address", "9105"),
        ("metrics_address", "127.0.0.1:http"),
        ("metrics_address", "127.0.0.1:70000"),
        ("smtp_url", "http://mail.example.org"),
        ("smtp_url", "smtp://robot:hunter2@mail.example.org"),
        ("smtp_url", "smtp://mail.example.org?tls=maybe"),
        ("smtp_url", "smtp://mail.example.org:x"),
        ("smtp_url", "smtp://"),
        ("alarm_webhook_url", "file:///etc/hunter2"),
        ("alarm_webhook_url", "https://hooks.example.org/hunter2\r\nX: y"),
        ("ping_url", "hunter2"),
        ("otlp_endpoint", "grpc://127.0.0.1:4317"),
        ("alarm_mail_from", "Robot <robot@example.org>"),
        ("alarm_mail_from", "robot@example.org\nBcc: x@example.org"),
        ("alarm_settle_seconds", -1),
        ("alarm_remind_hours", 0),
    ],
)
def test_a_wrong_value_is_refused_without_repeating_it(name: str, value: object) -> None:
    """The setting is named; its value may be a secret."""
    with pytest.raises(UsageError) as caught:
        load(**{name: value})
    assert name in str(caught.value)
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("missing", ["smtp_url", "alarm_mail_from"])
def test_recipients_need_a_server_and_a_sender(missing: str) -> None:
    """Alarms that would silently go nowhere are refused at the start."""
    with pytest.raises(UsageError, match="alarm_mail_to"):
        load(**{name: value for name, value in MAIL.items() if name != missing})


def test_every_part_of_a_mail_server_is_understood(tmp_path: Path) -> None:
    """Ports and TLS by scheme; the user decoded; the password from its file."""
    (tmp_path / "password").write_text("hunter2\n", encoding="utf-8")
    full = Mail.of(load(**MAIL, smtp_password_file=tmp_path / "password"))
    assert full is not None
    assert (full.host, full.port, full.implicit, full.starttls, full.user) == (
        *("mail.example.org", 2525, False, True, "robot@example.org"),
    )
    assert full.password is not None
    assert full.password.get_secret_value() == "hunter2"
    assert full.recipients == ("admin@example.org", "dpo@example.org")
    for url, port, implicit, starttls in (
        ("smtps://mail.example.org", 465, True, False),
        ("smtp://mail.example.org", 587, False, True),
        ("smtp://mail.example.org?tls=none", 587, False, False),
    ):
        found = Mail.of(load(**{**MAIL, "smtp_url": url}))
        assert found is not None
        assert (found.port, found.implicit, found.starttls) == (port, implicit, starttls)


def test_the_password_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As containers hand secrets over."""
    monkeypatch.setenv("RETENTION_SMTP_PASSWORD", "hunter2")
    password = load(**MAIL).smtp_password
    assert password is not None
    assert password.get_secret_value() == "hunter2"


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    """Neither settings nor channels have them in str or repr."""
    (tmp_path / "secret").write_text("hunter2", encoding="utf-8")
    chosen = load(
        **MAIL,
        smtp_password_file=tmp_path / "secret",
        alarm_webhook_url="https://hooks.example.org/services/hunter2",
        alarm_webhook_secret_file=tmp_path / "secret",
        ping_url="https://ping.example.org/hunter2",
    )
    shown = [chosen, *channels(chosen).values()]
    assert len(shown) == 3
    assert all("hunter2" not in f"{thing} {thing!r}" for thing in shown)


@pytest.mark.parametrize("content", [None, "", b"\xff"])
def test_a_secret_file_that_is_missing_stops_the_start(
    tmp_path: Path, content: str | bytes | None
) -> None:
    """Unsigned alarms would be refused at the other end, when it is too late."""
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    chosen = load(alarm_webhook_url="https://hooks.example.org/x", alarm_webhook_secret_file=path)
    with pytest.raises(UsageError, match="alarm_webhook_secret_file"):
        Webhook.of(chosen)


def test_nothing_is_watched_unless_it_is_asked_for() -> None:
    """The small installation opens no port and calls nobody."""
    bare = load()
    assert channels(bare) == {}
    assert (bare.metrics_address, bare.ping_url, bare.otlp_endpoint) == (None, None, None)
