"""Documentation stays true: policies in it load, commands in it exist, the tutorial runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer.main
from ruamel.yaml import YAML

from retention.cli.main import build
from retention.cli.options import SETTINGS
from retention.run.home import examine
from tests.acceptance.program import typed
from tests.acceptance.shop import Zygote

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md")])
PAGES += [ROOT / "retention" / "cli" / "starter" / "README.md"]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TYPED = re.compile(r"^(?:\$ |    (?:\$ )?)((?:cd \S+ && )?retention(?: .*)?)$", re.MULTILINE)
PARTS = {"organisation", "systems", "clusters", "policies"}
ORGANISATION = 'organisation: {name: X, country: "NO", timezone: Europe/Oslo}\n'
NAMES = {"unknown-system", "unknown-target", "unknown-cluster", "unknown-policy"}
"""An excerpt may name what stands outside of it."""


def _blocks(language: str) -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for number, (said, text) in enumerate(FENCE.findall(page.read_text(encoding="utf-8"))):
            if said == language:
                yield f"{page.relative_to(ROOT)}#{number}", text


EXAMPLES = dict(_blocks("yaml"))


@pytest.mark.parametrize("place", EXAMPLES)
def test_policies_in_the_documentation_are_valid(place: str, tmp_path: Path) -> None:
    """What looks like a policy file has no error; an excerpt may only lack what it names."""
    text = EXAMPLES[place]
    said = YAML(typ="safe", pure=True).load(text)
    if not set(said) <= PARTS:
        assert not PARTS & set(said), "half a policy file"
        return
    excerpt = "organisation" not in said
    (tmp_path / "page.yaml").write_text(ORGANISATION + text if excerpt else text, encoding="utf-8")
    errors = examine(tmp_path, datetime(2026, 9, 15, tzinfo=UTC)).errors
    assert [str(e) for e in errors if not (excerpt and e.code in NAMES)] == []


def _commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for line in TYPED.findall(page.read_text(encoding="utf-8")):
            for part in line.split("&&"):
                words = part.partition("  #")[0].strip()
                if words.startswith("retention"):
                    yield str(page.relative_to(ROOT)), words


@pytest.mark.parametrize(("page", "line"), sorted(set(_commands())))
def test_commands_in_the_documentation_exist(page: str, line: str) -> None:
    """Every command that a page tells to type is one, and has the options that it is given."""
    command: Any = typer.main.get_command(build())
    words = shlex.split(re.sub(r"\(.*?\)|[…|]", "", line), comments=True)[1:]
    allowed = {setting.flag for setting in SETTINGS} | {"--help", "--version"}
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        assert words[0] in command.commands, f"{page}: {line}"
        command = command.commands[words.pop(0)]
    allowed |= {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
    given = {word.partition("=")[0] for word in words if word.startswith("-")}
    assert given <= allowed, f"{page}: {line}"


def _steps(page: Path) -> Iterator[tuple[str, list[str]]]:
    """(command, lines of output shown below it) of a page's console blocks, in order."""
    for language, text in FENCE.findall(page.read_text(encoding="utf-8")):
        if language != "console":
            continue
        for block in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, *shown = block.strip().splitlines()
            yield command, shown


def _pattern(shown: list[str]) -> re.Pattern[str]:
    """Output in which `…` stands for anything, and white space for any white space."""
    words = " ".join(" ".join(shown).split())
    return re.compile(r"\s*".join(_loose(w) for w in words.split(" ")), re.DOTALL)


def _loose(word: str) -> str:
    return ".*" if word == "…" else re.escape(word)


def test_the_tutorial_runs(tmp_path: Path, zygote: Zygote) -> None:
    """Every command of the tutorial, in order, answers what the page says that it answers."""
    where = tmp_path
    for command, shown in _steps(ROOT / "docs" / "tutorial" / "first-deletion.md"):
        program, *words = shlex.split(command)
        if program == "cd":
            where = (where / words[0]).resolve()
            continue
        assert program == "retention"
        ran = typed(zygote, where, *words)
        said = ran.out + ran.err
        refused = any(line.startswith("error: ") for line in shown)
        assert (ran.code != 0) is refused, (command, said)
        assert _pattern(shown).search(said), (command, shown, said)
