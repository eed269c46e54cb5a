"""The ledger on PostgreSQL: its own tools make and take dumps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from retention.errors import LedgerUnreachable, UsageError


def dump(url: str, target: Path) -> None:
    """pg_dump in its custom form. Raises UsageError where pg_dump is not there, else
    LedgerUnreachable; then no file is left behind."""
    import os
    import shutil
    import subprocess

    from retention.settings import environment

    where, password = _connection(url)
    line = f'pg_dump --format=custom --file={target} --dbname="{where}"'
    tool = shutil.which("pg_dump")
    if tool is None:
        raise UsageError(
            "pg_dump is not installed here",
            hint=f"install PostgreSQL's client programs, or run where they are: {line}",
            code="pg-dump-missing",
        )
    if target.exists():
        raise UsageError(
            f"{target} is there already, and nothing is overwritten", code="file-exists"
        )
    given = {**environment(), **({"PGPASSWORD": password} if password else {})}
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        words = [tool, "--format=custom", f"--file={part}", f"--dbname={where}", "--no-password"]
        ended = subprocess.run(words, env=given, capture_output=True, check=False)  # noqa: S603 -- fixed words, a path and a database, no shell
        if ended.returncode != 0:
            raise LedgerUnreachable(
                f"pg_dump ended with {ended.returncode}",
                hint=f"see why by hand; it must not be older than the server: {line}",
                code="backup",
            )
        os.link(part, target)
    except OSError as error:
        raise LedgerUnreachable(
            f"{target} cannot be written ({type(error).__name__})", code="backup"
        ) from None
    finally:
        part.unlink(missing_ok=True)


def pg_restore_line(url: str, file: Path) -> str:
    """The command that puts a dump back, without the password."""
    where, _ = _connection(url)
    return (
        f'pg_restore --clean --if-exists --single-transaction --no-owner --dbname="{where}" {file}'
    )


def _connection(url: str) -> tuple[str, str]:
    """libpq's words for a ledger's URL, without the password, and the password."""
    from psycopg.conninfo import make_conninfo
    from sqlalchemy.engine import make_url

    parsed = make_url(url)
    if parsed.get_backend_name() != "postgresql":
        raise UsageError(
            "a ledger is copied by this command on SQLite and PostgreSQL only", code="usage"
        )
    words: dict[str, Any] = dict(parsed.get_dialect()().create_connect_args(parsed)[1])
    password = str(words.pop("password", ""))
    return make_conninfo(**words), password
