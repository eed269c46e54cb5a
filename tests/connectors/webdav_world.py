"""A WebDAV account as the contract suite sees it: the server's disk, and another client."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

from pydantic import SecretStr

from retention.connectors import webdav
from retention.connectors.base import Bound, Condition, Connector, Opened, Target, When
from retention.connectors.webdav.settings import WebdavLocation, WebdavSystem
from retention.testing.world import Plan, World
from tests.servers.webdav import WebDav

NUMBERS = itertools.count(1)
NS = "urn:example:cards"
STATUS, EMAIL = f"{{{NS}}}status", f"{{{NS}}}email"


def settings(server: WebDav, url: str, **more: Any) -> WebdavSystem:
    """An account, with the password in hand."""
    made = WebdavSystem.model_validate(
        {"url": url, "username": server.user, "password": {"env": "X"}, **more}
    )
    return made.model_copy(update={"password": SecretStr(server.password)})


def open_webdav(server: WebDav, url: str, *, page: int = 500, **more: Any) -> Connector:
    """A session, not wrapped."""
    return webdav.connect(Opened("cloud", settings(server, url, **more), ".", {"page": page}))


def location(
    *folders: str,
    dates: Sequence[str] = ("getlastmodified",),
    fields: Sequence[str] = (),
    where: tuple[Condition, ...] = (),
    bounds: tuple[Bound, ...] = (),
    pattern: str | None = None,
) -> Target:
    """A target of these folders."""
    made = WebdavLocation(folders=folders or ("/",), pattern=pattern)
    return Target("files/cloud", made, tuple(dates), tuple(fields), where, bounds)


def put_file(path: Path, data: bytes, when: datetime | None = None) -> None:
    """A file on the server's own disk, with a date."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    at = (when or datetime(2024, 3, 1, 12, tzinfo=UTC)).timestamp()
    os.utime(path, (at, at))


class WebdavWorld(World):
    """One fresh folder of the account; properties hold status and address."""

    date = "getlastmodified"
    status = STATUS
    email = EMAIL
    undated = False
    secrets = ("correct horse battery",)
    folder = "Kunder/Åse & Lund"

    def __init__(self, server: WebDav, *, cloud: bool, named: bool = False) -> None:
        self.server = server
        self.home = f"w{next(NUMBERS)}"
        self.url = f"{server.cloud if cloud else server.plain}/{self.home}"
        self.where = server.files / self.home / self.folder
        self.where.mkdir(parents=True)
        self.named = named
        self.more: dict[str, Any] = {}
        if named:
            self.date = "name_date"  # type: ignore[misc]  # a ClassVar by default, chosen here
            self.undated = True  # type: ignore[misc]  # likewise

    def open(self) -> Connector:
        return open_webdav(self.server, self.url, page=self.page, **self.more)

    def target(
        self, *, where: tuple[Condition, ...] = (), bounds: tuple[Bound, ...] = ()
    ) -> Target:
        return location(
            "Kunder",
            dates=(self.date,),
            fields=(self.status, self.email),
            where=where,
            bounds=bounds,
            pattern="{YYYY}-{MM}-{DD} *" if self.named else None,
        )

    def missing(self) -> Target:
        return location("No such folder")

    def seen(self, received: datetime | None) -> When:
        return received.date() if self.named and received else received

    def put(self, plans: Sequence[Plan]) -> list[str]:
        out = []
        for plan in plans:
            name = plan.name.replace("/", "_")
            if self.named and plan.received is not None:
                name = f"{date.isoformat(plan.received)[:10]} {name}"
            name = name.encode()[:200].decode(errors="ignore")
            put_file(self.where / name, f"of {plan.email}".encode(), plan.received)
            key = f"{self.folder}/{name}"
            self._set(key, plan.status, plan.email)
            out.append(key)
        return out

    def _set(self, key: str, status: str, email: str | None = None) -> None:
        props = f"<c:status>{escape(status)}</c:status>"
        if email is not None:
            props += f"<c:email>{escape(email)}</c:email>"
        text = (
            f'<d:propertyupdate xmlns:d="DAV:" xmlns:c="{NS}"><d:set><d:prop>{props}</d:prop>'
            "</d:set></d:propertyupdate>"
        )
        kind = {"Content-Type": "application/xml"}
        status_code, _, _ = self.server.request("PROPPATCH", self.at(key), text.encode(), kind)
        assert status_code == 207

    def at(self, key: str) -> str:
        """The URL of a file."""
        return f"{self.url}/{quote(key)}"

    def raw(self) -> Mapping[str, bytes]:
        out = {}
        for file in (self.server.files / self.home).rglob("*"):
            if file.is_file():
                key = str(file.relative_to(self.server.files / self.home))
                told = repr((file.stat().st_mtime_ns, file.stat().st_ino)).encode()
                out[key] = file.read_bytes() + told
        for file in self.server.trash.rglob("*"):
            if file.is_file():
                out[f"bin/{file.relative_to(self.server.trash)}"] = file.read_bytes()
        return out

    def change(self, key: str) -> None:
        self._set(key, "no longer")

    def remove(self, key: str) -> None:
        (self.server.files / self.home / key).unlink()

    @contextmanager
    def denied(self) -> Iterator[None]:
        with self.server.trouble(deny=True):
            yield

    @contextmanager
    def temporary(self) -> Iterator[None]:
        """Somebody has the whole folder open."""
        body = (
            '<d:lockinfo xmlns:d="DAV:"><d:lockscope><d:exclusive/></d:lockscope>'
            "<d:locktype><d:write/></d:locktype><d:owner>x</d:owner></d:lockinfo>"
        )
        url = self.at(self.folder)
        head = {"Depth": "infinity", "Timeout": "Second-600", "Content-Type": "application/xml"}
        code, headers, _ = self.server.request("LOCK", url, body.encode(), head)
        assert code == 200
        try:
            yield
        finally:
            token = {"Lock-Token": headers["Lock-Token"]}
            assert self.server.request("UNLOCK", url, b"", token)[0] == 204

    @contextmanager
    def permanent(self) -> Iterator[None]:
        kept = self.server.files / self.home / "Kunder"
        away = kept.with_name("Elsewhere")
        kept.rename(away)
        try:
            yield
        finally:
            away.rename(kept)

    @contextmanager
    def answer_lost(self) -> Iterator[None]:
        """The server deletes, but answers only after we stopped waiting."""
        with ExitStack() as stack:
            stack.enter_context(self.server.trouble(slow={"DELETE": 1.2}))
            before = self.more
            self.more = {**before, "timeout": 0.5}
            stack.callback(setattr, self, "more", before)
            yield
