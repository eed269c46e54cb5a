"""Whole runs over cloud storage, as a user types them: plan, approve, run, doctor, audit verify."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.program import typed
from tests.acceptance.shop import Zygote
from tests.connectors.s3_world import NUMBERS
from tests.connectors.webdav_world import put_file
from tests.servers.s3 import S3
from tests.servers.webdav import WebDav

POLICIES = """
organisation: {{name: Example Coaching, country: "NO", timezone: Europe/Oslo}}
systems:
  cloud: {system}
clusters:
  documents:
    purpose: coaching
    basis: contract
    locations:
      files: {location}
policies:
  documents-yearly:
    applies_to: documents
    starting_point: modified
    delete_at_latest: 1 year
    then: delete
    schedule: "0 3 * * *"
"""
OLD, NEW = (datetime.now(UTC) - timedelta(days=days) for days in (800, 3))


class Service:
    """The program in a folder of its own."""

    def __init__(
        self, zygote: Zygote, folder: Path, system: str, location: str, **secrets: str
    ) -> None:
        self.zygote = zygote
        self.folder = folder
        (folder / "policies").mkdir()
        text = POLICIES.format(system=system, location=location)
        (folder / "policies" / "all.yaml").write_text(text, encoding="utf-8")
        self.secrets = secrets
        self.said = ""

    def __call__(self, *words: str, code: int = 0) -> Any:
        """A command with `--json`; its answer."""
        ran = typed(self.zygote, self.folder, *words, "--json", **self.secrets)
        self.said += ran.out + ran.err
        assert ran.code == code, ran.out + ran.err
        return json.loads(ran.out) if ran.out.strip() else None

    def whole(self, due: set[str]) -> None:
        """From the plan to the checked log; nothing secret or personal on the way."""
        plan = self("plan")
        assert {item["key"] for item in plan["items"]} == due
        self("approve", "documents-yearly")
        report = self("run", "documents-yearly")
        assert report["counts"]["verified"] == len(due), report
        assert self("plan")["items"] == []
        assert self("audit", "verify")["ok"]
        ledger = b"".join(p.read_bytes() for p in self.folder.rglob("*") if p.is_file())
        for secret in self.secrets.values():
            assert secret not in self.said
            assert secret.encode() not in ledger


@pytest.mark.parametrize("skips", [True, False], ids=["new", "old"])
def test_a_nextcloud_folder_is_emptied_of_what_is_due(
    zygote: Zygote, webdav_server: WebDav, tmp_path: Path, *, skips: bool
) -> None:
    """Old files go, and do not lie in the bin; young ones and other folders stay."""
    server = webdav_server
    home = server.files / f"run{next(NUMBERS)}"
    for name in ("Kunder/Anna Ås/offer.pdf", "Kunder/contract & more.pdf", "Private/old.txt"):
        put_file(home / name, b"x", OLD)
    put_file(home / "Kunder/Anna Ås/new.pdf", b"x", NEW)
    system = (
        f"{{connector: webdav, url: '{server.cloud}/{home.name}', username: {server.user},"
        " password: {env: CLOUD_PASSWORD}}"
    )
    location = "{system: cloud, folders: Kunder, dates: {modified: getlastmodified}}"
    service = Service(zygote, tmp_path, system, location, CLOUD_PASSWORD=server.password)
    before = set(server.trash.iterdir())
    with server.trouble(bin={"skip": skips}):
        service.whole({"Kunder/Anna Ås/offer.pdf", "Kunder/contract & more.pdf"})
    left = {str(p.relative_to(home)) for p in home.rglob("*") if p.is_file()}
    assert left == {"Kunder/Anna Ås/new.pdf", "Private/old.txt"}
    assert set(server.trash.iterdir()) == before
    assert {c["check"] for c in service("doctor", code=1)} >= {"bin", "credentials", "if-match"}


def test_a_bucket_is_emptied_of_what_is_due(zygote: Zygote, s3_server: S3, tmp_path: Path) -> None:
    """Every version of old keys goes; young keys, and keys elsewhere, stay."""
    client, name = s3_server.client(), f"run-{next(NUMBERS)}"
    client.create_bucket(Bucket=name)
    on = {"Status": "Enabled"}
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration=on)
    for key in ("kunder/old å.pdf", "kunder/old b.pdf", "kunder/new.pdf", "other/old.pdf"):
        for _ in range(2):
            client.put_object(Bucket=name, Key=key, Body=b"x")
    client.delete_object(Bucket=name, Key="kunder/old b.pdf")
    system = (
        f"{{connector: s3, bucket: {name}, endpoint: '{s3_server.url}', addressing: path,"
        " access_key: {env: STORE_KEY}, secret: {env: STORE_SECRET}}"
    )
    location = "{system: cloud, prefix: kunder/, dates: {modified: last_modified}}"
    keys = {"STORE_KEY": s3_server.access_key, "STORE_SECRET": s3_server.secret}
    service = Service(zygote, tmp_path, system, location, **keys)
    dates = {k: OLD.isoformat() for k in ("kunder/old å.pdf", "kunder/old b.pdf", "other/old.pdf")}
    with s3_server.trouble(dates=dates):
        service.whole({"kunder/old å.pdf", "kunder/old b.pdf"})
        said = client.list_object_versions(Bucket=name)
    left = [i["Key"] for i in (*said.get("Versions", ()), *said.get("DeleteMarkers", ()))]
    assert left == ["kunder/new.pdf"] * 2 + ["other/old.pdf"] * 2
    checks = {c["check"] for c in service("doctor", code=1)}
    assert checks >= {"credentials", "versioning", "replication", "excess rights"}
