"""What a schedule text may say, and what it becomes."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from retention.errors import PolicyError
from retention.schedule.cron import ALIASES, fires, next_after, parse
from retention.schedule.fields import CronError

OSLO = ZoneInfo("Europe/Oslo")


def local(text: str, zone: ZoneInfo = OSLO) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def walls(
    text: str, start: str, count: int, zone: ZoneInfo = OSLO, both: bool = False
) -> list[str]:
    found = islice(fires(parse(text, both_day_fields=both), zone, local(start, zone)), count)
    return [f"{moment.astimezone(zone):%Y-%m-%d %H:%M}" for moment in found]


@pytest.mark.parametrize(
    ("said", "plain"),
    [
        ("0 3 1 * *", "0 3 1 * *"),
        ("  00\t03 01 * * ", "0 3 1 * *"),
        ("@quarterly", "0 0 1 1,4,7,10 *"),
        ("@Yearly", "0 0 1 1 *"),
        ("0 3 1 jan,JUL *", "0 3 1 1,7 *"),
        ("0 3 * * mon-fri", "0 3 * * 1-5"),
        ("0 3 * * 7", "0 3 * * 0"),
        ("0 3 * * fri-sun", "0 3 * * 5-7"),
        ("*/1 * * * *", "* * * * *"),
        ("5/20 * * * *", "5-59/20 * * * *"),
        ("59/15 * * * *", "59 * * * *"),
        ("0 0 1 dec/3 *", "0 0 1 12 *"),
        ("0 3 l * *", "0 3 L * *"),
        ("0 3 * * fri#2", "0 3 * * 5#2"),
        ("0 3 * * L5", "0 3 * * L5"),
        ("5,5,6 3 * * *", "5,6 3 * * *"),
    ],
)
def test_an_expression_is_frozen_as_plain_cron(said: str, plain: str) -> None:
    """What is stored means the same to every version of every cron program."""
    assert parse(said).text == plain
    assert parse(parse(said).text).text == plain


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("", "bad-cron"),
        ("0 3 1 *", "bad-cron"),
        ("0 0 3 1 * *", "bad-cron"),
        ("0 0 3 1 * * 2030", "bad-cron"),
        ("R 3 1 * *", "bad-cron"),
        ("1-1 * * * *", "bad-cron"),
        ("0 3 * jan-jan *", "bad-cron"),
        ("0 3 * * 0-7", "bad-cron"),
        ("0 22-2 * * *", "bad-cron"),
        ("60 * * * *", "bad-cron"),
        ("0 24 * * *", "bad-cron"),
        ("0 3 0 * *", "bad-cron"),
        ("0 3 * 13 *", "bad-cron"),
        ("0 3 * * 8", "bad-cron"),
        ("-5 * * * *", "bad-cron"),
        ("*/0 * * * *", "bad-cron"),
        ("*/90 * * * *", "bad-cron"),
        ("*,5 * * * *", "bad-cron"),
        ("0 3 ? * *", "bad-cron"),
        ("0 3 15W * *", "bad-cron"),
        ("0 3 * * 1#6", "bad-cron"),
        ("0 3 * * 1,2#1", "bad-cron"),
        ("0 3 * * foo", "bad-cron"),
        ("0\u00a03 1 * *", "bad-cron"),
        ("0 3 \u0661 * *", "bad-cron"),
        ("0 3 1 * *\n", "bad-cron"),
        ("@reboot", "bad-cron"),
        ("@midnight", "bad-cron"),
        ("H 3 * * *", "bad-cron"),
        ("0 3 1 * 1", "both-day-fields"),
        ("0 3 */2 * 1", "both-day-fields"),
        ("0 3 1-31 * 1", "both-day-fields"),
        ("0 0 31 2 *", "never-fires"),
        ("0 0 31 4,6,9,11 *", "never-fires"),
        ("0 0 30-31 feb *", "never-fires"),
    ],
)
def test_what_is_not_our_grammar_is_refused(said: str, code: str) -> None:
    """What another program reads differently, or what never fires, is an error."""
    with pytest.raises(CronError) as caught:
        parse(said)
    assert caught.value.code == code
    assert caught.value.message
    assert isinstance(caught.value, PolicyError)


def test_a_refusal_says_what_to_write_instead() -> None:
    """The hint of a range that runs backwards is an expression that is accepted."""
    with pytest.raises(CronError) as caught:
        parse("0 22-2 * * *")
    assert "`22-23,0-2`" in caught.value.hint
    assert parse("0 22-23,0-2 * * *").text == "0 22-23,0-2 * * *"


def test_h_is_frozen_by_the_name_alone() -> None:
    """`H` spreads by the policy's name, the same on every machine and in every process."""
    assert (
        parse("H H * * *", name="contact-form").text == parse("H H * * *", name="contact-form").text
    )
    assert parse("H H H * *", name="mail-quarterly").text == "8 6 2 * *"
    assert parse("H/15 H(1-4) * * H", name="mail-quarterly").text == "8-59/15 3 * * 6"


