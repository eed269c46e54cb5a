"""The judge of a story notices each rule that is broken; an unbroken world passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.chaos.invariants import broken
from tests.chaos.truth import Hold, Item, Seen

FORM = "enquiries/form"
NOON = "2026-03-02T12:{:02}:00.000Z"


def _entry(sort: str, /, **facts: Any) -> dict[str, Any]:
    return {"type": sort, "policy": "form-monthly", **facts}


def _batch(sort: str, /, *records: str, batch: int = 1, **facts: Any) -> dict[str, Any]:
    return _entry(sort, run=1, batch=batch, records=list(records), **facts)


def _run(sort: str, minute: int, **facts: Any) -> dict[str, Any]:
    return _entry(sort, kind="schedule", firing=NOON.format(minute), **facts)


def _item(key: str, *, due: bool, subject: str = "p@example.org") -> Item:
    return Item(FORM, key, subject, due, "due" if due else "too young")


def _world() -> Seen:
    """Two records went, one in a second try; one is young, one is held; three minutes passed."""
    items = [
        _item("1", due=True),
        _item("2", due=True),
        _item("3", due=False),
        _item("4", due=True, subject="held@example.org"),
    ]
    entries = [
        {"type": "hold.added", "hold": 7},
        _run("run.planned", 0),
        _batch("batch.intended", "r1", "r2"),
        _batch("batch.done", "r1", outcome="disposed"),
        _batch("batch.done", "r2", outcome="failed_temporary", kind="interrupted"),
        _batch("batch.intended", "r2", batch=2),
        _batch("batch.done", "r2", batch=2, outcome="already_absent", kind="recovered"),
        _batch("batch.verified", "r1", outcome="verified"),
        _batch("batch.verified", "r2", batch=2, outcome="verified"),
        _run("run.finished", 0),
        _entry("firing.missed", firing=NOON.format(1)),
        _run("run.finished", 2),
    ]
    for number, entry in enumerate(entries):
        entry["seq"] = number
    return Seen(
        items={item.place: item for item in items},
        left={(FORM, "3"), (FORM, "4")},
        deletions=Counter({(FORM, "1"): 1, (FORM, "2"): 1}),
        counted=frozenset({FORM}),
        entries=entries,
        pseudonyms={f"r{n}": (FORM, str(n)) for n in range(1, 5)},
        holds=[Hold(7, "held@example.org")],
        policies=frozenset({"form-monthly"}),
        verifications=[("itself", True, "")],
    )


def _without(sort: str, **facts: Any) -> Callable[[Seen], None]:
    """Take away the entries of this type with these facts, and close the gap."""

    def change(seen: Seen) -> None:
        seen.entries[:] = [
            e
            for e in seen.entries
            if e["type"] != sort or any(e.get(name) != value for name, value in facts.items())
        ]
        for number, entry in enumerate(seen.entries):
            entry["seq"] = number

    return change


def _more(at: int, entry: dict[str, Any]) -> Callable[[Seen], None]:
    def change(seen: Seen) -> None:
        seen.entries.insert(at, entry)
        for number, one in enumerate(seen.entries):
            one["seq"] = number

    return change


def _turned_round(seen: Seen) -> None:
    seen.entries[2], seen.entries[3] = seen.entries[3], seen.entries[2]
    seen.entries[2]["seq"], seen.entries[3]["seq"] = 2, 3


_BROKEN: dict[str, tuple[Callable[[Seen], None], str]] = {
    "a due record stays": (lambda s: s.left.add((FORM, "1")), "was due and is still there"),
    "it came back": (lambda s: s.left.add((FORM, "1")), "the log says that it is gone"),
    "a young one goes": (lambda s: s.left.discard((FORM, "3")), "must be kept and is gone"),
    "gone unsaid": (lambda s: s.left.discard((FORM, "3")), "the log does not say so"),
    "a held one goes": (
        lambda s: s.left.discard((FORM, "4")),
        "held before any intent and is gone",
    ),
    "the hold is in no entry": (_without("hold.added"), "stands in no entry"),
    "intended in spite of the hold": (
        _more(9, _batch("batch.intended", "r4", batch=3)),
        "intended after its hold",
    ),
    "a young one intended": (
        _more(9, _batch("batch.intended", "r3", batch=3)),
        "must be kept and was intended",
    ),
    "deleted twice": (lambda s: s.deletions.update([(FORM, "1")]), "was deleted 2 times"),
    "deleted unseen": (lambda s: s.deletions.update([(FORM, "99")]), "no record of this world"),
    "no outcome": (_without("batch.done", batch=2), "has 0 outcomes"),
    "two outcomes": (
        _more(7, _batch("batch.done", "r1", outcome="failed_temporary")),
        "has 2 outcomes",
    ),
    "outcome first": (_turned_round, "outcome before its intent"),
    "no intent": (_without("batch.intended", batch=1), "disposed of without an intent"),
    "two ends": (
        _more(7, _batch("batch.done", "r1", batch=9, outcome="already_absent")),
        "ended 2 times",
    ),
    "nobody looked": (_without("batch.verified", batch=1), "never looked at"),
    "the look saw it": (
        lambda s: s.entries[7].update(outcome="still_there"),
        "called gone and was still_there",
    ),
    "two runs": (_more(10, _run("run.finished", 0)), "finished 2 runs"),
    "a firing lost": (_without("firing.missed"), "owed a run at 12:01"),
    "never fired": (lambda s: setattr(s, "policies", frozenset({"other"})), "never fired"),
    "a gap in the log": (lambda s: s.entries[5].update(seq=50), "has entry 50"),
    "a forged log": (
        lambda s: s.verifications.append(("003", False, "fork")),
        "does not verify against 003",
    ),
    "never verified": (lambda s: s.verifications.clear(), "never verified"),
    "a lease": (lambda s: setattr(s, "held_leases", 1), "leases are still held"),
    "an open run": (lambda s: setattr(s, "open_runs", 1), "runs are still open"),
    "an open alarm": (lambda s: s.open_alarms.append(("", "bug")), "the alarm bug"),
    "a complaint": (lambda s: s.complaints.append("a traceback"), "a traceback"),
}


def test_a_world_in_which_all_is_well_passes() -> None:
    """Retries, recoveries, holds and missed firings are no faults."""
    assert broken(_world()) == []


@pytest.mark.parametrize("name", list(_BROKEN))
def test_each_broken_rule_is_noticed(name: str) -> None:
    """The judge cannot pass vacuously."""
    change, said = _BROKEN[name]
    seen = _world()
    change(seen)
    assert any(said in sentence for sentence in broken(seen)), broken(seen)


def test_what_had_an_intent_before_its_hold_may_go() -> None:
    """An act that is under way cannot be called back."""
    seen = _world()
    _more(4, {"type": "hold.added", "hold": 8})(seen)
    seen.holds = [*seen.holds, Hold(8, "p@example.org")]
    assert broken(seen) == [f"{FORM} 2 (due) was intended after its hold was in force"]
