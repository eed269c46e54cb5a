"""Typer as this program uses it: plain help, and the exit codes at the end of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from retention.errors import EXIT_MEANINGS

EXIT_CODES = "Exit codes: " + " · ".join(f"{code:d} {word}" for code, word in EXIT_MEANINGS.items())


class Command(TyperCommand):
    """A command whose help ends with the exit codes."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 -- the base class's signature
        formatter.write_paragraph()
        formatter.write_text(EXIT_CODES)


class Group(TyperGroup):
    """A group whose help ends with the exit codes; commands in the order they were registered."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 -- the base class's signature
        formatter.write_paragraph()
        formatter.write_text(EXIT_CODES)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 -- the base class's signature
        return list(self.commands)


class App(typer.Typer):
    """A Typer app without Rich in its help: importing it would take longer than the help itself."""

    def __init__(self, **said: Any) -> None:
        super().__init__(cls=Group, rich_markup_mode=None, pretty_exceptions_enable=False, **said)

    def command(self, name: str | None = None, **said: Any) -> Callable[[Any], Any]:
        """Register a function as a command."""
        return super().command(name, cls=Command, **said)


By = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Who orders it; default: the name of the system account."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
At = Annotated[
    str | None,
    typer.Option(
        metavar="DATE",
        help="Look from another day: its end in the organisation's zone, or an ISO instant.",
    ),
]
