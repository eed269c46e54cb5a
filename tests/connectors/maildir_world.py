"""A Maildir as the contract suite sees it: files written and read by hand."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from retention.connectors import maildir
from retention.connectors.base import Bound, Condition, Connector, Opened, Target
from retention.connectors.mail_folders import encode_utf7
from retention.connectors.mail_headers import split
from retention.connectors.mail_places import Unit, join
from retention.connectors.mail_places import split as split_key
from retention.connectors.maildir.settings import MaildirLocation, MaildirSystem
from retention.testing.world import Plan, World
from tests.connectors.imap_world import folded, plain


def open_maildir(root: Path, *, page: int = 500, own: Sequence[str] = ()) -> Connector:
    """A session with this Maildir, not wrapped."""
    settings = MaildirSystem(path=root.name, own=tuple(own))
    return maildir.connect(Opened("mail", settings, str(root.parent), {"page": page}))


def location(
    *folders: str,
    dates: Sequence[str] = ("internal_date",),
    fields: Sequence[str] = (),
    where: tuple[Condition, ...] = (),
    bounds: tuple[Bound, ...] = (),
) -> Target:
    """A target of these folders."""
    settings = MaildirLocation(folders=folders)
    return Target("post/mail", settings, tuple(dates), tuple(fields), where, bounds)


def folder_path(root: Path, name: str, *, nested: bool = False) -> Path:
    """The directory of a folder, made with cur, new and tmp."""
    steps = [encode_utf7(step).decode("ascii") for step in name.split("/")]
    where = root if name == "INBOX" else root.joinpath(*steps)
    if name != "INBOX" and not nested:
        where = root / ("." + ".".join(steps))
    for part in ("cur", "new", "tmp"):
        (where / part).mkdir(parents=True, exist_ok=True)
    return where


def deliver(
    folder: Path, base: str, data: bytes, received: datetime | None = None, info: str = ":2,S"
) -> Path:
    """Put a message into `cur` (or, without `info`, into `new`)."""
    file = folder / ("cur" if info else "new") / (base + info)
    file.write_bytes(data)
    when = (received or datetime(2024, 3, 1, tzinfo=UTC)).timestamp()
    os.utime(file, (when, when))
    return file


class MaildirWorld(World):
    """One fresh Maildir."""

    status = "subject"
    email = "from"
    folder = "Kunder/Åse Lund"

    def __init__(self, root: Path, date: str = "internal_date", *, nested: bool = False) -> None:
        self.root = root
        # The suite reads these from the world; which date is used differs from class to class.
        self.date = date  # type: ignore[misc]  # a ClassVar by default, chosen here
        self.undated = date == "date_header"  # type: ignore[misc]  # likewise
        folder_path(root, "INBOX")
        self.where = folder_path(root, self.folder, nested=nested)

    def open(self) -> Connector:
        return open_maildir(self.root, page=self.page)

    def target(
        self, *, where: tuple[Condition, ...] = (), bounds: tuple[Bound, ...] = ()
    ) -> Target:
        return location(
            self.folder,
            dates=(self.date,),
            fields=(self.status, self.email),
            where=where,
            bounds=bounds,
        )

    def missing(self) -> Target:
        return location("No such folder")

    def put(self, plans: Sequence[Plan]) -> list[str]:
        out = []
        for number, plan in enumerate(plans):
            data = plain(
                sender=f"A Person <{plan.email}>",
                subject=plan.status,
                date=plan.received,
                message_id=folded(plan.name),
            )
            # Programs make these names; a slash cannot be in one, all else can.
            base = plan.name.replace("/", "_").encode()[:150].decode(errors="ignore").lstrip(".")
            deliver(self.where, base, data, plan.received, ":2,S" if number % 2 else "")
            out.append(f"{self.folder}/{base}")
        return out

    def raw(self) -> Mapping[str, bytes]:
        out = {}
        for part in ("cur", "new"):
            for file in (self.where / part).iterdir():
                status = file.lstat()
                key = f"{self.folder}/{file.name.partition(':2,')[0]}"
                told = repr((file.name, status.st_mtime_ns, status.st_ino)).encode()
                out[key] = file.read_bytes() + told
        return out

    def change(self, key: str) -> None:
        file = self._file(key)
        file.write_bytes(file.read_bytes().replace(b"Subject: ", b"Subject: no longer "))

    def remove(self, key: str) -> None:
        self._file(key).unlink()

    def _file(self, key: str) -> Path:
        base = key.removeprefix(self.folder + "/")
        files = [f for p in ("cur", "new") for f in (self.where / p).iterdir()]
        (file,) = (f for f in files if f.name.partition(":2,")[0] == base)
        return file

    @contextmanager
    def denied(self) -> Iterator[None]:
        """Root may do everything, so root steps down meanwhile."""
        uid = os.geteuid()
        self.where.chmod(0o000)
        if uid == 0:
            os.seteuid(65_534)
        try:
            yield
        finally:
            os.seteuid(uid)
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
        away = self.where.with_name(".Elsewhere")
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


class MaildirWholesWorld(MaildirWorld):
    """Every record lies in two folders: a message and its copy, or one and its answer."""

    other = "Sent"

    def __init__(self, root: Path, unit: Unit = Unit.MESSAGE) -> None:
        super().__init__(root)
        self.unit = unit
        self.there = folder_path(root, self.other)

    def target(
        self, *, where: tuple[Condition, ...] = (), bounds: tuple[Bound, ...] = ()
    ) -> Target:
        found = MaildirLocation(folders=(self.folder, self.other), unit=self.unit)
        return replace(super().target(where=where, bounds=bounds), settings=found)

    def put(self, plans: Sequence[Plan]) -> list[str]:
        out = []
        for key, plan in zip(super().put(plans), plans, strict=True):
            own, extra = folded(plan.name), ""
            if self.unit is Unit.THREAD:
                own, extra = folded(f"{plan.name}.answer"), f"References: {own}"
            data = plain(
                sender=f"A Person <{plan.email}>",
                subject=plan.status,
                date=plan.received,
                message_id=own,
                extra=extra,
            )
            base = key.removeprefix(self.folder + "/")
            deliver(self.there, base, data, plan.received)
            out.append(join([key, f"{self.other}/{base}"]))
        return out

    def raw(self) -> Mapping[str, bytes]:
        """By the ids that tie them together; what lost its other place has a key of its own."""
        found: dict[bytes, dict[str, bytes]] = {}
        for name, where in ((self.folder, self.where), (self.other, self.there)):
            for file in (f for part in ("cur", "new") for f in (where / part).iterdir()):
                data, status = file.read_bytes(), file.lstat()
                headers = split(data.partition(b"\r\n\r\n")[0])
                tie = (headers.get("references") or headers["message-id"])[0]
                told = repr((file.name, status.st_mtime_ns, status.st_ino)).encode()
                key = f"{name}/{file.name.partition(':2,')[0]}"
                found.setdefault(tie, {})[key] = data + told
        return {join(sorted(p)): b"".join(p[k] for k in sorted(p)) for p in found.values()}

    def change(self, key: str) -> None:
        """In one place is enough; with another subject a copy would be another message."""
        file = self._file(split_key(key)[0])
        file.write_bytes(file.read_bytes().replace(b"Hello.", b"Hello again."))

    def remove(self, key: str) -> None:
        for place in split_key(key):
            self._file(place).unlink()

    def _file(self, key: str) -> Path:
        name, _, base = key.rpartition("/")
        where = self.where if name == self.folder else self.there
        files = [f for p in ("cur", "new") for f in (where / p).iterdir()]
        (file,) = (f for f in files if f.name.partition(":2,")[0] == base)
        return file
