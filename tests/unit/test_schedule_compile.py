"""Compiled jobs: the same policies, the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from retention.policy.model import Bundle, Misfire
from retention.schedule.compile import compile_jobs, rows, to_json
from retention.schedule.crontab import crontab
from retention.schedule.fields import CronError
from retention.schedule.model import Job

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
GOLDEN = Path(__file__).parent.parent / "golden" / "schedule"

POLICIES: Mapping[str, Mapping[str, Any]] = {
    "newsletter-consent": {
        "delete_at_latest": "24 hours",
        "schedule": "on_event",
        "starting_point": {"event": "consent_withdrawn"},
    },
    "contact-form-monthly": {"delete_at_latest": "1 month", "schedule": "0 3 1 * *"},
    "mail-quarterly": {
        "delete_at_latest": "6 months",
        "schedule": {"last_of": ["every 3 months", "0 3 1 1,4,7,10 *"]},
    },
    "bookkeeping-five-years": {
        "keep_at_least": "5 years",
        "cutoff": "accounting_year",
        "then": "review",
        "schedule": "0 9 1 8 *",
    },
    "chat-spread": {"delete_at_latest": "90 days", "schedule": "H H(1-5) * * *", "misfire": "skip"},
    "journal-month-end": {"delete_at_latest": "2 years", "schedule": "0 3 L * *"},
    "phone 50% notes": {"delete_at_latest": "1 year", "schedule": "@weekly"},
    "offers-half-year": {"keep_at_least": "5 years", "schedule": "every 6 months"},
}


def bundle(
    policies: Mapping[str, Mapping[str, Any]] = POLICIES, zone: str = "Europe/Oslo"
) -> Bundle:
    return Bundle.model_validate(
        {
            "organisation": {"name": "Fjordro Coaching", "country": "NO", "timezone": zone},
            "policies": {
                name: {"applies_to": "a", "then": "delete", **said}
                for name, said in policies.items()
            },
        }
    )


def jobs(policies: Mapping[str, Mapping[str, Any]] = POLICIES) -> tuple[Job, ...]:
    return compile_jobs(
        bundle(policies), {name: f"sha256:{len(name):064x}" for name in policies}, NOW
    )


def test_the_rows_of_compile_json_are_as_written_down() -> None:
    """Cron, next fires and worst-case ages of a whole set, as a reviewer read them."""
    assert rows(jobs(), NOW) == json.loads((GOLDEN / "compile.json").read_text())


def test_the_crontab_is_as_written_down() -> None:
    """What cron can say becomes its own line, the rest a daily look with the reason."""
    assert crontab(jobs()) == (GOLDEN / "crontab.txt").read_text()


def test_rows_have_exactly_the_keys_that_others_rely_on() -> None:
    """The contract of `compile --json` (design.md §9); `readings` follows for last_of only."""
    contract = ["policy", "digest", "cron", "timezone", "next", "worst_case_age_days"]
    for row in rows(jobs(), NOW, count=2):
        assert list(row)[:6] == contract
        assert list(row)[6:] == (["readings"] if row["policy"] == "mail-quarterly" else [])
        assert len(row["next"]) == 2
        assert all(datetime.fromisoformat(text).utcoffset() is not None for text in row["next"])


def test_equal_policies_give_equal_bytes() -> None:
    """Neither the order of the files nor the day of the year changes a byte."""
    backwards = dict(sorted(POLICIES.items(), reverse=True))
    assert to_json(jobs()) == to_json(jobs(backwards))
    names = [job.policy for job in jobs()]
    assert names == sorted(names)
    digests = {name: f"sha256:{len(name):064x}" for name in POLICIES}
    assert to_json(compile_jobs(bundle(), digests, NOW.replace(month=1))) == to_json(jobs())


def test_a_job_carries_what_the_policy_says_about_misfires() -> None:
    """Misfire goes from the policy into the job and its bytes."""
    by_name = {job.policy: job for job in jobs()}
    assert by_name["chat-spread"].misfire is Misfire.SKIP
    assert b'"misfire":"skip"' in to_json([by_name["chat-spread"]])
    assert len(set(jobs())) == len(POLICIES)


def test_next_fires_count_from_the_last_firing_where_one_is_known() -> None:
    """An interval continues from its last scheduled firing."""
    last = {"offers-half-year": datetime(2026, 9, 10, 1, tzinfo=UTC)}
    (row,) = [r for r in rows(jobs(), NOW, 1, last) if r["policy"] == "offers-half-year"]
    assert row["next"][0].startswith("2027-03-10T03:")


def test_a_schedule_that_cannot_be_taken_names_its_policy() -> None:
    """Compiling stops with the policy as the place of the error."""
    with pytest.raises(CronError) as caught:
        jobs({"odd": {"schedule": "0 0 31 2 *"}})
    assert caught.value.place == "odd"
    assert caught.value.code == "never-fires"


def test_an_unknown_zone_is_an_error() -> None:
    """Nothing is scheduled in a zone that does not exist."""
    with pytest.raises(CronError) as caught:
        compile_jobs(bundle(zone="Europe/Nowhere"), dict.fromkeys(POLICIES, "d"), NOW)
    assert caught.value.code == "timezone"


def test_many_policies_share_their_dates() -> None:
    """Compiling many policies of a few shapes does not walk the calendar for each."""
    many = {f"p{n}": {"delete_at_latest": "90 days", "schedule": "H H * * *"} for n in range(300)}
    compiled = jobs(many)
    assert {job.worst_case_age_days for job in compiled} == {90}
    assert len({job.cron for job in compiled}) > 250
