"""Alarms as JSON to one URL, signed where a secret is set."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Self

from pydantic import SecretStr

from retention.settings import Settings, secret_in
from retention.watch import outgoing
from retention.watch.message import Message

SIGNATURE = "X-Retention-Signature"


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where alarms are posted to. Both parts are secret."""

    url: SecretStr
    secret: SecretStr | None

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """As the settings say; None where they name no URL. Raises UsageError."""
        if not settings.alarm_webhook_url:
            return None
        file = settings.alarm_webhook_secret_file
        secret = secret_in(file, "alarm_webhook_secret_file") if file else None
        return cls(SecretStr(settings.alarm_webhook_url), secret)

    def send(self, message: Message) -> None:
        """Post it. Raises Refused for anything but 2xx."""
        body = json.dumps(message.to_json(), ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json"}
        if self.secret is not None:
            headers[SIGNATURE] = signature(self.secret, body)
        outgoing.request(self.url.get_secret_value(), body, headers)


def signature(secret: SecretStr, body: bytes) -> str:
    """`sha256=` and the HMAC of the whole body in hexadecimal."""
    key = secret.get_secret_value().encode()
    return f"sha256={hmac.new(key, body, hashlib.sha256).hexdigest()}"
