"""A bucket as the contract suite sees it: written and read by another client."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr

from retention.connectors import s3
from retention.connectors.base import Bound, Condition, Connector, Opened, Target
from retention.connectors.s3.settings import S3Location, S3System
from retention.testing.world import ODD_NAMES, Plan, World
from tests.servers.s3 import S3

NUMBERS = itertools.count(1)


def settings(server: S3, bucket: str, **more: Any) -> S3System:
    """An account, with its keys in hand."""
    keys = {"access_key": {"env": "X"}, "secret": {"env": "Y"}}
    made = S3System.model_validate(
        {"bucket": bucket, "endpoint": server.url, "addressing": "path", **keys, **more}
    )
    found = {
        "access_key": SecretStr(server.access_key),
        "secret": SecretStr(server.secret),
    }
    return made.model_copy(update=found)


def open_s3(server: S3, bucket: str, *, page: int = 1000, **more: Any) -> Connector:
    """A session, not wrapped."""
    return s3.connect(Opened("store", settings(server, bucket, **more), ".", {"page": page}))


def location(
    *prefixes: str,
    dates: Sequence[str] = ("last_modified",),
    fields: Sequence[str] = (),
    where: tuple[Condition, ...] = (),
    bounds: tuple[Bound, ...] = (),
    **more: Any,
) -> Target:
    """A target of these prefixes."""
    made = S3Location.model_validate({"prefix": prefixes or ("",), **more})
    return Target("files/store", made, tuple(dates), tuple(fields), where, bounds)


class S3World(World):
    """One fresh bucket; metadata hold status and address."""

    date = "last_modified"
    status = "metadata:status"
    email = "metadata:email"
    undated = False
    secrets = (S3.secret, S3.access_key)
    prefix = "kunder/"
    # moto's server finds no route for a key with a line end, and breaks on other controls.
    odd_names = (
        *(name for name in ODD_NAMES if "\n" not in name),
        *("/leading", "two//slashes", "plus+sign&more=?#", "delete\x7f", "../up", "."),
    )

    def __init__(self, server: S3, versioning: str) -> None:
        self.server = server
        self.bucket = f"bucket-{next(NUMBERS)}"
        self.client = server.client()
        self.client.create_bucket(Bucket=self.bucket)
        if versioning:
            self.client.put_bucket_versioning(
                Bucket=self.bucket, VersioningConfiguration={"Status": "Enabled"}
            )
        self.versioned = bool(versioning)
        self.dates: dict[str, str] = {}
        self.more: dict[str, Any] = {}

    def close(self) -> None:
        self.server._say(b"{}")

    def open(self) -> Connector:
        return open_s3(self.server, self.bucket, page=self.page, **self.more)

    def target(
        self, *, where: tuple[Condition, ...] = (), bounds: tuple[Bound, ...] = ()
    ) -> Target:
        return location(
            self.prefix,
            dates=(self.date,),
            fields=(self.status, self.email),
            where=where,
            bounds=bounds,
        )

    def missing(self) -> Target:
        return location(self.prefix, bucket="no-such-bucket")

    def put(self, plans: Sequence[Plan]) -> list[str]:
        out = []
        for plan in plans:
            key = f"{self.prefix}{plan.name}"
            for body in (b"first", b"second") if self.versioned else (b"only",):
                self.client.put_object(
                    Bucket=self.bucket,
                    Key=key,
                    Body=body + plan.email.encode(),
                    Metadata={"status": plan.status, "email": plan.email},
                )
            when = plan.received or datetime(2024, 3, 1, tzinfo=UTC)
            self.dates[key] = when.isoformat()
            out.append(key)
        self.server._say(json.dumps({"dates": self.dates}).encode())
        return out

    def raw(self) -> Mapping[str, bytes]:
        out: dict[str, bytes] = {}
        said = self.client.list_object_versions(Bucket=self.bucket)
        for item in (*said.get("Versions", ()), *said.get("DeleteMarkers", ())):
            told = repr((item["VersionId"], item.get("ETag"), item.get("Size"), item["IsLatest"]))
            out[item["Key"]] = out.get(item["Key"], b"") + told.encode()
        return out

    def change(self, key: str) -> None:
        self.client.put_object(
            Bucket=self.bucket, Key=key, Body=b"third", Metadata={"status": "no longer"}
        )

    def remove(self, key: str) -> None:
        said = self.client.list_object_versions(Bucket=self.bucket, Prefix=key)
        for item in (*said.get("Versions", ()), *said.get("DeleteMarkers", ())):
            if item["Key"] == key:
                at = {"VersionId": item["VersionId"]} if self.versioned else {}
                self.client.delete_object(Bucket=self.bucket, Key=key, **at)

    @contextmanager
    def denied(self) -> Iterator[None]:
        with self.server.trouble(deny=[f"/{self.bucket}"]):
            yield

    @contextmanager
    def temporary(self) -> Iterator[None]:
        slow = [503, "SlowDown"]
        with self.server.trouble(status={"DELETE /": slow, "POST /": slow}):
            yield

    @contextmanager
    def permanent(self) -> Iterator[None]:
        gone = [404, "NoSuchBucket"]
        with self.server.trouble(status={f"/{self.bucket}": gone}):
            yield

    @contextmanager
    def answer_lost(self) -> Iterator[None]:
        """The server deletes, but answers only after we stopped waiting."""
        before = self.more
        self.more = {**before, "timeout": 0.8}
        try:
            with self.server.trouble(slow={"DELETE /": 1.6, "POST /": 1.6}):
                yield
        finally:
            self.more = before
