"""What must never happen, whatever the policies, the record, its people and the day."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from retention.decide.decider import Decider
from retention.decide.model import (
    DISPOSALS,
    NOBODY,
    Action,
    Hold,
    LinkedStart,
    Moment,
    SubjectState,
    Verdict,
)
from retention.policy.counting import earliest_after
from retention.policy.model import Bundle, Cutoff
from retention.policy.periods import Period
from tests.unit.decide_cases import at, bundle, cluster, decide, planned, policy, running

OFTEN = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
GONE = {*DISPOSALS}
"""What nobody can undo."""
LINK = ("customers.ended", "email")

periods = st.sampled_from(
    ["1 day", "30 days", "1 month", "1 year", "3 years 6 months", "5 years", "36 hours", "10 years"]
)
days = st.dates(date(2019, 1, 1), date(2026, 6, 30))
later = st.dates(date(2020, 1, 1), date(2036, 12, 31))
starts = st.sampled_from(
    [
        "received",
        "received",
        "received",
        "answered",
        {"event": "left"},
        {"date": "customers.ended", "matched_on": "email"},
        {"latest_of": ["received", "answered"]},
        {"earliest_of": ["received", {"event": "left"}]},
    ]
)
wheres = st.sampled_from(
    [None, None, {"status": "lost"}, {"status": ["new", "lost"]}, {"vip": True}]
)
acts = st.sampled_from(
    [
        "delete",
        "delete",
        "keep",
        "review",
        "restrict",
        {"anonymise": {"note": None}},
        {"hand_over": {"to": "out"}},
    ]
)
targets = st.sampled_from(["*", "enquiries", "enquiries/form", "orders", ["enquiries", "orders"]])


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    """One policy of any shape."""
    said = policy(applies_to=draw(targets), starting_point=draw(starts), then=draw(acts))
    if draw(st.booleans()):
        said["keep_at_least"] = draw(periods)
    if draw(st.booleans()):
        said["delete_at_latest"] = draw(periods)
    if where := draw(wheres):
        said["where"] = where
    if draw(st.integers(0, 3)) == 0:
        said["cutoff"] = draw(st.sampled_from(list(Cutoff))).value
    if draw(st.integers(0, 5)) == 0:
        said["cap"] = True
    if draw(st.integers(0, 5)) == 0:
        said["fields"] = draw(st.sampled_from([["note"], ["phone", "note"]]))
    if draw(st.integers(0, 7)) == 0:
        said["supersedes"] = draw(st.sampled_from(["a", "b", "c"]))
    if draw(st.integers(0, 7)) == 0:
        said["backstop"] = draw(periods)
    return said


policies = st.lists(rules(), min_size=1, max_size=5).map(
    lambda found: {chr(97 + i): said for i, said in enumerate(found)}
)
clusters = st.tuples(
    st.sampled_from(["contract", "consent", "legal_obligation", None]),
    st.sampled_from(["contract", "consent", "legitimate_interest"]),
    st.sampled_from(["one", "two"]),
    st.sampled_from(["record_copy", "record_copy", "working_copy"]),
).map(
    lambda c: {
        "enquiries": cluster("one", c[0]),
        "orders": cluster(c[2], c[1], role=c[3]),
    }
)


class Record(NamedTuple):
    """A record and what is known of its people."""

    dates: Mapping[str, Any]
    fields: Mapping[str, Any]
    state: SubjectState


instants = days.map(lambda d: datetime(d.year, d.month, d.day, 22, 30, tzinfo=UTC))
maybe = st.one_of(st.none(), instants)
links = st.one_of(
    st.none(),
    st.builds(LinkedStart, matched=st.booleans(), active=st.booleans(), latest=maybe),
)


@st.composite
def records(draw: st.DrawFn) -> Record:
    """Any record; some fields may be missing, some dates too."""
    fields: dict[str, Any] = {}
    for name, values in (
        ("status", ["new", "lost", "Lost ", None]),
        ("vip", [True, False]),
        ("note_text", ["text", None, ""]),
        ("phone", ["1", None]),
    ):
        if draw(st.integers(0, 4)):
            fields[name] = draw(st.sampled_from(values))
    state = NOBODY
    if draw(st.booleans()):
        link = draw(links)
        left, withdrawn = draw(maybe), draw(maybe)
        state = SubjectState(
            hashes=frozenset({"s"}),
            events={"left": left} if left else {},
            withdrawn={"one": withdrawn} if withdrawn else {},
            linked={LINK: link} if link else {},
            restricted=draw(st.integers(0, 9)) == 0,
            erasure_verified=draw(maybe) if draw(st.booleans()) else None,
            access_open=draw(st.integers(0, 9)) == 0,
        )
    when = st.one_of(days, instants) if draw(st.integers(0, 9)) else st.none()
    return Record({"created_at": draw(when), "answered_at": draw(maybe)}, fields, state)


def _firing(day: date) -> dict[str, datetime]:
    return dict.fromkeys("abcdef", at(day, 3))


moments = st.tuples(later, st.integers(0, 400)).map(
    lambda m: Moment(
        at(m[0]), dict.fromkeys("abcdef", at(m[0] + timedelta(m[1]), 3)) if m[1] else {}
    )
)


def fate(files: Bundle, record: Record, now: Moment, **extra: Any) -> Verdict:
    return decide(files, now, record.dates, record.fields, state=record.state, **extra)


@OFTEN
@given(policies, clusters, records(), moments)
def test_never_before_any_minimum(
    said: dict[str, Any], where: dict[str, Any], record: Record, now: Moment
) -> None:
    """Counted here anew from the files: a plain minimum of the record copy is never undercut."""
    assume(not any("supersedes" in p for p in said.values()))
    verdict = fate(bundle(said, where), record, now)
    if verdict.action not in GONE:
        return
    today = now.now.date()
    for name, p in said.items():
        if p.get("keep_at_least") is None or p["starting_point"] != "received":
            continue
        emptied = {"note": "note_text"}
        kept = {emptied.get(f, f) for f in p.get("fields", ())}
        if verdict.mask is not None and kept and not kept & set(verdict.mask):
            continue
        for location, claim in where.items():
            hit = {*_listed(p["applies_to"])} & {"*", location, f"{location}/form"}
            working = claim["locations"]["form"].get("role") == "working_copy"
            if not hit or working or _certainly_not(p.get("where"), record.fields):
                continue
            start = record.dates["created_at"]
            organisation = bundle(said, where).organisation
            cutoff = Cutoff(p["cutoff"]) if p.get("cutoff") else None
            period = Period.parse(p["keep_at_least"])
            assert start is not None, name
            assert today >= earliest_after(start, cutoff, period, organisation), name


def _listed(target: Any) -> list[str]:
    return [target] if isinstance(target, str) else list(target)


def _certainly_not(where: Mapping[str, Any] | None, fields: Mapping[str, Any]) -> bool:
    if where is None:
        return False
    ((name, wanted),) = where.items()
    if name not in fields or fields[name] == "Lost ":
        return False
    return fields[name] not in (wanted if isinstance(wanted, list) else [wanted])


@OFTEN
@given(policies, clusters, records(), moments)
def test_a_disposal_lies_between_its_own_bounds(
    said: dict[str, Any], where: dict[str, Any], record: Record, now: Moment
) -> None:
    """What a verdict says of itself is true: earliest reached, due before the next firing."""
    verdict = fate(bundle(said, where), record, now)
    if verdict.action in GONE:
        assert verdict.due is not None
        assert verdict.earliest is None or verdict.earliest <= now.now.date()
        fire = now.next_fire.get(verdict.policy)
        assert verdict.due < (fire.date() if fire else now.now.date() + timedelta(1))
        assert verdict.policy
        assert verdict.because
        assert verdict.overdue_days == max(0, (now.now.date() - verdict.due).days)


HOLDS = [
    Hold(1, "c", cluster="enquiries"),
    Hold(1, "c", location="enquiries/form"),
    Hold(1, "c", location="enquiries/form", record="p1"),
    Hold(1, "c"),
]


@OFTEN
@given(policies, clusters, records(), moments, st.sampled_from(HOLDS))
def test_never_under_a_hold(
    said: dict[str, Any], where: dict[str, Any], record: Record, now: Moment, hold: Hold
) -> None:
    """No rule, no withdrawal and no request outdoes a hold."""
    assert fate(bundle(said, where), record, now, holds=[hold]).action not in GONE
    through = replace(hold, released=True, grace_until=now.now + timedelta(seconds=1))
    assert fate(bundle(said, where), record, now, holds=[through]).action not in GONE


@OFTEN
@given(policies, clusters, records(), moments)
def test_never_under_a_restriction_or_an_open_access_request(
    said: dict[str, Any], where: dict[str, Any], record: Record, now: Moment
) -> None:
    """Storage only; and the copy that was asked for must still be possible."""
    files = bundle(said, where)
    for state in (
        replace(record.state, restricted=True),
        replace(record.state, access_open=True),
    ):
        assert fate(files, record._replace(state=state), now).action not in GONE


@OFTEN
@given(policies, clusters, records(), moments, periods, starts, targets, wheres)
def test_adding_a_minimum_never_makes_disposal_sooner(
    said: dict[str, Any],
    where: dict[str, Any],
    record: Record,
    now: Moment,
    period: str,
    start: Any,
    target: Any,
    selector: Any,
) -> None:
    """A record that stays, stays when somebody adds protection."""
    assume(not any("supersedes" in p for p in said.values()))
    before = fate(bundle(said, where), record, now)
    more = policy(applies_to=target, starting_point=start, keep_at_least=period, then="keep")
    if selector:
        more["where"] = selector
    after = fate(bundle({**said, "f": more}, where), record, now)
    if before.action not in GONE:
        assert after.action not in GONE
    elif after.action in GONE:
        assert before.due is not None
        assert after.due is not None
        assert after.due >= before.due


@OFTEN
@given(policies, clusters, records(), moments, st.randoms(use_true_random=False))
def test_the_order_of_policies_is_irrelevant(
    said: dict[str, Any],
    where: dict[str, Any],
    record: Record,
    now: Moment,
    chance: random.Random,
) -> None:
    """Files may be merged in any order."""
    mixed = list(said.items())
    chance.shuffle(mixed)
    files = bundle(said, where)
    turned = bundle(dict(mixed), dict(reversed(where.items())))
    one, other = fate(files, record, now), fate(turned, record, now)
    assert replace(one, digest="", because=()) == replace(other, digest="", because=())


@OFTEN
@given(policies, clusters, records(), moments, st.integers(1, 4000))
def test_once_due_stays_due(
    said: dict[str, Any], where: dict[str, Any], record: Record, now: Moment, days_later: int
) -> None:
    """Time alone protects nothing: what could go then can go later, or is looked at."""
    files = bundle(said, where)
    verdict = fate(files, record, now)
    if verdict.action in GONE:
        moved = timedelta(days_later)
        fires = {p: f + moved for p, f in now.next_fire.items()}
        after = fate(files, record, Moment(now.now + moved, fires))
        assert after.action in {*GONE, Action.REVIEW}


@OFTEN
@given(policies, clusters, st.lists(records(), min_size=2, max_size=12), moments)
def test_remembered_verdicts_are_the_verdicts(
    said: dict[str, Any], where: dict[str, Any], many: list[Record], now: Moment
) -> None:
    """Deciding a record after others, twice, or anew gives the same answer, word for word."""
    known = planned(bundle(said, where))
    claims = {name: frozenset({"form"}) for name in known.bundle.locations()}
    remembering = Decider(known, "site", "enquiries/form", claims)
    holds = [Hold(1, "c", subject="s"), Hold(2, "c", location="x/y", record="p3")]
    for _ in range(2):
        for i, r in enumerate(many):
            args = (r.dates, r.fields, r.state, holds if i % 3 == 0 else (), f"p{i}", now)
            anew = Decider(known, "site", "enquiries/form", claims, remember=False)
            assert remembering.decide("form", *args) == anew.decide("form", *args)


@OFTEN
@given(policies, policies, clusters, records(), moments)
def test_no_unapproved_change_makes_a_record_go(
    before: dict[str, Any], after: dict[str, Any], where: dict[str, Any], r: Record, now: Moment
) -> None:
    """The ratchet: what the approved rules keep, no edit of the files disposes of.

    Nothing is approved at all in the second case: then nothing goes.
    """
    approved, files = bundle(before, where), bundle(after, where)
    args: Any = (now, r.dates, r.fields)
    enforced = decide(running(approved, approved), *args, state=r.state)
    changed = decide(running(files, approved), *args, state=r.state)
    if changed.action in GONE:
        assert enforced.action in GONE
        assert changed.policy in before
    assert decide(running(files, None), *args, state=r.state).action not in GONE


@OFTEN
@given(policies, clusters, records(), moments)
def test_bounds_leave_out_nothing_that_a_policy_could_touch(
    said: dict[str, Any], where: dict[str, Any], record: Record, now: Moment
) -> None:
    """A record with a known date at or after a bound is not this policy's business now."""
    known = planned(bundle(said, where))
    claims = {name: frozenset({"form"}) for name in known.bundle.locations()}
    decider = Decider(known, "site", "enquiries/form", claims)
    quiet = SubjectState(events=record.state.events, linked=record.state.linked)
    for state, ended in ((record.state, False), (quiet, True)):
        verdict = decider.decide("form", record.dates, record.fields, state, (), "", now)
        if verdict.action not in {*GONE, Action.REVIEW, Action.RESTRICT} or state.restricted:
            continue
        for source, instant in (
            decider.bounds(verdict.policy, now, nobody_ended=ended) if verdict.policy else ()
        ):
            when = record.dates[source]
            if isinstance(when, datetime):
                assert when < instant
            elif when is not None:
                assert when < instant.date()


@pytest.mark.parametrize("policy_count", [10])
def test_every_reason_is_free_of_the_records_own_text(policy_count: int) -> None:
    """Reasons reach logs and the audit: dates and names of rules, nothing that a person wrote."""
    secret = "kari.nordmann@example.org"
    said = {
        chr(97 + i): policy(delete_at_latest=f"{i + 1} years", where={"status": ["x", secret]})
        for i in range(policy_count)
    }
    verdict = decide(
        bundle(said),
        Moment(at("2030-01-01")),
        {"created_at": date(2020, 1, 1)},
        {"status": secret, "email": secret, "note_text": secret},
    )
    assert verdict.action is Action.DELETE
    assert secret not in repr(verdict)
