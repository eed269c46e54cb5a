"""What must not happen to files: links, borders, swaps, names, kills, files in use."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from retention.connectors.base import Level, Ref, Result
from retention.connectors.files import aside, erasing, moving, surroundings
from retention.connectors.files import root as roots
from retention.connectors.files.attributes import protected_by_sticky
from retention.connectors.files.names import SLOTS
from retention.errors import CredentialsRefused, PermanentFailure
from tests.connectors.files_world import (
    OLD,
    as_nobody,
    erased,
    found,
    immutable,
    key,
    levels,
    location,
    mounted,
    open_files,
    refs,
    tree,
    write,
)

ALL = location("**/*")
DISPOSED = (Result.DISPOSED, "")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty root that another account can reach, beside the policy folder."""
    for part in (tmp_path, *tmp_path.parents[:4]):
        part.chmod(part.stat().st_mode | 0o011)
    (tmp_path / "policies").mkdir()
    (tmp_path / "share").mkdir()
    return tmp_path / "share"


# --- links and borders ------------------------------------------------------------------------


def test_no_link_is_followed(root: Path, tmp_path: Path) -> None:
    """Neither a linked file nor a linked folder is ours, and the links themselves stay."""
    outside = write(tmp_path / "outside" / "a.txt")
    write(root / "b.txt")
    (root / "a.txt").symlink_to(outside)
    (root / "linked").symlink_to(outside.parent)
    given = refs(root, ALL)
    assert [r.key for r in given] == ["b.txt"]
    forged = [given[0]._replace(key=k) for k in ("a.txt", "linked/a.txt")]
    assert erased(root, [*forged, *given], ALL) == [
        (Result.CHANGED, ""),
        (Result.CHANGED, "folder_replaced"),
        DISPOSED,
    ]
    assert sorted(p.name for p in root.iterdir()) == ["a.txt", "linked"]
    assert outside.exists()


def test_a_folder_named_literally_is_not_a_link(root: Path, tmp_path: Path) -> None:
    """A glob through a link is refused, not followed."""
    write(tmp_path / "outside" / "a.txt")
    (root / "linked").symlink_to(tmp_path / "outside")
    target = location("linked/*.txt")
    with pytest.raises(PermanentFailure):
        open_files(root).containers(target)
    with pytest.raises(PermanentFailure):
        found(root, target)


def test_a_folder_swapped_for_a_link_leads_nowhere(root: Path, tmp_path: Path) -> None:
    """However often somebody swaps a folder for a link out of the root, nothing outside goes."""
    outside = tmp_path / "outside"
    for n in range(20):
        write(outside / f"{n}.txt")
    before = tree(outside)
    stop = threading.Event()

    def swap() -> None:
        inside, away = root / "in", tmp_path / "away"
        while not stop.is_set():
            inside.rename(away)
            inside.symlink_to(outside)
            inside.unlink()
            away.rename(inside)

    for n in range(20):
        write(root / "in" / f"{n}.txt")
    given = refs(root, ALL)
    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        session = open_files(root)
        for _ in range(60):
            for page in session.find(ALL):
                assert all(r.ref in given for r in page.records)
            list(session.recheck(ALL, [r.key for r in given]))
            # Taken from what lies outside: exactly what a swapped folder would make us delete.
            theirs = [
                Ref("**/*", r.key, version)
                for r, version in zip(given, _versions(outside, given), strict=True)
            ]
            results = {o.result for o in session.erase(ALL, theirs)}
            assert results <= {Result.CHANGED, Result.ALREADY_ABSENT, Result.FAILED_TEMPORARY}
    finally:
        stop.set()
        swapper.join()
    assert tree(outside) == before


def _versions(folder: Path, given: list[Ref]) -> list[str]:
    by_name = {r.key: r.version for r in refs(folder, ALL, policies=folder.parent / "policies")}
    return [by_name[r.key.rpartition("/")[2]] for r in given]


