"""backup and restore, as a user does them: while the service writes, after a crash, by mistake."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from retention.ledger import backup
from tests.acceptance.shop import Shop
from tests.servers.postgres import Postgres
from tests.servers.process import program

DUE = 1_000
HOLD = ("hold", "add", "--case", "C-1", "--reason", "claim", "--owner", "legal")
LATE_HOLD = (*HOLD, "--review-by", "2090-01-01", "--cluster", "enquiries")


@pytest.fixture
def used(shop: Shop) -> Shop:
    """Three questions, one of them due; the policy approved; a first run done."""
    shop.questions(1, 2, 50)
    shop("approve", "form-monthly")
    shop("run", "form-monthly")
    return shop


@contextmanager
def daemon(shop: Shop) -> Iterator[subprocess.Popen[str]]:
    """The service in small batches, killed at the end if it still runs."""
    small = ("--tick-seconds", "0.2", "--batch-records", "2", "--lease-seconds", "5")
    process = shop.start("daemon", *small)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def state(shop: Shop) -> Path:
    return shop.folder / ".retention"


def befores(shop: Shop) -> list[Path]:
    return sorted(state(shop).glob("ledger.db.before-*"))


def entries(shop: Shop, kind: str) -> list[dict[str, object]]:
    out = shop("audit", "list", "--type", kind, "--json").out
    return [json.loads(line) for line in out.splitlines()]


def whole(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_backup_made_while_the_daemon_writes_brings_the_service_back(shop: Shop) -> None:
    """Backed up in the middle of a run, killed, restored, frozen, thawed: each record goes once,
    is named once in the log, and nothing else goes."""
    shop.questions(*[50] * DUE, *[1] * 5)
    shop("approve", "form-monthly")
    shop("daemon", "--once")
    shop.ledger("UPDATE schedule SET next_fire = '2026-01-01T00:00:00.000Z'")
    copies = []
    with daemon(shop) as process:
        while len(shop.ids()) > DUE // 4:
            assert process.poll() is None
            before = len(shop.ids())
            path = Path(shop("backup").out.strip())
            if before < DUE + 5:
                copies.append(path)
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert copies, "the run ended before a backup was made in it"
    assert all(whole(path) for path in copies)
    left = shop.ids()

    shop("restore", str(copies[0]), "--by", "operator")
    assert whole(befores(shop)[0])
    assert "frozen" in shop("status", "--check", code=None).out + shop("status").out
    # The kill left a claim in the copy; when it has run out, the freeze alone keeps the records.
    time.sleep(5)
    shop("daemon", "--once", code=None)
    assert shop.ids() == left
    freezes = entries(shop, "freeze")
    assert [e["actor"] for e in freezes] == ["user:operator"]

    shop("thaw")
    deadline = time.monotonic() + 60
    # Also where the killed daemon had emptied the form: the copy does not know that yet.
    while not entries(shop, "run.finished") and time.monotonic() < deadline:
        shop("daemon", "--once", "--batch-records", "100", code=None)
        time.sleep(0.2)
    assert shop.ids() == list(range(DUE + 1, DUE + 6))
    assert shop("audit", "verify", "--json").json["ok"] is True
    named = Counter(
        record
        for entry in entries(shop, "batch.done")
        for record in entry["records"]  # type: ignore[attr-defined]  # a list of pseudonyms
        if entry["outcome"] in ("disposed", "already_absent")
    )
    assert set(named.values()) == {1}
    assert len(named) == DUE
    assert shop("status", "--check", code=None).code in (0, 7)


def test_what_was_ordered_since_the_backup_is_told_and_an_alarm_stays_until_the_thaw(
    used: Shop,
) -> None:
    """A hold that is only in the replaced ledger protects nobody any more: a person must know."""
    path = used("backup").out.strip()
    used(*LATE_HOLD)
    told = used("restore", path).err
    assert "to be entered again: 1 hold" in told
    assert str(befores(used)[0]) in told
    assert "ILL" in used("status", "--check", code=1).out
    assert "restored from a backup of 20" in used("run", "form-monthly", code=6).err
    (alarm,) = entries(used, "alarm.raised")
    assert alarm["kind"] == "restored"
    used(*LATE_HOLD)
    used("thaw")
    assert used("status", "--check").out.startswith("OK")


def test_a_ledger_that_was_frozen_stays_frozen_by_one_freeze(used: Shop) -> None:
    """One thaw must end it, not two."""
    used("freeze", "--reason", "an incident")
    used("restore", used("backup").out.strip())
    assert len(entries(used, "freeze")) == 1
    used("thaw")
    used("thaw", code=2)


def test_a_restored_log_is_shorter_than_a_checkpoint_published_since(used: Shop) -> None:
    """Whoever holds the newer checkpoint is told, and not only that something is different."""
    path = used("backup").out.strip()
    used(*LATE_HOLD)
    used("hold", "release", "1", "--reason", "settled")
    used("freeze", "--reason", "an incident")
    used("thaw")
    published = used.folder / "published"
    used("audit", "checkpoint", "--out", str(published))
    used("restore", path)
    found = used("audit", "verify", "--against", str(published), "--json", code=1).json
    assert "the log was shortened" in found["problems"][0]


@pytest.mark.parametrize("kind", ["text", "cut", "flipped", "other", "empty", "log", "missing"])
def test_what_is_damaged_or_foreign_is_refused_and_nothing_is_lost(used: Shop, kind: str) -> None:
    """The ledger in use is byte for byte as before, and the service goes on with it."""
    good = Path(used("backup").out.strip())
    bad = used.folder / "bad.db"
    data = good.read_bytes()
    code = {"text": 2, "other": 2, "empty": 2, "missing": 2, "log": 13}.get(kind, 10)
    if kind == "text":
        bad.write_text("not a database", encoding="utf-8")
    elif kind == "cut":
        bad.write_bytes(data[: len(data) // 2])
    elif kind == "flipped":
        bad.write_bytes(data[:8192] + os.urandom(16384) + data[24576:])
    elif kind == "other":
        shutil.copy(used.folder / "website.db", bad)
    elif kind == "empty":
        bad.write_bytes(b"")
    elif kind == "log":
        shutil.copy(good, bad)
        with closing(sqlite3.connect(bad)) as connection, connection:
            connection.execute(
                "UPDATE audit_entry SET line = CAST(replace(line, 'disposed', 'held') AS BLOB)"
            )
    used("status")
    ledger = state(used) / "ledger.db"
    backup.settle(ledger)
    before = ledger.read_bytes()
    ended = used("restore", str(bad), code=code)
    assert "person" not in ended.err
    assert ledger.read_bytes() == before
    assert befores(used) == []
    assert not list(state(used).glob(".restoring*"))
    assert used("status", "--check").out.startswith("OK")


def test_a_backup_of_another_organisation_or_of_other_keys_is_refused(used: Shop) -> None:
    """With other keys no hold would be found again, and the log could not be signed."""
    path = used("backup").out.strip()
    used.settings["RETENTION_ORIGIN"] = "example.org/somebody-else"
    assert "another organisation" in used("restore", path, code=2).err
    used.settings["RETENTION_ORIGIN"] = "example.org/acceptance"
    keys = state(used) / "keys"
    for name in ("subjects.key", "example.org%2Facceptance%2F*.pseudonym", "*.1.seed"):
        (key,) = keys.glob(name)
        kept = key.read_bytes()
        key.unlink()
        assert "key" in used("restore", path, code=13).err
        key.write_bytes(os.urandom(32))
        key.chmod(0o600)
        assert "key" in used("restore", path, code=13).err
        key.write_bytes(kept)
    assert befores(used) == []
    used("restore", path)


def test_a_machine_with_another_key_of_people_opens_no_ledger(used: Shop) -> None:
    """Its holds would match nobody, so that what they protect would go."""
    key = state(used) / "keys" / "subjects.key"
    key.write_bytes(os.urandom(32))
    assert "every machine needs the keys folder" in used("status", code=13).err


def test_a_ledger_in_use_is_not_replaced(used: Shop) -> None:
    """11 while the daemon has it open, although it waits; afterwards it works."""
    path = used("backup").out.strip()
    with daemon(used) as process:
        deadline = time.monotonic() + 30
        while used("restore", path, code=None).code != 11:
            # The daemon is still starting: the restore came first and froze.
            assert time.monotonic() < deadline
            assert process.poll() is None
        kept = befores(used)
        assert "stop the daemon" in used("restore", path, code=11).err
        assert befores(used) == kept
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    used("restore", path)


def test_a_damaged_ledger_is_replaced_and_kept(used: Shop) -> None:
    """The reason for most restores: what is there cannot be read any more."""
    path = used("backup").out.strip()
    ledger = state(used) / "ledger.db"
    backup.settle(ledger)
    wreck = b"SQLite format 3\0" + os.urandom(5000)
    ledger.write_bytes(wreck)
    ledger.with_name("ledger.db-wal").write_bytes(b"left behind")
    used("restore", path)
    (kept,) = [p for p in befores(used) if not p.name.endswith(("-wal", "-shm"))]
    assert kept.read_bytes() == wreck
    assert kept.with_name(f"{kept.name}-wal").read_bytes() == b"left behind"
    used("thaw")
    assert used("status", "--check").out.startswith("OK")


def test_a_new_machine_takes_ledger_and_keys_from_their_copies(used: Shop) -> None:
    """No home at all: the keys are put there first, then the backup is restored."""
    path = used.folder / "elsewhere.db"
    used("backup", str(path))
    shutil.copytree(state(used) / "keys", used.folder / "keys-elsewhere")
    shutil.rmtree(state(used))
    assert used("restore", str(path), code=13).err.startswith("error: the key")
    assert not (state(used) / "ledger.db").exists()
    shutil.copytree(used.folder / "keys-elsewhere", state(used) / "keys", dirs_exist_ok=True)
    used("restore", str(path))
    used("thaw")
    assert used("audit", "verify", "--json").json["ok"] is True


def test_backups_have_names_of_their_own_and_only_the_newest_are_kept(used: Shop) -> None:
    """Nothing is overwritten; `--keep` counts those that the program named itself."""
    named = used.folder / "mine.db"
    used("backup", str(named))
    assert "already" in used("backup", str(named), code=2).err
    made = [Path(used("backup", "--keep", "2", "--json").json["file"]) for _ in range(4)]
    left = set((state(used) / "backups").iterdir())
    assert len(left) == 2
    assert set(made[2:]) == left
    assert named.exists()
    assert all(path.stat().st_mode & 0o077 == 0 for path in (named, *made[2:]))
    used("backup", str(named), "--keep", "2", code=2)
    used("backup", str(used.folder / "no" / "such" / "folder.db"), code=10)
    assert used("restore", code=2).err.startswith("error: name a file")


def test_nothing_to_back_up_is_said(shop: Shop) -> None:
    """An empty file would look like a backup."""
    assert shop("backup", code=2).err.startswith("error: there is no ledger yet")
    assert not (state(shop) / "ledger.db").exists()


def test_a_crash_at_any_step_leaves_a_whole_ledger_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that is missing for a moment would be made anew, empty, with no hold in it."""

    class Crash(BaseException):
        pass

    def database(path: Path, mark: str) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE mark (text)")
            connection.execute("INSERT INTO mark VALUES (?)", (mark,))

    steps = 0

    def step() -> None:
        nonlocal steps
        steps -= 1
        if steps < 0:
            raise Crash

    def stepwise(real: Callable[..., object]) -> Callable[..., object]:
        def call(*words: object) -> object:
            step()
            done = real(*words)
            step()
            return done

        return call

    monkeypatch.setattr(os, "link", stepwise(os.link))
    monkeypatch.setattr(os, "fsync", stepwise(os.fsync))
    monkeypatch.setattr(Path, "replace", stepwise(Path.replace))
    for allowed in range(20):
        folder = tmp_path / str(allowed)
        folder.mkdir()
        ledger, fresh = folder / "ledger.db", folder / "fresh.db"
        database(ledger, "old")
        database(fresh, "new")
        steps, crashed = allowed, False
        try:
            backup.put_in_place(fresh, ledger, folder / "ledger.db.before-1")
        except Crash:
            crashed = True
        with closing(sqlite3.connect(ledger)) as connection:
            (found,) = connection.execute("SELECT text FROM mark").fetchone()
        assert found in ("old", "new")
        if found == "new":
            assert (folder / "ledger.db.before-1").exists()
        if not crashed:
            assert found == "new"
            return
    pytest.fail("there are more steps than were tried")


