"""status, daemon, freeze, doctor, and a ledger or system that does not answer."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.shop import ROOT, Shop
from tests.servers.postgres import Postgres


def test_status_prints_its_contract(shop: Shop) -> None:
    """Every policy's row and the log's state, before and after a run."""
    shop.questions(1, 2, 50)
    first = shop("status", "--json").json
    assert {"policies", "log", "frozen", "nodes", "alarms", "last_tick"} <= first.keys()
    assert {"size", "root", "verified_at", "checkpoint_at", "checkpoint_size"} <= (
        first["log"].keys()
    )
    wanted = {"policy", "state", "last_run", "next_fire", "overdue", "oldest_overdue_days", "held"}
    assert all(wanted <= row.keys() for row in first["policies"])
    shop("approve", "form-monthly")
    shop("daemon", "--once")
    shop("run", "form-monthly")
    second = shop("status", "--json").json
    row = second["policies"][0]
    assert (row["state"], row["overdue"]) == ("ok", 0)
    assert row["last_run"]
    assert row["next_fire"]
    assert second["log"]["verified_at"]
    assert "times in Europe/Oslo" in shop("status").out


def test_status_check_is_for_monitoring(shop: Shop) -> None:
    """One line: 0 when well, 7 when records are overdue, 1 when something is ill."""
    assert shop("status", "--check").out.startswith("OK: 2 policies")
    shop.questions(1, 2, 90)
    shop("approve", "form-monthly")
    shop("freeze", "--reason", "an incident")
    shop("run", "form-monthly", code=6)
    overdue = shop("status", "--check", code=7).out
    assert overdue.startswith("OVERDUE: ")
    assert overdue.count("\n") == 1
    shop("thaw")
    shop("daemon", "--once")
    shop("status", "--check")
    shop.change("delete_at_latest: 1 month", "delete_at_latest: 1 mnth")
    assert "broken" in shop("status", "--check", code=1).out


def test_freeze_stops_disposal_and_thaw_resumes_it(shop: Shop) -> None:
    """Frozen: run ends with 6 and nothing goes; after the thaw the same run is worked off."""
    shop.questions(1, 2, 50)
    shop("approve", "form-monthly")
    shop("freeze", "--reason", "an incident")
    shop("freeze", "--reason", "again", code=6)
    assert "an incident" in shop("run", "form-monthly", code=6).err
    assert shop.ids() == [1, 2, 3]
    shop("thaw")
    shop("thaw", code=2)
    shop("daemon", "--once")
    assert shop.ids() == [1, 2]


def test_daemon_once_ends_as_its_worst_run_did(shop: Shop) -> None:
    """0 where nothing is owed; 3 where a system could not be read."""
    shop("daemon", "--once")
    shop.questions(1, 2, 50)
    shop("approve", "form-monthly")
    shop("daemon", "--once")
    shop.ledger("UPDATE schedule SET next_fire = '2026-01-01T00:00:00.000Z'")
    shop.sql("DROP TABLE form")
    ended = shop("daemon", "--once", "--log-format", "json", code=3)
    events = [json.loads(line) for line in ended.err.splitlines()]
    assert events[-1]["event"] == "run"
    assert "person" not in ended.err
    assert shop("status", "--check", code=1).out.startswith("ILL")


def _wait_for(shop: Shop, text: str) -> None:
    deadline = time.monotonic() + 60
    while text not in (shop.folder / "daemon.log").read_text(encoding="utf-8"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_daemon_reloads_works_tells_systemd_and_ends(shop: Shop, tmp_path: Path) -> None:
    """SIGHUP takes up new policies, a firing is worked off, SIGTERM ends with 0."""
    shop.questions(1, 2, 50)
    shop("approve", "form-monthly")
    shop("daemon", "--once")
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    channel.bind(str(tmp_path / "n"))
    channel.settimeout(60)
    shop.settings["NOTIFY_SOCKET"] = str(tmp_path / "n")
    with (shop.folder / "daemon.log").open("w", encoding="utf-8") as log, channel:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "retention", "daemon", "--tick-seconds", "0.2"],
            cwd=shop.folder,
            env={**shop.environment(), "PYTHONPATH": str(ROOT)},
            stderr=log,
        )
        _wait_for(shop, "started")
        assert channel.recv(100) == b"READY=1"
        shop.ledger("UPDATE schedule SET next_fire = '2026-01-01T00:00:00.000Z'")
        _wait_for(shop, "state=done")
        assert shop.ids() == [1, 2]
        shop.change("organisation:", "organisation: [")
        daemon.send_signal(signal.SIGHUP)
        _wait_for(shop, "policy error")
        daemon.send_signal(signal.SIGTERM)
        said = set()
        while b"STOPPING=1" not in said:
            said.add(channel.recv(100))
        assert b"WATCHDOG=1" in said
        assert daemon.wait(60) == 0


def test_a_running_daemon_takes_up_approvals_and_changed_files_by_itself(shop: Shop) -> None:
    """Nobody sends it a signal: what a command approved elsewhere acts at the next firing."""
    shop.questions(1, 2, 50)
    with (shop.folder / "daemon.log").open("w", encoding="utf-8") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "retention", "daemon", "--tick-seconds", "0.2"],
            cwd=shop.folder,
            env={**shop.environment(), "PYTHONPATH": str(ROOT)},
            stderr=log,
        )
        _wait_for(shop, "started")
        shop("approve", "form-monthly")
        _wait_for(shop, "reloaded")
        shop.ledger("UPDATE schedule SET next_fire = '2026-01-01T00:00:00.000Z'")
        _wait_for(shop, "state=done")
        assert shop.ids() == [1, 2]
        shop.change("organisation:", "organisation: [")
        _wait_for(shop, "policy error")
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(60) == 0


def test_an_unreachable_ledger_is_one_clear_error(shop: Shop) -> None:
    """10, without the address or the password that the URL holds."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    shop.settings["RETENTION_DATABASE_URL"] = (
        f"postgresql+psycopg://retention:hunter2@127.0.0.1:{port}/retention"
    )
    for command in (("status",), ("plan",), ("audit", "list"), ("daemon", "--once")):
        ended = shop(*command, code=10)
        assert ended.err.startswith("error: the ledger's database does not answer")
        assert "hunter2" not in ended.err
    shop.settings["RETENTION_DATABASE_URL"] = "nonsense"
    assert shop("status", code=10).err.startswith("error: ")


