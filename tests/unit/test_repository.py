"""What surrounds the package stays true: index of pages, links, deployment, change notes."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path

import pytest

from retention.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.*"))


def _unit(path: Path) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # keys of units have capitals
    unit.read_string(path.read_text(encoding="utf-8"))
    return unit


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """A relative link names a file or folder that exists."""
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), target


def test_every_page_is_in_the_index() -> None:
    """A page that docs/README.md does not lead to is a page nobody reads."""
    index = ROOT / "docs" / "README.md"
    linked = {
        (index.parent / target).resolve()
        for target in LINK.findall(index.read_text(encoding="utf-8"))
    }
    pages = {page.resolve() for page in (ROOT / "docs").rglob("*.md")} - {index.resolve()}
    assert sorted(pages - linked) == []


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_units_run_as_the_service_account(path: Path) -> None:
    """A service runs as `retention`, which sysusers makes, and its state is private."""
    if path.suffix == ".service":
        service = _unit(path)["Service"]
        assert service["User"] == service["Group"] == "retention"
        assert service["StateDirectoryMode"] == "0700"
        assert service["ProtectSystem"] == "strict"
    elif path.suffix == ".timer":
        assert path.with_suffix(".service") in UNITS
    elif path.suffix == ".sysusers":
        assert path.read_text(encoding="utf-8").splitlines()[-1].startswith("u retention ")


def test_deployments_set_only_settings_that_exist() -> None:
    """A misspelt RETENTION_ variable would be ignored in silence."""
    named = {f"RETENTION_{name.upper()}" for name in Settings.model_fields}
    known = named | {f"{name}_FILE" for name in named}
    files = [
        *UNITS,
        *(ROOT / "deploy").rglob("*.md"),
        *(ROOT / "deploy").rglob("*.y*ml"),
        ROOT / "deploy" / "Containerfile",
        ROOT / "docker-compose.yml",
    ]
    for file in files:
        used = set(re.findall(r"RETENTION_[A-Z_]+", file.read_text(encoding="utf-8")))
        assert used <= known, file.name


def test_change_notes_have_a_kind() -> None:
    """The kind decides where a note goes at the release."""
    for note in (ROOT / "changes").glob("*.md"):
        if note.name != "README.md":
            assert re.fullmatch(r"(breaking|safety|feature|fix)-[a-z0-9-]+\.md", note.name)
            assert 1 <= len(note.read_text(encoding="utf-8").splitlines()) <= 5


def test_the_version_is_one() -> None:
    """pyproject.toml and the package name the same version."""
    import retention

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert retention.__version__ == project["version"]
