"""The units: systemd itself reads them, and says how much they leave open."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from retention.cli.main import build

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "systemd"
SERVICES = sorted(FOLDER.glob("*.service"))
PROGRAM = "/opt/retention/bin/retention"
LONG_LIVED = ["retention.service", "retention-scheduler.service", "retention-worker.service"]
MOST_EXPOSED = 2.0
"""Of 10; what remains is that a service must reach the network and the host's own files."""
NEWER = ("RestartSteps", "RestartMaxDelaySec")
"""Keys of systemd 254; older versions pass over them and say so."""


def unit(name: str) -> configparser.ConfigParser:
    """A unit as keys and values; of a key that stands several times, the last."""
    found = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    found.optionxform = str  # type: ignore[assignment,method-assign]  # keys of units have capitals
    found.read_string((FOLDER / name).read_text(encoding="utf-8"))
    return found


def analyze(*words: str) -> tuple[int, list[str]]:
    tool = shutil.which("systemd-analyze")
    assert tool, "systemd-analyze is not installed; run tests/install-servers"
    ended = subprocess.run(
        [tool, *words],
        env={**os.environ, "SYSTEMD_COLORS": "0", "SYSTEMD_LOG_LEVEL": "info"},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, (ended.stdout + ended.stderr).splitlines()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units as they are installed, but for a program that is on this machine."""
    folder = tmp_path_factory.mktemp("units")
    for path in FOLDER.glob("*.*"):
        text = path.read_text(encoding="utf-8").replace(PROGRAM, sys.executable)
        (folder / path.name).write_text(text, encoding="utf-8")
    return folder


if sys.platform == "linux":

    @pytest.mark.parametrize(
        "name", [p.name for p in FOLDER.glob("*.*") if p.suffix != ".sysusers"]
    )
    def test_systemd_finds_nothing_wrong(installed: Path, name: str) -> None:
        """Every key is known, in its section, with a value that can be read."""
        path = installed / name
        if path.suffix == ".conf":
            text = (
                path.read_text(encoding="utf-8").replace("#LoadC", "LoadC").replace("#Env", "Env")
            )
            path = installed / f"{path.stem}-drop-in.service"
            path.write_text(f"{text}\nType=oneshot\nExecStart=/bin/true\n", encoding="utf-8")
        code, said = analyze("verify", str(path))
        ours = [line for line in said if not any(f"'{key}'" in line for key in NEWER)]
        assert (code, ours) == (0, [])

    @pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
    def test_a_unit_leaves_little_open(path: Path) -> None:
        """systemd's own measure of exposure, as an upper bound."""
        bound = f"--threshold={round(MOST_EXPOSED * 10)}"
        code, said = analyze("security", "--offline=true", "--no-pager", bound, str(path))
        assert code == 0, said[-1]
        (level,) = (line for line in said if "Overall exposure level" in line)
        assert float(level.partition(".service: ")[2].split()[0]) <= MOST_EXPOSED


@pytest.mark.parametrize("path", SERVICES, ids=lambda path: path.name)
def test_a_unit_starts_a_command_that_exists(path: Path) -> None:
    """A renamed command or option would be found out on somebody's server."""
    import typer

    program, name, *options = unit(path.name)["Service"]["ExecStart"].split()
    assert program == PROGRAM
    group = typer.main.get_command(build(completion=False))
    command = group.commands[name]  # type: ignore[attr-defined]  # a group has them
    known = {flag for parameter in command.params for flag in parameter.opts}
    assert {word for word in options if word.startswith("--")} <= known


@pytest.mark.parametrize("name", LONG_LIVED)
def test_a_service_ends_its_batch_and_comes_back_with_measure(name: str) -> None:
    """SIGTERM and time enough; restarts that become rarer and end; not where a person is needed."""
    found = unit(name)
    service = found["Service"]
    assert service["Type"] == "notify"
    assert service["KillSignal"] == "SIGTERM"
    assert int(service["TimeoutStopSec"]) > 60
    assert service["Restart"] == "on-failure"
    assert int(service["RestartSec"]) >= 10
    assert int(service["RestartSteps"]) > 1
    # A worker ends with 1 as well when Celery gives up, and that is to be started again.
    left_down = ["2"] if "worker" in name else ["1", "2"]
    assert service["RestartPreventExitStatus"].split() == left_down
    assert int(found["Unit"]["StartLimitBurst"]) * int(service["RestartSec"]) < 12 * 3600
    assert "MemoryMax" in service


def test_one_daemon_or_schedulers_and_workers_never_both() -> None:
    """Started by mistake beside each other, the later one ends the earlier one."""
    conflicts = {name: unit(name)["Unit"]["Conflicts"].split() for name in LONG_LIVED}
    assert conflicts["retention.service"] == LONG_LIVED[1:]
    assert conflicts["retention-worker.service"] == LONG_LIVED[:1]


def test_urls_with_passwords_come_as_credentials() -> None:
    """Nothing secret in the unit, in the environment or on the command line."""
    for name in LONG_LIVED[1:]:
        text = (FOLDER / name).read_text(encoding="utf-8")
        for secret in ("database_url", "broker_url"):
            assert f"LoadCredential={secret}:/etc/retention/secrets/{secret}\n" in text
            assert f"Environment=RETENTION_{secret.upper()}_FILE=%d/{secret}\n" in text


def test_a_command_by_hand_gets_what_the_service_gets(tmp_path: Path) -> None:
    """retentionctl: settings, URLs and credentials as copies for one command, the caller's name,
    the exit code; nothing stays behind. `setpriv`, `install` and `chown` are stand-ins here."""
    tools, secrets, run = tmp_path / "bin", tmp_path / "secrets", tmp_path / "run"
    for made in (tools, secrets, run):
        made.mkdir()
    scripts = {
        "setpriv": 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"',
        "install": 'cp -- "$6" "$7"',
        "chown": ":",
        "program": 'env | sort; cat "$CREDENTIALS_DIRECTORY/website_db"; echo "$@"; exit 7',
    }
    for name, text in scripts.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (tools / name).chmod(0o755)
    (secrets / "website_db").write_text("sqlite:///x", encoding="utf-8")
    (secrets / "database_url").write_text("postgresql://y", encoding="utf-8")
    settings = tmp_path / "service.env"
    settings.write_text(
        "# a comment\nRETENTION_ORIGIN=example.org/r\n\nWORDS=two words", encoding="utf-8"
    )
    ended = subprocess.run(
        ["/bin/sh", str(FOLDER / "retentionctl"), "plan", "--json", "two words"],
        env={
            "PATH": f"{tools}:{os.environ['PATH']}",
            "SUDO_USER": "anna",
            "RETENTION_SETTINGS": str(settings),
            "RETENTION_SECRETS": str(secrets),
            "RETENTION_RUN": str(run),
            "RETENTION_PROGRAM": str(tools / "program"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (7, "")
    lines = ended.stdout.splitlines()
    folder = next(x.partition("=")[2] for x in lines if x.startswith("CREDENTIALS_DIRECTORY="))
    assert Path(folder).parent == run
    for wanted in (
        "LOGNAME=anna",
        "RETENTION_ORIGIN=example.org/r",
        "WORDS=two words",
        "RETENTION_HOME=/var/lib/retention",
        f"RETENTION_DATABASE_URL_FILE={folder}/database_url",
        "sqlite:///xplan --json two words",
    ):
        assert wanted in lines
    assert not any("BROKER" in line for line in lines)
    assert list(run.iterdir()) == []
