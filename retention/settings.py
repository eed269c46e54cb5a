"""What the environment says, by `RETENTION_…` variables or `retention.toml`. Their only reader.

Precedence: command line over environment over `retention.toml` in the working folder over the
defaults here. `RETENTION_…_FILE` names a file that holds the value, for what is secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from retention.errors import UsageError

TOML = "retention.toml"
_ADDRESS = re.compile(r"[^@\s,;<>\"]+@[^@\s,;<>\"]+")


class FileSettingsSource(PydanticBaseSettingsSource):
    """Values in files that `RETENTION_…_FILE` names: secrets of systemd and of containers.

    A file that is named and cannot be read is an error: its default would be another ledger.
    """

    def __call__(self) -> dict[str, Any]:
        found = ((name, _named_file(f"RETENTION_{name.upper()}")) for name in self.config_names())
        return {name: text for name, text in found if text is not None}

    def config_names(self) -> list[str]:
        """Every setting's name."""
        return list(self.settings_cls.model_fields)

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:  # noqa: ARG002 -- the base class's signature
        """One value, its name, and that it is not JSON."""
        return _named_file(f"RETENTION_{field_name.upper()}"), field_name, False


def _named_file(variable: str) -> str | None:
    path = os.environ.get(f"{variable}_FILE")
    if not path:
        return None
    if os.environ.get(variable):
        raise UsageError(f"{variable} and {variable}_FILE are both set", code="setting")
    try:
        # Editors and `echo` end a file with a newline that is no part of the value.
        text = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"the file that {variable}_FILE names cannot be read ({type(error).__name__})",
            hint="check that it exists, is UTF-8 text, and that this account may read it",
            code="setting",
        ) from None
    if not text:
        raise UsageError(f"the file that {variable}_FILE names is empty", code="setting")
    return text


