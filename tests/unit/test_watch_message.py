"""What an alarm message says, and what it can never do to a header or a terminal."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.watch.advice import ADVICE, advice
from retention.watch.alarms import Alarm, Telling, What
from retention.watch.mail import Mail
from retention.watch.message import MOST_LISTED, Message

ROOT = Path(__file__).resolve().parents[2]
AT = datetime(2026, 6, 15, 12, tzinfo=UTC)
MAIL = Mail(
    "mail.example.org", 587, False, True, None, None, "retention@example.org",
    ("admin@example.org", "dpo@example.org"),
)  # fmt: skip


def telling(number: int = 1, kind: str = "limit", what: What = What.BEGAN, **facts: str) -> Telling:
    """An alarm of two hours ago, over for an hour where it is over."""
    over = AT - timedelta(hours=1) if what is What.ENDED else None
    policy, detail = facts.get("policy", "contact-form"), facts.get("detail", "300 of 200 records")
    return Telling(Alarm(number, policy, kind, detail, AT - timedelta(hours=2), over), what)


def message(*tellings: Telling) -> Message:
    return Message(tellings, "example.org/retention", "Europe/Oslo", AT)


def test_a_message_says_what_since_when_and_what_to_do() -> None:
    """Plain sentences, the organisation's time, and the command to start with."""
    said = message(telling(), telling(2, "missed", What.ENDED, policy="crm")).text()
    assert said == (
        "The retention service of example.org/retention reports, 2026-06-15 14:00 (Europe/Oslo).\n"
        "\n"
        "NEEDS SOMEBODY\n"
        "* limit: contact-form\n"
        "  A plan was larger than its limits, so nothing was done.\n"
        "  Detail: 300 of 200 records\n"
        "  Since: 2026-06-15 12:00 (Europe/Oslo)\n"
        "  What to do: Look at `retention plan contact-form`. If it is right, raise the limit and "
        "approve; if not, correct the policy.\n"
        "\n"
        "OVER\n"
        "* missed: crm\n"
        "  From 2026-06-15 12:00 (Europe/Oslo) to 2026-06-15 13:00 (Europe/Oslo).\n"
        "\n"
        "How things stand: retention status\n"
        "What each alarm means: docs/how-to/when-it-alarms.md\n"
    )


@pytest.mark.parametrize(
    ("tellings", "subject"),
    [
        ([telling()], "1 alarm: limit (contact-form)"),
        ([telling(policy="")], "1 alarm: limit"),
        ([telling(what=What.ENDED)], "over: limit (contact-form)"),
        ([telling(), telling(2, what=What.ENDED)], "1 alarm: limit (contact-form); 1 over"),
        (
            [telling(n, policy=f"p{n}") for n in range(1, 6)],
            "5 alarms: limit (p1), limit (p2), limit (p3), …",
        ),
    ],
)
def test_the_subject_says_how_many_and_which(tellings: list[Telling], subject: str) -> None:
    """A telephone shows no more than this."""
    assert message(*tellings).subject() == f"[retention example.org/retention] {subject}"


def test_a_storm_is_counted_beyond_the_first_fifty() -> None:
    """What needs somebody is written out before what is over; nothing is left unsaid."""
    over = [telling(n, "missed", What.ENDED) for n in range(1, 41)]
    open_ones = [telling(n) for n in range(41, 1041)]
    storm = message(*over, *open_ones)
    text = storm.text()
    assert text.count("* limit") == MOST_LISTED
    assert "And 990 more: 950 × limit, 40 × missed." in text
    body = storm.to_json()
    assert (len(body["alarms"]), body["more"]) == (MOST_LISTED, {"limit": 950, "missed": 40})


