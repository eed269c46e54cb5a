"""What the operating system says of files in use, locks and mounted file systems.

Read from /proc, which Linux has. Elsewhere the answers are empty, and `can_see_open_files` says
so: then only age can tell that a log is no longer written to.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

Inode = tuple[int, int]
"""Device and inode number."""
_PROC = Path("/proc")
_FIRST_PIDS = 0xEFFFFFFC
"""The kernel's number of the first process namespace, the machine's own."""
_LOCK = re.compile(r"([0-9a-f]+):([0-9a-f]+):(\d+) ")
_OCTAL = re.compile(r"\\([0-7]{3})")


class InUse(NamedTuple):
    """Files that some process has open or locked now."""

    opened: frozenset[Inode]
    locked: frozenset[Inode]
    blind: bool
    """Whether some process could not be looked into: another account's, or there is no /proc."""


def in_use(names: Collection[str]) -> InUse:
    """A look at every process, for open files of these names; a few milliseconds.

    A file under another name is another hard link, which is told apart by the link count. Only
    what has the name is touched: a look at every open file would hang on a dead network disk.
    """
    opened: set[Inode] = set()
    blind = True
    with suppress(OSError), os.scandir(_PROC) as entries:
        blind = _hidden()
        for entry in entries:
            if entry.name.isdigit():
                blind |= not _look(entry.path, names, opened)
    return InUse(frozenset(opened), frozenset(_locked()), blind)


def _hidden() -> bool:
    """Whether there may be processes that are not even listed here."""
    try:
        space = os.readlink(_PROC / "self" / "ns" / "pid")  # noqa: PTH115 -- no path, a number
    except OSError:
        return True
    # A container sees its own processes only; another one may share the folder.
    contained = space != f"pid:[{_FIRST_PIDS}]"
    proc = [m for m in mounts() if m.kind == "proc" and m.place == str(_PROC)]
    hides = {o for m in proc[-1:] for o in m.options if o.startswith("hidepid=")}
    return contained or (bool(hides - {"hidepid=0", "hidepid=off"}) and os.geteuid() != 0)


def _look(process: str, names: Collection[str], opened: set[Inode]) -> bool:
    """Add what a process has open. False where it may not be looked into."""
    try:
        with os.scandir(f"{process}/fd") as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    if os.readlink(entry.path).rpartition("/")[2] in names:  # noqa: PTH115 -- many
                        # Through the link: it is the open file that counts.
                        status = os.stat(entry.path)  # noqa: PTH116 -- likewise
                        opened.add((status.st_dev, status.st_ino))
    except (FileNotFoundError, ProcessLookupError):
        return True
    except OSError:
        return False
    return True


def _locked() -> Iterator[Inode]:
    try:
        text = (_PROC / "locks").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        # A lock that is only waited for is marked by an arrow; who holds it has a line of its own.
        if "->" not in line and (found := _LOCK.search(line)):
            major, minor, inode = found.groups()
            yield os.makedev(int(major, 16), int(minor, 16)), int(inode)


class Mount(NamedTuple):
    """One mounted file system."""

    place: str
    kind: str
    options: frozenset[str]


def mounts() -> tuple[Mount, ...]:
    """Every mount that this process sees, later ones last; empty where the system does not say."""
    try:
        text = (_PROC / "self" / "mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ()
    return tuple(_mount(line) for line in text.splitlines() if " - " in line)


def _mount(line: str) -> Mount:
    head, _, tail = line.partition(" - ")
    parts, ends = head.split(" "), tail.split(" ")
    place = _OCTAL.sub(lambda found: chr(int(found.group(1), 8)), parts[4])
    options = {*parts[5].split(","), *(ends[2].split(",") if len(ends) > 2 else ())}
    return Mount(place, ends[0], frozenset(options))


def real_path(at: int) -> str:
    """Where an open folder lies now; empty where the system does not say."""
    try:
        return os.readlink(f"/proc/self/fd/{at}")  # noqa: PTH115 -- the kernel's text, not a path of ours
    except OSError:
        return ""


def mount_points(at: int) -> Iterator[tuple[str, ...]]:
    """Paths below an open folder at which something is mounted, binds of the same disk too."""
    if not (here := real_path(at)):
        return
    for mount in mounts():
        if mount.place.startswith(f"{here}/"):
            yield tuple(mount.place[len(here) + 1 :].split("/"))


def mount_of(at: int) -> Mount | None:
    """The file system that an open folder lies on."""
    here = real_path(at)
    covering = [m for m in mounts() if _within(here, m.place)] if here else []
    # Of several at one place the last one covers the others.
    return max(reversed(covering), key=lambda m: len(m.place), default=None)


def _within(path: str, place: str) -> bool:
    return path == place or path.startswith(place.rstrip("/") + "/")
