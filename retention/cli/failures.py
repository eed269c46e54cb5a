"""From an exception to one sentence on stderr and an exit code."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import pairwise

from retention.cli.output import say
from retention.errors import ExitCode, RetentionError

SEVERITY: tuple[ExitCode, ...] = (
    ExitCode.BUG,
    ExitCode.AUDIT_UNWRITABLE,
    ExitCode.UNREACHABLE,
    ExitCode.REFUSED,
    ExitCode.UNVERIFIED,
    ExitCode.LIMIT,
    ExitCode.STALE,
    ExitCode.WITHHELD,
    ExitCode.BUSY,
    ExitCode.OVERDUE,
    ExitCode.CHECK_FAILED,
    ExitCode.CHANGES,
    ExitCode.OK,
)
"""Where several things happened in one call, the first of these is its exit code."""


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """The most severe of several outcomes; ok where there is none."""
    return min(codes, key=SEVERITY.index, default=ExitCode.OK)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether the caller reads JSON, so that the final error is JSON too."""
    own = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    return (
        "--json" in own
        or "--format=json" in own
        or any(pair == ("--format", "json") for pair in pairwise(own))
    )


def tell(error: RetentionError, *, as_json: bool) -> int:
    """Print an error that a user should read; returns its exit code."""
    _print(
        error.exit_code,
        error.code,
        error.message,
        error.hint,
        error.place,
        as_json=as_json,
    )
    return int(error.exit_code)


def tell_usage(message: str, hint: str, *, as_json: bool) -> int:
    """Print what is wrong with the command line itself."""
    _print(ExitCode.USAGE, "usage", message, hint, "", as_json=as_json)
    return int(ExitCode.USAGE)


def tell_bug(error: BaseException, *, as_json: bool) -> int:
    """An error that nobody foresaw: its class, and where our own stack frames were written.

    Never its message: it may quote a record, a password or a system's answer.
    """
    name = type(error).__name__
    path = _write_frames(error)
    hint = f"please report it with {path}, which holds no data of records" if path else ""
    _print(ExitCode.BUG, "bug", f"unexpected {name}", hint, "", as_json=as_json)
    return int(ExitCode.BUG)


def _print(
    exit_code: ExitCode, code: str, message: str, hint: str, place: str, *, as_json: bool
) -> None:
    if as_json:
        said = {
            "code": code,
            "message": message,
            "hint": hint,
            "place": place,
            "exit_code": int(exit_code),
        }
        with suppress(OSError, ValueError):
            sys.stderr.write(json.dumps({"error": said}, ensure_ascii=False) + "\n")
        return
    where = f"{place}: " if place else ""
    say(f"error: {where}{message} [{code}]")
    if hint:
        say(f"hint: {hint}")


def _write_frames(error: BaseException) -> str:
    """Module, line and function of each frame: no source lines, no values, no messages."""
    lines = []
    cause: BaseException | None = error
    while cause is not None:
        lines.append(type(cause).__name__)
        frames = traceback.extract_tb(cause.__traceback__, limit=-50)
        lines += [f"  {frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        cause = cause.__cause__ or cause.__context__
    with suppress(OSError):
        descriptor, path = tempfile.mkstemp(prefix="retention-", suffix=".trace")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        return path
    return ""
