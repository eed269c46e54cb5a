"""Starts the program in a process of its own, without importing everything anew each time.

`python -m tests.acceptance.zygote` imports the program once and then forks for each request (a
line of JSON on stdin); the child runs `main()` as the installed command does. Start-up of the
real command has tests of its own.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import Any

from retention.connectors import registry

PRELOADED = (
    *("audit.verify", "cli.checks", "cli.loop", "cli.main", "cli.planning", "cli.reports"),
    *("cli.scopes", "policy.changes", "policy.explain", "policy.render", "policy.schema"),
    *("run.approval", "run.drift", "run.explain", "run.home", "run.orders", "run.status"),
)


def _preload() -> None:
    for name in PRELOADED:
        import_module(f"retention.{name}")
    import_module("rich.table")
    registry.facts()


def _child(request: dict[str, Any]) -> None:
    for number, name in ((0, request["in"]), (1, request["out"]), (2, request["err"])):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(name, flags, 0o600), number)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = ["retention", *request["argv"]]
    from retention.cli.main import main

    try:
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def serve() -> None:
    """Answer requests until stdin ends."""
    _preload()
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            _child(json.loads(line))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
