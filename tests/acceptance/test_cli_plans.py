"""plan, approve, apply, run, explain, due, forecast: what they print, and how they end."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from tests.acceptance.shop import Shop

TOTALS = ["delete", "anonymise", "hand_over", "restrict", "review", "keep", "held", "blocked"]


def test_plan_prints_its_contract(shop: Shop) -> None:
    """`plan --json` has the documented shape: head, every total, and the items with reasons."""
    shop.questions(1, 2, 3, 50, 60)
    plan = shop("plan", "--json").json
    assert plan.keys() == {"plan", "at", "policies", "totals", "items"}
    assert sorted(plan["totals"]) == sorted(TOTALS)
    assert (plan["totals"]["delete"], plan["totals"]["keep"]) == (2, 3)
    assert [p["policy"] for p in plan["policies"]] == ["form-monthly", "letters-consent"]
    assert all(p.keys() == {"policy", "digest", "approved"} for p in plan["policies"])
    assert [i["key"] for i in plan["items"]] == ["4", "5"]
    item = plan["items"][0]
    assert item.keys() == {
        *("location", "key", "policy", "action", "earliest", "due", "because", "findings")
    }
    assert (item["location"], item["policy"], item["action"]) == (
        *("enquiries/form", "form-monthly", "delete"),
    )
    assert item["because"]


def test_plan_deletes_nothing_and_lists_the_kept_ones_on_request(shop: Shop) -> None:
    """A plan only looks; `--all` shows the records that stay."""
    shop.questions(1, 50)
    everything = shop("plan", "form-monthly", "--all", "--json").json["items"]
    assert [(i["key"], i["action"]) for i in everything] == [("1", "keep"), ("2", "delete")]
    assert shop.ids() == [1, 2]


def test_plan_says_by_exit_code_whether_anything_would_change(shop: Shop) -> None:
    """8 with `--exit-code` where a record would be disposed of, 0 where none would."""
    shop.questions(1)
    shop("plan", "--exit-code")
    shop.questions(50)
    shop("plan")
    shop("plan", "--exit-code", code=8)


def test_plan_looks_from_another_day(shop: Shop) -> None:
    """`--at DATE` is the end of that day in the organisation's zone; nonsense is refused."""
    shop.questions(1)
    later = (datetime.now(UTC) + timedelta(days=90)).date().isoformat()
    plan = shop("plan", "--at", later, "--json").json
    assert plan["totals"]["delete"] == 1
    assert plan["at"][11:19] in ("22:59:59", "21:59:59")
    assert "not a date" in shop("plan", "--at", "2026-02-30", code=2).err


def test_plan_for_people_has_a_footer_with_totals_and_zone(shop: Shop) -> None:
    """A table on stdout; what else the reader must know on stderr."""
    shop.questions(1, 2, 50)
    ended = shop("plan")
    assert "delete 1, keep 2" in ended.out
    assert "Europe/Oslo" in ended.out
    assert "not approved" in ended.err


def test_a_key_cannot_play_tricks_on_the_terminal(shop: Shop) -> None:
    """Control characters in a key are shown, not sent."""
    shop.sql(
        "DROP TABLE form",
        "CREATE TABLE form (id TEXT PRIMARY KEY, received_at TEXT, email TEXT)",
        "INSERT INTO form VALUES ('a' || char(27) || '[2Jb [red]c', '2020-01-01 00:00:00', '')",
    )
    out = shop("plan", "form-monthly").out
    assert "\x1b" not in out
    assert "\\x1b[2Jb [red]c" in out


def test_a_run_of_an_approved_policy_disposes_and_says_what_it_did(shop: Shop) -> None:
    """approve, run: due records are gone and verified, the others are there."""
    shop.questions(1, 2, 3, 50, 60)
    assert "approved" in shop("run", "form-monthly", code=6).err
    shop("approve", "form-monthly", "--by", "anna")
    report = shop("run", "form-monthly", "--json").json
    assert report.keys() == {"run", "policy", "state", "counts", "problems", "exit_code"}
    assert (report["state"], report["counts"]["verified"]) == ("done", 2)
    assert shop.ids() == [1, 2, 3]
    approvals = [json.loads(x) for x in shop("audit", "list", "--json").out.splitlines()]
    assert {"user:anna"} == {a["actor"] for a in approvals if a["type"] == "policy.approved"}


