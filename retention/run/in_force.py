"""Which policies are in force: the files as they are now, and what was approved of them.

The ratchet (design.md §5): what protects acts at once, what weakens acts only after approval,
and a rule that vanished from the files is enforced until its removal is approved.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from retention.decide.model import Rules
from retention.errors import UsageError
from retention.ledger import tables as t
from retention.ledger.store import stamp
from retention.policy.changes import compare
from retention.policy.digest import digest, extract, from_json, to_json
from retention.policy.model import Approval, Bundle, Policy
from retention.run.context import Context

REMOVED = "removed"
MOST_NAMED = 200


class Standing(StrEnum):
    """How a policy in the files relates to what was approved."""

    APPROVED = "approved"
    NEW = "new"
    CHANGED = "changed"
    REMOVED = "removed"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Approved:
    """A version that was approved: its digest and the bundle it was part of."""

    digest: str
    bundle: Bundle
    by: str
    at: str


@dataclass(frozen=True, slots=True)
class InForce:
    """The files as they are now beside what was approved of them.

    `broken`: policies that have errors, with the first error's text; they dispose of nothing.
    `unreadable`: some file could not be read, so a policy that is missing may only be hidden:
    it is broken, not removed. `unchecked`: some file does not load, so nothing could be checked
    as a whole: what was approved goes on, nothing new takes effect.
    """

    bundle: Bundle
    digests: Mapping[str, str]
    approved: Mapping[str, Approved]
    broken: Mapping[str, str] = field(default_factory=dict)
    unreadable: bool = False
    unchecked: bool = False

    def standing(self, name: str) -> Standing:
        """Raises UsageError for a name that is neither in the files nor in the ledger."""
        known = self.approved.get(name)
        if name in self.broken or (self.unreadable and name not in self.digests):
            return Standing.BROKEN
        if name not in self.digests:
            if known is None:
                raise UsageError(
                    f"there is no policy `{name}`",
                    hint="retention compile lists them",
                    code="policy-unknown",
                )
            return Standing.REMOVED
        if known is None:
            return Standing.NEW
        return Standing.APPROVED if known.digest == self.digests[name] else Standing.CHANGED

    def names(self) -> tuple[str, ...]:
        """Every policy in the files or still enforced, sorted."""
        return tuple(sorted({*self.digests, *self.approved}))

    def bundle_of(self, name: str) -> Bundle:
        """The bundle under which a policy works: as approved, else as the files say."""
        if self.standing(name) in (Standing.CHANGED, Standing.REMOVED, Standing.BROKEN):
            known = self.approved.get(name)
            if known is not None:
                return known.bundle
        return self.bundle

    def policy(self, name: str) -> Policy:
        """The version of a policy that works now. Raises UsageError."""
        self.standing(name)
        found = self.bundle_of(name).policies.get(name)
        if found is None:
            raise UsageError(f"there is no policy `{name}`", code="policy-unknown")
        return found

    def only_system(self, name: str) -> str | None:
        """The system that all of a policy's locations lie in; None where they lie in several."""
        bundle = self.bundle_of(name)
        systems = {bundle.location(n).system for n in bundle.locations_of(self.policy(name))}
        return systems.pop() if len(systems) == 1 else None

    def digest_of(self, name: str) -> str:
        """The digest of the version that works now."""
        known = self.approved.get(name)
        return known.digest if known else self.digests[name]

    def may_run(self, name: str) -> bool:
        """Whether firings of this policy become runs at all."""
        standing = self.standing(name)
        if standing is Standing.BROKEN:
            return False
        return name in self.approved

    def rules(self) -> Rules:
        """For runs: only what was approved disposes of anything."""
        return Rules(
            bundle=self.bundle,
            digests=self.digests,
            may_dispose=frozenset(
                n
                for n in self.digests
                if n not in self.broken and self.standing(n) is Standing.APPROVED
            ),
            approved={
                n: (a.digest, a.bundle)
                for n, a in self.approved.items()
                if self.standing(n) is not Standing.APPROVED
            },
        )

    def wishes(self) -> Rules:
        """For plans: as if everything in the files were approved."""
        return Rules(
            bundle=self.bundle,
            digests=self.digests,
            may_dispose=frozenset(n for n in self.digests if n not in self.broken),
        )


def read_approved(tx: Connection) -> dict[str, Approved]:
    """What was approved, from the ledger."""
    rows = tx.execute(
        select(t.enforced, t.policy_version.c.bundle).join_from(
            t.enforced,
            t.policy_version,
            (t.enforced.c.policy == t.policy_version.c.policy)
            & (t.enforced.c.digest == t.policy_version.c.digest),
        )
    )
    return {
        row.policy: Approved(row.digest, from_json(row.bundle), row.approved_by, row.approved_at)
        for row in rows
    }


