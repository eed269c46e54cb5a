"""The worked examples that Microsoft publishes for Purview's four principles of retention.

Facts from its documentation of retention policies and labels, in our grammar: an organisation-wide
policy applies to "*", a scoped one to the cluster, a label is a policy that selects by `where`.
`retain only` is `then: keep`, `retain and delete` a minimum with `then: delete`.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from retention.decide.model import Action, Hold
from tests.unit.decide_cases import bundle, decide, moment, policy, received

CREATED = "2020-06-01"
LABEL = {"label": "yes"}


def delete(years: int, **said: Any) -> dict[str, Any]:
    return policy(delete_at_latest=f"{years} years", **said)


def retain(years: int, **said: Any) -> dict[str, Any]:
    return policy(keep_at_least=f"{years} years", **{"then": "keep", **said})


def gone_after(policies: dict[str, Any], years: int | None) -> None:
    """Kept through the year's end of the example, deleted at the next daily look."""
    rules = bundle(policies)
    fields = {"label": "yes"}
    last = date(2020 + (years or 30), 5, 31)
    before = decide(rules, moment(last, last), received(CREATED), fields)
    assert before.action is Action.KEEP
    later = date(2020 + (years or 30), 6, 2)
    after = decide(rules, moment(later, date(later.year, 6, 3)), received(CREATED), fields)
    assert after.action is (Action.KEEP if years is None else Action.DELETE)


EXAMPLES = {
    "retention wins over deletion": (
        {"a": delete(3, applies_to="*"), "b": retain(5, where=LABEL)},
        5,
    ),
    "the longest retention wins": ({"a": retain(5, applies_to="*"), "b": retain(10)}, None),
    "the longest retention wins, then the deletion": (
        {"a": retain(5, applies_to="*"), "b": retain(10, then="delete")},
        10,
    ),
    "a label's deletion wins over policies'": (
        {"a": delete(5), "b": delete(10), "c": delete(7, where=LABEL)},
        7,
    ),
    "a scoped deletion wins over an organisation-wide one": (
        {"a": delete(10, applies_to="*"), "b": delete(5)},
        5,
    ),
    "the shortest deletion wins between equals": ({"a": delete(10), "b": delete(7)}, 7),
    "combined: delete after 5, retain 3 and delete, label retains 7": (
        {"a": delete(5), "b": retain(3, then="delete"), "c": retain(7, where=LABEL)},
        7,
    ),
    "combined: delete after 10, scoped retain 5 and delete, label retain 3 and delete": (
        {
            "a": delete(10, applies_to="*"),
            "b": retain(5, then="delete"),
            "c": retain(3, then="delete", where=LABEL),
        },
        5,
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_published_example(name: str) -> None:
    """The same outcome as published."""
    policies, years = EXAMPLES[name]
    gone_after(policies, years)


def test_a_ten_year_scope_does_not_lose_to_a_wider_shorter_one() -> None:
    """Explicit beats implicit also where it is longer."""
    gone_after({"a": delete(5, applies_to="*"), "b": delete(10)}, 10)


def test_a_hold_falls_under_the_first_principle() -> None:
    """While it lasts nothing goes; once released, the rules go on as if it had never been."""
    rules = bundle({"a": delete(3)})
    now = moment("2026-01-01", "2026-02-01")
    hold = Hold(1, "c", cluster="enquiries")
    assert decide(rules, now, received(CREATED), holds=[hold]).action is Action.HELD
    assert decide(rules, now, received(CREATED)).action is Action.DELETE


def test_a_shorter_period_from_a_later_start_can_be_the_longer_one() -> None:
    """Five years from the last change beat seven from creation, if the change came late."""
    rules = bundle(
        {"a": retain(7), "b": retain(5, starting_point="answered")},
    )
    dates = {**received(CREATED), "answered_at": date(2026, 6, 1)}
    verdict = decide(rules, moment("2030-01-01"), dates)
    assert verdict.earliest == date(2031, 6, 2)
