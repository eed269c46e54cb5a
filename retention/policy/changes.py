"""What a change of the policy files means: the ratchet of design.md §5.

Protective changes keep more, longer, or ask more people; they may act at once. Weakening changes
act only after an approved plan. Whatever is not clearly protective or mere wording is weakening.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from retention.policy.change_rules import RULES, Kind, N, P, W, fields_change, protects
from retention.policy.digest import WORDING, digest, extract
from retention.policy.limits import Effective, effective
from retention.policy.model import Basis, Bundle, Policy, Role, ThenModel

__all__ = ["Change", "Kind", "compare"]


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one policy. `before` and `after` are words, "" where there was nothing.

    `affects`: locations, `cluster/location`. `weakens_promise`: it keeps data longer than the
    statement promised; protective as for deletion, but somebody must know.
    """

    policy: str
    kind: Kind
    what: str
    before: str
    after: str
    affects: tuple[str, ...]
    weakens_promise: bool = False

    def to_json(self) -> dict[str, Any]:
        """As `diff --json` prints it."""
        return {
            "policy": self.policy,
            "kind": str(self.kind),
            "what": self.what,
            "before": self.before,
            "after": self.after,
            "affects": list(self.affects),
            "weakens_promise": self.weakens_promise,
        }


_Said = tuple[Kind, str, Any, Any, bool]
"""Kind, what, before, after, weakens the promise."""


def compare(old: Bundle, new: Bundle) -> list[Change]:
    """Every change between two bundles, policy by policy, in order of their names."""
    changes: list[Change] = []
    for name in sorted({*old.policies, *new.policies}):
        affects = tuple(
            sorted(
                {
                    location
                    for bundle in (old, new)
                    if name in bundle.policies
                    for location in bundle.locations_of(bundle.policies[name])
                }
            )
        )
        for kind, what, before, after, promise in _changes(name, old, new):
            changes.append(
                Change(name, kind, what, _words(before), _words(after), affects, promise)
            )
    return changes


def _changes(name: str, old: Bundle, new: Bundle) -> Iterator[_Said]:
    before, after = old.policies.get(name), new.policies.get(name)
    if before is None and after is not None:
        kind = W if after.destructive else P
        yield kind, f"new policy, then {after.then.kind}", None, name, False
    elif after is None and before is not None:
        yield W, f"policy removed, then {before.then.kind}", name, None, not protects(before)
    elif before is not None and after is not None:
        found = [
            *_rule(before, after),
            *_reach(before, after, old, new),
            *_limits(before, after, old, new),
            *_context(name, old, new),
        ]
        yield from found
        # A period in other units is neutral and told; what nothing told of is not.
        told = [what for _, what, *_ in found if what not in WORDING]
        if not told and digest(old, name) != digest(new, name):
            yield W, "something else that decides", digest(old, name), digest(new, name), False


def _rule(old: Policy, new: Policy) -> Iterator[_Said]:
    """What the policy itself says, field by field."""
    for field in Policy.model_fields:
        before, after = getattr(old, field), getattr(new, field)
        if before == after or field in ("applies_to", "where", "limits"):
            continue
        if field in WORDING:
            yield N, field, before, after, False
        elif field in RULES:
            kind, promise = RULES[field](before, after)
            what = f"{field}, which weakens the promise" if promise else field
            yield kind, what, before, after, promise
        elif field == "fields":
            yield fields_change(old, new), field, before, after, False
        else:
            yield W, field, before, after, False


def _reach(old: Policy, new: Policy, before: Bundle, after: Bundle) -> Iterator[_Said]:
    """Which records it touches: wider is more protection, or more disposal."""
    was, now = set(before.locations_of(old)), set(after.locations_of(new))
    quiet = not old.destructive and not new.destructive
    if added := now - was:
        yield (P if quiet else W), "applies to more", None, sorted(added), False
    if gone := was - now:
        freed = old.destructive and not protects(old)
        yield (P if freed else W), "applies to less", sorted(gone), None, freed
    if not added and not gone and set(old.applies_to) != set(new.applies_to):
        # The same locations today, but a selector of another rank, or with another future.
        yield W, "applies_to", old.applies_to, new.applies_to, False
    if old.where != new.where:
        wider = quiet and new.where is None
        yield (P if wider else W), "where", old.where, new.where, False


def _limits(old: Policy, new: Policy, before: Bundle, after: Bundle) -> Iterator[_Said]:
    was, now = effective(old, before.organisation), effective(new, after.organisation)
    for name, a, b in zip(Effective._fields, was, now, strict=True):
        if a == b:
            continue
        tighter = b is not None and (a is None or b < a)
        yield (P if tighter else W), f"limit on {name}", a, b, False


def _context(name: str, old: Bundle, new: Bundle) -> Iterator[_Said]:
    """What the policy rests on: organisation, clusters, locations, systems."""
    was, now = extract(old, name), extract(new, name)
    for field in ("country", "timezone", "accounting_year_ends"):
        before, after = getattr(was.organisation, field), getattr(now.organisation, field)
        if before != after:
            yield W, f"organisation: {field}", before, after, False
    for cluster in sorted(was.clusters.keys() & now.clusters.keys()):
        for field in ("purpose", "basis", "special", "subjects", "data", "matched_on"):
            before = getattr(was.clusters[cluster], field)
            after = getattr(now.clusters[cluster], field)
            if before != after:
                yield _cluster(field, before, after), f"{cluster}: {field}", before, after, False
    yield from _locations(was, now)
    for system in sorted(was.systems.keys() & now.systems.keys()):
        before_s, after_s = was.systems[system], now.systems[system]
        if (before_s.connector, before_s.settings) != (after_s.connector, after_s.settings):
            # Settings may name hosts and accounts; that they changed is enough.
            yield W, f"system {system}", before_s.connector, after_s.connector, False


def _cluster(field: str, before: Any, after: Any) -> Kind:
    if field == "basis":
        return P if after in (Basis.LEGAL_OBLIGATION, Basis.LEGAL_CLAIMS) and before is None else W
    if field in ("subjects", "data"):
        return N
    return P if field == "special" and after else W


def _locations(was: Bundle, now: Bundle) -> Iterator[_Said]:
    before, after = was.locations(), now.locations()
    for name in sorted(before.keys() & after.keys()):
        old, new = before[name], after[name]
        if old.role is not new.role:
            yield (
                (P if new.role is Role.RECORD_COPY else W),
                f"{name}: role",
                old.role,
                new.role,
                False,
            )
        rest = {"exclude": {"title", "role"}}
        if old.model_dump(**rest) != new.model_dump(**rest):  # type: ignore[arg-type] # a literal set
            yield W, f"{name}: where it lies", old.system, new.system, False
    for name in sorted(before.keys() ^ after.keys()):
        # Locations that the policy applies to are told of as its reach.
        referenced = name not in {
            *was.locations_of(next(iter(was.policies.values()))),
            *now.locations_of(next(iter(now.policies.values()))),
        }
        if referenced:
            yield W, f"{name}: source of a date", *_side(name, before), False


def _side(name: str, before: Any) -> tuple[str | None, str | None]:
    return (name, None) if name in before else (None, name)


def _words(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, ThenModel):
        detail = value.anonymise or value.hand_over or value.copy_to
        return str(value.kind) if detail is None else f"{value.kind}: {detail}"
    if isinstance(value, list | tuple):
        return ", ".join(_words(v) for v in value)
    if hasattr(value, "model_dump"):
        return ", ".join(
            f"{k}: {v}" for k, v in value.model_dump(mode="json", exclude_defaults=True).items()
        )
    return str(value)
