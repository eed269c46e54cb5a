"""How the story is printed: titled steps, the command of each, narrow tables."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from retention.cli.output import clean
from retention.settings import terminal_colours

if TYPE_CHECKING:
    from retention.run.plan import Planned

WIDTH = 96
_STYLES = {"delete": "red", "review": "yellow", "held": "cyan", "keep": "green"}
_DIGEST = re.compile(r"@[0-9a-f]{12}\b")


class Teller:
    """Prints the story; a terminal gets colours unless NO_COLOR is set."""

    def __init__(self) -> None:
        self._console = Console(
            file=sys.stdout, no_color=not terminal_colours(), highlight=False, markup=False
        )
        if not self._console.is_terminal or self._console.width > WIDTH:
            self._console = Console(
                file=sys.stdout,
                no_color=not terminal_colours(),
                highlight=False,
                markup=False,
                width=WIDTH,
            )
        self._number = 0

    def step(self, title: str, sentence: str, *commands: str) -> None:
        """A new step: what happens, and what a user would type for it."""
        self._number += 1
        self._console.print()
        self._console.print(f"{self._number}. {title}", style="bold")
        self.commands(sentence, *commands)

    def commands(self, sentence: str, *commands: str) -> None:
        """A sentence, and what to type."""
        self.say(sentence)
        for command in commands:
            self._console.print(f"   $ {command}", style="cyan", soft_wrap=True)

    def say(self, text: str, style: str = "") -> None:
        """A paragraph below the step's title."""
        paragraph = Text(clean(text), style)
        for line in paragraph.wrap(self._console, self._console.width - 3):
            self._console.print(Text("   ").append(line))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str | int | Text]]) -> None:
        """Rows below each other, folded to the width."""
        page = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for name in columns:
            page.add_column(name, overflow="fold")
        for row in rows:
            cells = [c if isinstance(c, Text) else Text(clean(str(c))) for c in row]
            page.add_row(*cells)
        self._console.print(_indented(page))

    def plan(self, items: Iterable[Planned]) -> None:
        """Records, their fate, and why."""
        self.table(("record", "fate", "why"), (_row(item) for item in items))


def _indented(page: Table) -> Table:
    outer = Table.grid(padding=0)
    outer.add_column(width=3)
    outer.add_column()
    outer.add_row("", page)
    return outer


def _row(item: Planned) -> tuple[str, Text, str]:
    action = str(item.verdict.action)
    return (
        record_name(item),
        Text(action.replace("_", " "), _STYLES.get(action, "")),
        _DIGEST.sub("", _why(item)),
    )


def _why(item: Planned) -> str:
    """What keeps a record, or what ends its keeping; `retention explain` shows all of it."""
    because = item.verdict.because
    if item.verdict.action == "held":
        return "; ".join(because)
    return because[0 if item.verdict.action == "keep" else -1] if because else ""


def record_name(item: Planned) -> str:
    """`form 3`, `invoices 2024-002`, `Customers/Nordby 1711112345.M2`"""
    key = item.record.ref.key
    if item.location == "correspondence/mail":
        folder, _, name = key.rpartition("/")
        return f"{folder} {name.partition('.demo')[0].partition('.')[2]}"
    return f"{item.location} {key}"