def test_a_wrong_password_is_told_as_such(shop: Shop, postgres: Postgres) -> None:
    """12 from plan and doctor; the password and the server's own words are nowhere."""
    url = postgres.new_database()
    head, _, tail = url.partition("://")
    login, _, rest = tail.partition(":")
    wrong = f"{head}://{login}:wr0ngs3cret@{rest.partition('@')[2]}"
    shop.change('"sqlite:///../website.db"', "{env: WEBSITE_DB}")
    shop.settings["WEBSITE_DB"] = wrong
    for command in ("plan", "doctor"):
        ended = shop(command, code=12)
        assert "wr0ngs3cret" not in ended.out + ended.err
    assert "[credentials]" in shop("plan", code=12).err


def test_doctor_looks_at_systems_and_at_the_machine(shop: Shop) -> None:
    """0 when all is well; 1 with a hint when others may read the home."""
    shop.questions(1)
    checks = shop("doctor", "--json").json
    assert all(c.keys() == {"where", "check", "ok", "detail", "hint"} for c in checks)
    assert {"policies", "home", "ledger", "machine", "log", "website"} <= {
        c["where"] for c in checks
    }
    (shop.folder / ".retention").chmod(0o755)
    bad = [c for c in shop("doctor", "--json", code=1).json if not c["ok"]]
    assert [c["check"] for c in bad] == ["home"]
    assert "chmod 700" in bad[0]["hint"]


def test_settings_come_from_options_variables_and_the_file(shop: Shop) -> None:
    """An option wins over a variable, a variable over retention.toml; a wrong value is named."""
    (shop.folder / "retention.toml").write_text('home = "from-file"\n', encoding="utf-8")
    shop("status")
    assert (shop.folder / "from-file").is_dir()
    shop.settings["RETENTION_HOME"] = "from-variable"
    shop("status")
    assert (shop.folder / "from-variable").is_dir()
    shop("status", "--home", "from-option")
    shop("--home=from-option2", "status")
    assert (shop.folder / "from-option").is_dir()
    assert (shop.folder / "from-option2").is_dir()
    assert "tick_seconds" in shop("--tick-seconds", "900", "status", code=2).err
    (shop.folder / "retention.toml").write_text("home = \n", encoding="utf-8")
    assert "retention.toml" in shop("status", code=2).err


@pytest.mark.parametrize("command", [("plan",), ("hold", "add"), ("audit", "proof")])
def test_a_wrong_option_is_a_usage_error(shop: Shop, command: tuple[str, ...]) -> None:
    """2 and one line, for people and for programs."""
    ended = shop(*command, "--nonsense", code=2)
    assert ended.err.startswith("error: No such option")
    assert shop(*command, "--nonsense", "--json", code=2).error["code"] == "usage"


def test_the_ledger_may_be_a_postgresql_database(shop: Shop, postgres: Postgres) -> None:
    """The same commands over the ledger of many machines; keys stay in the home."""
    shop.settings["RETENTION_DATABASE_URL"] = postgres.new_database()
    shop.questions(1, 2, 50, 60)
    shop("approve", "form-monthly")
    hold = ("hold", "add", "--case", "C-1", "--reason", "claim", "--owner", "legal")
    scope = ("--location", "enquiries/form", "--record", "3")
    assert shop(*hold, "--review-by", "2030-01-01", *scope).out == "1\n"
    shop("run", "form-monthly")
    assert shop.ids() == [1, 2, 3]
    shop("hold", "release", "1", "--reason", "settled")
    shop("freeze", "--reason", "an incident")
    shop("run", "form-monthly", code=6)
    shop("thaw")
    shop("daemon", "--once")
    assert shop.ids() == [1, 2]
    shop("status", "--check")
    assert shop("audit", "verify", "--json").json["ok"] is True
    assert not (shop.folder / ".retention" / "ledger.db").exists()
