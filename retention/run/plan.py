"""What would happen and why: the same reading and judging as a run, and nothing is done."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple

from retention.connectors.base import Record
from retention.decide.model import Action, Rules, Verdict
from retention.errors import ConnectorError, PlanStale, UsageError
from retention.ledger.store import instant, stamp
from retention.run.context import Context
from retention.run.in_force import InForce
from retention.run.links import Links
from retention.run.moments import Moments
from retention.run.sessions import Sessions
from retention.run.survey import Survey
from retention.schedule.model import Job

GOOD_FOR = timedelta(days=7)
"""How long a plan file may be applied."""
FORMAT = 1


class Planned(NamedTuple):
    """One record and its fate."""

    location: str
    record: Record
    verdict: Verdict
    policy: str
    """The deciding policy, or the one that asked, where no policy decides."""


@dataclass(slots=True)
class Plan:
    """Reads every location of the wanted policies once. Iterate `items` first, then read the rest.

    `at`: look from another moment; None is now. `rules`: `in_force.wishes()` for what the files
    say, `in_force.rules()` for what would be enforced.
    """

    ctx: Context
    in_force: InForce
    jobs: Mapping[str, Job]
    policies: Sequence[str]
    rules: Rules
    at: datetime | None = None
    totals: Counter[str] = field(default_factory=Counter)
    problems: dict[str, ConnectorError] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=Counter)
    id: str = field(default_factory=lambda: token_hex(8))

    def items(self) -> Iterator[Planned]:
        """Every record of every location, judged; kept ones too. One page is in memory at a time.

        A location that fails is put into `problems`; the others go on.
        """
        moments = Moments(self.ctx, self.jobs, self.at)
        bundle = self.rules.bundle
        links = Links()
        with Sessions(self.ctx, bundle) as sessions:
            try:
                for location in self.locations():
                    try:
                        yield from self._location(sessions, links, moments, location)
                    except ConnectorError as error:
                        self.problems[location] = error
                        sessions.drop(bundle.location(location).system)
            finally:
                links.close()

    def locations(self) -> tuple[str, ...]:
        """The locations of the wanted policies, each once, in file order."""
        bundle = self.rules.bundle
        wanted = {
            name
            for policy in self.policies
            if policy in bundle.policies
            for name in bundle.locations_of(bundle.policies[policy])
        }
        return tuple(name for name in bundle.locations() if name in wanted)

    def _location(
        self, sessions: Sessions, links: Links, moments: Moments, location: str
    ) -> Iterator[Planned]:
        survey = Survey(
            self.ctx,
            sessions,
            self.rules,
            self.rules.bundle,
            location,
            policy=None,
            moment=moments,
            links=links,
        )
        links.read(self.ctx, sessions, self.rules.bundle, survey.decider.links)
        asked = self._asked(location)
        for page in survey.pages():
            self.sizes[location] += len(page.records)
            for record, verdict in zip(page.records, page.verdicts, strict=True):
                if verdict.policy and verdict.policy not in self.policies:
                    self.totals[Action.KEEP] += 1
                    continue
                self.totals[verdict.action] += 1
                yield Planned(location, record, verdict, verdict.policy or asked)

    def _asked(self, location: str) -> str:
        bundle = self.rules.bundle
        return next(
            (
                p
                for p in self.policies
                if p in bundle.policies and location in bundle.locations_of(bundle.policies[p])
            ),
            "",
        )

    def heading(self) -> dict[str, Any]:
        """The plan's own facts, as `plan --json` prints them."""
        return {
            "plan": self.id,
            "at": stamp(self.at or self.ctx.clock.now()),
            "policies": [
                {
                    "policy": name,
                    "digest": self.in_force.digests[name],
                    "approved": (a := self.in_force.approved.get(name)) is not None
                    and a.digest == self.in_force.digests[name],
                }
                for name in self.policies
                if name in self.in_force.digests
            ],
        }

    def total_of(self) -> dict[str, int]:
        """How many records each fate has; every name is there."""
        return {str(action): self.totals[action] for action in Action}


def as_json(planned: Planned) -> dict[str, Any]:
    """One item as `plan --json` prints it."""
    verdict = planned.verdict
    return {
        "location": planned.location,
        "key": planned.record.ref.key,
        "policy": planned.policy,
        "action": str(verdict.action),
        "earliest": _day(verdict.earliest),
        "due": _day(verdict.due),
        "because": list(verdict.because),
        "findings": list(verdict.findings),
    }


def _day(day: date | None) -> str | None:
    return day.isoformat() if day else None


class PlanFile:
    """A plan on disk: exactly which records, in which version, under which policies, until when.

    It holds native keys: written with mode 0600, and worth deleting once it was applied.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data

    @staticmethod
    def item(planned: Planned) -> dict[str, Any]:
        """One item with what `apply` needs to do exactly this."""
        verdict, ref = planned.verdict, planned.record.ref
        return {
            **as_json(planned),
            "container": ref.container,
            "version": ref.version,
            "trace": ref.trace,
            "mask": dict(verdict.mask) if verdict.mask is not None else None,
            "hand_over_to": verdict.hand_over_to,
            "copy_to": verdict.copy_to,
            "suppress": list(verdict.suppress),
        }

    @classmethod
    def write(cls, path: Path, plan: Plan, items: Sequence[dict[str, Any]]) -> None:
        """Write the plan beside its target and move it there whole."""
        heading = plan.heading()
        data = {
            "format": FORMAT,
            **heading,
            "expires": stamp(instant(heading["at"]) + GOOD_FOR),
            "totals": plan.total_of(),
            "sizes": dict(plan.sizes),
            "items": items,
        }
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(data, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)

    @classmethod
    def read(cls, path: Path) -> PlanFile:
        """Raises UsageError where the file is missing or no plan."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["format"] != FORMAT:
                raise KeyError("format")
            for name in ("plan", "at", "expires", "policies", "items", "sizes"):
                data[name]
        except (OSError, ValueError, KeyError, TypeError):
            raise UsageError(
                f"{path.name} is not a plan file",
                hint="retention plan --out FILE writes one",
                code="plan-file",
            ) from None
        return cls(data)

    @property
    def id(self) -> str:
        return str(self.data["plan"])

    @property
    def at(self) -> datetime:
        return instant(self.data["at"])

    @property
    def policies(self) -> dict[str, str]:
        """Policy → digest at the time of the plan."""
        return {p["policy"]: p["digest"] for p in self.data["policies"]}

    def disposals(self, policy: str) -> list[dict[str, Any]]:
        """The items that this policy would dispose of."""
        return [
            item
            for item in self.data["items"]
            if item["policy"] == policy
            and item["action"] in (Action.DELETE, Action.ANONYMISE, Action.HAND_OVER)
        ]

    def check(self, in_force: InForce, now: datetime) -> None:
        """Raises PlanStale where it has expired or a policy is another than it was."""
        if now >= instant(self.data["expires"]):
            raise PlanStale(
                f"the plan {self.id} expired on {self.data['expires']}",
                hint="make a new one with retention plan --out FILE",
            )
        for policy, digest in self.policies.items():
            if in_force.digests.get(policy) != digest:
                raise PlanStale(
                    f"the policy `{policy}` has changed since the plan {self.id} was made",
                    hint="make a new one with retention plan --out FILE",
                )
