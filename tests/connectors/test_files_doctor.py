"""What doctor says of folders, before anything is due."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from retention.connectors.base import Probe
from retention.connectors.files import probing, surroundings
from retention.connectors.files import survey as surveys
from retention.connectors.files.surroundings import Mount
from tests.connectors.files_world import (
    as_nobody,
    found,
    immutable,
    location,
    mounted,
    open_files,
    tree,
    write,
)

ALL = location("**/*")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty root that another account can reach."""
    for part in (tmp_path, *tmp_path.parents[:4]):
        part.chmod(part.stat().st_mode | 0o011)
    (tmp_path / "policies").mkdir()
    (tmp_path / "share").mkdir()
    return tmp_path / "share"


def said(root: Path, *targets: object) -> list[Probe]:
    """Every finding; looking changes nothing."""
    before = tree(root)
    findings = list(open_files(root).probe(list(targets) or [ALL]))
    assert tree(root) == before
    return findings


def complaints(root: Path, *targets: object) -> str:
    """What is not well, in one text."""
    return "\n".join(p.detail for p in said(root, *targets) if not p.ok)


def test_all_is_well(root: Path) -> None:
    """A plain folder, an account that is not root: numbers, and nothing to complain about."""
    write(root / "a" / "b.txt")
    for path in (root, root / "a"):
        path.chmod(0o777 if path != root else 0o755)
    with as_nobody():
        findings = said(root)
    assert [p.detail for p in findings if p.ok][-1] == "1 files in 2 folders"
    # Only that others' processes cannot be seen may be told: it depends on the machine.
    assert {p.check for p in findings if not p.ok} <= {"open files"}


def test_root_may_do_too_much(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Excess rights are named."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "runs as root" in complaints(root)


def test_what_is_there_and_not_covered(root: Path) -> None:
    """Links, pipes, hidden files, backups, trash, versions, placeholders: numbers, no names."""
    write(root / "report.odt")
    write(root / "report.odt~")
    write(root / ".report.odt.swp")
    write(root / "report.bak")
    write(root / ".hidden")
    write(root / ".cloud.pdf.icloud")
    write(root / ".Trash-1000" / "old.txt")
    write(root / ".stversions" / "old.txt")
    (root / "linked").symlink_to(root / "report.odt")
    os.mkfifo(root / "pipe")
    (root / "second").hardlink_to(root / "report.odt")
    with (root / "far.bin").open("wb") as empty:
        empty.truncate(1_000_000)
    findings = said(root)
    told = "\n".join(p.detail for p in findings)
    for words in (
        "1 symbolic links",
        "1 pipes",
        "2 files have another hard link, and are left alone",
        "3 backups",
        "2 folders hold trash",
        "1 hidden",
        "2 files lie in a cloud",
        "5 files in 1 folders",
    ):
        assert words in told
    assert "report" not in told + "".join(p.hint for p in findings)
    spoken = complaints(root, location("**/*", hard_links="unlink"))
    assert "2 files have another hard link\n" in spoken


def test_rights_that_are_lacking(root: Path) -> None:
    """Folders that cannot be read or written to are counted, and do not end the look."""
    for name in ("shut/a.txt", "fixed/b.txt", "open/c.txt"):
        write(root / name)
    (root / "open").chmod(0o777)
    (root / "shut").chmod(0o000)
    (root / "fixed").chmod(0o555)
    with as_nobody():
        told = complaints(root)
    (root / "shut").chmod(0o755)
    assert "1 folders cannot be read" in told
    assert "1 folders cannot be written to" in told


def test_other_disks_and_attributes(root: Path) -> None:
    """What is mounted below, and what is immutable, where this machine can make such."""
    write(root / "a.txt")
    with mounted(root / "disk") as other, immutable(root / "a.txt") as kept:
        told = complaints(root)
        assert ("other file systems" in told) is other
        assert ("immutable" in told) is kept


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        (Mount("/", "ext4", frozenset({"rw", "noatime"})), "`accessed` is recorded never"),
        (Mount("/", "ext4", frozenset({"ro"})), "read-only"),
        (Mount("/", "btrfs", frozenset({"rw"})), "snapshots"),
        (Mount("/", "vfat", frozenset({"rw"})), "no lasting inode numbers"),
    ],
)
def test_mounts_that_falsify_results(
    root: Path, monkeypatch: pytest.MonkeyPatch, mount: Mount, words: str
) -> None:
    """Each is said once, with what to do."""
    write(root / "a.txt")
    monkeypatch.setattr(probing, "mount_of", lambda _: mount)
    assert words in complaints(root, location("*", dates=["accessed"]))


