"""What the environment says, by `RETENTION_…` variables or `retention.toml`. Their only reader.

Precedence: command line over environment over `retention.toml` in the working folder over the
defaults here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from retention.errors import UsageError

TOML = "retention.toml"


class Settings(BaseSettings):
    """Every setting, its default and its meaning; `--help` and the docs show these."""

    model_config = SettingsConfigDict(
        env_prefix="RETENTION_", toml_file=TOML, extra="ignore", frozen=True
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
        None, description="Redis for Celery workers. Not used yet: work in this process."
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
    checkpoint_minutes: float = Field(
        60.0, gt=0, description="How often the daemon signs the log's state."
    )
    hold_grace_days: int = Field(
        0, ge=0, description="Days that a released hold goes on protecting."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="Form of the daemon's own log lines."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # the base class's signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls))

    @property
    def state(self) -> Path:
        """The home, resolved: as set, else systemd's state folder, else beside the policies."""
        if self.home is not None:
            return self.home
        if systemd := os.environ.get("STATE_DIRECTORY"):
            return Path(systemd.partition(":")[0])
        return self.policies.resolve().parent / ".retention"

    @property
    def ledger_url(self) -> str:
        """The ledger's URL, resolved. May hold a password: never print it."""
        return self.database_url or f"sqlite:///{self.state / 'ledger.db'}"


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
