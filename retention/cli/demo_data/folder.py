"""The folder of the demonstration: made anew each time, and never anything else removed."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

from retention.cli.demo_data import databases, mailbox, workbook
from retention.errors import UsageError

MARK = ".retention-demo"
"""A file that says: this folder may be removed by the next demonstration."""
_TOML = """\
# So that commands typed in this folder find everything.
policies = "policies"
home = ".retention"
origin = "demo.example.org/retention"
"""


def prepare(folder: Path, now: datetime) -> None:
    """An empty folder with policies, settings and sample data. `now` in the organisation's zone.

    Raises UsageError where something else than an earlier demonstration lies there.
    """
    taken = folder.is_symlink() or (folder.exists() and not folder.is_dir())
    if taken or (folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file()):
        raise UsageError(
            f"{folder} is no folder of an earlier demonstration, and nothing is removed",
            hint="move it away, or start the demonstration elsewhere",
            code="file-exists",
        )
    try:
        if folder.exists():
            shutil.rmtree(folder)
        (folder / "policies").mkdir(parents=True)
        (folder / MARK).write_text("removed by the next `retention demo`\n", encoding="utf-8")
        (folder / "retention.toml").write_text(_TOML, encoding="utf-8")
        shutil.copyfile(
            Path(__file__).parent / "policies.yaml", folder / "policies" / "promises.yaml"
        )
        data = folder / "data"
        databases.website(data / "website.db", now)
        databases.accounts(data / "accounts.db", now)
        mailbox.mailbox(data / "mail", now)
        workbook.newsletter(data / "newsletter.xlsx", now.year)
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written to ({type(error).__name__})", code="file-unwritable"
        ) from None