def test_the_json_body_has_its_documented_form() -> None:
    """docs/how-to/watch-it.md shows this object; programs rely on it."""
    body = message(telling(), telling(2, what=What.ENDED, policy="")).to_json()
    assert json.loads(json.dumps(body)) == {
        "version": 1,
        "origin": "example.org/retention",
        "at": "2026-06-15T12:00:00.000Z",
        "text": "[retention example.org/retention] 1 alarm: limit (contact-form); 1 over",
        "alarms": [
            {
                "id": 1,
                "policy": "contact-form",
                "kind": "limit",
                "detail": "300 of 200 records",
                "state": "began",
                "since": "2026-06-15T10:00:00.000Z",
                "ended": None,
                "what": ADVICE["limit"].what,
                "do": advice("limit", "contact-form").do,
            },
            {
                "id": 2,
                "policy": None,
                "kind": "limit",
                "detail": "300 of 200 records",
                "state": "ended",
                "since": "2026-06-15T10:00:00.000Z",
                "ended": "2026-06-15T11:00:00.000Z",
                "what": ADVICE["limit"].what,
                "do": advice("limit", "").do,
            },
        ],
        "more": {},
    }
    page = (ROOT / "docs" / "how-to" / "watch-it.md").read_text(encoding="utf-8")
    shown = json.loads(re.findall(r"```json\n(.*?)```", page, re.DOTALL)[0])
    assert shown.keys() == body.keys()
    assert shown["alarms"][0].keys() == body["alarms"][0].keys()


HOSTILE = st.text(max_size=40) | st.sampled_from(
    [
        "a\r\nBcc: everybody@example.com",
        "a\nSubject: other",
        "\r\n\r\n<html>",
        "a\x00b",
        "\x1b[2J",
        "  ",
        "=?utf-8?q?a=0AB?=",
    ]
)


@settings(deadline=None, max_examples=150)
@given(HOSTILE, HOSTILE, HOSTILE, st.sampled_from(What))
def test_no_text_of_an_alarm_becomes_a_header(
    policy: str, kind: str, detail: str, what: What
) -> None:
    """Seven headers of ours besides MIME's, whatever a name holds; no control character inside."""
    wanted = message(telling(1, kind, what, policy=policy, detail=detail))
    sent = message_from_bytes(MAIL.compose(wanted).as_bytes(), policy=default)
    assert sorted(sent.keys()) == [
        *("Auto-Submitted", "Content-Transfer-Encoding", "Content-Type", "Date", "From"),
        *("MIME-Version", "Message-ID", "Subject", "To"),
    ]
    assert str(sent["To"]) == "admin@example.org, dpo@example.org"
    assert str(sent["Subject"]).isprintable()
    assert all(line.isprintable() for line in wanted.text().splitlines())


def test_every_kind_of_alarm_has_words_and_stands_on_the_page() -> None:
    """What the program raises, what the mail explains and what the page lists are the same."""
    raised = set()
    call = re.compile(r"\balarm\(\s*[\w.]+,\s*tx,\s*[\w.\"]*,\s*(?:\"([a-z-]+)\"|([A-Z_]+)\b)")
    for path in (ROOT / "retention").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        constants = dict(re.findall(r"^([A-Z_]+) = \"([a-z-]+)\"$", text, re.MULTILINE))
        raised |= {kind or constants[name] for kind, name in call.findall(text)}
    tally = (ROOT / "retention" / "run" / "tally.py").read_text(encoding="utf-8")
    wrong = re.findall(r"wrong = \{(.*?)\n    \}", tally, re.DOTALL)
    raised |= set(re.findall(r"\"([a-z-]+)\":", wrong[0]))
    page = (ROOT / "docs" / "how-to" / "when-it-alarms.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    listed = {kind for row in rows for kind in re.findall(r"`([a-z-]+)`", row)}
    assert {"limit", "bug", "missed", "still-there", "nobody-works"} <= raised
    assert raised - ADVICE.keys() == set()
    assert ADVICE.keys() == listed


def test_an_unknown_kind_still_gets_a_sentence() -> None:
    """A newer machine may raise what this one has no words for."""
    assert advice("something-new", "form").do
