"""What must hold of a world at rest. Pure: it judges what was seen, so tests can falsify it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from tests.chaos.truth import Item, Seen

GONE = ("disposed", "already_absent")
_RUNS = ("run.planned", "run.finished", "run.stopped")
_MINUTE = timedelta(minutes=1)


def broken(seen: Seen) -> list[str]:
    """Every rule that does not hold, as sentences; empty when all do."""
    rules: tuple[Callable[[Seen], Iterator[str]], ...] = (
        _due_is_gone_and_nothing_else,
        _gone_once,
        _nothing_new_after_a_hold,
        _one_outcome_for_each_intent,
        _one_end_for_each_record,
        _each_disposal_was_looked_at,
        _one_run_for_each_firing,
        _log_is_whole,
        _at_rest,
    )
    return [sentence for rule in rules for sentence in rule(seen)]


def _of_type(seen: Seen, kind: str) -> Iterator[dict[str, Any]]:
    return (entry for entry in seen.entries if entry["type"] == kind)


def _name(item: Item) -> str:
    return f"{item.location} {item.key} ({item.why})"


def _holds(seen: Seen) -> dict[str, int]:
    """For each held subject, where in the log its first hold stands."""
    numbers = {entry["hold"]: entry["seq"] for entry in _of_type(seen, "hold.added")}
    out: dict[str, int] = {}
    for hold in seen.holds:
        if hold.number in numbers:
            seq = numbers[hold.number]
            out[hold.subject] = min(seq, out.get(hold.subject, seq))
    return out


def _intents(seen: Seen) -> dict[str, list[int]]:
    """For each pseudonym, where its intents stand in the log."""
    out: dict[str, list[int]] = defaultdict(list)
    for entry in _of_type(seen, "batch.intended"):
        for record in entry["records"]:
            out[record].append(entry["seq"])
    return out


def _due_is_gone_and_nothing_else(seen: Seen) -> Iterator[str]:
    """Every due record is gone; nothing that is too young, protected or held is."""
    holds, intents = _holds(seen), _intents(seen)
    names = {place: pseudonym for pseudonym, place in seen.pseudonyms.items()}
    for hold in seen.holds:
        if hold.subject not in holds:
            yield f"hold {hold.number} was in force and stands in no entry"
    for place, item in seen.items.items():
        there = place in seen.left
        if not item.due:
            if not there:
                yield f"{_name(item)} must be kept and is gone"
            continue
        held_since = holds.get(item.subject)
        if held_since is None:
            if there:
                yield f"{_name(item)} was due and is still there"
        elif not there and not any(s < held_since for s in intents.get(names[place], ())):
            yield f"{_name(item)} was held before any intent and is gone"
    for record in intents:
        known = seen.pseudonyms.get(record)
        if known is None:
            yield f"{record} was intended and is no record of this world"
        elif not seen.items[known].due:
            yield f"{_name(seen.items[known])} must be kept and was intended"


def _gone_once(seen: Seen) -> Iterator[str]:
    """The store itself saw each record that is gone being deleted once."""
    for place, item in seen.items.items():
        number = seen.deletions.get(place, 0)
        gone = place not in seen.left
        if item.location in seen.counted and number != int(gone):
            yield f"{_name(item)} was deleted {number} times and is {'gone' if gone else 'there'}"
    for place in seen.deletions.keys() - seen.items.keys():
        yield f"{place} was deleted and is no record of this world"


def _nothing_new_after_a_hold(seen: Seen) -> Iterator[str]:
    """No intent is written for a record whose hold was in force before."""
    holds = _holds(seen)
    for record, places in _intents(seen).items():
        place = seen.pseudonyms.get(record)
        since = holds.get(seen.items[place].subject) if place else None
        if place and since is not None and any(seq > since for seq in places):
            yield f"{_name(seen.items[place])} was intended after its hold was in force"


def _one_outcome_for_each_intent(seen: Seen) -> Iterator[str]:
    """An intent stands before its one outcome, and no act has an outcome without an intent."""
    intents: dict[Any, list[int]] = defaultdict(list)
    outcomes: dict[Any, list[tuple[int, str]]] = defaultdict(list)
    for entry in seen.entries:
        for record in entry.get("records", ()):
            act = (entry.get("run"), entry.get("batch"), record)
            if entry["type"] == "batch.intended":
                intents[act].append(entry["seq"])
            elif entry["type"] == "batch.done":
                outcomes[act].append((entry["seq"], entry["outcome"]))
    for act, where in intents.items():
        said = outcomes.get(act, [])
        if len(where) != 1:
            yield f"{act} was intended {len(where)} times"
        if len(said) != 1:
            yield f"{act} was intended and has {len(said)} outcomes"
        elif said[0][0] < where[0]:
            yield f"{act} has its outcome before its intent"
    for act, said in outcomes.items():
        if act not in intents and any(outcome == "disposed" for _, outcome in said):
            yield f"{act} was disposed of without an intent"


def _one_end_for_each_record(seen: Seen) -> Iterator[str]:
    """The log says once, and only once, that a record is gone; and it says so of all that are."""
    ends = Counter(
        record
        for entry in _of_type(seen, "batch.done")
        if entry["outcome"] in GONE
        for record in entry["records"]
    )
    for record, number in ends.items():
        if number > 1:
            yield f"{seen.pseudonyms.get(record, record)} ended {number} times in the log"
    for pseudonym, place in seen.pseudonyms.items():
        gone, told = place not in seen.left, ends.get(pseudonym, 0) > 0
        if gone and not told:
            yield f"{_name(seen.items[place])} is gone and the log does not say so"
        if told and not gone:
            yield f"{_name(seen.items[place])} is there and the log says that it is gone"


def _each_disposal_was_looked_at(seen: Seen) -> Iterator[str]:
    """Whatever the log calls gone was looked at afterwards, and the look proved it."""
    looked: dict[str, tuple[int, str]] = {}
    for entry in _of_type(seen, "batch.verified"):
        for record in entry["records"]:
            looked[record] = (entry["seq"], entry["outcome"])
    for entry in _of_type(seen, "batch.done"):
        if entry["outcome"] not in GONE:
            continue
        for record in entry["records"]:
            seq, outcome = looked.get(record, (-1, "never looked at"))
            if seq < entry["seq"] or outcome != "verified":
                yield f"{seen.pseudonyms.get(record, record)} is called gone and was {outcome}"


def _one_run_for_each_firing(seen: Seen) -> Iterator[str]:
    """Each due minute of each policy has one run, or an entry that says that it was missed."""
    runs: Counter[tuple[str, str]] = Counter()
    known: dict[str, set[datetime]] = defaultdict(set)
    for entry in seen.entries:
        missed = entry["type"] == "firing.missed"
        if missed or (entry["type"] in _RUNS and entry.get("kind") == "schedule"):
            known[entry["policy"]].update(_moments(entry))
        if entry["type"] == "run.finished" and entry.get("kind") == "schedule":
            runs[entry["policy"], entry["firing"]] += 1
    for (policy, firing), number in runs.items():
        if number > 1:
            yield f"{policy} finished {number} runs for {firing}"
    for policy in sorted(seen.policies):
        moments = known.get(policy)
        if not moments:
            yield f"{policy} never fired"
            continue
        moment = min(moments)
        while moment <= max(moments):
            if moment not in moments:
                yield f"{policy} owed a run at {moment:%H:%M} and the log says nothing of it"
            moment += _MINUTE


def _moments(entry: dict[str, Any]) -> Iterator[datetime]:
    """The due minutes that an entry speaks of: one, or all from `firing` until `until`."""
    moment = datetime.fromisoformat(entry["firing"])
    last = datetime.fromisoformat(entry["until"]) if "until" in entry else moment
    while moment <= last:
        yield moment
        moment += _MINUTE


def _log_is_whole(seen: Seen) -> Iterator[str]:
    """The tree verifies, and fits every checkpoint that was taken away on the way."""
    for number, entry in enumerate(seen.entries):
        if entry["seq"] != number:
            yield f"the exported log has entry {entry['seq']} in place {number}"
            break
    if not seen.verifications:
        yield "the log was never verified"
    for against, ok, said in seen.verifications:
        if not ok:
            yield f"the log does not verify against {against}: {said}"


def _at_rest(seen: Seen) -> Iterator[str]:
    """Nobody holds a lease, no run is open, no alarm is open, and nothing failed unexplained."""
    if seen.held_leases:
        yield f"{seen.held_leases} leases are still held"
    if seen.open_runs:
        yield f"{seen.open_runs} runs are still open"
    for policy, kind in seen.open_alarms:
        yield f"the alarm {kind} of {policy or 'the service'} is still open"
    yield from seen.complaints