def test_h_spreads_and_never_picks_a_day_that_a_month_lacks() -> None:
    """A thousand names use every minute, and no day after the 28th."""
    texts = [parse("H 3 H * *", name=f"policy-{n}").text.split() for n in range(1000)]
    assert {int(t[0]) for t in texts} == set(range(60))
    assert max(int(t[2]) for t in texts) == 28


def test_both_day_fields_mean_either_when_that_is_said() -> None:
    """Said explicitly, day of month and day of week are cron's "or", in a form without stars."""
    assert walls("0 3 1 * 1", "2026-05-30T00:00", 3, both=True) == [
        "2026-06-01 03:00",
        "2026-06-08 03:00",
        "2026-06-15 03:00",
    ]
    assert parse("0 3 */10 * 1", both_day_fields=True).text == "0 3 1-31/10 * 1"
    with pytest.raises(CronError, match="numbered"):
        parse("0 3 1 * 1#1", both_day_fields=True)


@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_every_alias_fires_in_the_organisations_zone(alias: str) -> None:
    """An alias means local midnight (or the full hour), not midnight UTC."""
    moment = next_after(parse(alias), OSLO, local("2026-05-02T12:30"))
    assert moment.tzinfo is UTC
    expected = {
        "@hourly": "2026-05-02T13:00",
        "@daily": "2026-05-03T00:00",
        "@weekly": "2026-05-03T00:00",
        "@monthly": "2026-06-01T00:00",
        "@quarterly": "2026-07-01T00:00",
        "@yearly": "2027-01-01T00:00",
    }
    assert moment == local(expected[alias])


def test_special_days() -> None:
    """`L` is the last day of the month, `5#2` the second Friday, `L5` the last Friday."""
    assert walls("0 3 15,L * *", "2028-02-01T00:00", 3) == [
        "2028-02-15 03:00",
        "2028-02-29 03:00",
        "2028-03-15 03:00",
    ]
    assert walls("0 3 * * 5#2", "2026-12-01T00:00", 2) == ["2026-12-11 03:00", "2027-01-08 03:00"]
    assert walls("0 3 * * L5", "2026-12-01T00:00", 2) == ["2026-12-25 03:00", "2027-01-29 03:00"]


def test_rare_days_are_found() -> None:
    """29 February fires in leap years only, also across 2100, which is none, and on a Monday."""
    assert walls("0 3 29 2 *", "2095-01-01T00:00", 2) == ["2096-02-29 03:00", "2104-02-29 03:00"]
    assert walls("0 3 * 2 1#5", "2073-01-01T00:00", 1) == ["2112-02-29 03:00"]