def test_an_unknown_policy_is_one_clear_error(shop: Shop) -> None:
    """2, what is wrong and what may have been meant; as JSON where JSON was asked for."""
    for command in ("plan", "run", "approve"):
        ended = shop(command, "form-montly", code=2)
        assert ended.err.startswith("error: there is no policy `form-montly`")
        assert "hint: did you mean `form-monthly`?" in ended.err
    error = shop("run", "form-montly", "--json", code=2).error
    assert error.keys() == {"code", "message", "hint", "place", "exit_code"}
    assert (error["code"], error["exit_code"]) == ("policy-unknown", 2)


def test_a_limit_stops_a_run_before_its_first_act(shop: Shop) -> None:
    """4, and every record is still there."""
    shop.change('schedule: "0 3 * * *"', 'schedule: "0 3 * * *"\n    limits: {records: 1}')
    shop.questions(1, 2, 3, 50, 60)
    shop("approve", "form-monthly")
    shop("run", "form-monthly", code=4)
    assert shop.ids() == [1, 2, 3, 4, 5]
    assert shop("status", "--check", code=None).code in (1, 7)


def test_a_location_that_cannot_be_read_is_named(shop: Shop) -> None:
    """3 and the location on stderr; the other locations are still listed."""
    shop.questions(50)
    shop.change("systems:", 'systems:\n  lists: {connector: sql, url: "sqlite:///../lists.db"}')
    shop.change("system: website\n        table: letters", "system: lists\n        table: letters")
    ended = shop("plan", "--json", code=3)
    assert [i["key"] for i in ended.json["items"]] == ["1"]
    assert "letters/list" in ended.err
    assert shop("due", "--overdue", "--json", code=3).json


def test_missing_credentials_are_told_apart(shop: Shop) -> None:
    """12 where a secret is missing, in plans and in runs."""
    shop.questions(1, 2, 50)
    shop("approve", "form-monthly")
    shop.change('url: "sqlite:///../website.db"', "url: {env: NO_SUCH_SECRET}")
    assert "NO_SUCH_SECRET" in shop("plan", code=12).err
    shop("approve", "form-monthly")
    shop("run", "form-monthly", code=12)
    shop("doctor", code=12)


def test_a_plan_file_is_approved_and_applied_once(shop: Shop) -> None:
    """Exactly the records of the file go; a second time another run holds it (11)."""
    shop.questions(1, 2, 3, 50, 60)
    shop("plan", "form-monthly", "-o", "plan.json")
    assert (shop.folder / "plan.json").stat().st_mode & 0o077 == 0
    shop("apply", "plan.json", code=6)
    shop("approve", "plan.json")
    shop.questions(70)
    applied = shop("apply", "plan.json", "--json").json
    assert applied.keys() == {"plan", "runs", "drifted"}
    assert shop.ids() == [1, 2, 3, 6]
    shop("apply", "plan.json", code=11)


def test_what_drifted_since_the_plan_is_left_alone_and_listed(shop: Shop) -> None:
    """5: a record that changed and one that is gone are named with their keys."""
    shop.questions(1, 2, 3, 4, 50, 60, 70)
    shop("plan", "form-monthly", "--out", "plan.json")
    shop("approve", "plan.json")
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    shop.sql(f"UPDATE form SET received_at = '{now}' WHERE id = 5", "DELETE FROM form WHERE id = 6")
    applied = shop("apply", "plan.json", "--json", code=5).json
    assert {(d["key"], d["outcome"]) for d in applied["drifted"]} == {
        ("5", "changed"),
        ("6", "already_absent"),
    }
    assert shop.ids() == [1, 2, 3, 4, 5]


