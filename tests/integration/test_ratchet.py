"""What a change of the policy files may do by itself: the ratchet, on a real store."""

from __future__ import annotations

from pathlib import Path

import pytest

from retention.errors import UsageError, Withheld
from tests.integration.shop import COLUMNS, HEAD, MONTHLY, Shop


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Rows of 0, 10, 40 and 400 days."""
    made = Shop(tmp_path)
    made.write(MONTHLY)
    for key, age in ((1, 0), (2, 10), (3, 40), (4, 400)):
        made.put(key, age)
    return made


def test_a_new_policy_disposes_of_nothing_before_it_is_approved(shop: Shop) -> None:
    """Neither by hand nor by the schedule; and the passed firing is an alarm."""
    with pytest.raises(Withheld):
        shop.run()
    shop.daemon_once()
    shop.clock.forward(days=1)
    assert shop.daemon_once() == []
    assert shop.keys() == {1, 2, 3, 4}
    assert ("form-monthly", "not-approved") in shop.alarms()
    shop.approve("form-monthly")
    shop.run()
    assert shop.keys() == {1, 2}


def test_a_shorter_maximum_waits_and_the_approved_one_is_enforced(shop: Shop) -> None:
    """A week instead of a month: until somebody approves, a month."""
    shop.approve("form-monthly")
    shop.write(MONTHLY.replace("1 month", "1 week"))
    shop.run()
    assert shop.keys() == {1, 2}
    assert [e["policy"] for e in shop.entries("policy.weakening_refused")] == ["form-monthly"]
    shop.approve("form-monthly")
    shop.run()
    assert shop.keys() == {1}


def test_a_longer_minimum_acts_at_once(shop: Shop) -> None:
    """What protects needs nobody's approval."""
    shop.write(MONTHLY.replace("delete_at_latest: 1 month", "keep_at_least: 20 days"))
    shop.approve("form-monthly")
    shop.write(MONTHLY.replace("delete_at_latest: 1 month", "keep_at_least: 1 year"))
    shop.run()
    assert shop.keys() == {1, 2, 3}


def test_a_new_policy_that_keeps_acts_at_once(shop: Shop) -> None:
    """Also beside the approved one, and only for what it selects."""
    shop.approve("form-monthly")
    shop.sql("UPDATE form SET status = 'claim' WHERE id = 4")
    shop.write(
        MONTHLY
        + """
  claims-stay:
    applies_to: enquiries/form
    where: {status: [claim]}
    starting_point: received
    keep_at_least: 5 years
    then: keep
"""
    )
    shop.run()
    assert shop.keys() == {1, 2, 4}


def test_a_longer_maximum_acts_at_once(shop: Shop) -> None:
    """Nobody wants these records deleted any more: a deletion cannot be taken back."""
    shop.approve("form-monthly")
    shop.write(MONTHLY.replace("1 month", "1 year"))
    shop.run()
    assert shop.keys() == {1, 2, 3}


def test_a_rule_that_vanished_is_enforced_until_its_removal_is_approved(shop: Shop) -> None:
    """Removing a file from git neither stops nor forgets a promise."""
    shop.approve("form-monthly")
    shop.write(
        """
  other: {applies_to: enquiries/form, starting_point: received, keep_at_least: 1 day, then: keep}
"""
    )
    shop.run()
    assert shop.keys() == {1, 2}
    shop.put(5, 300)
    shop.approve("form-monthly")
    with pytest.raises(Exception, match="there is no policy"):
        shop.run()
    assert shop.keys() >= {5}


def test_a_minimum_that_vanished_protects_until_its_removal_is_approved(shop: Shop) -> None:
    """A keeping rule that somebody deleted from the files goes on keeping."""
    keeps = """
  claims-stay: {applies_to: enquiries/form, starting_point: received, keep_at_least: 5 years,
                then: keep}
"""
    shop.write(MONTHLY + keeps)
    shop.approve("form-monthly")
    shop.write(MONTHLY)
    shop.run()
    assert shop.keys() == {1, 2, 3, 4}
    shop.approve("claims-stay")
    shop.run()
    assert shop.keys() == {1, 2}


@pytest.mark.parametrize(
    "loosened",
    [
        MONTHLY + "    limits: {records: 100000}\n",
        MONTHLY + "    approval: none\n",
        MONTHLY.replace("delete\n", "{anonymise: {name: null}}\n"),
    ],
)
def test_a_loosened_lock_or_another_act_waits(shop: Shop, loosened: str) -> None:
    """The change is written down as refused, and the approved version stands."""
    shop.approve("form-monthly")
    shop.write(loosened)
    with shop.open() as home:
        assert home.in_force.standing("form-monthly").value == "changed"
    assert len(shop.entries("policy.weakening_refused")) == 1


def test_wording_needs_no_new_approval(shop: Shop) -> None:
    """A better title is no other policy."""
    shop.approve("form-monthly")
    shop.write(MONTHLY + "    title: Emptied monthly\n    owner: front desk\n")
    with shop.open() as home:
        assert home.in_force.standing("form-monthly").value == "approved"


def test_a_broken_file_stops_its_own_policies_and_no_others(shop: Shop) -> None:
    """A file that is no YAML: what was approved in sound files goes on, the hidden rules wait."""
    shop.sql("CREATE TABLE orders (id INTEGER PRIMARY KEY, placed TEXT)")
    shop.sql("INSERT INTO orders VALUES (1, '2020-01-01')")
    orders = """
clusters:
  orders:
    purpose: selling
    basis: contract
    locations:
      rows: {system: web, table: orders, key: id, dates: {placed: placed}}
policies:
  orders-go: {applies_to: orders, starting_point: placed, delete_at_latest: 1 year, then: delete,
              schedule: "0 3 * * *"}
"""
    second = shop.folder / "policies" / "orders.yaml"
    second.write_text(orders, encoding="utf-8")
    shop.approve("form-monthly", "orders-go")
    second.write_text(orders.replace("policies:", "policies: ["), encoding="utf-8")
    shop.daemon_once()
    shop.clock.forward(days=1)
    shop.daemon_once()
    assert shop.keys() == {1, 2}
    assert shop.sql("SELECT count(*) FROM orders") == [(1,)]
    with shop.open() as home:
        assert home.in_force.standing("orders-go").value == "broken"
    second.write_text(orders.replace("placed, del", "placed, nonsense: 1, del"), encoding="utf-8")
    shop.write(MONTHLY.replace("1 month", "1 week"))
    with pytest.raises(UsageError, match="does not load"):
        shop.approve("form-monthly")


def test_a_broken_policy_stops_its_neighbours_on_the_same_records(shop: Shop) -> None:
    """The broken one may have been the one that protects."""
    shop.approve("form-monthly")
    shop.write(
        MONTHLY
        + """
  claims-stay: {applies_to: enquiries/form, starting_point: no_such_date, keep_at_least: 5 years,
                then: keep}
"""
    )
    with pytest.raises(Exception, match="has errors"):
        shop.run()
    assert shop.keys() == {1, 2, 3, 4}


def test_the_head_of_the_files_counts_too(shop: Shop) -> None:
    """Another table under the same name is another policy: it waits."""
    shop.approve("form-monthly")
    shop.sql(f"CREATE TABLE other ({COLUMNS})")
    shop.write(MONTHLY, head=HEAD.replace("table: form", "table: other"))
    with shop.open() as home:
        assert home.in_force.standing("form-monthly").value == "changed"
