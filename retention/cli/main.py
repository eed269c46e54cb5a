"""The program: all commands, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress

import typer

from retention.cli import (
    audit,
    backup,
    looks,
    people,
    plans,
    policies,
    service,
    start,
    upgrade,
    worker,
)
from retention.cli.app import App
from retention.cli.failures import tell, tell_bug, tell_usage, wants_json
from retention.cli.options import hoist, root
from retention.cli.output import prepare, put, say
from retention.errors import ExitCode, RetentionError


def _version(wanted: bool) -> None:
    if wanted:
        from retention import __version__

        put(f"retention {__version__}")
        raise typer.Exit


def build(*, completion: bool = True) -> typer.Typer:
    """The whole command line; `completion`: with the options that install it in a shell."""
    app = App(
        name="retention",
        help="Keeps the deletion promises that organisations make, and proves it.\n\n"
        "Every option below is a setting: a global option, an environment variable, or a line in "
        "retention.toml, in this order of precedence.",
        context_settings={"help_option_names": ["-h", "--help"]},
        no_args_is_help=True,
        add_completion=completion,
    )
    app.callback()(root(_version))
    for group in (start, policies, plans, looks, service, worker, upgrade, backup, people, audit):
        group.register(app)
    return app


def main() -> None:
    """Run the command line of this process and end it."""
    code = run(sys.argv[1:])
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line. Returns the exit code; prints whatever went wrong."""
    prepare()
    as_json = wants_json(arguments)
    try:
        code = _invoke(arguments)
        sys.stdout.flush()
    except RetentionError as error:
        return tell(error, as_json=as_json)
    except typer.TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            say_help(error.format_message())
            return int(ExitCode.USAGE)
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "retention"
        return tell_usage(error.format_message(), f"{path} --help", as_json=as_json)
    except (KeyboardInterrupt, typer.Abort):
        code = int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        _close_stdout()
        return int(ExitCode.OK)
    except Exception as error:  # noqa: BLE001 -- whatever it is, its text may hold personal data
        return tell_bug(error, as_json=as_json)
    if code == ExitCode.INTERRUPTED:
        say("interrupted")
    return code


def say_help(text: str) -> None:
    """Help for a group without a command: narration, since nothing was asked for."""
    for line in text.splitlines():
        say(line)


def _invoke(arguments: Sequence[str]) -> int:
    try:
        answer = build()(args=hoist(arguments), prog_name="retention", standalone_mode=False)
    except SystemExit as end:
        # Typer's own answer to a reader of stdout that has gone.
        if isinstance(end.__context__, BrokenPipeError):
            raise BrokenPipeError from None
        raise
    return int(answer or 0)


def _close_stdout() -> None:
    """Let the interpreter flush into nothing at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
