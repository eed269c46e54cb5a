"""Building blocks for tests of decisions: an invented organisation in a few lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

from retention.decide.decider import Decider
from retention.decide.facts import Value, When
from retention.decide.model import NOBODY, Hold, Moment, Rules, SubjectState, Verdict
from retention.policy.model import Bundle

OSLO = ZoneInfo("Europe/Oslo")
FORM = {
    "system": "site",
    "table": "form",
    "key": "id",
    "dates": {"received": "created_at", "answered": "answered_at"},
    "subject": {"email": "email", "phone": "phone"},
    "fields": {"note": "note_text"},
}


def bundle(
    policies: Mapping[str, Mapping[str, Any]],
    clusters: Mapping[str, Mapping[str, Any]] | None = None,
    **organisation: Any,
) -> Bundle:
    """One system `site`; by default one cluster `enquiries` with the location `form`."""
    return Bundle.model_validate(
        {
            "organisation": {
                "name": "Fjordro",
                "country": "NO",
                "timezone": "Europe/Oslo",
                **organisation,
            },
            "systems": {"site": {"connector": "memory"}},
            "clusters": clusters or {"enquiries": cluster()},
            "policies": policies,
        }
    )


def cluster(purpose: str | None = None, basis: str | None = "contract", **location: Any) -> Any:
    """A cluster whose location `form` is the table `form`."""
    return {"purpose": purpose, "basis": basis, "locations": {"form": {**FORM, **location}}}


def policy(**said: Any) -> dict[str, Any]:
    """A policy on `enquiries` that counts from `received` and deletes, unless told otherwise."""
    return {"applies_to": "enquiries", "starting_point": "received", "then": "delete", **said}


def digest_of(name: str, bundle: Bundle) -> str:
    """Any digest that changes with the policy."""
    said = bundle.policies[name].model_dump_json() + bundle.clusters.__repr__()
    return "sha256:" + sha256(f"{name} {said}".encode()).hexdigest()


def planned(files: Bundle) -> Rules:
    """Rules of a plan: as if everything in the files were approved."""
    digests = {name: digest_of(name, files) for name in files.policies}
    return Rules(files, digests, frozenset(files.policies))


def running(files: Bundle, approved: Bundle | None) -> Rules:
    """Rules of a run: `approved` is what a person agreed to, `files` what git says now."""
    before = approved.policies if approved else {}
    digests = {name: digest_of(name, files) for name in files.policies}
    old = {name: (digest_of(name, approved), approved) for name in before if approved is not None}
    same = frozenset(n for n, d in digests.items() if n in old and old[n][0] == d)
    return Rules(files, digests, same, {n: v for n, v in old.items() if n not in same})


def at(day: date | str, hour: int = 12) -> datetime:
    """An instant of that day in Oslo."""
    day = date.fromisoformat(day) if isinstance(day, str) else day
    return datetime.combine(day, time(hour), OSLO)


def moment(today: date | str, next_fire: date | str | Mapping[str, Any] | None = None) -> Moment:
    """A moment at noon; `next_fire` one day for the policies `a` to `z` and `rule`, or by name."""
    fires: dict[str, datetime] = {}
    if isinstance(next_fire, Mapping):
        fires = {name: at(day, 3) for name, day in next_fire.items()}
    elif next_fire is not None:
        names = [*"abcdefghijklmnopqrstuvwxyz", "rule"]
        fires = dict.fromkeys(names, at(next_fire, 3))
    return Moment(at(today), fires)


CLAIMS = {"enquiries/form": frozenset({"form"})}


def decide(
    rules: Rules | Bundle,
    now: Moment,
    dates: Mapping[str, When] | None = None,
    fields: Mapping[str, Value] | None = None,
    *,
    state: SubjectState | None = NOBODY,
    holds: Sequence[Hold] | None = (),
    pseudonym: str | Callable[[], str] = "p1",
    location: str = "enquiries/form",
    claims: Mapping[str, frozenset[str]] | None = None,
    remember: bool = True,
) -> Verdict:
    """Decide one record of the table `form`."""
    known = planned(rules) if isinstance(rules, Bundle) else rules
    everywhere = {
        name: frozenset({"form"})
        for b in (known.bundle, *(b for _, b in known.approved.values()))
        for name in b.locations()
    }
    decider = Decider(known, "site", location, claims or everywhere, remember=remember)
    return decider.decide("form", dates or {}, fields or {}, state, holds, pseudonym, now)


def received(day: date | str | None) -> dict[str, When]:
    """The dates of a record received that day."""
    return {"created_at": date.fromisoformat(day) if isinstance(day, str) else day}