@pytest.fixture
def on_server(shop: Shop, postgres: Postgres) -> Shop:
    """The ledger on PostgreSQL, its client programs on PATH."""
    shop.settings["RETENTION_DATABASE_URL"] = postgres.new_database()
    shop.settings["PATH"] = f"{Path(program('pg_dump')).parent}:{os.environ['PATH']}"
    shop.questions(1, 2, 50)
    shop("approve", "form-monthly")
    shop("run", "form-monthly")
    return shop


def test_a_postgresql_ledger_goes_out_by_pg_dump_and_back_by_hand(
    on_server: Shop, postgres: Postgres
) -> None:
    """The dump holds all; `restore` with a file says the line to type; `--already-done` freezes."""
    made = on_server("backup", "--json").json
    assert made["kind"] == "postgresql"
    assert Path(made["file"]).stat().st_mode & 0o077 == 0
    refused = on_server("restore", made["file"], code=2).err
    assert "pg_restore --clean" in refused
    password = on_server.settings["RETENTION_DATABASE_URL"].split(":")[2].split("@")[0]
    assert password not in refused

    fresh = postgres.new_database()
    plain = fresh.replace("postgresql+psycopg:", "postgresql:")
    words = ["--single-transaction", "--no-owner", f"--dbname={plain}", made["file"]]
    subprocess.run([program("pg_restore"), *words], check=True)
    on_server.settings["RETENTION_DATABASE_URL"] = fresh
    on_server("restore", "--already-done")
    assert "restored from a backup of" in on_server("run", "form-monthly", code=6).err
    on_server("thaw")
    assert on_server("audit", "verify", "--json").json["ok"] is True
    assert on_server("status", "--check").out.startswith("OK")


def test_without_pg_dump_the_line_to_type_is_said(on_server: Shop) -> None:
    """2, with the command, without the password; and nothing that looks like a backup."""
    nothing = on_server.folder / "empty"
    nothing.mkdir()
    on_server.settings["PATH"] = str(nothing)
    ended = on_server("backup", code=2)
    assert "pg_dump --format=custom" in ended.err
    password = on_server.settings["RETENTION_DATABASE_URL"].split(":")[2].split("@")[0]
    assert password not in ended.err
    assert not list((state(on_server) / "backups").iterdir())