def test_relatime_is_told_and_no_complaint(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is right to a day."""
    mount = Mount("/", "ext4", frozenset({"rw", "relatime"}))
    monkeypatch.setattr(probing, "mount_of", lambda _: mount)
    findings = said(root, location("*", dates=["accessed"]))
    assert any("once a day" in p.detail and p.ok for p in findings)
    assert not any("once a day" in p.detail for p in said(root))


def test_a_home_folder_is_warned_about(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A root that holds everything a person has."""
    monkeypatch.setattr(probing, "_HOMES", (root,))
    assert "home folder" in complaints(root)
    monkeypatch.setattr(probing, "_HOMES", (root.parent / "policies",))
    assert "home folder" not in complaints(root)


def test_a_root_that_everybody_may_write_to(root: Path) -> None:
    """Whoever may rename folders there may swap them."""
    root.chmod(0o777)
    assert "everybody may write" in complaints(root)
    root.chmod(0o1777)
    assert "everybody may write" not in complaints(root)


def test_a_missing_root_or_folder(root: Path) -> None:
    """Said in words; the others are still looked at."""
    write(root / "in" / "a.txt")
    findings = said(root, location("none/*"), location("in/*", dates=["never"]), location("in/*"))
    assert [p.ok for p in findings if p.check.startswith("location")] == [False, False, True]
    assert [p.ok for p in open_files(root / "nowhere", policies=root).probe([ALL])] == [False]


def test_policies_in_the_root_are_told(root: Path) -> None:
    """They are never records, and doctor says so."""
    write(root / "a.yaml")
    findings = list(open_files(root, policies=root).probe([ALL]))
    assert any("never records" in p.detail for p in findings)
    assert found(root, ALL, policies=root) == []


def test_a_look_is_bounded(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many files, at least so many are told."""
    for n in range(20):
        write(root / f"{n}.txt")
    monkeypatch.setattr(surveys, "_MOST", 10)
    assert any(p.detail == "at least 10 files in 1 folders" for p in said(root))


def test_hidden_processes_are_not_taken_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container, `hidepid`, or no /proc: nobody can tell what is open, and that is said."""
    proc = tmp_path / "proc"
    monkeypatch.setattr(surroundings, "_PROC", proc)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert surroundings.in_use(()).blind
    (proc / "self" / "ns").mkdir(parents=True)
    space = proc / "self" / "ns" / "pid"
    line = f"23 1 0:21 / {proc} rw - proc proc rw"
    write(proc / "self" / "mountinfo", f"{line}\n".encode())
    space.symlink_to("pid:[4026531836]")
    assert not surroundings.in_use(()).blind
    write(proc / "self" / "mountinfo", f"{line},hidepid=invisible\n".encode())
    assert surroundings.in_use(()).blind
    write(proc / "self" / "mountinfo", f"{line},hidepid=0\n".encode())
    space.unlink()
    space.symlink_to("pid:[4026532000]")
    assert surroundings.in_use(()).blind


def test_mounts_are_read_as_the_kernel_writes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spaces are octal; of several mounts at one place the last one counts."""
    text = (
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "30 22 0:40 / /srv/a\\040b rw,noatime - tmpfs none rw,size=4k\n"
        "31 22 0:41 / /srv/a\\040b ro - btrfs /dev/sdb rw\n"
        "broken\n"
    )
    write(tmp_path / "self" / "mountinfo", text.encode())
    monkeypatch.setattr(surroundings, "_PROC", tmp_path)
    monkeypatch.setattr(surroundings, "real_path", lambda _: "/srv/a b/c")
    mount = surroundings.mount_of(0)
    assert mount is not None
    assert (mount.kind, "ro" in mount.options) == ("btrfs", True)
    monkeypatch.setattr(surroundings, "real_path", lambda _: "/srv")
    assert list(surroundings.mount_points(0)) == [("a b",), ("a b",)]
