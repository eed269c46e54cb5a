"""The settings as global options, known without importing the settings themselves.

A test compares this table with `retention.settings.Settings`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import NamedTuple

import typer


class Setting(NamedTuple):
    """One setting as `--help` shows it. Every value is text here; the settings convert it."""

    name: str
    metavar: str
    default: str
    help: str

    @property
    def flag(self) -> str:
        """`--database-url`"""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """`RETENTION_DATABASE_URL`"""
        return f"RETENTION_{self.name.upper()}"


SETTINGS: tuple[Setting, ...] = (
    Setting("policies", "DIR", "policies", "Folder of one organisation's policy files."),
    Setting(
        "home",
        "DIR",
        "",
        "State: ledger and keys. Default: `.retention` beside the policies, "
        "/var/lib/retention under systemd.",
    ),
    Setting("database_url", "URL", "", "The ledger's database. Default: SQLite in the home."),
    Setting(
        "broker_url",
        "URL",
        "",
        "Redis that wakes `worker` processes. Unset: `daemon` does the work.",
    ),
    Setting(
        "origin",
        "NAME",
        "retention.invalid/log",
        "Name of the audit log, without spaces and plus signs; the year is added. "
        "Choose one under a domain of yours before the first run.",
    ),
    Setting("tick_seconds", "SECONDS", "20.0", "How often the daemon looks for what is owed."),
    Setting("lease_seconds", "SECONDS", "30.0", "How long a claim on a run holds unrenewed."),
    Setting(
        "batch_records", "COUNT", "500", "At most so many records between two looks at the holds."
    ),
    Setting(
        "retry_window_minutes",
        "MINUTES",
        "60.0",
        "How long a run retries a system that fails temporarily.",
    ),
    Setting(
        "again_hours",
        "HOURS",
        "24.0",
        "Hours after which a run that left something undone is tried again.",
    ),
    Setting("checkpoint_minutes", "MINUTES", "60.0", "How often the daemon signs the log's state."),
    Setting("hold_grace_days", "DAYS", "0", "Days that a released hold goes on protecting."),
    Setting(
        "slice_seconds",
        "SECONDS",
        "60.0",
        "How long a process works on one run before others get their turn.",
    ),
    Setting(
        "shards",
        "COUNT",
        "1",
        "At most so many parts a large location is cut into, each for a worker.",
    ),
    Setting(
        "shard_records",
        "COUNT",
        "50000",
        "Fewer records than this are not worth a part of their own.",
    ),
    Setting(
        "system_workers", "COUNT", "4", "At most so many processes work on one system at once."
    ),
    Setting("log_format", "text|json", "text", "Form of the daemon's own log lines."),
    Setting(
        "metrics_address",
        "HOST:PORT",
        "",
        "HOST:PORT on which the daemon serves /metrics and /health, such as "
        "127.0.0.1:9105. Unset: neither.",
    ),
    Setting(
        "smtp_url",
        "URL",
        "",
        "Mail server for alarms: smtp://USER@HOST:587 (STARTTLS, unless ?tls=none) or "
        "smtps://USER@HOST. Never with a password.",
    ),
    Setting(
        "smtp_password_file",
        "FILE",
        "",
        "File with the mail server's password. Or RETENTION_SMTP_PASSWORD.",
    ),
    Setting("alarm_mail_from", "ADDRESS", "", "Sender of alarm mail."),
    Setting(
        "alarm_mail_to",
        "ADDRESSES",
        "",
        "Who gets alarm mail: addresses with commas between.",
    ),
    Setting("alarm_webhook_url", "URL", "", "URL that alarms are posted to as JSON."),
    Setting(
        "alarm_webhook_secret_file",
        "FILE",
        "",
        "File with the secret that webhook bodies are signed with (HMAC-SHA-256).",
    ),
    Setting(
        "alarm_settle_seconds",
        "SECONDS",
        "60.0",
        "An alarm that ends within this time is not told.",
    ),
    Setting("alarm_remind_hours", "HOURS", "24.0", "How often an alarm that lasts is told again."),
    Setting(
        "ping_url",
        "URL",
        "",
        "URL that is fetched after each good tick, at most once a minute: its silence "
        "is the signal.",
    ),
    Setting(
        "otlp_endpoint",
        "URL",
        "",
        "OpenTelemetry collector that traces go to, such as http://127.0.0.1:4318.",
    ),
)

_given: ContextVar[Mapping[str, str] | None] = ContextVar("settings_given", default=None)


def given() -> Mapping[str, str]:
    """The settings that were given as options of this call."""
    return _given.get() or {}


def root(show_version: Callable[[bool], None]) -> Callable[..., None]:
    """The callback of the whole program: takes every setting as an option and remembers it."""

    def callback(**values: str | None) -> None:
        values.pop("version", None)
        _given.set({name: value for name, value in values.items() if value is not None})

    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(
            setting.name,
            kind,
            default=typer.Option(
                None,
                setting.flag,
                metavar=setting.metavar,
                help=f"{setting.help}{_default(setting)} [{setting.variable}]",
                show_default=False,
            ),
            annotation=str | None,
        )
        for setting in SETTINGS
    ]
    version = typer.Option(
        default=False, is_eager=True, callback=show_version, help="Show the version and end."
    )
    parameters.append(inspect.Parameter("version", kind, default=version, annotation=bool))
    callback.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # Typer reads it
    callback.__annotations__ = {p.name: p.annotation for p in parameters}
    return callback


def _default(setting: Setting) -> str:
    return f" Default: {setting.default}." if setting.default else ""


def hoist(arguments: Sequence[str]) -> list[str]:
    """Global options moved before the command, so that they may stand anywhere in the line."""
    flags = {setting.flag for setting in SETTINGS}
    front: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word in flags:
            front += [word, *_next(words)]
        elif word.partition("=")[0] in flags:
            front.append(word)
        else:
            rest.append(word)
    return [*front, *rest]


def _next(words: Iterator[str]) -> list[str]:
    return [word for word in (next(words, None),) if word is not None]
