"""Folders of files, from the policies of the documentation to the verified log."""

from __future__ import annotations

import os
import re
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.shop import Shop

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "files-and-logs.md"
PLACES = {"/srv/office/papers": "papers", "/var/log/web": "logs", "/var/lib/php/sessions": "php"}
POLICIES = ("offers-two-years", "access-log-ninety-days", "sessions-two-days")


@pytest.fixture
def folders(shop: Shop) -> Shop:
    """The policies of the page, its three places below the shop's folder, and old and new files."""
    fence = re.compile(r"^```yaml\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    (block,) = fence.findall(PAGE.read_text("utf-8"))
    for place, here in PLACES.items():
        assert place in block
        block = block.replace(place, str(shop.folder / here))
    shop.write(block)
    for path, days in {
        "papers/Offers/4711/offer 2020-03-01.pdf": 1,
        "papers/Offers/4711/offer 2020-04-01.odt": 1,
        f"papers/Offers/4712/offer {datetime.now(UTC):%Y-%m-%d}.pdf": 4_000,
        "papers/Offers/4713/undated.pdf": 4_000,
        "papers/Offers/4714/note 2020-01-01.txt": 4_000,
        "logs/web.log": 400,
        "logs/web.log.1": 30,
        "logs/web.log.2.gz": 100,
        "php/a/b/sess_old": 3,
        "php/a/b/sess_new": 1,
        "php/a/other": 300,
    }.items():
        _write(shop.folder / path, days)
    return shop


def _write(file: Path, days: float) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"Kari Nordmann")
    at = (datetime.now(UTC) - timedelta(days=days)).timestamp()
    os.utime(file, (at, at))


def _left(shop: Shop) -> set[str]:
    places = [shop.folder / here for here in PLACES.values()]
    return {str(p.relative_to(shop.folder)) for top in places for p in top.rglob("*")}


def _verified(shop: Shop) -> dict[str, Any]:
    found: dict[str, Any] = shop("audit", "verify", "--json").json
    return found


def test_the_page_works_from_plan_to_proof(folders: Shop) -> None:
    """Plan, approve, run, verify: what is due goes with its empty folder, all else stays."""
    folders("validate")
    plan = folders("plan", "--json").json
    due = {i["key"] for i in plan["items"] if i["action"] == "delete"}
    assert due == {
        "Offers/4711/offer 2020-03-01.pdf",
        "Offers/4711/offer 2020-04-01.odt",
        "web.log.2.gz",
        "a/b/sess_old",
    }
    assert [i["key"] for i in plan["items"] if i["action"] == "review"] == [
        "Offers/4713/undated.pdf"
    ]
    before = _left(folders)
    for policy in POLICIES:
        folders("approve", policy)
        report = folders("run", policy, "--json").json
        assert report["counts"]["verified"] == report["counts"]["disposed"]
    gone = {"papers/Offers/4711", "papers/Offers/4711/offer 2020-03-01.pdf"}
    gone |= {"papers/Offers/4711/offer 2020-04-01.odt", "logs/web.log.2.gz", "php/a/b/sess_old"}
    assert before - _left(folders) == gone
    assert _verified(folders)["ok"]
    log = folders("audit", "list", "--json").out
    assert "4711" not in log
    assert "sess_" not in log


def test_a_hold_on_a_customer_keeps_the_folder(folders: Shop) -> None:
    """The number in the folder's name is a key of a person."""
    folders(
        *("hold", "add", "--case", "7", "--reason", "dispute", "--owner", "office"),
        *("--review-by", "2099-01-01", "--subject", "customer_number:4711"),
    )
    plan = folders("plan", "offers-two-years", "--json").json
    assert (plan["totals"]["held"], plan["totals"]["delete"]) == (2, 0)


def test_doctor_looks_at_folders(folders: Shop) -> None:
    """Numbers of what is there and not covered; no names."""
    (folders.folder / "papers" / "Offers" / "4711" / "offer 2020-03-01.pdf~").write_bytes(b"x")
    said = folders("doctor", code=None)
    told = said.out + said.err
    assert "backups that programs make" in told
    assert "4711" not in told


def test_a_run_killed_while_it_deletes_loses_nothing(folders: Shop) -> None:
    """Killed in the middle of a folder: a daemon ends the work, and the log says all of it."""
    many = {folders.folder / "php" / f"{n % 7}" / f"sess_{n}" for n in range(1_500)}
    for file in many:
        _write(file, 10)
    kept = {f for f in many if f.name.endswith("7")}
    for file in kept:
        _write(file, 1)
    for policy in POLICIES:
        folders("approve", policy)
    dying = folders.start("run", "sessions-two-days")
    while dying.poll() is None and all(f.exists() for f in many):
        time.sleep(0.001)
    dying.send_signal(signal.SIGKILL)
    dying.communicate()
    deadline = time.monotonic() + 120
    while any(f.exists() for f in many - kept):
        assert time.monotonic() < deadline
        # What the dead process held is free again within a minute; a daemon takes it up.
        folders("daemon", "--once", code=None)
        time.sleep(1)
    assert all(f.exists() for f in kept)
    assert not list(folders.folder.rglob(".retention-disposal-*/*"))
    assert _verified(folders)["ok"]
