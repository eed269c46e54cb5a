"""Policies in plain words, compared with what a reviewer has read and agreed to.

`--update-golden` writes the files anew; then read the difference before committing.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from retention.policy.explain import explain
from retention.policy.schedule_words import schedule_words
from tests.unit.policy_samples import DESIGN, RICH, bundle

GOLDEN = Path(__file__).parents[1] / "golden" / "policy"


@pytest.mark.parametrize(("name", "text"), [("design", DESIGN), ("rich", RICH)])
def test_policies_explain_themselves(
    tmp_path: Path, name: str, text: str, request: pytest.FixtureRequest
) -> None:
    """Who, what, where, since when, how long, what then, how often, with which safeguards, why."""
    whole = bundle(tmp_path, text)
    said = "\n".join(explain(whole, policy) for policy in whole.policies)
    file = GOLDEN / f"explain-{name}.txt"
    if request.config.getoption("--update-golden"):
        file.write_text(said, encoding="utf-8")
    assert said == file.read_text(encoding="utf-8")


def test_an_unknown_policy_is_an_error(tmp_path: Path) -> None:
    """There is nothing to explain about a name that nobody defined."""
    with pytest.raises(KeyError):
        explain(bundle(tmp_path, DESIGN), "nobody")


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("0 3 1 * *", "on day 1 of every month at 03:00"),
        ("30 4 * * 1", "every Monday at 04:30"),
        ("0 9 1 8 *", "on day 1 of August at 09:00"),
        ("5 0 * * *", "every day at 00:05"),
        ("0 0 L * *", "on the last day of every month at 00:00"),
        ("0 0 1,15 1,7 *", "on day 1 and 15 of January and July at 00:00"),
        ("0 0 * 6 0,3", "every Sunday and Wednesday in June at 00:00"),
        ("0 0 1 * 1", "`0 0 1 * 1`"),
        ("*/5 * * * *", "`*/5 * * * *`"),
        ("0 0 1-5 * *", "`0 0 1-5 * *`"),
        ("0 0 * * 9", "`0 0 * * 9`"),
        ("0 0 * 13 *", "`0 0 * 13 *`"),
        ("@monthly", "every month"),
        ("every 3 months", "every 3 months"),
        ("on_event", "within a minute of the event, and every day for records that arrive later"),
    ],
)
def test_simple_schedules_have_words(schedule: str, words: str) -> None:
    """What is not simple is shown as it stands, never told wrongly."""
    assert schedule_words(schedule) == words
