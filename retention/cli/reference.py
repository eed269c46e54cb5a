"""The reference pages that are made from the program: `python -m retention.cli.reference DIR`.

A test compares the pages in docs/reference with what this makes, so that they cannot lag behind.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from retention.cli.main import build
from retention.cli.options import SETTINGS
from retention.errors import EXIT_MEANINGS, ExitCode

WIDTH = 100
_MADE = "<!-- made by: python -m retention.cli.reference docs/reference -->"

CLI_HEAD = f"""\
{_MADE}
# Commands

`retention` is also `python -m retention`. Data goes to stdout, narration to stderr. Commands that
print data take `--json`; with it the last line of stderr is JSON as well where a command fails:
`{{"error": {{"code", "message", "hint", "place", "exit_code"}}}}`. `NO_COLOR` is honoured.

Global options may stand before or after the command. [Settings](settings.md) says what each
means, [Exit codes](exit-codes.md) what to do about each.

`--at DATE` looks from another day: its last second in the organisation's time zone. No command
that acts takes it; for `event fire` and `consent withdraw` it says when something happened.
"""

SETTINGS_HEAD = f"""\
{_MADE}
# Settings

Each is a global option, an environment variable, or a line in `retention.toml` in the working
folder (`home = "state"`); an option wins over a variable, a variable over the file.

A value that is secret may lie in a file of its own instead: `RETENTION_DATABASE_URL_FILE` names the
file whose text is the database's URL, and so for every other setting. A file that is named must be
there.

Relative paths start in the working folder; those in policy files in the policy folder.

| Option | Variable | Default | Meaning |
|---|---|---|---|
"""

EXIT_HEAD = f"""\
{_MADE}
# Exit codes

One mapping for every command. Where several things happened in one call, the one that needs a
person most is told: 70, 13, 10, 12, 3, 4, 5, 6, 11, 7, 1, 8, in this order.

| Code | Means | What to do |
|---|---|---|
"""

_REMEDIES: dict[ExitCode, str] = {
    ExitCode.OK: "nothing",
    ExitCode.CHECK_FAILED: "read the findings on stdout: `validate`, `audit verify`, "
    "`status --check` and `doctor` end so; others where policy files have errors",
    ExitCode.USAGE: "correct the command line or the setting; the hint names what there is",
    ExitCode.UNVERIFIED: "`retention status` names the policy, `retention doctor` the system; "
    "temporary failures are tried again by the daemon",
    ExitCode.LIMIT: "nothing was done: look at `retention plan`, then raise the limit or correct "
    "the policy",
    ExitCode.STALE: "make a new plan; records that drifted were left alone and listed",
    ExitCode.WITHHELD: "`retention approve`, `retention thaw` or `retention hold release`, "
    "if that is right",
    ExitCode.OVERDUE: "`retention due --overdue` lists them; see why no run took them",
    ExitCode.CHANGES: "asked for with `--exit-code`: there is something to look at",
    ExitCode.UNREACHABLE: "start the database; check `RETENTION_DATABASE_URL` and the disk",
    ExitCode.BUSY: "wait: another process works on that run, or the plan was applied before",
    ExitCode.REFUSED: "check the credentials of the system that is named, and their rights",
    ExitCode.AUDIT_UNWRITABLE: "nothing was disposed of: `retention audit verify` says what does "
    "not fit; restore the ledger or its keys",
    ExitCode.BUG: "report it with the file that stderr names; it holds no data of records",
    ExitCode.INTERRUPTED: "start again: what was begun is taken up where it stopped",
}


def cli_page() -> str:
    """docs/reference/cli.md: the help of every command."""
    parts = [CLI_HEAD]
    for path, text in _helps():
        level = "##" if path.count(" ") < 2 else "###"
        parts.append(f"{level} `{path}`\n\n```\n{text}\n```\n")
    return "\n".join(parts)


def settings_page() -> str:
    """docs/reference/settings.md: every setting."""
    rows = (
        f"| `{s.flag}` | `{s.variable}` | {f'`{s.default}`' if s.default else '—'} "
        f"| {_cell(s.help)} |\n"
        for s in SETTINGS
    )
    return SETTINGS_HEAD + "".join(rows)


def exit_codes_page() -> str:
    """docs/reference/exit-codes.md: every exit code."""
    rows = (
        f"| {code:d} | {meaning} | {_cell(_REMEDIES[code])} |\n"
        for code, meaning in EXIT_MEANINGS.items()
    )
    return EXIT_HEAD + "".join(rows)


PAGES = {"cli.md": cli_page, "settings.md": settings_page, "exit-codes.md": exit_codes_page}


def write(folder: Path) -> None:
    """Write every page into a folder."""
    for name, page in PAGES.items():
        (folder / name).write_text(page(), encoding="utf-8")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _helps() -> Iterator[tuple[str, str]]:
    root: Any = get_command(build(completion=False))
    yield from _help("retention", root, None)


def _help(path: str, command: Any, parent: Any) -> Iterator[tuple[str, str]]:
    context = command.make_context(
        path.rpartition(" ")[2], [], parent=parent, resilient_parsing=True, terminal_width=WIDTH
    )
    help_text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    # The exit codes end every help; here they stand once.
    yield path, help_text if parent is None else help_text.partition("\n\nExit codes:")[0]
    for name, child in getattr(command, "commands", {}).items():
        yield from _help(f"{path} {name}", child, context)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
