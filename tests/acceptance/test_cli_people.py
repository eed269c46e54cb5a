"""hold, event, consent: orders of people, their numbers, and what they protect or end."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.shop import Shop

HOLD = ("hold", "add", "--case", "C-7", "--reason", "a claim by Kari", "--owner", "legal")


@pytest.mark.parametrize(
    "scope",
    [
        ("--subject", "Person3@Example.org"),
        ("--cluster", "enquiries"),
        ("--location", "enquiries/form"),
        ("--location", "enquiries/form", "--record", "3"),
    ],
    ids=["subject", "cluster", "location", "record"],
)
def test_a_hold_keeps_what_it_covers_until_it_is_released(
    shop: Shop, scope: tuple[str, ...]
) -> None:
    """The number is all of stdout; a run leaves the record; after the release it goes."""
    shop.questions(1, 2, 50)
    shop("approve", "form-monthly")
    assert shop(*HOLD, "--review-by", "2030-01-01", *scope).out == "1\n"
    assert shop("plan", "form-monthly", "--json").json["totals"]["held"] >= 1
    shop("run", "form-monthly")
    assert 3 in shop.ids()
    shop("hold", "release", "1", "--reason", "settled")
    shop("run", "form-monthly")
    assert 3 not in shop.ids()


def test_a_hold_on_what_does_not_exist_is_refused(shop: Shop) -> None:
    """A misspelt hold would protect nothing: 2, with near names, and no row is written."""
    shop.questions(50)
    due = ("--review-by", "2030-01-01")
    near = shop(*HOLD, *due, "--cluster", "enquirie", code=2).err
    assert "did you mean `enquiries`?" in near
    assert "did you mean" in shop(*HOLD, *due, "--location", "enquiries/from", code=2).err
    assert "email" in shop(*HOLD, *due, "--subject", "mail:x@example.org", code=2).err
    assert "needs its kind" in shop(*HOLD, *due, "--subject", "somebody", code=2).err
    shop(*HOLD, *due, code=2)
    shop(*HOLD, *due, "--cluster", "enquiries", "--location", "enquiries/form", code=2)
    shop(*HOLD, *due, "--cluster", "enquiries", "--record", "1", code=2)
    shop(*HOLD, "--review-by", "soon", "--cluster", "enquiries", code=2)
    shop(*HOLD, *due, "--cluster", "enquiries", "--case", "kari@example.org", code=2)
    shop("hold", "release", "9", "--reason", "x", code=2)
    assert shop("hold", "list", "--json").json == []


def test_holds_are_listed_with_case_and_review(shop: Shop) -> None:
    """One past its review is marked; released ones are listed on request only."""
    shop(*HOLD, "--review-by", "2020-01-01", "--cluster", "enquiries", "--json")
    shop(*HOLD, "--review-by", "2030-01-01", "--location", "enquiries/form")
    assert "1 past their review" in shop("hold", "list").out
    shop("hold", "release", "1", "--reason", "settled")
    shop("hold", "release", "1", "--reason", "settled", code=2)
    assert [h["hold"] for h in shop("hold", "list", "--json").json] == [2]
    assert [h["hold"] for h in shop("hold", "list", "--all", "--json").json] == [1, 2]


def test_withdrawn_consent_ends_its_purpose_only(shop: Shop) -> None:
    """By purpose or by cluster; a purpose that no policy speaks of is refused with the list."""
    shop.questions(5, 6, 7, table="letters")
    shop.questions(5, 6, 7)
    shop("approve", "letters-consent")
    ended = shop(
        *("consent", "withdraw", "--subject", "email:person2@example.org"),
        *("--purpose", "newsletters"),
        code=2,
    )
    assert "`sending the newsletter`" in ended.err
    number = shop(
        *("consent", "withdraw", "--subject", "email:person2@example.org"),
        *("--purpose", "sending the newsletter", "--at", "2026-01-05"),
    ).out
    assert number == "1\n"
    shop("run", "letters-consent")
    assert (shop.ids("letters"), shop.ids()) == ([1, 3], [1, 2, 3])
    shown = shop("consent", "show", "--subject", "person2@example.org", "--json").json
    assert [s["purpose"] for s in shown] == ["sending the newsletter"]
    assert shown[0]["at"] == "2026-01-04T23:00:00.000Z"


def test_the_event_of_a_withdrawal_belongs_to_the_one_consent(shop: Shop) -> None:
    """`event fire consent_withdrawn` works where one cluster rests on consent, else it asks."""
    shop.questions(5, 6, 7, table="letters")
    shop("approve", "letters-consent")
    shop("event", "fire", "consent_withdrawn", "--subject", "person1@example.org")
    shop("run", "letters-consent")
    assert shop.ids("letters") == [2, 3]
    shop.change("basis: legitimate_interest", "basis: consent")
    asked = shop("event", "fire", "consent_withdrawn", "--subject", "a@example.org", code=2)
    assert "retention consent withdraw" in asked.err


def test_events_start_periods_and_can_be_taken_back(shop: Shop) -> None:
    """Only events that a policy names; never in the future; revoke needs one to revoke."""
    shop.change("starting_point: received", "starting_point: {event: case_closed}")
    shop.questions(50, 60, 70)
    shop("approve", "form-monthly")
    fire = ("event", "fire", "case_closed", "--subject", "person2@example.org")
    assert "did you mean" in shop(*fire[:2], "case_close", *fire[3:], code=2).err
    assert "future" in shop(*fire, "--at", "2090-01-01", code=2).err
    assert shop(*fire, "--at", "2025-01-01").out == "1\n"
    assert shop("plan", "form-monthly", "--json").json["totals"]["delete"] == 1
    shop("event", "revoke", "case_closed", "--subject", "person2@example.org")
    assert shop("plan", "form-monthly", "--json").json["totals"]["delete"] == 0
    shop("event", "revoke", "case_closed", "--subject", "person2@example.org", code=2)


def test_no_order_leaves_personal_data_in_log_or_ledger(shop: Shop) -> None:
    """Addresses become keyed hashes; reasons stay out of the log."""
    shop.questions(50, table="letters")
    shop(*HOLD, "--review-by", "2030-01-01", "--subject", "person1@example.org")
    shop("hold", "release", "1", "--reason", "Kari agreed")
    subject = ("--subject", "person1@example.org")
    shop("consent", "withdraw", *subject, "--purpose", "letters")
    shop("freeze", "--reason", "Kari asked")
    log = shop("audit", "list", "--json").out
    types = [json.loads(line)["type"] for line in log.splitlines()]
    assert {"hold.added", "hold.released", "consent.withdrawn", "freeze"} <= set(types)
    assert "person1" not in log
    assert "Kari" not in log
    ledger = b"".join(p.read_bytes() for p in (shop.folder / ".retention").glob("ledger.db*"))
    assert b"person1" not in ledger


def test_who_ordered_is_the_actor(shop: Shop) -> None:
    """`--by NAME` stands in the log, the system account's name otherwise; empty is refused."""
    shop(*HOLD, "--review-by", "2030-01-01", "--cluster", "enquiries", "--by", "Bo Holm")
    shop(*HOLD, "--review-by", "2030-01-01", "--cluster", "enquiries")
    lines = shop("audit", "list", "--type", "hold.added", "--json").out.splitlines()
    first, second = (json.loads(line)["actor"] for line in lines)
    assert first == "user:Bo Holm"
    assert second.startswith("user:")
    shop("freeze", "--reason", "x", "--by", " ", code=2)
