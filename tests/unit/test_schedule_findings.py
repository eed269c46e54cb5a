"""What the policy check hears about schedules."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from retention.policy.model import Bundle
from retention.schedule.compile import compile_jobs
from retention.schedule.findings import Fact, facts_for_bundle, facts_for_check

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def bundle(**policies: dict[str, Any]) -> Bundle:
    return Bundle.model_validate(
        {
            "organisation": {"name": "Fjordro", "country": "NO", "timezone": "Europe/Oslo"},
            "policies": {n: {"applies_to": "a", "then": "delete"} | p for n, p in policies.items()},
        }
    )


def facts(**said: Any) -> list[Fact]:
    return list(facts_for_bundle(bundle(p=said), NOW))


@pytest.mark.parametrize(
    ("schedule", "code"),
    [
        ("0 3 1", "bad-cron"),
        ("0 3 1 * 1", "both-day-fields"),
        ("0 0 30 2 *", "never-fires"),
        ("every third month", "bad-schedule"),
        ({"last_of": ["on_event", "@daily"]}, "bad-schedule"),
    ],
)
def test_a_schedule_that_cannot_be_taken_is_a_fact(schedule: Any, code: str) -> None:
    """The check goes on to the other policies; each error is named once."""
    found = list(facts_for_bundle(bundle(a={"schedule": schedule}, b={"schedule": "@daily"}), NOW))
    assert [(f.policy, f.code) for f in found] == [("a", code)]
    assert found[0].message
    assert found[0].hint


def test_both_day_fields_are_fine_when_said() -> None:
    """`both_day_fields: true` is the way to mean either."""
    assert facts(schedule="0 3 1 * 1", both_day_fields=True) == []


def test_a_cadence_that_cannot_meet_its_maximum() -> None:
    """The finding prints by how much the promise breaks and the worst-case age in days."""
    (found,) = facts(delete_at_latest="20 days", schedule="0 3 1 * *")
    assert found.code == "cadence-too-slow"
    assert "11 days after its maximum of 20 days" in found.message
    assert "worst-case age: 31 days" in found.message
    assert facts(delete_at_latest="1 month", schedule="0 3 1 * *") == []


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("0 3 31 * *", ["day 31 does not exist in February, April, June, September, November"]),
        ("0 3 30 * *", ["day 30 does not exist in February:"]),
        ("0 3 29 2 *", ["day 29 does not exist in February of common years"]),
        ("0 3 1,31 1,2,3 *", ["day 31 does not exist in February:"]),
        ("0 3 30,31 2-12/2 *", ["day 30 does not exist in February:", "February, April, June:"]),
        ("0 3 31 1,3,5 *", []),
        ("0 3 28 * *", []),
        ("0 3 L * *", []),
        ("0 3 */2 * *", []),
        ("0 3 29-31 * *", []),
    ],
)
def test_a_day_that_some_months_lack(cron: str, words: list[str]) -> None:
    """A single day after the 28th is named with the months that do not have it."""
    found = facts(schedule=cron)
    assert {f.code for f in found} <= {"day-missing-in-some-months"}
    assert len(found) == len(words)
    for fact, said in zip(found, words, strict=True):
        assert said in fact.message


def test_last_of_prints_its_readings() -> None:
    """Whoever writes "whichever is last" sees what each reading means in days."""
    said = {"last_of": ["every 3 months", "0 3 1 1,4,7,10 *"]}
    (found,) = facts(delete_at_latest="6 months", schedule=said)
    assert found.code == "worst-case-age"
    for text in (": 92 days; per run (last run + 3 months", "first fire on or after: 183 days"):
        assert text in found.message


def test_a_compiled_job_gives_the_same_facts() -> None:
    """The facts of a job are those of its policy."""
    one = bundle(p={"delete_at_latest": "20 days", "schedule": "0 3 31 * *"})
    (job,) = compile_jobs(one, {"p": "d"}, NOW)
    assert list(facts_for_check(job)) == list(facts_for_bundle(one, NOW))
    assert [f.code for f in facts_for_check(job)] == [
        "cadence-too-slow",
        "day-missing-in-some-months",
    ]