class Settings(BaseSettings):
    """Every setting, its default and its meaning; `--help` and the docs show these."""

    model_config = SettingsConfigDict(
        env_prefix="RETENTION_",
        toml_file=TOML,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    policies: Path = Field(
        Path("policies"), description="Folder of one organisation's policy files."
    )
    home: Path | None = Field(
        None,
        description="State: ledger and keys. Default: `.retention` beside the policies, "
        "/var/lib/retention under systemd.",
    )
    database_url: str | None = Field(
        None, description="The ledger's database. Default: SQLite in the home."
    )
    broker_url: str | None = Field(
        None,
        repr=False,
        description="Redis that wakes `worker` processes. Unset: `daemon` does the work.",
    )
    origin: str = Field(
        "retention.invalid/log",
        description="Name of the audit log, without spaces and plus signs; the year is added. "
        "Choose one under a domain of yours before the first run.",
        pattern=r"^[^\s+]+$",
    )
    tick_seconds: float = Field(
        20.0, gt=0, le=60, description="How often the daemon looks for what is owed."
    )
    lease_seconds: float = Field(
        30.0, ge=5, description="How long a claim on a run holds unrenewed."
    )
    batch_records: int = Field(
        500, ge=1, le=500, description="At most so many records between two looks at the holds."
    )
    retry_window_minutes: float = Field(
        60.0, ge=0, description="How long a run retries a system that fails temporarily."
    )
    again_hours: float = Field(
        24.0,
        gt=0,
        description="Hours after which a run that left something undone is tried again.",
    )
    checkpoint_minutes: float = Field(
        60.0, gt=0, description="How often the daemon signs the log's state."
    )
    hold_grace_days: int = Field(
        0, ge=0, description="Days that a released hold goes on protecting."
    )
    slice_seconds: float = Field(
        60.0, ge=1, description="How long a process works on one run before others get their turn."
    )
    shards: int = Field(
        1,
        ge=1,
        le=100,
        description="At most so many parts a large location is cut into, each for a worker.",
    )
    shard_records: int = Field(
        50_000, ge=1, description="Fewer records than this are not worth a part of their own."
    )
    system_workers: int = Field(
        4, ge=1, description="At most so many processes work on one system at once."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Form of the daemon's own log lines."
    )
    metrics_address: str | None = Field(
        None,
        description="HOST:PORT on which the daemon serves /metrics and /health, such as "
        "127.0.0.1:9105. Unset: neither.",
    )
    smtp_url: str | None = Field(
        None,
        repr=False,
        description="Mail server for alarms: smtp://USER@HOST:587 (STARTTLS, unless ?tls=none) or "
        "smtps://USER@HOST. Never with a password.",
    )
    smtp_password_file: Path | None = Field(
        None, description="File with the mail server's password. Or RETENTION_SMTP_PASSWORD."
    )
    alarm_mail_from: str | None = Field(None, description="Sender of alarm mail.")
    alarm_mail_to: str | None = Field(
        None, description="Who gets alarm mail: addresses with commas between."
    )
    alarm_webhook_url: str | None = Field(
        None, repr=False, description="URL that alarms are posted to as JSON."
    )
    alarm_webhook_secret_file: Path | None = Field(
        None, description="File with the secret that webhook bodies are signed with (HMAC-SHA-256)."
    )
    alarm_settle_seconds: float = Field(
        60.0, ge=0, le=3600, description="An alarm that ends within this time is not told."
    )
    alarm_remind_hours: float = Field(
        24.0, ge=1, description="How often an alarm that lasts is told again."
    )
    ping_url: str | None = Field(
        None,
        repr=False,
        description="URL that is fetched after each good tick, at most once a minute: its silence "
        "is the signal.",
    )
    otlp_endpoint: str | None = Field(
        None,
        repr=False,
        description="OpenTelemetry collector that traces go to, such as http://127.0.0.1:4318.",
    )

    @field_validator("metrics_address")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        host, _, port = (value or "h:1").rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise ValueError("say HOST:PORT, such as 127.0.0.1:9105")
        return value

    @field_validator("alarm_webhook_url", "ping_url", "otlp_endpoint")
    @classmethod
    def _web(cls, value: str | None) -> str | None:
        if value is not None and _parts(value, "http", "https") is None:
            raise ValueError("say a URL that begins with https:// or http://")
        return value

    @field_validator("smtp_url")
    @classmethod
    def _smtp(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = _parts(value, "smtp", "smtps")
        if parts is None or parts.path.strip("/") or parts.query not in ("", "tls=none"):
            raise ValueError("say smtp://USER@HOST:PORT or smtps://USER@HOST")
        if parts.password is not None:
            raise ValueError("the password belongs into smtp_password_file")
        return value

    @field_validator("alarm_mail_from", "alarm_mail_to")
    @classmethod
    def _mail(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        several = info.field_name == "alarm_mail_to"
        addresses = addresses_in(value) if several else [value]
        if not addresses or not all(_ADDRESS.fullmatch(address) for address in addresses):
            raise ValueError("say plain addresses, such as admin@example.org")
        needed = ("smtp_url", "alarm_mail_from") if several else ()
        if any(info.data.get(name) is None for name in needed):
            raise ValueError("set smtp_url and alarm_mail_from as well")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # the base class's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        files = FileSettingsSource(settings_cls)
        return (init_settings, env_settings, files, TomlConfigSettingsSource(settings_cls))

    @property
    def state(self) -> Path:
        """The home, resolved: as set, else systemd's state folder, else beside the policies."""
        if self.home is not None:
            return self.home
        if systemd := os.environ.get("STATE_DIRECTORY"):
            return Path(systemd.partition(":")[0])
        return self.policies.resolve().parent / ".retention"

    @property
    def smtp_password(self) -> SecretStr | None:
        """From the file, else from RETENTION_SMTP_PASSWORD. Raises UsageError for a bad file."""
        if self.smtp_password_file is not None:
            return secret_in(self.smtp_password_file, "smtp_password_file")
        text = os.environ.get("RETENTION_SMTP_PASSWORD")
        return SecretStr(text) if text else None

    @property
    def ledger_url(self) -> str:
        """The ledger's URL, resolved. May hold a password: never print it."""
        return self.database_url or f"sqlite:///{self.state / 'ledger.db'}"


def addresses_in(text: str) -> list[str]:
    """The addresses of a list with commas between."""
    return [address.strip() for address in text.split(",") if address.strip()]


def secret_in(path: Path, name: str) -> SecretStr:
    """The secret in the file that the setting `name` names. Raises UsageError, never quoting it."""
    try:
        # Editors and `echo` end a file with a newline that is no part of the secret.
        text = path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"the file of the setting {name} cannot be read ({type(error).__name__})",
            hint="check that it exists, is UTF-8 text, and that this account may read it",
            code="setting",
        ) from None
    if not text:
        raise UsageError(f"the file of the setting {name} is empty", code="setting")
    return SecretStr(text)


def _parts(url: str, *schemes: str) -> SplitResult | None:
    """The URL's parts, where it is one of these schemes and names a host."""
    try:
        parts = urlsplit(url)
        sound = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if sound and url.isprintable() and " " not in url else None


def load(**given: object) -> Settings:
    """Settings with the command line's options on top. Raises UsageError naming what is wrong."""
    try:
        return Settings(**{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]  # options arrive as text; pydantic converts
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"the setting {name} is not valid: {first['msg']}",
            hint=f"see RETENTION_{name.upper()} or {TOML}",
            code="setting",
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{TOML} cannot be read ({type(error).__name__})", code="setting"
        ) from None


def environment() -> Mapping[str, str]:
    """The environment that secrets of policy files are taken from."""
    return os.environ


def terminal_colours() -> bool:
    """False where the user asked for none (https://no-color.org)."""
    return not os.environ.get("NO_COLOR")
