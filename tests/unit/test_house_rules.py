"""Rules of the house that no linter knows. `pyproject.toml` holds the directions of imports."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from retention.connectors.registry import BUILTIN

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "retention"

ENVIRONMENT = {"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv", "os.unsetenv"}
WHAT_TIME_IS_IT = {
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "time.ctime",
    "time.gmtime",
    "time.localtime",
    "time.time",
    "time.time_ns",
}
QUEUES = {"celery", "kombu", "redis"}
OUTSIDE_WORLD = {
    *("http", "io", "logging", "os", "pathlib", "random", "secrets", "shutil", "socket"),
    *("sqlalchemy", "sqlite3", "subprocess", "tempfile", "threading", "time", "urllib", "uuid"),
}


class Use(NamedTuple):
    """One import, or one use of a name that an import brought, by its full dotted name."""

    name: str
    place: str


def _modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _at(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


@cache
def _imports(path: Path) -> tuple[tuple[str, str, int], ...]:
    """(local name, full dotted name, line) of every import of a file, those in functions too."""
    found = []
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                local = alias.asname or alias.name.partition(".")[0]
                full = alias.name if alias.asname else local
                found.append((local, full, node.lineno))
                found.append(("", alias.name, node.lineno))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{_at(path, node.lineno)}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.append((alias.asname or alias.name, full, node.lineno))
    return tuple(found)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _uses(path: Path) -> Iterator[Use]:
    """Every import, and every attribute reached through an imported name."""
    known = {local: full for local, full, _ in _imports(path)}
    for _, full, line in _imports(path):
        yield Use(full, _at(path, line))
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Attribute):
            parts: list[str] = []
            inner: ast.expr = node
            while isinstance(inner, ast.Attribute):
                parts.append(inner.attr)
                inner = inner.value
            if isinstance(inner, ast.Name) and inner.id in known:
                full = ".".join([known[inner.id], *reversed(parts)])
                yield Use(full, _at(path, node.lineno))


def _within(name: str, roots: set[str]) -> bool:
    return any(name == root or name.startswith(f"{root}.") for root in roots)


def _culprits(forbidden: set[str], *, allowed_in: str = "", only_in: str = "") -> list[str]:
    """Places below `only_in` but not below `allowed_in` that use something forbidden."""
    return sorted(
        {
            f"{use.place}: {use.name}"
            for path in _modules()
            if path.is_relative_to(PACKAGE / only_in)
            and not (allowed_in and path.is_relative_to(PACKAGE / allowed_in))
            for use in _uses(path)
            if _within(use.name, forbidden)
        }
    )


def test_only_settings_reads_the_environment() -> None:
    """One file reads environment variables, so that one list of settings is complete."""
    assert _culprits(ENVIRONMENT, allowed_in="settings.py") == []


def test_only_the_clock_knows_the_time() -> None:
    """Time is a parameter: whoever asks the machine for it cannot be tested at another date."""
    assert _culprits(WHAT_TIME_IS_IT, allowed_in="clock.py") == []


def test_queues_live_in_the_worker() -> None:
    """Celery and its broker are one way to run; the small installation has none of it."""
    assert _culprits(QUEUES, allowed_in="worker") == []


def test_croniter_lives_behind_one_file() -> None:
    """Its traps are met in one place."""
    assert _culprits({"croniter"}, allowed_in="schedule/cron.py") == []


def test_deciding_reaches_nothing_outside() -> None:
    """decide/ is a pure function of what it is given: no file, no database, no chance, no clock."""
    assert _culprits(OUTSIDE_WORLD, only_in="decide") == []


def test_a_connector_knows_no_other_connector() -> None:
    """A connector can be read, tested and removed alone; what two share stands outside both."""
    culprits = []
    for path in _modules():
        if path.is_relative_to(PACKAGE / "connectors") and path.name != "registry.py":
            own = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            others = {m for m in BUILTIN.values() if not _within(own, {m})}
            culprits += [f"{u.place}: {u.name}" for u in _uses(path) if _within(u.name, others)]
    assert culprits == []


def test_no_pattern_is_possessive() -> None:
    """Python 3.11.2 (Debian 12) matches possessive quantifiers and atomic groups wrongly."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        words = {n.value for n in ast.walk(tree) if isinstance(n, ast.Expr)}
        for node in ast.walk(tree):
            if node in words:
                continue
            if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
                text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
                plain = re.sub(r"\\.|\[[^\]]*\]", "x", text)
                pattern = any(sign in text for sign in ("\\", "[", "(?"))
                if pattern and re.search(r"[*?}]\+|\w\+\+(?!\w)|\(\?>", plain):
                    found.append(f"{path.name}:{node.lineno}: {text[:60]!r}")
    assert found == []


def test_the_web_face_cannot_delete() -> None:
    """It imports neither run nor connectors: an approval is a row that a worker acts upon."""
    assert _culprits({"retention.run", "retention.connectors"}, only_in="web") == []


def test_the_package_never_asks_whether_it_is_tested() -> None:
    """No code outside retention/testing knows pytest, the tests or the testing kit."""
    forbidden = {"pytest", "hypothesis", "tests", "retention.testing"}
    assert _culprits(forbidden, allowed_in="testing") == []


# Written in pieces, so that this file does not contain what it forbids.
MACHINE_PATHS = re.compile(
    r"(?<![\w.${}<>/-])/(?:" + "|".join(["work", "root", "Users", "home"]) + r")/\w"
)
REGISTRIES = re.compile(
    "|".join(
        [
            r"pypi\." + "org/simple",
            "files" + r"\.pythonhosted\.",
            "registry" + r"\.npmjs\.",
            "deb" + r"\.debian\.",
            "(?:extra-)?index" + "-url",
            "find" + "-links",
            "trusted" + "-host",
        ]
    )
)


@cache
def _own_files() -> tuple[Path, ...]:
    """Every file that is tracked or about to be; without git, all outside the ignored folders."""
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        names = [name for name in listed.stdout.decode().split("\0") if name]
        return tuple(ROOT / name for name in names if (ROOT / name).is_file())
    ignored = {".git", ".venv", "build", "dist", "__pycache__", "node_modules"}
    return tuple(
        path
        for path in ROOT.rglob("*")
        if path.is_file()
        and not any(part in ignored or part.endswith("_cache") for part in path.parts)
    )


@pytest.mark.parametrize("pattern", [MACHINE_PATHS, REGISTRIES], ids=["paths", "registries"])
def test_no_file_names_a_machine(pattern: re.Pattern[str]) -> None:
    """What is in the repository works on any machine: no personal folder, no package mirror."""
    culprits = []
    for path in _own_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if found := pattern.search(line):
                culprits.append(f"{_at(path, number)}: {found[0]}")
    assert culprits == []