def test_no_other_file_system_is_entered(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk mounted below the root is another system, and so is a folder bound to there."""
    write(root / "a.txt")
    with mounted(root / "disk") as real:
        write(root / "disk" / "b.txt")
        if not real:
            monkeypatch.setattr(roots, "mount_points", lambda _: [("disk",)])
        given = refs(root, ALL)
        assert [r.key for r in given] == ["a.txt"]
        forged = [given[0]._replace(key="disk/b.txt")]
        assert erased(root, forged, ALL) == [(Result.CHANGED, "folder_replaced")]
        assert levels(root, forged, ALL) == [Level.UNKNOWN]
        assert (root / "disk" / "b.txt").exists()


def test_only_plain_files_are_records(root: Path, tmp_path: Path) -> None:
    """Pipes, sockets and folders are none, and a device would not be."""
    os.mkfifo(root / "pipe")
    (root / "folder").mkdir()
    here = Path.cwd()
    os.chdir(root)
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("socket")
    finally:
        os.chdir(here)
    assert refs(root, ALL) == []
    assert open_files(root).count(ALL) == 0


@pytest.mark.parametrize("glob", ["../*", "a/../../b", "/etc/*", "~/x", "a//b", "./a", "", "a/**b"])
def test_a_glob_stays_below_the_root(glob: str) -> None:
    """What leads out of the root, or means two things, is refused when it is read."""
    with pytest.raises(ValueError, match="glob"):
        location(glob)


@pytest.mark.parametrize(
    "bad", ["", "/etc/passwd", "../a.txt", "a/../../b", "a//b", ".", "a%2Fb", "%2e%2e/a", "a%00"]
)
def test_a_key_stays_below_the_root(root: Path, bad: str) -> None:
    """A key that no discovery gives is refused before anything is opened."""
    with pytest.raises(PermanentFailure):
        erased(root, [Ref("**/*", bad, "1.1.1.1.1.0")], ALL)


def test_the_root_is_not_the_whole_machine(tmp_path: Path) -> None:
    """`/` is refused, by whatever path it is written."""
    (tmp_path / "top").symlink_to("/")
    for path in (Path("/"), tmp_path / "top"):
        session = open_files(path, policies=tmp_path)
        with pytest.raises(PermanentFailure) as caught:
            session.containers(ALL)
        assert caught.value.code == "root-folder"


def test_a_ref_that_the_globs_do_not_mean_is_not_deleted(root: Path) -> None:
    """Refs are obeyed only within the location that they are given for."""
    write(root / "a.pdf")
    write(root / "b.txt")
    both = refs(root, ALL)
    told = erased(root, both, location("*.pdf"))
    assert told == [DISPOSED, (Result.FAILED_PERMANENT, "outside")]
    assert (root / "b.txt").exists()


def test_policies_are_never_records(tmp_path: Path) -> None:
    """The folder of the policy files is not entered, and *.yaml in it are left out."""
    policies = tmp_path / "policies"
    write(policies / "policy.yaml")
    write(policies / "data" / "a.txt")
    above = refs(tmp_path, ALL, policies=policies)
    assert above == []
    inside = refs(policies, ALL, policies=policies)
    assert [r.key for r in inside] == ["data/a.txt"]
    session = open_files(policies, policies=policies)
    forged = [inside[0]._replace(key="policy.yaml")]
    assert [o.code for o in session.erase(ALL, forged)] == ["outside"]


# --- names ------------------------------------------------------------------------------------


def test_every_name_is_a_key_and_survives_json(root: Path) -> None:
    """Bytes that are no UTF-8, newlines, dashes, percent signs, the longest names, other forms."""
    names = [b"caf\xe9", b"\xff\xfe", b"a\nb", b"-rf", b"--", b"100%", b"%41", b"A", b"x" * 255]
    names += [
        "\xe9".encode(),
        "e\u0301".encode(),
        b"a\\b",
        b"*",
        b"?",
        b"[a]",
        b" ",
        b"\x01\x7f",
        b"a\tb",
    ]
    for name in map(os.fsdecode, names):
        write(root / "d" / name, os.fsencode(name))
        write(root / "d" / f"sub{name[:200]}" / name, os.fsencode(name))
    given = refs(root, ALL, page=3)
    keys = [r.key for r in given]
    assert len(set(keys)) == len(keys) == 2 * len(names)
    assert json.loads(json.dumps(keys)) == keys
    assert all(k.encode().decode() == k and k.isprintable() for k in keys)
    half = given[::2]
    assert erased(root, half, ALL) == [DISPOSED] * len(half)
    assert refs(root, ALL) == given[1::2]
    assert levels(root, half, ALL) == [Level.GONE] * len(half)


def test_hidden_files_are_meant_only_where_the_dot_is_written(root: Path) -> None:
    """A wildcard stands for no leading dot, in names and in folders; an exclusion's does."""
    for path in (".env", ".git/config", "a/.b", "a/c", "a/.d/e"):
        write(root / path)
    assert [r.key for r in refs(root, ALL)] == ["a/c"]
    assert [r.key for r in refs(root, location("**/.*"))] == [".env", "a/.b"]
    assert refs(root, location("**/.*", exclude=["**/*"])) == []


# --- the very file ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["written", "touched", "replaced", "chmod", "back-dated"])
def test_any_change_saves_a_file(root: Path, how: str) -> None:
    """Content, times, rights or the file itself: what differs from the decision is left alone."""
    file = write(root / "a.txt")
    given = refs(root, ALL)
    if how == "written":
        file.write_bytes(b"someth1ng")
    elif how == "touched":
        os.utime(file)
    elif how == "replaced":
        write(root / "new").rename(file)
    elif how == "chmod":
        file.chmod(0o600)
    else:
        file.write_bytes(b"someth1ng")
        os.utime(file, (OLD.timestamp(), OLD.timestamp()))
    before = tree(root)
    assert erased(root, given, ALL) == [(Result.CHANGED, "")]
    assert tree(root) == before


def test_an_access_saves_a_file_where_accesses_count(root: Path) -> None:
    """By `accessed`, reading is a change; by `modified`, it is none."""
    file = write(root / "a.txt")
    by_access, by_change = location("**/*", dates=["accessed"]), ALL
    given = refs(root, by_access)
    os.utime(file, ns=(file.stat().st_atime_ns + 1, file.stat().st_mtime_ns))
    assert erased(root, given, by_access) == [(Result.CHANGED, "")]
    given = refs(root, by_change)
    file.read_bytes()
    assert erased(root, given, by_change) == [DISPOSED]


def test_a_file_swapped_between_check_and_deletion_survives(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was set aside and is another file goes back under its name."""
    file = write(root / "a.txt")
    given = refs(root, ALL)

    def swapped(name: str, source: int, target: int) -> None:
        if file.exists():
            write(root / "b.txt", b"precious").rename(file)
        moving.move(name, source, target)

    monkeypatch.setattr(aside, "move", swapped)
    assert erased(root, given, ALL) == [(Result.CHANGED, "")]
    assert tree(root) == {str(file): b"precious"}


def test_a_folder_that_took_the_name_survives(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where it is a folder or a link."""
    for kind in ("folder", "link"):
        file = write(root / "a.txt")
        given = refs(root, ALL)

        def swapped(name: str, source: int, target: int, kind: str = kind) -> None:
            if (root / "a.txt").is_file() and not (root / "a.txt").is_symlink():
                (root / "a.txt").unlink()
                if kind == "folder":
                    write(root / "a.txt" / "inner.txt")
                else:
                    (root / "a.txt").symlink_to("elsewhere")
            moving.move(name, source, target)

        monkeypatch.setattr(aside, "move", swapped)
        assert erased(root, given, ALL) == [(Result.CHANGED, "")]
        if kind == "folder":
            assert (file / "inner.txt").read_bytes() == b"something"
            (file / "inner.txt").unlink()
            file.rmdir()
        else:
            assert file.readlink() == Path("elsewhere")
        assert [p for p in root.iterdir() if p.name in SLOTS] == []


def test_two_files_of_one_name_both_survive(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Swapped twice within a moment: nothing is overwritten, and both are records afterwards."""
    file = write(root / "a.txt")
    given = refs(root, ALL)
    first = True

    def swapped(name: str, source: int, target: int) -> None:
        nonlocal first
        if first:
            write(root / "b.txt", b"second").rename(file)
        moving.move(name, source, target)
        if first:
            write(file, b"third")
        first = False

    monkeypatch.setattr(aside, "move", swapped)
    assert erased(root, given, ALL) == [(Result.CHANGED, "set_aside")]
    monkeypatch.undo()
    assert sorted(tree(root).values()) == [b"second", b"third"]
    both = refs(root, ALL)
    assert [r.key for r in both] == [f"{SLOTS[0]}/a.txt", "a.txt"]
    assert [r.ref for r in open_files(root).recheck(ALL, [r.key for r in both])] == both
    assert erased(root, both, ALL) == [DISPOSED] * 2
    assert list(root.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL])
def test_moving_without_the_systems_call(
    root: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A disk that cannot rename without overwriting: a second name does it, or nothing is done."""

    def cannot(*_: Any) -> int:
        ctypes.set_errno(number)
        return -1

    monkeypatch.setattr(moving, "_rename", lambda: cannot)
    write(root / "a.txt")
    write(root / "b.txt")
    assert erased(root, refs(root, ALL), ALL) == [DISPOSED] * 2
    write(root / "in" / "c.txt", b"old")
    write(root / "c.txt", b"new")
    at, inner = os.open(root, os.O_RDONLY), os.open(root / "in", os.O_RDONLY)
    with pytest.raises(FileExistsError):
        moving.move("c.txt", inner, at)
    (root / "c.txt").unlink()
    moving.move("c.txt", inner, at)
    (root / "folder").mkdir()
    moving.move("folder", at, inner)
    os.close(at)
    os.close(inner)
    assert (root / "c.txt").read_bytes() == b"old"
    assert (root / "in" / "folder").is_dir()


# --- killed in between ------------------------------------------------------------------------

KILLED = """
import json, os, signal, sys
from pathlib import Path
from retention.connectors.base import Ref
from retention.connectors.files import aside, erasing
from tests.connectors.files_world import location, open_files
root, step, given = Path(sys.argv[1]), sys.argv[2], [Ref(*r) for r in json.loads(sys.argv[3])]
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
where, name = {"mkdir": (aside, "_claimed"), "unlink": (aside.os, "unlink"),
               "rmdir": (aside.os, "rmdir"), "fsync": (erasing, "settle")}[step]
setattr(where, name, die)
list(open_files(root).erase(location("**/*"), given))
"""


@pytest.mark.parametrize("step", ["mkdir", "unlink", "rmdir", "fsync"])
def test_killed_at_any_line_nothing_is_lost_or_hidden(root: Path, step: str) -> None:
    """Killed between setting aside and deleting: it counts as present, comes back, goes later."""
    for n in range(3):
        write(root / "in" / f"{n}.txt")
    given = refs(root, ALL)
    told = json.dumps([list(r) for r in given])
    ran = subprocess.run([sys.executable, "-c", KILLED, str(root), step, told], check=False)
    assert ran.returncode == -signal.SIGKILL
    left = {r.key for r in refs(root, ALL)}
    assert open_files(root).count(ALL) == len(left)
    proofs = dict(zip([r.key for r in given], levels(root, given, ALL), strict=True))
    assert {k for k, level in proofs.items() if level is Level.PRESENT} == left
    assert left == ({r.key for r in given} if step in ("mkdir", "unlink") else set())
    hidden = [f for f in root.rglob("*.txt") if f.parent.name in SLOTS]
    assert len(hidden) == (step == "unlink")
    told_by_doctor = " ".join(p.detail for p in open_files(root).probe([ALL]))
    assert ("set aside" in told_by_doctor) == (step == "unlink")
    again = [r.ref for r in open_files(root).recheck(ALL, [r.key for r in given])]
    assert {r.key for r in again} == left
    assert all(f.parent.name == "in" for f in root.rglob("*.txt"))
    assert {r for r, _ in erased(root, again, ALL)} <= {Result.DISPOSED}
    assert list(root.rglob("*.txt")) == []


def test_what_is_set_aside_now_is_left_to_who_does_it(root: Path) -> None:
    """A private folder in use by a living process is neither emptied nor used by another one."""
    write(root / "a.txt")
    busy = root / SLOTS[0]
    busy.mkdir(mode=0o700)
    write(busy / "b.txt")
    held = os.open(busy, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    session = open_files(root)
    assert list(session.recheck(ALL, ["b.txt"])) == []
    given = [r for r in refs(root, ALL) if r.key == "a.txt"]
    assert erased(root, given, ALL) == [DISPOSED]
    assert (busy / "b.txt").exists()
    os.close(held)
    assert [r.ref.key for r in session.recheck(ALL, ["b.txt"])] == ["b.txt"]
    assert sorted(p.name for p in root.iterdir()) == ["b.txt"]


def test_a_private_folder_of_another_account_is_not_used(root: Path) -> None:
    """Where its owner or anybody could reach into it, another one is taken, or none."""
    write(root / "a.txt")
    for slot in SLOTS:
        (root / slot).mkdir(mode=0o777)
        (root / slot).chmod(0o777)
    given = refs(root, ALL)
    assert erased(root, given, ALL) == [(Result.FAILED_TEMPORARY, "busy")]
    (root / SLOTS[5]).rmdir()
    assert erased(root, given, ALL) == [DISPOSED]


# --- hard links -------------------------------------------------------------------------------


def test_a_file_with_another_name_is_refused(root: Path, tmp_path: Path) -> None:
    """Its bytes would stay under the other name, so it stays, and the code says why."""
    file = write(root / "a.txt")
    (tmp_path / "other").hardlink_to(file)
    assert erased(root, refs(root, ALL), ALL) == [(Result.FAILED_PERMANENT, "hard_link")]
    assert file.exists()


def test_a_name_can_be_taken_where_the_policy_says_so(root: Path, tmp_path: Path) -> None:
    """Then the proof says what is known: present under another name, unknown, or gone."""
    target = location("in/*", hard_links="unlink")
    file = write(root / "in" / "a.txt")
    other = tmp_path / "other"
    other.hardlink_to(file)
    given = refs(root, target)
    assert erased(root, given, target) == [(Result.DISPOSED, "linked")]
    assert levels(root, given, target) == [Level.UNKNOWN]
    (root / "in" / "deep").mkdir()
    other.rename(root / "in" / "deep" / "b.txt")
    assert levels(root, given, target) == [Level.PRESENT]


def test_all_names_of_a_file_go_in_one_act(root: Path) -> None:
    """Each deletion changes the file; what we did to it ourselves is no change by others."""
    target = location("**/*", hard_links="unlink")
    file = write(root / "a.txt")
    (root / "in").mkdir()
    for name in ("b.txt", "in/c.txt"):
        (root / name).hardlink_to(file)
    given = refs(root, target)
    assert {r for r, _ in erased(root, given, target)} == {Result.DISPOSED}
    assert levels(root, given, target) == [Level.GONE] * 3


def test_a_link_made_in_the_last_moment_saves_a_file(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody who keeps a copy by hard link while we delete: the file comes back."""
    file = write(root / "a.txt")
    given = refs(root, ALL)

    def linked(name: str, source: int, target: int) -> None:
        if not (root.parent / "copy").exists():
            (root.parent / "copy").hardlink_to(file)
        moving.move(name, source, target)

    monkeypatch.setattr(aside, "move", linked)
    assert erased(root, given, ALL) == [(Result.FAILED_PERMANENT, "hard_link")]
    assert file.stat().st_nlink == 2


def test_a_file_that_was_moved_is_not_gone(root: Path) -> None:
    """Absent under its name, but its inode lies elsewhere in the location: present."""
    file = write(root / "in" / "a.txt")
    given = refs(root, ALL)
    (root / ".Trash-1000").mkdir()
    file.rename(root / ".Trash-1000" / "a.txt")
    assert erased(root, given, ALL) == [(Result.ALREADY_ABSENT, "")]
    assert levels(root, given, ALL) == [Level.PRESENT]
    (root / ".Trash-1000" / "a.txt").unlink()
    assert levels(root, given, ALL) == [Level.GONE]


def test_a_folder_replaced_by_a_link_proves_nothing(root: Path, tmp_path: Path) -> None:
    """The folder may lie elsewhere with everything in it."""
    write(root / "in" / "a.txt")
    given = refs(root, ALL)
    (root / "in").rename(tmp_path / "moved")
    (root / "in").symlink_to(tmp_path / "moved")
    assert levels(root, given, ALL) == [Level.UNKNOWN]


# --- in use -----------------------------------------------------------------------------------


def test_open_and_locked_files_wait(root: Path) -> None:
    """What a program has open or locked is left for later, and said so."""
    file = write(root / "a.txt")
    given = refs(root, ALL)
    with file.open("rb") as held:
        assert erased(root, given, ALL) == [(Result.FAILED_TEMPORARY, "open")]
        fcntl.flock(held, fcntl.LOCK_SH)
        assert erased(root, given, ALL) == [(Result.FAILED_TEMPORARY, "locked")]
    assert erased(root, given, ALL) == [DISPOSED]


def test_a_rotated_log_that_is_still_written_to_waits(root: Path) -> None:
    """Renamed by rotation, but the server still has it open: it is found by its inode."""
    log = write(root / "access.log")
    target = location("*.log*", logs=True)
    with log.open("ab"):
        log.rename(root / "access.log.1")
        given = refs(root, target)
        assert erased(root, given, target) == [(Result.FAILED_TEMPORARY, "open")]
    assert erased(root, given, target) == [DISPOSED]


def test_live_logs_are_no_records(root: Path) -> None:
    """Only names that rotation makes: numbered, dated, compressed."""
    live = ["access.log", "error.log", "app.json", "notes1", "log", "v2.log", "mail.err"]
    rotated = ["access.log.1", "access.log.2.gz", "access.log-20240110", "a.log-20240110.gz"]
    rotated += ["a-2024-01-10.log", "a.log.2024-01-10.zst", "b.log.gz", "c.log.old", "syslog.12"]
    for name in (*live, *rotated):
        write(root / name)
    target = location("*", logs=True)
    assert [r.key for r in refs(root, target)] == sorted(rotated)
    forged = refs(root, location("access.log"))
    assert erased(root, forged, target) == [(Result.FAILED_PERMANENT, "outside")]


def test_without_sight_of_processes_young_logs_wait(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No /proc, or others' processes hidden: a log written within a day may still be open."""
    monkeypatch.setattr(surroundings, "_PROC", tmp_path / "nothing")
    now = datetime.now(UTC)
    write(root / "a.log.1", when=now - timedelta(hours=23))
    write(root / "b.log.1", when=now - timedelta(hours=25))
    target = location("*", logs=True)
    told = erased(root, refs(root, target), target)
    assert told == [(Result.FAILED_TEMPORARY, "perhaps_open"), DISPOSED]
    write(root / "a.txt", when=now)
    assert erased(root, refs(root, location("a.txt")), location("a.txt")) == [DISPOSED]


# --- not permitted ----------------------------------------------------------------------------


def test_immutable_files_are_a_lasting_failure(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said with a code of its own; the others go."""
    write(root / "a.txt")
    write(root / "b.txt")
    given = refs(root, ALL)
    with immutable(root / "a.txt") as real:
        if not real:
            _refuse_moving(monkeypatch, "a.txt", errno.EPERM)
            monkeypatch.setattr("retention.connectors.files.attributes.fixed", lambda *_: True)
        given = refs(root, ALL)
        told = erased(root, given, ALL)
        assert told == [(Result.FAILED_PERMANENT, "immutable"), DISPOSED]
        assert sorted(p.name for p in root.iterdir()) == ["a.txt"]


def test_a_read_only_disk_is_a_lasting_failure(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is tried again that the mount does not allow, and doctor says so."""
    with mounted(root) as real:
        write(root / "a.txt")
        if real:
            subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
        else:
            monkeypatch.setattr(os, "mkdir", _raise(errno.EROFS))
        given = refs(root, ALL)
        assert erased(root, given, ALL) == [(Result.FAILED_PERMANENT, "read_only")]
        details = " ".join(p.detail for p in open_files(root).probe([ALL]) if not p.ok)
        assert not real or "read-only" in details
    monkeypatch.undo()


def test_a_full_disk_passes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No room to set aside: later, nothing is deleted unchecked."""
    write(root / "a.txt")
    given = refs(root, ALL)
    monkeypatch.setattr(os, "mkdir", _raise(errno.ENOSPC))
    assert erased(root, given, ALL) == [(Result.FAILED_TEMPORARY, "no_space")]
    assert (root / "a.txt").exists()


def test_a_folder_without_rights_stops_only_itself(root: Path) -> None:
    """Files in folders that may be written to go, the others are `denied`."""
    for name in ("open/a.txt", "shut/b.txt", "closed/c.txt"):
        write(root / name)
    (root / "open").chmod(0o777)
    given = refs(root, ALL)
    (root / "shut").chmod(0o555)
    (root / "closed").chmod(0o700 if os.geteuid() == 0 else 0o000)
    with as_nobody():
        told = dict(zip([r.key for r in given], erased(root, given, ALL), strict=True))
    (root / "closed").chmod(0o755)
    assert told == {
        "closed/c.txt": (Result.FAILED_PERMANENT, "denied"),
        "open/a.txt": DISPOSED,
        "shut/b.txt": (Result.FAILED_PERMANENT, "denied"),
    }


def test_a_folder_that_cannot_be_read_is_not_overlooked(root: Path) -> None:
    """Records nobody can see would be kept for ever without a word: finding stops instead."""
    write(root / "a.txt")
    write(root / "shut" / "b.txt")
    (root / "shut").chmod(0o000)
    with as_nobody(), pytest.raises(CredentialsRefused) as caught:
        found(root, ALL)
    assert "shut" not in str(caught.value)
    with as_nobody():
        assert [r.ref.key for r in found(root, location("**/*", exclude=["shut/**"]))] == ["a.txt"]
    (root / "shut").chmod(0o755)


def test_sticky_folders_protect_others_files(root: Path) -> None:
    """As in /tmp: who is neither the owner of the file nor of the folder may not delete it."""
    write(root / "a.txt")
    root.chmod(0o1777)
    given = refs(root, ALL)
    if os.geteuid() == 0:
        with as_nobody():
            assert erased(root, given, ALL) == [(Result.FAILED_PERMANENT, "sticky")]
            details = " ".join(p.detail for p in open_files(root).probe([ALL]) if not p.ok)
        assert "sticky" in details
    folder = root.stat()
    assert protected_by_sticky(folder, folder.st_uid + 1, folder.st_uid + 2)
    assert not protected_by_sticky(folder, folder.st_uid + 2, folder.st_uid + 2)
    assert not protected_by_sticky(folder, folder.st_uid + 1, folder.st_uid)
    assert sorted(p.name for p in root.iterdir()) == ["a.txt"]


def test_a_deletion_that_fails_leaves_the_file_under_its_name(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk refuses the unlink itself: what was set aside comes back."""
    write(root / "a.txt")
    given = refs(root, ALL)
    monkeypatch.setattr(os, "unlink", _raise(errno.EIO))
    assert erased(root, given, ALL) == [(Result.FAILED_TEMPORARY, "disk")]
    assert [p.name for p in root.iterdir()] == ["a.txt"]


def _raise(number: int) -> Any:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


def _refuse_moving(monkeypatch: pytest.MonkeyPatch, wanted: str, number: int) -> None:
    def refuse(name: str, source: int, target: int) -> None:
        if name == wanted:
            raise OSError(number, os.strerror(number))
        moving.move(name, source, target)

    monkeypatch.setattr(aside, "move", refuse)


# --- empty folders ----------------------------------------------------------------------------


def test_folders_are_removed_only_where_asked_and_empty_by_us(root: Path) -> None:
    """Up to the folder that a glob names; one that was empty before, or is not now, stays."""
    for path in ("in/a/b/1.txt", "in/a/c/2.txt", "in/d/3.txt", "in/d/keep.pdf", "in/e/f/4.txt"):
        write(root / path)
    (root / "in" / "empty").mkdir()
    (root / "in" / "e" / "empty").mkdir()
    plain, pruning = location("in/**/*.txt"), location("in/**/*.txt", prune=True)
    (first,) = [r for r in refs(root, plain) if r.key == "in/a/b/1.txt"]
    assert erased(root, [first], plain) == [DISPOSED]
    assert (root / "in/a/b").is_dir()
    given = refs(root, pruning)
    assert {r for r, _ in erased(root, given, pruning)} == {Result.DISPOSED}
    left = sorted(str(p.relative_to(root)) for p in root.rglob("*"))
    assert left == [
        "in",
        "in/a",
        "in/a/b",
        "in/d",
        "in/d/keep.pdf",
        "in/e",
        "in/e/empty",
        "in/empty",
    ]
    assert levels(root, given, pruning) == [Level.GONE] * 3
    (root / "in/d/keep.pdf").unlink()
    write(root / "in/d/5.txt")
    erased(root, refs(root, pruning), pruning)
    assert not (root / "in/d").exists()
    assert (root / "in").is_dir()


def test_the_root_is_never_removed(root: Path) -> None:
    """Not even where everything in it was deleted."""
    write(root / "a.txt")
    target = location("**/*", prune=True)
    assert erased(root, refs(root, target), target) == [DISPOSED]
    assert root.is_dir()


# --- clouds -----------------------------------------------------------------------------------


def test_content_in_a_cloud_is_not_fetched(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without blocks on disk is not opened: no metadata, no hand-over; deleting it works."""
    file = root / "a.pdf"
    with file.open("wb") as empty:
        empty.truncate(1_000_000)
    os.utime(file, (OLD.timestamp(), OLD.timestamp()))
    write(root / ".b.pdf.icloud")
    target = location("*.pdf", dates=["modified", "document_created"])
    opened: list[str] = []
    real = os.open

    def watched(path: Any, flags: int, *more: Any, **named: Any) -> int:
        opened.append(str(path))
        return real(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", watched)
    (record,) = found(root, target)
    assert record.dates == {"modified": OLD, "document_created": None}
    assert list(open_files(root).read(target, [record.ref])) == []
    assert "a.pdf" not in opened
    assert erased(root, [record.ref], target) == [DISPOSED]
    assert refs(root, location(".*")) == []


def test_keys_of_the_world_are_keys_of_the_connector(root: Path) -> None:
    """The tests' own idea of keys holds, so that it may be used to look for them."""
    write(root / "Å%" / "b\nc.txt")
    assert [r.key for r in refs(root, ALL)] == [key("Å%/b\nc.txt")]


def test_young_logs_and_codes_are_as_documented() -> None:
    """The page says 24 hours."""
    assert timedelta(hours=24) == erasing.YOUNGEST_LOG
