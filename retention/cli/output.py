"""Data on stdout, narration on stderr; tables with footers; progress on a terminal only."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

WIDE = 10_000
"""Columns of an output that is no terminal: nothing is cut or wrapped for a file or a pipe."""
PAGE = 500
"""Rows of a table that are laid out together."""


def prepare() -> None:
    """UTF-8 on both streams; what no encoding can say is shown escaped instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def put(text: str) -> None:
    """One line of data."""
    sys.stdout.write(f"{text}\n")


def put_json(value: Any) -> None:
    """Data as indented JSON."""
    put(json.dumps(value, ensure_ascii=False, indent=2))


def say(text: str) -> None:
    """One line of narration. A reader that has gone must not stop the work."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{clean(text)}\n")
        sys.stderr.flush()


def clean(text: str) -> str:
    """Text from records or files with its control characters made visible.

    A key could otherwise move the cursor, or hide the line that speaks of it.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def count(number: int, what: str) -> str:
    """`1 record`, `2 records`, `no entries`."""
    several = f"{what[:-1]}ies" if what.endswith("y") and what[-2] not in "ae" else f"{what}s"
    return f"{number or 'no'} {what if number == 1 else several}"


def console(stream: Any = None) -> Console:
    """Rich on stdout, or another stream: coloured on a terminal unless NO_COLOR is set."""
    from rich.console import Console

    from retention.settings import terminal_colours

    file = stream or sys.stdout
    terminal = file.isatty()
    return Console(
        file=file,
        no_color=not terminal_colours(),
        highlight=False,
        width=None if terminal else WIDE,
        soft_wrap=False,
    )


Cell = str | int | tuple[str, str]
"""Text, a number, or text with a style."""


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    footer: str = "",
    right: Sequence[str] = (),
) -> int:
    """A table with a line of totals and time zone below; `right`: columns of numbers.

    Rows may be any number: the head is repeated after each page. Returns how many there were.
    """
    iterator = iter(rows)
    number = 0
    while page := list(islice(iterator, PAGE)):
        number += len(page)
        console().print(_page(columns, page, right))
    if footer:
        note(footer)
    return number


def note(text: str) -> None:
    """The line of totals below a table."""
    console().print(clean(text), style="dim", markup=False)


def _page(columns: Sequence[str], rows: Sequence[Sequence[Cell]], right: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    page = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in columns:
        page.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        cells = [cell if isinstance(cell, tuple) else (str(cell), "") for cell in row]
        page.add_row(*(Text(clean(text), style) for text, style in cells))
    return page


@contextmanager
def progress(what: str) -> Iterator[Callable[[int], None]]:
    """A counter on stderr while something long is read; silent where stderr is no terminal.

    Gives a function that takes how many were done since it was last called.
    """
    if not sys.stderr.isatty():
        yield lambda _number: None
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TextColumn("{task.completed:,} records"),
        TimeElapsedColumn(),
        console=console(sys.stderr),
        transient=True,
        # Rows printed meanwhile go above the counter; but never into stderr where stdout is a file.
        redirect_stdout=sys.stdout.isatty(),
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda number: bar.advance(task, number)