def test_a_record_held_since_the_plan_is_kept(shop: Shop) -> None:
    """6: the hold came between plan and apply."""
    shop.questions(1, 2, 50)
    shop("plan", "form-monthly", "-o", "plan.json")
    shop("approve", "plan.json")
    shop(
        *("hold", "add", "--case", "C-1", "--reason", "claim", "--owner", "legal"),
        *("--review-by", "2030-01-01", "--location", "enquiries/form", "--record", "3"),
    )
    left = shop("apply", "plan.json", "--json", code=6).json["drifted"]
    assert left == [{"location": "enquiries/form", "key": "3", "outcome": "held"}]
    assert shop.ids() == [1, 2, 3]


def test_a_plan_of_other_policies_is_stale(shop: Shop) -> None:
    """5 for approve and apply where a policy changed after the plan was made."""
    shop.questions(50)
    shop("plan", "form-monthly", "-o", "plan.json")
    shop.change("delete_at_latest: 1 month", "delete_at_latest: 2 months")
    assert "changed" in shop("approve", "plan.json", code=5).err
    shop("apply", "plan.json", code=5)
    shop("approve", "policies/shop.yaml", code=2)


def test_a_run_that_waits_goes_on_when_it_is_approved(shop: Shop) -> None:
    """`approval: each_run`: run ends with 6, approve sets it back to work, the daemon ends it."""
    shop.change('schedule: "0 3 * * *"', 'schedule: "0 3 * * *"\n    approval: each_run')
    shop.questions(1, 2, 3, 50)
    shop("approve", "form-monthly")
    shop("run", "form-monthly", code=6)
    assert shop.ids() == [1, 2, 3, 4]
    assert "waiting" in shop("approve", "form-monthly", "--by", "bo").err
    shop("daemon", "--once")
    assert shop.ids() == [1, 2, 3]
    lines = shop("audit", "list", "--type", "policy.approved", "--json").out.splitlines()
    assert json.loads(lines[-1])["actor"] == "user:bo"
    assert json.loads(lines[-1])["run"] == 1


def test_explain_gives_every_reason_and_the_policy_in_words(shop: Shop) -> None:
    """One record: verdict, dates, reasons, and the policies that speak of it."""
    shop.questions(50)
    found = shop("explain", "enquiries/form", "1", "--json").json
    assert (found["action"], found["policy"]) == ("delete", "form-monthly")
    assert found["because"]
    assert [p["policy"] for p in found["policies"]] == ["form-monthly"]
    text = shop("explain", "enquiries/form", "1").out
    assert "action:      delete" in text
    assert "the record is deleted; this cannot be undone" in text
    assert "no such record" in shop("explain", "enquiries/form", "9", code=2).err
    near = shop("explain", "enquiries/from", "1", code=2).err
    assert "did you mean `enquiries/form`?" in near


def test_due_lists_what_is_late_and_says_so(shop: Shop) -> None:
    """7 with `--overdue` where records outlive their promise, 0 where none does."""
    shop.questions(1)
    shop("due", "--overdue")
    shop.questions(50, 90)
    found = shop("due", "--overdue", "--json", code=7).json
    assert [i["key"] for i in found] == ["3", "2"]
    assert found[0]["overdue_days"] > found[1]["overdue_days"] > 0
    assert "2 overdue" in shop("due").out


def test_forecast_counts_by_policy_and_month(shop: Shop) -> None:
    """Records by the month in which they become due; later and undated ones are counted too."""
    shop.questions(1, 2, 50)
    shop.questions(5, table="letters")
    until = (datetime.now(UTC) + timedelta(days=60)).date().isoformat()
    found = shop("forecast", "--until", until, "--json").json
    assert found.keys() == {"at", "until", "timezone", "months", "later", "undated"}
    assert sum(m["records"] for m in found["months"] if m["policy"] == "form-monthly") == 3
    assert found["undated"] == {"letters-consent": 1}
    assert "3 records until" in shop("forecast", "--until", until).out
