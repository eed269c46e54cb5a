"""The real command: start-up, help, signals, pipes, bugs; and the pages made from it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from retention.cli import main, reference
from retention.cli.failures import SEVERITY
from retention.cli.options import SETTINGS, hoist
from retention.errors import EXIT_MEANINGS, ExitCode
from retention.settings import Settings
from tests.acceptance.shop import ROOT, Shop

HEAVY = ("pydantic", "sqlalchemy", "ruamel", "rich", "alembic", "croniter", "cryptography")


def test_help_imports_nothing_heavy() -> None:
    """`retention --help` must be quick: what takes long to import is imported by commands only."""
    script = (
        "import sys; from retention.cli.main import run; code = run(['--help']);"
        "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert loaded.isdisjoint(HEAVY)
    assert "Usage: retention" in done.stdout


def test_the_installed_command_is_this_program() -> None:
    """The entry point starts, and `python -m retention` is the same."""
    script = Path(sys.executable).with_name("retention")
    said = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    again = subprocess.run(
        [sys.executable, "-m", "retention", "--version"], capture_output=True, text=True, check=True
    )
    assert said.stdout == again.stdout
    assert re.fullmatch(r"retention \d+\.\d+\.\d+\n", said.stdout)


def test_every_help_ends_with_the_exit_codes(shop: Shop) -> None:
    """One mapping in every `--help`, and every setting with its variable in the first one."""
    commands = re.findall(r"^##+ `retention ?(.*)`$", reference.cli_page(), re.MULTILINE)
    assert len(commands) > 30
    for command in commands:
        text = " ".join(shop(*command.split(), "--help").out.split())
        for code, meaning in EXIT_MEANINGS.items():
            assert f"{code:d} {meaning}" in text
    first = shop("--help").out
    for setting in SETTINGS:
        assert setting.flag in first
        assert f"[{setting.variable}]" in first


def test_the_options_are_the_settings() -> None:
    """The quick table and the real settings say the same."""
    fields = Settings.model_fields
    assert [s.name for s in SETTINGS] == list(fields)
    for setting in SETTINGS:
        field = fields[setting.name]
        assert setting.help == field.description
        assert setting.default == ("" if field.default is None else str(field.default))


def test_every_acting_command_takes_by() -> None:
    """Whoever orders something is named in the log."""
    page = reference.cli_page()
    sections = dict(
        re.findall(r"^##+ `retention (.*?)`\n\n```\n(.*?)\n```", page, re.MULTILINE | re.DOTALL)
    )
    acting = ("approve", "apply", "run", "freeze", "thaw", "hold add", "hold release")
    for name in (*acting, "event fire", "event revoke", "consent withdraw"):
        assert "--by NAME" in sections[name], name
        if name not in ("event fire", "consent withdraw"):
            assert "--at" not in sections[name], name


@pytest.mark.parametrize("name", reference.PAGES)
def test_the_reference_is_what_the_program_says(name: str) -> None:
    """If this fails: python -m retention.cli.reference docs/reference."""
    page = ROOT / "docs" / "reference" / name
    assert page.read_text(encoding="utf-8") == reference.PAGES[name]()


def test_every_exit_code_has_its_rank() -> None:
    """Of several outcomes one is told; interruption and usage end a call by themselves."""
    assert set(SEVERITY) == set(ExitCode) - {ExitCode.USAGE, ExitCode.INTERRUPTED}
    said = re.search(
        r"is told: ([\d, ]+), in this order", reference.exit_codes_page().replace("\n", " ")
    )
    assert said is not None
    assert said[1].split(", ") == [f"{c:d}" for c in SEVERITY if c is not ExitCode.OK]


def test_global_options_may_stand_anywhere() -> None:
    """Before the command or after it; what follows `--` is not touched."""
    assert hoist(["plan", "--home", "x", "p"]) == ["--home", "x", "plan", "p"]
    assert hoist(["plan", "--home=x"]) == ["--home=x", "plan"]
    assert hoist(["explain", "--", "l", "--home"]) == ["explain", "--", "l", "--home"]


def test_a_bug_tells_its_class_and_no_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """70: the exception's text, which may quote a record, is neither shown nor written."""

    def broken(*, completion: bool = True) -> object:
        raise LookupError("kari@example.org")

    monkeypatch.setattr(main, "build", broken)
    assert main.run(["plan"]) == ExitCode.BUG
    err = capsys.readouterr().err
    assert "unexpected LookupError" in err
    assert "kari" not in err
    path = re.search(r"\S+retention-\S+\.trace", err)
    assert path is not None
    trace = Path(path[0]).read_text(encoding="utf-8")
    Path(path[0]).unlink()
    assert "LookupError" in trace
    assert "kari" not in trace


def _many(shop: Shop) -> None:
    shop.sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)"
        " INSERT INTO form SELECT i, '2020-01-01 00:00:00', 'x' FROM n"
    )


@contextmanager
def _sigint_heard() -> Iterator[None]:
    """Children hear Ctrl-C also where a shell started the tests in the background, deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupted_command_ends_with_130(shop: Shop) -> None:
    """Ctrl-C while a plan is read: no traceback."""
    _many(shop)
    with _sigint_heard():
        process = shop.start("plan", "--json")
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read().rstrip().endswith("interrupted")


def test_a_reader_that_goes_away_is_no_error(shop: Shop) -> None:
    """`retention plan --json | head -1` ends quietly."""
    _many(shop)
    process = shop.start("plan", "--json")
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        process.stdout.readline()
        os.close(os.dup(process.stdout.fileno()))
        process.stdout.close()
        assert process.wait(60) == 0
        assert "error" not in process.stderr.read()
