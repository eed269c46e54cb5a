"""What commands work with: settings, the home, the log, the person who orders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from retention.cli.options import given

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from retention.audit.log import AuditLog
    from retention.policy.model import Bundle
    from retention.run.home import Examined, Home
    from retention.settings import Settings

LONGEST_NAME = 150


def settings() -> Settings:
    """The settings of this call. Raises UsageError."""
    from retention.settings import load

    return load(**given())


def ledger_file(chosen: Settings) -> Path | None:
    """The file of a SQLite ledger; None where it is a server's. Raises LedgerUnreachable."""
    from pathlib import Path

    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import SQLAlchemyError

    from retention.ledger.store import unreachable

    try:
        url = make_url(chosen.ledger_url)
        backend = url.get_backend_name()
    except SQLAlchemyError as error:
        raise unreachable(error) from None
    if backend != "sqlite" or not url.database or url.database == ":memory:":
        return None
    return Path(url.database)


def now() -> datetime:
    """The machine's time."""
    from retention.clock import SystemClock

    return SystemClock().now()


def examined(folder: Path | None = None) -> Examined:
    """The policy files, loaded and checked; no ledger is needed."""
    from retention.run.home import examine

    return examine((folder or settings().policies), now())


def actor(by: str | None) -> str:
    """Who orders it, as the log writes it. Raises UsageError for a name that it cannot hold."""
    import getpass

    from retention.errors import UsageError

    if by is None:
        try:
            by = getpass.getuser()
        except (OSError, KeyError, ImportError):
            # An account without a name, as in many containers.
            import os

            by = f"uid-{os.getuid()}"
    name = by.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise UsageError(
            f"--by takes a name of 1 to {LONGEST_NAME} printable characters", code="by"
        )
    return f"user:{name}"


@contextmanager
def home(by: str | None = None) -> Iterator[Home]:
    """Everything opened for a person: policies examined and registered, ledger, log, keys."""
    with home_of(actor(by)) as opened:
        yield opened


@contextmanager
def home_of(actor: str) -> Iterator[Home]:
    """Everything opened for an actor as the log writes it."""
    from retention.run.home import Home

    with Home.open(settings(), actor=actor) as opened:
        yield opened


@contextmanager
def log() -> Iterator[AuditLog]:
    """The audit log alone: it can be read, checked and exported whatever the policies say."""
    from retention.audit.log import AuditLog
    from retention.ledger.store import Ledger

    chosen = settings()
    ledger = Ledger.open(chosen.ledger_url)
    try:
        yield AuditLog(ledger, chosen.state / "keys", chosen.origin)
    finally:
        ledger.close()


def sound(found: Examined) -> Bundle:
    """The bundle, where the files can be used at all. Raises PolicyError."""
    from retention.run.home import unusable

    if found.bundle is None:
        raise unusable(found)
    return found.bundle


def known_policy(home: Home, name: str) -> None:
    """Raises UsageError, with what may have been meant, for a name that is nowhere."""
    from retention.errors import UsageError
    from retention.policy.words import did_you_mean

    known = {*home.in_force.names(), *home.in_force.broken}
    if name not in known:
        raise UsageError(
            f"there is no policy `{name}`",
            hint=did_you_mean(name, known) or "retention compile lists them",
            code="policy-unknown",
        )


def text(option: str, value: str, longest: int = 2000) -> str:
    """Free text of a user, trimmed. Raises UsageError where it is empty or endless."""
    from retention.errors import UsageError

    said = value.strip()
    if not said or len(said) > longest:
        raise UsageError(f"{option} takes 1 to {longest} characters", code="text")
    return said
