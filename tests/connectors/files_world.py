"""A folder of files as the contract suite sees it: written and read by hand."""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from retention.connectors import files
from retention.connectors.base import (
    Bound,
    Condition,
    Connector,
    Level,
    Opened,
    Record,
    Ref,
    Target,
)
from retention.connectors.files.settings import FilesLocation, FilesSystem
from retention.testing.world import Plan, World

OLD = datetime(2024, 1, 10, 8, 30, tzinfo=UTC)


def open_files(root: Path, *, page: int = 500, policies: Path | None = None, **extras: Any) -> Any:
    """A session with this folder, not wrapped."""
    base = policies or root.parent / "policies"
    settings = FilesSystem(path=os.path.relpath(root, base))
    return files.connect(Opened("share", settings, str(base), {"page": page, **extras}))


def location(
    *globs: str,
    name: str = "papers/share",
    dates: Sequence[str] = ("modified",),
    fields: Sequence[str] = (),
    where: tuple[Condition, ...] = (),
    bounds: tuple[Bound, ...] = (),
    **settings: Any,
) -> Target:
    """A target of these globs."""
    said = FilesLocation.model_validate({"glob": list(globs), **settings})
    return Target(name, said, tuple(dates), tuple(fields), where, bounds)


def write(file: Path, data: bytes = b"something", when: datetime | None = OLD) -> Path:
    """A file of that age, its folders made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    if when is not None:
        os.utime(file, (when.timestamp(), when.timestamp()))
    return file


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may do everything, so root steps down meanwhile."""
    uid = os.geteuid()
    if uid == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(uid)


def key(path: str) -> str:
    """The key of a path, as the documentation describes it."""
    return re.sub(rb"[%\x00-\x1f\x7f]", lambda m: b"%%%02X" % m.group()[0], path.encode()).decode()


class FilesWorld(World):
    """One fresh folder; status and address stand in the path."""

    status = "status"
    email = "email"
    base = "Kunder og søkere"

    def __init__(self, root: Path, date: str = "modified") -> None:
        self.root = root
        # The suite reads these from the world; which date is used differs from class to class.
        self.date = date  # type: ignore[misc]  # a ClassVar by default, chosen here
        self.undated = date == "name_date"  # type: ignore[misc]  # likewise
        self.where = root / self.base
        self.where.mkdir(parents=True)

    def open(self) -> Connector:
        connector: Connector = open_files(self.root, page=self.page)
        return connector

    def target(
        self, *, where: tuple[Condition, ...] = (), bounds: tuple[Bound, ...] = ()
    ) -> Target:
        stamp = "{YYYY}-{MM}-{DD}T{hh}{mm}{ss} *"
        return location(
            f"{self.base}/**/*",
            dates=(self.date,),
            fields=(self.status, self.email),
            where=where,
            bounds=bounds,
            pattern=[
                f"{{email}}/s-{{status}}/{stamp}",
                f"{{email}}/s-/{stamp}",
                "{email}/s-{status}/*",
                "{email}/s-/*",
            ],
        )

    def missing(self) -> Target:
        return location("No such folder/*.pdf")

    def put(self, plans: Sequence[Plan]) -> list[str]:
        out = []
        for plan in plans:
            stamp = f"{plan.received:%Y-%m-%dT%H%M%S}" if plan.received else "undated"
            # A slash cannot be in a name, and a name has 255 bytes.
            name = f"{stamp} {plan.name.replace('/', '_')}".encode()[:255].decode(errors="ignore")
            path = f"{self.base}/{plan.email}/s-{plan.status}/{name}"
            when = plan.received or datetime(2024, 3, 1, tzinfo=UTC)
            write(self.root / path, f"{plan.email} writes".encode(), when)
            out.append(key(path))
        return out

    def raw(self) -> Mapping[str, bytes]:
        out = {}
        for file in self.where.rglob("*"):
            if not file.is_dir():
                status = file.lstat()
                told = repr((status.st_mtime_ns, status.st_ino, status.st_nlink)).encode()
                out[key(str(file.relative_to(self.root)))] = file.read_bytes() + told
        return out

    def change(self, key: str) -> None:
        with self._file(key).open("ab") as file:
            file.write(b" and more")

    def remove(self, key: str) -> None:
        self._file(key).unlink()

    def _file(self, wanted: str) -> Path:
        (file,) = (
            f
            for f in self.where.rglob("*")
            if not f.is_dir() and key(str(f.relative_to(self.root))) == wanted
        )
        return file

    @contextmanager
    def denied(self) -> Iterator[None]:
        self.where.chmod(0o000)
        try:
            with as_nobody():
                yield
        finally:
            self.where.chmod(0o755)

    @contextmanager
    def temporary(self) -> Iterator[None]:
        """No file can be opened: the process has as many as it may."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    @contextmanager
    def permanent(self) -> Iterator[None]:
        away = self.where.with_name("Elsewhere")
        self.where.rename(away)
        try:
            yield
        finally:
            away.rename(self.where)

    @contextmanager
    def answer_lost(self) -> Iterator[None]:
        """The disk does it and reports an error: the only real double for a lost answer here."""
        unlink = os.unlink

        def lossy(path: Any, *, dir_fd: int | None = None) -> None:
            unlink(path, dir_fd=dir_fd)
            raise OSError(errno.EIO, "input/output error")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "unlink", lossy)
            yield


@contextmanager
def mounted(where: Path, options: str = "size=4m") -> Iterator[bool]:
    """A file system of its own at a folder, where this account can mount one; whether it could."""
    where.mkdir(parents=True, exist_ok=True)
    done = os.geteuid() == 0 and _quietly("mount", "-t", "tmpfs", "-o", options, "none", where)
    try:
        yield done
    finally:
        if done:
            _quietly("umount", "-l", where)


@contextmanager
def immutable(file: Path) -> Iterator[bool]:
    """A file that nobody may change or delete, where this account can make one so."""
    done = os.geteuid() == 0 and _quietly("chattr", "+i", file)
    try:
        yield done
    finally:
        if done:
            _quietly("chattr", "-i", file)


def _quietly(*command: str | Path) -> bool:
    found = shutil.which(command[0])
    if found is None:
        return False
    ran = subprocess.run([found, *command[1:]], check=False, capture_output=True)
    return ran.returncode == 0


def found(root: Path, target: Target, **extras: Any) -> list[Record]:
    """Every record, in a session of its own."""
    return [r for page in open_files(root, **extras).find(target) for r in page.records]


def refs(root: Path, target: Target, **extras: Any) -> list[Ref]:
    """Refs as discovery gives them."""
    return [record.ref for record in found(root, target, **extras)]


def erased(root: Path, given: Sequence[Ref], target: Target) -> list[tuple[str, str]]:
    """(result, code) of each, in the order of the refs."""
    told = {o.key: (o.result, o.code) for o in open_files(root).erase(target, given)}
    assert len(told) == len(given)
    return [told[ref.key] for ref in given]


def levels(root: Path, given: Sequence[Ref], target: Target) -> list[Level]:
    """What a new session can prove."""
    proofs = {p.key: p.level for p in open_files(root).verify(target, given, None)}
    return [proofs[ref.key] for ref in given]


def tree(*tops: Path) -> dict[str, bytes]:
    """Every name below these folders, with what it holds or leads to."""
    out = {}
    for top in tops:
        for folder, _, names in os.walk(top):
            for path in (Path(folder, name) for name in names):
                mode = path.lstat().st_mode
                out[str(path)] = path.read_bytes() if stat.S_ISREG(mode) else repr(mode).encode()
    return out