@pytest.mark.parametrize(
    ("zone", "cron", "start", "expected"),
    [
        # 02:00 → 03:00: a time that does not exist fires at the next instant, 03:00.
        ("Europe/Oslo", "30 2 * * *", "2026-03-28T12:00", ["2026-03-29 03:00", "2026-03-30 02:30"]),
        # 03:00 → 02:00: a time that occurs twice fires once.
        ("Europe/Oslo", "30 2 * * *", "2026-10-24T12:00", ["2026-10-25 02:30", "2026-10-26 02:30"]),
        # Two times that meet at the end of the gap are one firing.
        (
            "Europe/Oslo",
            "0 2,3 * * *",
            "2026-03-28T12:00",
            ["2026-03-29 03:00", "2026-03-30 02:00"],
        ),
        # Midnight itself did not exist.
        (
            "America/Sao_Paulo",
            "@daily",
            "2018-11-03T12:00",
            ["2018-11-04 01:00", "2018-11-05 00:00"],
        ),
        # 23:30 occurred twice.
        (
            "America/Sao_Paulo",
            "30 23 * * *",
            "2018-02-17T12:00",
            ["2018-02-17 23:30", "2018-02-18 23:30"],
        ),
        # Half an hour is skipped: 02:00 → 02:30.
        (
            "Australia/Lord_Howe",
            "15 2 * * *",
            "2026-10-03T12:00",
            ["2026-10-04 02:30", "2026-10-05 02:15"],
        ),
        (
            "Australia/Lord_Howe",
            "45 1 * * *",
            "2026-04-04T12:00",
            ["2026-04-05 01:45", "2026-04-06 01:45"],
        ),
        # A whole day was skipped: 30 December 2011.
        (
            "Pacific/Apia",
            "0 3 30 12 *",
            "2011-12-01T12:00",
            ["2011-12-31 00:00", "2012-12-30 03:00"],
        ),
        ("Pacific/Apia", "0 3 * * *", "2011-12-29T12:00", ["2011-12-31 00:00", "2011-12-31 03:00"]),
        (
            "Atlantic/Azores",
            "30 0 * * *",
            "2026-03-28T12:00",
            ["2026-03-29 01:00", "2026-03-30 00:30"],
        ),
        (
            "Atlantic/Azores",
            "30 0 * * *",
            "2026-10-24T12:00",
            ["2026-10-25 00:30", "2026-10-26 00:30"],
        ),
    ],
)
def test_changes_of_clocks(zone: str, cron: str, start: str, expected: list[str]) -> None:
    """Twice means once, never means the next instant that exists (design.md §6.1)."""
    assert walls(cron, start, 2, ZoneInfo(zone)) == expected


def test_every_hour_is_once_per_wall_time() -> None:
    """With `*` hours the repeated hour is silent, so that no local time ever fires twice."""
    found = list(islice(fires(parse("*/30 * * * *"), OSLO, local("2026-10-25T01:15")), 5))
    assert [f"{m.astimezone(OSLO):%H:%M%z}" for m in found] == [
        "01:30+0200",
        "02:00+0200",
        "02:30+0200",
        "03:00+0100",
        "03:30+0100",
    ]
    second = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 02:10 for the second time
    assert next_after(parse("*/30 * * * *"), OSLO, second) == datetime(
        2026, 10, 25, 2, 0, tzinfo=UTC
    )


def test_seconds_of_after_are_not_rounded() -> None:
    """Strictly after means to the microsecond."""
    cron = parse("0 3 * * *")
    due = datetime(2026, 1, 5, 2, 0, tzinfo=UTC)
    assert (
        next_after(cron, OSLO, due.replace(hour=1, minute=59, second=59, microsecond=999999)) == due
    )
    assert next_after(cron, OSLO, due) == due.replace(day=6)


def test_the_end_of_the_calendar_is_an_error_not_a_loop() -> None:
    """A search beyond the last year ends with a clear error."""
    with pytest.raises(CronError) as caught:
        next_after(parse("0 3 29 2 *"), ZoneInfo("UTC"), datetime(9997, 3, 1, tzinfo=UTC))
    assert caught.value.code == "never-fires"


def test_a_naive_instant_is_refused() -> None:
    """A time without a zone names no instant; the machine's own zone is never assumed."""
    with pytest.raises(ValueError, match="naive"):
        next_after(parse("@daily"), OSLO, local("2026-06-01T00:00").replace(tzinfo=None))
