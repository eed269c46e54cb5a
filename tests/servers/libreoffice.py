"""LibreOffice as a server: it opens what we wrote, and does the same work in its own way."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Self

from tests.servers.process import HOST, Server, ServerFailedError, ServerMissingError, program

_BRIDGE = Path(__file__).with_name("libreoffice_bridge.py")
_PYTHONS = (
    "/usr/bin/python3",
    "/Applications/LibreOffice.app/Contents/Resources/python",
)


@cache
def _python() -> str:
    """The Python that can talk to LibreOffice; ours usually cannot."""
    for path in _PYTHONS:
        if (
            Path(path).exists()
            and not subprocess.run(
                [path, "-c", "import uno"], check=False, capture_output=True
            ).returncode
        ):
            return path
    raise ServerMissingError("LibreOffice's Python bridge is missing; run tests/install-servers")


class LibreOffice(Server):
    """`with LibreOffice.start() as office: with office.open(path) as book: book.delete(...)`."""

    name = "office"

    def __init__(self) -> None:
        super().__init__()
        self._bridge: subprocess.Popen[str] | None = None

    @classmethod
    def start(cls) -> Self:
        return cls().launch()

    def command(self) -> Sequence[str]:
        return (
            program("soffice"),
            f"-env:UserInstallation=file://{self.folder}/profile",
            "--headless",
            "--norestore",
            "--nologo",
            f"--accept=socket,host={HOST},port={self.port};urp;",
        )

    def answers(self) -> bool:
        with socket.create_connection((HOST, self.port), timeout=1):
            return True

    def boot(self) -> None:
        super().boot()
        self._bridge = subprocess.Popen(
            [_python(), str(_BRIDGE), str(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        if self._bridge is not None:
            assert self._bridge.stdin is not None
            assert self._bridge.stdout is not None
            self._bridge.stdin.close()
            self._bridge.stdout.close()
            self._bridge.wait(timeout=20)
            self._bridge = None
        super().close()

    def ask(self, **order: Any) -> Any:
        """One order to the bridge. Raises ServerFailedError with LibreOffice's own word."""
        assert self._bridge is not None
        assert self._bridge.stdin is not None
        assert self._bridge.stdout is not None
        self._bridge.stdin.write(json.dumps(order) + "\n")
        self._bridge.stdin.flush()
        line = self._bridge.stdout.readline()
        answer: Mapping[str, Any] = json.loads(line) if line else {"error": "no answer"}
        if "error" in answer:
            raise ServerFailedError(f"LibreOffice: {answer['error']}")
        return answer["ok"]

    @contextmanager
    def open(self, path: Path | None = None, password: str | None = None) -> Iterator[Book]:
        """A workbook open in LibreOffice; an empty one without `path`."""
        where = str(path) if path is not None else None
        number = self.ask(do="open", path=where, password=password)
        try:
            yield Book(self, number)
        finally:
            self.ask(do="close", doc=number)


class Book:
    """A workbook as LibreOffice holds it."""

    def __init__(self, office: LibreOffice, number: int) -> None:
        self._office, self._number = office, number

    def sheets(self, names: Sequence[str]) -> None:
        """Make the first sheets bear these names."""
        self._office.ask(do="sheets", doc=self._number, names=list(names))

    def delete(self, sheet: str, rows: Sequence[int]) -> None:
        """Delete rows as somebody at the screen would, from the last to the first."""
        runs: list[list[int]] = []
        for row in sorted(rows):
            if runs and sum(runs[-1]) == row:
                runs[-1][1] += 1
            else:
                runs.append([row, 1])
        self._office.ask(do="delete", doc=self._number, sheet=sheet, runs=runs[::-1])

    def put(self, sheet: str, area: str, rows: Sequence[Sequence[str]]) -> None:
        """Write formulas or values into an area."""
        self._office.ask(
            do="put", doc=self._number, sheet=sheet, area=area, rows=[list(r) for r in rows]
        )

    def get(self, sheet: str, area: str) -> list[list[str]]:
        """Formulas of an area in LibreOffice's own notation."""
        found: list[list[str]] = self._office.ask(
            do="get", doc=self._number, sheet=sheet, area=area
        )
        return found

    def save(self, path: Path, form: str, password: str | None = None) -> None:
        """Compute anew and save a copy through one of LibreOffice's filters."""
        self._office.ask(
            do="save", doc=self._number, path=str(path), filter=form, password=password
        )
        assert path.exists(), "LibreOffice did not write the file"
