"""The five example sets: what validate says of each, what they compile to, and what a run does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from retention.audit.verify import verify_ledger
from retention.run.approval import approve_policy
from retention.run.home import Examined, Home, examine
from retention.run.in_force import Standing
from retention.schedule.compile import rows
from retention.settings import load
from tests.acceptance.sets.care import care
from tests.acceptance.sets.coach import coach
from tests.acceptance.sets.group import group
from tests.acceptance.sets.manufacturer import manufacturer
from tests.acceptance.sets.therapy import therapy
from tests.acceptance.sets.world import NOW, POLICIES, Still, World
from tests.servers.dovecot import Dovecot
from tests.servers.mariadb import MariaDB
from tests.servers.postgres import Postgres

SETS = ("coach", "care", "therapy", "manufacturer", "group")
GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "sets"
LISTED = re.compile(r"^# {2,}(error|warning|info) +([a-z0-9-]+) {2,}(\S.*)$", re.MULTILINE)
UNFINISHED = {"connector-not-available", "no-start", "no-period"}
"""Errors that a set may have: a connector that is to come, a promise that is none."""


def examined(name: str) -> Examined:
    return examine(POLICIES / name, NOW)


@pytest.mark.parametrize("name", SETS)
def test_validate_says_what_the_head_of_the_set_says(name: str) -> None:
    """Every finding of a set is listed at its head, and every finding listed there is made."""
    head = (POLICIES / name / "organisation.yaml").read_text(encoding="utf-8")
    listed = {
        (severity, code, policy)
        for severity, code, policies in LISTED.findall(head)
        for policy in policies.split(", ")
    }
    found = {(str(f.severity), f.code, str(f.policy)) for f in examined(name).findings}
    assert found == listed
    assert {code for severity, code, _ in found if severity == "error"} <= UNFINISHED


@pytest.mark.parametrize("name", SETS)
def test_one_unfinished_policy_stops_no_other(name: str) -> None:
    """Exactly the policies with an error of their own are stopped; all others are compiled."""
    found = examined(name)
    assert set(found.broken) == {f.policy for f in found.errors}
    assert not found.unreadable
    assert found.loaded.bundle is not None
    assert set(found.jobs) == set(found.loaded.bundle.policies) - set(found.broken)


@pytest.mark.parametrize("name", SETS)
def test_the_jobs_of_a_set(name: str, request: pytest.FixtureRequest) -> None:
    """What a set compiles to is what a reviewer has read."""
    jobs = [job for _, job in sorted(examined(name).jobs.items())]
    told = [{k: v for k, v in row.items() if k != "digest"} for row in rows(jobs, NOW, count=2)]
    text = json.dumps(told, indent=1, ensure_ascii=False) + "\n"
    golden = GOLDEN / f"{name}.json"
    if request.config.getoption("--update-golden"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert golden.read_text(encoding="utf-8") == text


def test_the_sets_name_no_secret_and_no_real_place() -> None:
    """Addresses and hosts lie at example domains; secrets are named, never written."""
    for file in POLICIES.rglob("*.yaml"):
        for address in re.findall(r"[\w.-]+@([\w.-]+)", file.read_text(encoding="utf-8")):
            assert re.fullmatch(r"(.+\.)?example(\.org|\.com)?", address), (file, address)


# --- runs on real stores ------------------------------------------------------------------------


@pytest.fixture
def run_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[World], None]:
    """Approve and run every policy of a set that can run; then look at everything."""

    def run(world: World) -> None:
        for name, value in world.env.items():
            monkeypatch.setenv(name, value)
        settings = load(policies=world.folder, home=tmp_path / "home")

        def opened() -> Home:
            return Home.open(settings, actor="user:test", clock=Still())

        with opened() as home:
            able = sorted(home.in_force.digests)
            assert able == sorted(home.examined.jobs)
            world.orders(home)
        before = world.seen()
        with opened() as home:
            for name in able:
                if home.in_force.standing(name) is not Standing.APPROVED:
                    approve_policy(home.ctx, home.in_force, name, by="user:test")
        review = {}
        with opened() as home:
            for name in able:
                report = home.executor().run_now(name)
                assert (report.state, report.problems, report.exit_code) == ("done", (), 0), name
                assert report.counts.get("verified", 0) == report.counts.get("disposed", 0), name
                if number := report.counts.get("review", 0):
                    review[name] = number
        seen = world.seen()
        assert seen == dict(world.left)
        assert seen != before
        assert review == dict(world.review)
        with opened() as home:
            assert verify_ledger(home.ctx.log).ok
            finished = [json.loads(e) for e in home.ctx.log.query(type="run.finished")]
            hashed = [json.loads(e) for e in home.ctx.log.query(type="suppression.added")]
        assert {e["policy"] for e in finished} == set(able)
        assert {e["state"] for e in finished} == {"done"}
        assert {e["policy"] for e in hashed} == world.suppressing

    return run


def test_coach_runs(run_set: Callable[[World], None], tmp_path: Path, dovecot: Dovecot) -> None:
    """Form mails go monthly, mail of ended relationships from Sent and Trash too, an old offer goes
    and leaves a hash, a row that may go does not stop its mail from going."""
    run_set(coach(tmp_path, dovecot))


def test_care_runs(
    run_set: Callable[[World], None], tmp_path: Path, mariadb: MariaDB, postgres: Postgres
) -> None:
    """A purchase under a court order stays, a withdrawn consent reaches two databases, a visitor
    who always returns ends at the backstop, "two years" since nothing deletes nothing."""
    run_set(care(tmp_path, mariadb, postgres))


def test_therapy_runs(run_set: Callable[[World], None], tmp_path: Path, postgres: Postgres) -> None:
    """An ended relationship is deleted or handed over, a registration loses its participant and
    keeps its invoice, a closed browser ends a session."""
    run_set(therapy(tmp_path, postgres))


def test_manufacturer_runs(
    run_set: Callable[[World], None], tmp_path: Path, mariadb: MariaDB, postgres: Postgres
) -> None:
    """People are taken out of accounts, comments and orders, an invoice goes with its file, a
    child's account is shown to a person."""
    run_set(manufacturer(tmp_path, mariadb, postgres))


def test_group_runs(
    run_set: Callable[[World], None], tmp_path: Path, mariadb: MariaDB, postgres: Postgres
) -> None:
    """Undefined periods delete nothing; winners stay longer than other entries; telemetry loses its
    user first and goes later."""
    run_set(group(tmp_path, mariadb, postgres))
