"""Draws docs/demo.svg from a real run of the demo: python docs/picture.py"""  # noqa: INP001

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

STEPS = ("3", "5", "7", "9")
HEADING = re.compile(r"^(\d+)\. ", re.MULTILINE)
REMOTE_FONTS = re.compile(r"@font-face \{.*?\}\n", re.DOTALL)


def main() -> None:
    """Run the demo in a folder of its own and draw some of its steps."""
    with tempfile.TemporaryDirectory() as folder:
        told = subprocess.run(
            [sys.executable, "-m", "retention", "demo"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    starts = [(m.group(1), m.start()) for m in HEADING.finditer(told)]
    ends = [start for _, start in starts[1:]] + [len(told)]
    part = "\n\n".join(
        told[start:end].rstrip()
        for (step, start), end in zip(starts, ends, strict=True)
        if step in STEPS
    )
    console = Console(record=True, width=98, file=io.StringIO(), force_terminal=True)
    for line in part.splitlines():
        style = "bold" if line[:1].isdigit() else "green" if line.strip().startswith("$") else ""
        console.print(Text(line.rstrip(), style=style))
    picture = console.export_svg(title="make demo", unique_id="demo")
    target = Path(__file__).with_name("demo.svg")
    # Whoever looks at the picture should not be made to ask another server for its letters.
    target.write_text(REMOTE_FONTS.sub("", picture), encoding="utf-8")


if __name__ == "__main__":
    main()
