"""One command line of the program, in any folder, with nothing of the tester's settings."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.acceptance.shop import Zygote


class Ran(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


def typed(zygote: Zygote, where: Path, *words: str, **more: str) -> Ran:
    """Run `retention WORDS…` in a folder. `more`: further environment variables."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("RETENTION_")}
    with tempfile.TemporaryDirectory() as scratch:
        out, err = Path(scratch, "out"), Path(scratch, "err")
        code = zygote.run(
            {
                "argv": list(words),
                "cwd": str(where),
                "env": {**plain, "COLUMNS": "200", **more},
                "in": os.devnull,
                "out": str(out),
                "err": str(err),
            }
        )
        return Ran(code, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8"))
