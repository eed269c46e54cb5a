"""Decisions a second on one core with ten policies, beside a plain peer in the same run.

The peer is what a script would do: a chain of filters in file order and `relativedelta` for every
record. It knows no holds, no purposes, no reasons and no ratchet, so it is a floor for the work,
not a rival for the answers; for the records here both must name the same ones for deletion.

    python benchmarks/bench_decide.py [--records 500000] [--json]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from dateutil.relativedelta import relativedelta

from retention.decide.decider import Decider
from retention.decide.model import DISPOSALS, NOBODY, Hold, Moment, Rules
from retention.policy.model import Bundle

TARGET = 100_000
PAGE = 10_000
NOW = datetime(2026, 11, 1, 11, tzinfo=UTC)
NEXT = datetime(2026, 12, 1, 2, tzinfo=UTC)
ZONE = ZoneInfo("Europe/Oslo")
STATUSES = ("new", "answered", "lost", "customer", "complaint")


class Row(NamedTuple):
    """One record as a connector gives it."""

    dates: dict[str, Any]
    fields: dict[str, Any]


def bundle() -> Bundle:
    """Ten policies on one table: minimums, maximums, filters, a cap, a reviewed class."""
    period = {"received": "received"}

    def rule(**said: Any) -> dict[str, Any]:
        return {"applies_to": "enquiries", "starting_point": "received", "then": "delete", **said}

    return Bundle.model_validate(
        {
            "organisation": {"name": "Bench", "country": "NO", "timezone": "Europe/Oslo"},
            "systems": {"site": {"connector": "memory"}},
            "clusters": {
                "enquiries": {
                    "purpose": "answering",
                    "basis": "contract",
                    "locations": {
                        "form": {
                            "system": "site",
                            "dates": {**period, "answered": "answered"},
                            "subject": {"email": "email"},
                        }
                    },
                }
            },
            "policies": {
                "any-ten-years": rule(applies_to="*", delete_at_latest="10 years"),
                "enquiry": rule(delete_at_latest="2 years"),
                "answered": rule(starting_point="answered", delete_at_latest="3 years"),
                "new": rule(where={"status": "new"}, delete_at_latest="6 months"),
                "lost": rule(where={"status": ["lost", "ended"]}, delete_at_latest="1 year"),
                "customer": rule(where={"status": "customer"}, delete_at_latest="5 years"),
                "complaint": rule(
                    where={"status": "complaint"}, keep_at_least="3 years", then="review"
                ),
                "books": rule(
                    where={"status": "customer"},
                    keep_at_least="5 years",
                    cutoff="accounting_year",
                    then="keep",
                ),
                "minimum": rule(keep_at_least="30 days", then="keep"),
                "cap": rule(cap=True, delete_at_latest="7 years"),
            },
        }
    )


def rows(number: int, *, mixed: bool = False) -> Iterator[list[Row]]:
    """Records of eight years, in pages and in the order of their arrival unless `mixed`.

    Times of day and people all differ.
    """
    chance = random.Random(7)
    eight_years = 8 * 365 * 86_400
    for first in range(0, number, PAGE):
        page = []
        for i in range(first, min(first + PAGE, number)):
            ago = chance.randrange(eight_years) if mixed else eight_years * (number - i) // number
            at = NOW - timedelta(seconds=ago)
            answered = min(NOW, at + timedelta(hours=chance.randrange(1, 48)))
            people = {"status": chance.choice(STATUSES), "email": f"person{i}@example.org"}
            page.append(Row({"received": at, "answered": answered}, people))
        yield page


def ours(*, remember: bool, holds: tuple[Hold, ...] = ()) -> Callable[[list[Row]], int]:
    """Our decisions, as a run makes them."""
    files = bundle()
    rules = Rules(files, {n: f"sha256:{n:0>64}" for n in files.policies}, frozenset(files.policies))
    claims = {"enquiries/form": frozenset({"form"})}
    decider = Decider(rules, "site", "enquiries/form", claims, remember=remember)
    moment = Moment(NOW, dict.fromkeys(files.policies, NEXT))

    def work(records: list[Row]) -> int:
        decide = decider.decide
        gone = 0
        for row in records:
            verdict = decide("form", row.dates, row.fields, NOBODY, holds, "", moment)
            gone += verdict.action in DISPOSALS
        return gone

    return work


def peer(records: list[Row]) -> int:
    """A plain script: ten filters in a chain, calendar arithmetic for each record."""
    today, before = NOW.astimezone(ZONE).date(), NEXT.astimezone(ZONE).date()
    gone = 0
    for row in records:
        day = row.dates["received"].astimezone(ZONE).date()
        answered = row.dates["answered"].astimezone(ZONE).date()
        status = row.fields["status"]
        general = [day + relativedelta(years=2), answered + relativedelta(years=3)]
        narrow: list[tuple[date, str]] = []
        earliest = day + timedelta(31)
        if status == "new":
            narrow.append((day + relativedelta(months=6), "delete"))
        if status in ("lost", "ended"):
            narrow.append((day + relativedelta(years=1), "delete"))
        if status == "customer":
            narrow.append((day + relativedelta(years=5), "delete"))
            earliest = max(earliest, date(day.year + 6, 1, 1))
        if status == "complaint":
            kept = day + relativedelta(years=3) + timedelta(1)
            narrow.append((kept, "review"))
            earliest = max(earliest, kept)
        due, act = min(narrow) if narrow else (min(general), "delete")
        cap = day + relativedelta(years=7)
        due = max(min(due, cap), earliest)
        gone += act == "delete" and today >= earliest and due < before
    return gone


class Timing(NamedTuple):
    """One line of the table."""

    what: str
    per_second: float
    deleted: int


def timed(what: str, work: Callable[[list[Row]], int], pages: Iterable[list[Row]]) -> Timing:
    """One pass; only the decisions are timed, in processor time."""
    spent, gone, seen = 0.0, 0, 0
    for page in pages:
        start = time.process_time()
        gone += work(page)
        spent += time.process_time() - start
        seen += len(page)
    return Timing(what, seen / spent, gone)


def main() -> int:
    """Print the table; exit code 1 below the target, or where the answers differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=500_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    number: int = given.records
    hold = (Hold(1, "c", subject="f" * 64),)
    found = [
        timed("retention", ours(remember=True), rows(number)),
        timed("retention, a hold in force", ours(remember=True, holds=hold), rows(number)),
        timed("retention, random order", ours(remember=True), rows(number, mixed=True)),
        timed("peer: filter chain, relativedelta", peer, rows(number)),
        timed("retention, remembering nothing (1 %)", ours(remember=False), rows(number // 100)),
    ]
    same = found[0].deleted == found[3].deleted
    if given.json:
        sys.stdout.write(json.dumps([t._asdict() for t in found]) + "\n")
    else:
        sys.stdout.write(f"{'work':42} {'decisions/s':>12} {'deleted':>9}\n")
        for t in found:
            sys.stdout.write(f"{t.what:42} {t.per_second:12,.0f} {t.deleted:9,}\n")
        sys.stdout.write(
            f"\n{number:,} records, ten policies, one core; target {TARGET:,}/s; "
            f"the same records named for deletion: {'yes' if same else 'NO'}\n"
        )
    return 0 if same and found[0].per_second >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