def register(
    ctx: Context,
    bundle: Bundle,
    *,
    broken: Mapping[str, str],
    unreadable: bool = False,
    unchecked: bool = False,
    commit: str | None = None,
) -> InForce:
    """Write down what the files say now, and enforce at once whatever only protects.

    Returns what is in force. Evidence: `policies.loaded` when anything differs from the last
    time, `policy.approved` for what needs no person's approval, `policy.weakening_refused` for a
    change that waits for one.
    """
    digests = {name: digest(bundle, name) for name in bundle.policies if name not in broken}
    with ctx.ledger.write() as tx:
        approved = read_approved(tx)
        known = {
            (row.policy, row.digest)
            for row in tx.execute(select(t.policy_version.c.policy, t.policy_version.c.digest))
        }
        now = ctx.clock.now()
        fresh = [name for name, d in digests.items() if (name, d) not in known]
        for name in fresh:
            tx.execute(
                insert(t.policy_version).values(
                    policy=name,
                    digest=digests[name],
                    bundle=to_json(extract(bundle, name)),
                    commit=commit,
                    seen_at=stamp(now),
                )
            )
        _loaded(ctx, tx, digests, commit)
        for name, d in digests.items():
            before = approved.get(name)
            if before is not None and before.digest == d:
                continue
            reason = "" if unchecked else _needs_nobody(bundle, name, before)
            if reason:
                _enforce(tx, name, d, f"system: {reason}", stamp(now))
                ctx.log.append(
                    tx,
                    now,
                    "policy.approved",
                    actor="system",
                    policy=name,
                    digest=d,
                    kind=reason,
                    commit=commit,
                )
            elif before is not None and name in fresh:
                ctx.log.append(
                    tx,
                    now,
                    "policy.weakening_refused",
                    actor="system",
                    policy=name,
                    digest=d,
                    previous=before.digest,
                    because=["waits for an approved plan"],
                    commit=commit,
                )
        approved = read_approved(tx)
    return InForce(bundle, digests, approved, dict(broken), unreadable, unchecked)


def approve(ctx: Context, in_force: InForce, name: str, *, by: str) -> str:
    """Put the version in the files in force, or the removal of a policy. Returns the digest."""
    standing = in_force.standing(name)
    if standing is Standing.BROKEN:
        raise UsageError(
            f"the policy `{name}` has errors and cannot be approved",
            hint="retention validate shows them",
            code="policy-broken",
        )
    if in_force.unchecked:
        raise UsageError(
            "nothing can be approved while a policy file does not load",
            hint="retention validate shows what is wrong",
            code="policies-unchecked",
        )
    with ctx.ledger.write() as tx:
        now = ctx.clock.now()
        if standing is Standing.REMOVED:
            wanted = REMOVED
            tx.execute(delete(t.enforced).where(t.enforced.c.policy == name))
            tx.execute(delete(t.schedule).where(t.schedule.c.policy == name))
        else:
            wanted = in_force.digests[name]
            _enforce(tx, name, wanted, by, stamp(now))
        ctx.log.append(
            tx,
            now,
            "policy.approved",
            actor=by,
            policy=name,
            digest=wanted,
            kind="approved by a person",
            previous=before.digest if (before := in_force.approved.get(name)) else None,
        )
    return wanted


def _needs_nobody(bundle: Bundle, name: str, before: Approved | None) -> str:
    """Why this version may be enforced without a person's approval; "" where it may not."""
    policy = bundle.policies[name]
    if before is None:
        if not policy.destructive:
            return "it disposes of nothing"
        if policy.approval is Approval.NONE:
            return "the policy asks for no approval"
        return ""
    old = before.bundle.policies[name]
    changes = [c for c in compare(before.bundle, extract(bundle, name)) if c.policy == name]
    if changes and all(c.kind == "protective" for c in changes) and not policy.destructive:
        return "it only protects more"
    if old.approval is Approval.NONE and policy.approval is Approval.NONE:
        return "the policy asks for no approval"
    return ""


def _loaded(ctx: Context, tx: Connection, digests: Mapping[str, str], commit: str | None) -> None:
    """Write down which policies the files hold, when that is not what they held before."""
    row = tx.execute(select(t.meta.c.value).where(t.meta.c.key == "policies")).scalar_one_or_none()
    before: dict[str, str] = json.loads(row) if row else {}
    if not remember(tx, "policies", json.dumps(digests, sort_keys=True)):
        return
    both = before.keys() & digests.keys()
    ctx.log.append(
        tx,
        ctx.clock.now(),
        "policies.loaded",
        actor="system",
        count=len(digests),
        commit=commit,
        added=_some(digests.keys() - before.keys()),
        changed=_some({n for n in both if before[n] != digests[n]}),
        removed=_some(before.keys() - digests.keys()),
    )


def _some(names: AbstractSet[str]) -> list[str] | None:
    """At most so many names as fit into one entry; the count beside them is whole."""
    return sorted(names)[:MOST_NAMED] or None


def remember(tx: Connection, key: str, value: str) -> bool:
    """Set a value in `meta`; True when it was another before."""
    before = tx.execute(select(t.meta.c.value).where(t.meta.c.key == key)).scalar_one_or_none()
    if before == value:
        return False
    # Two first starts at the same moment both find nothing.
    dialect = postgresql if tx.dialect.name == "postgresql" else sqlite
    row = dialect.insert(t.meta).values(key=key, value=value)
    tx.execute(row.on_conflict_do_update(index_elements=["key"], set_={"value": value}))
    return True


def _enforce(tx: Connection, name: str, digest: str, by: str, at: str) -> None:
    values: dict[str, Any] = {"digest": digest, "approved_by": by, "approved_at": at}
    changed = tx.execute(update(t.enforced).where(t.enforced.c.policy == name).values(**values))
    if changed.rowcount == 0:
        tx.execute(insert(t.enforced).values(policy=name, **values))
