"""Alarms by mail: one message to all recipients, over a server that is named in the settings."""

from __future__ import annotations

import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from ipaddress import ip_address
from typing import Self
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from retention.settings import Settings, addresses_in
from retention.watch.channel import Refused
from retention.watch.message import Message

TIMEOUT = 15.0
SUBMISSION = 587
SUBMISSIONS = 465


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail server, its login, and the two ends of each message."""

    host: str
    port: int
    implicit: bool
    starttls: bool
    user: str | None
    password: SecretStr | None
    sender: str
    recipients: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """As the settings say; None where they name no recipients. Raises UsageError."""
        if not (settings.alarm_mail_to and settings.alarm_mail_from and settings.smtp_url):
            return None
        parts = urlsplit(settings.smtp_url)
        implicit = parts.scheme == "smtps"
        return cls(
            host=parts.hostname or "",
            port=parts.port or (SUBMISSIONS if implicit else SUBMISSION),
            implicit=implicit,
            starttls=not implicit and parts.query != "tls=none",
            user=unquote(parts.username) if parts.username else None,
            password=settings.smtp_password,
            sender=settings.alarm_mail_from,
            recipients=tuple(addresses_in(settings.alarm_mail_to)),
        )

    def send(self, message: Message) -> None:
        """Deliver it to at least one recipient. Raises Refused."""
        try:
            with self._connect() as server:
                self._log_in(server)
                server.send_message(self.compose(message), self.sender, self.recipients)
        except smtplib.SMTPResponseException as error:
            raise Refused(f"{type(error).__name__} {error.smtp_code}") from None
        except (OSError, ValueError) as error:
            # Every other error of smtplib is an OSError; a ValueError is an address it cannot say.
            raise Refused(type(error).__name__) from None

    def compose(self, message: Message) -> EmailMessage:
        """The message as it goes out."""
        mail = EmailMessage()
        mail["From"] = self.sender
        mail["To"] = ", ".join(self.recipients)
        mail["Subject"] = message.subject()
        mail["Date"] = format_datetime(message.at)
        mail["Message-ID"] = make_msgid(domain=self.sender.rpartition("@")[2])
        # So that nobody's absence notice answers a machine (RFC 3834).
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text())
        return mail

    def _connect(self) -> smtplib.SMTP:
        if self.implicit:
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(self.host, self.port, timeout=TIMEOUT, context=context)
        return smtplib.SMTP(self.host, self.port, timeout=TIMEOUT)

    def _log_in(self, server: smtplib.SMTP) -> None:
        if self.starttls:
            server.starttls(context=ssl.create_default_context())
        if self.user is not None and self.password is not None:
            if not (self.implicit or self.starttls or _loopback(self.host)):
                raise Refused("a password is not sent without TLS")
            server.login(self.user, self.password.get_secret_value())


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
